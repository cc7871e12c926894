package seal

import (
	"bytes"
	encasn1 "encoding/asn1"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
)

// What Info.Check refuses. Each is wrapped with the value that is wrong.
var (
	// ErrVersion: the header version is neither 4 nor 5.
	ErrVersion = errors.New("header version must be 4 or 5")
	// ErrVid: the vendor is empty, longer than 64 bytes, or not printable ASCII.
	ErrVid = errors.New("vid must be 1 to 64 printable ASCII characters")
	// ErrESID: the seal number is empty, longer than 64 bytes, or not printable ASCII.
	ErrESID = errors.New("esID must be 1 to 64 printable ASCII characters")
	// ErrType: the seal type is outside 1..99.
	ErrType = errors.New("seal type must be 1 to 99")
	// ErrName: the seal name is empty, longer than 300 bytes, or not UTF-8 without control characters.
	ErrName = errors.New("seal name must be 1 to 300 bytes of UTF-8 without control characters")
	// ErrCertList: there is no certificate in the list, one is not readable, or the list is not of type 1.
	ErrCertList = errors.New("certificate list must hold readable certificates (certListType 1)")
	// ErrTimes: a time is missing, outside the years 2000 to 9999, or validStart and createDate are not before validEnd.
	ErrTimes = errors.New("times must be set, and validStart and createDate lie before validEnd")
	// ErrPicture: the picture is empty, too large, of an unknown type, not what its type says, or has no size on paper.
	ErrPicture = errors.New("picture must be an image file of its type with a size of 1 to 500 mm")
	// ErrExtension: an extension has no dotted OID, or there are too many.
	ErrExtension = errors.New("extension must have a dotted object identifier")
)

// maxPicture bounds the image inside a seal that we make: every signature carries it.
const maxPicture = 1 << 20

// Check reports the first thing that keeps i from being made into a seal, as one of the errors above.
func (i Info) Check() error {
	switch {
	case i.Version != 0 && i.Version != 4 && i.Version != 5:
		return fmt.Errorf("header version %d: %w", i.Version, ErrVersion)
	case i.Vid == "" || !printable(i.Vid, 64):
		return fmt.Errorf("vid %q: %w", i.Vid, ErrVid)
	case i.ESID == "" || !printable(i.ESID, 64):
		return fmt.Errorf("esID %q: %w", i.ESID, ErrESID)
	case i.Type < 1 || i.Type > 99:
		return fmt.Errorf("type %d: %w", i.Type, ErrType)
	case i.Name == "" || len(i.Name) > 300 || !utf8.ValidString(i.Name) || strings.ContainsFunc(i.Name, isControl):
		return fmt.Errorf("name %q: %w", i.Name, ErrName)
	}
	for _, check := range []func() error{i.checkCerts, i.checkTimes, i.Picture.check, i.checkExtensions} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// printable reports whether s is printable ASCII of at most limit bytes.
func printable(s string, limit int) bool {
	return len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

func (i Info) checkCerts() error {
	if i.CertListType > 1 || i.CertListType < 0 || len(i.CertDigests) > 0 || len(i.Certs) == 0 || len(i.Certs) > maxListed {
		return fmt.Errorf("list of type %d with %d certificates: %w", i.CertListType, len(i.Certs), ErrCertList)
	}
	for n, c := range i.Certs {
		if _, err := gm.ParseCertificate(c); err != nil {
			return fmt.Errorf("certificate %d: %w: %w", n, ErrCertList, err)
		}
	}
	return nil
}

func (i Info) checkTimes() error {
	for _, t := range []time.Time{i.CreateDate, i.ValidStart, i.ValidEnd} {
		if y := t.UTC().Year(); y < 2000 || y > 9999 {
			return fmt.Errorf("time %s: %w", t, ErrTimes)
		}
	}
	if !i.ValidStart.Before(i.ValidEnd) || !i.CreateDate.Before(i.ValidEnd) {
		return fmt.Errorf("created %s, valid %s to %s: %w", i.CreateDate, i.ValidStart, i.ValidEnd, ErrTimes)
	}
	return nil
}

// magics are the first bytes of the image files that a made seal may hold.
var magics = map[string]string{"PNG": "\x89PNG\r\n\x1a\n", "JPG": "\xff\xd8\xff", "BMP": "BM", "GIF": "GIF8"}

func (p Picture) check() error {
	magic, known := magics[p.Type]
	switch {
	case !known:
		return fmt.Errorf("picture type %q: %w", p.Type, ErrPicture)
	case !bytes.HasPrefix(p.Data, []byte(magic)) || len(p.Data) > maxPicture:
		return fmt.Errorf("picture of %d bytes as %s: %w", len(p.Data), p.Type, ErrPicture)
	case p.WidthMM < 1 || p.WidthMM > 500 || p.HeightMM < 1 || p.HeightMM > 500:
		return fmt.Errorf("picture of %d×%d mm: %w", p.WidthMM, p.HeightMM, ErrPicture)
	}
	return nil
}

func (i Info) checkExtensions() error {
	if len(i.Ext) > maxExtensions {
		return fmt.Errorf("%d extensions: %w", len(i.Ext), ErrExtension)
	}
	for _, e := range i.Ext {
		if _, err := parseOID(e.OID); err != nil {
			return err
		}
	}
	return nil
}

func parseOID(s string) (encasn1.ObjectIdentifier, error) {
	var id encasn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil || n < 0 || strconv.FormatInt(n, 10) != part {
			return nil, fmt.Errorf("object identifier %q: %w", s, ErrExtension)
		}
		id = append(id, int(n))
	}
	if len(id) < 2 || id[0] > 2 || id[0] < 2 && id[1] > 39 {
		return nil, fmt.Errorf("object identifier %q: %w", s, ErrExtension)
	}
	return id, nil
}

func (i Info) version() int {
	if i.Version == 0 {
		return 4
	}
	return i.Version
}

// Marshal returns SES_SealInfo in DER, the bytes that the seal maker signs, or the error of Check.
func (i Info) Marshal() ([]byte, error) {
	if err := i.Check(); err != nil {
		return nil, fmt.Errorf("making seal information: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addText(b, asn1.IA5String, "ES")
			b.AddASN1Int64(int64(i.version()))
			addText(b, asn1.IA5String, i.Vid)
		})
		addText(b, asn1.IA5String, i.ESID)
		b.AddASN1(asn1.SEQUENCE, i.addProperty)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addText(b, asn1.IA5String, i.Picture.Type)
			b.AddASN1OctetString(i.Picture.Data)
			b.AddASN1Int64(int64(i.Picture.WidthMM))
			b.AddASN1Int64(int64(i.Picture.HeightMM))
		})
		if len(i.Ext) > 0 {
			addExtensions(b, i.Ext)
		}
	})
	return b.Bytes()
}

func (i Info) addProperty(b *cryptobyte.Builder) {
	b.AddASN1Int64(int64(i.Type))
	addText(b, asn1.UTF8String, i.Name)
	b.AddASN1Int64(1)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, c := range i.Certs {
			b.AddASN1OctetString(c)
		}
	})
	b.AddASN1GeneralizedTime(i.CreateDate.UTC())
	b.AddASN1GeneralizedTime(i.ValidStart.UTC())
	b.AddASN1GeneralizedTime(i.ValidEnd.UTC())
}

// addExtensions writes critical FALSE although it is the default: every seal in service does, and a widespread reader cannot do
// without.
func addExtensions(b *cryptobyte.Builder, ext []Extension) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range ext {
			id, err := parseOID(e.OID)
			if err != nil {
				b.SetError(err)
				return
			}
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(id)
				b.AddASN1Boolean(e.Critical)
				b.AddASN1OctetString(e.Value)
			})
		}
	})
}

func addText(b *cryptobyte.Builder, tag asn1.Tag, s string) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

var sm2WithSM3 = encasn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}

// Assemble joins signed seal information, the maker's certificate and the strict DER signature value into an SESeal. It checks forms,
// not the signature; Make does both.
func Assemble(infoDER, makerCert, sigDER []byte) ([]byte, error) {
	if err := oneSequence(infoDER); err != nil {
		return nil, fmt.Errorf("assembling seal from seal information: %w", err)
	}
	if _, err := gm.ParseCertificate(makerCert); err != nil {
		return nil, fmt.Errorf("assembling seal: maker: %w", err)
	}
	if _, err := gm.DecodeSignature(sigDER); err != nil {
		return nil, fmt.Errorf("assembling seal: %w", err)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(infoDER)+len(makerCert)+len(sigDER)+64))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(infoDER)
		b.AddASN1OctetString(makerCert)
		b.AddASN1ObjectIdentifier(sm2WithSM3)
		b.AddASN1BitString(sigDER)
	})
	return b.Bytes()
}

// Make makes a seal: it marshals i, lets sign (the maker's key; message in, strict DER out) sign exactly those bytes, has the result
// verified by both implementations of law 4 under the maker's certificate, and reads the finished seal back before it returns it.
func Make(i Info, makerCert []byte, sign func(message []byte) (sigDER []byte, err error)) ([]byte, error) {
	maker, err := gm.ParseCertificate(makerCert)
	if err != nil {
		return nil, fmt.Errorf("making seal %s: maker: %w", i.ESID, err)
	}
	key, err := gm.CertificateKey(maker)
	if err != nil {
		return nil, fmt.Errorf("making seal %s: maker: %w", i.ESID, err)
	}
	infoDER, err := i.Marshal()
	if err != nil {
		return nil, err
	}
	sig, err := sign(infoDER)
	if err != nil {
		return nil, fmt.Errorf("making seal %s: signing: %w", i.ESID, err)
	}
	if err := key.VerifyTwice(infoDER, sig); err != nil {
		return nil, fmt.Errorf("making seal %s: checking the maker's signature: %w", i.ESID, err)
	}
	der, err := Assemble(infoDER, makerCert, sig)
	if err != nil {
		return nil, err
	}
	if err := readBack(der, infoDER); err != nil {
		return nil, err
	}
	return der, nil
}

// readBack is the last look at a made seal: it must parse without a note and hold the very bytes that were signed.
func readBack(der, infoDER []byte) error {
	s, err := Parse(der)
	if err != nil {
		return fmt.Errorf("reading the made seal back: %w", err)
	}
	if len(s.Notes) > 0 || !bytes.Equal(s.InfoRaw, infoDER) || s.Generation == V1 {
		return fmt.Errorf("reading the made seal back: %s with notes %v: %w", s.Generation, s.Notes, ErrStructure)
	}
	return s.VerifySignature()
}

// oneSequence checks that der is exactly one SEQUENCE.
func oneSequence(der []byte) error {
	in := cryptobyte.String(der)
	var s cryptobyte.String
	if !in.ReadASN1(&s, asn1.SEQUENCE) || !in.Empty() {
		return ErrStructure
	}
	return nil
}

// beginsSequence checks that der and so many bytes behind it are exactly one SEQUENCE.
func beginsSequence(der []byte, behind int) error {
	header := 2
	if len(der) > 1 && der[1] >= 0x80 {
		header += int(der[1] & 0x7f)
	}
	if header > len(der) || !bytes.Equal(der[:header], appendHeader(nil, asn1.SEQUENCE, len(der)-header+behind)) {
		return ErrStructure
	}
	return nil
}
