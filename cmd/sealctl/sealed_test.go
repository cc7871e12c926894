package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"image"
	"image/png"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance/ca"
	"sealkeeper/seal"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/synthetic"
)

// softKey is an authority's key in software.
type softKey struct{ *softkey.Key }

func (k softKey) Sign(_ context.Context, message []byte) ([]byte, error) { return k.Key.Sign(message) }

func newSoftKey() (softKey, error) {
	k, err := softkey.Generate(nil)
	return softKey{k}, err
}

// office is a bureau that made one seal, all keys in software.
type office struct {
	root, issuing, maker, certificate, audit []byte // DER
	issuingKey, auditKey, sealKey            softKey
	esl                                      []byte
}

const demoESID = "41030000000001"

func newOffice(now time.Time) (o office, err error) {
	var keys [5]softKey
	for i := range keys {
		if keys[i], err = newSoftKey(); err != nil {
			return o, err
		}
	}
	rootKey, issuingKey, makerKey := keys[0], keys[1], keys[2]
	o.issuingKey, o.auditKey, o.sealKey = keys[1], keys[3], keys[4]
	ctx, life := context.Background(), ca.DefaultLifetimes()
	name := func(cn string) pkix.Name { return pkix.Name{Country: []string{"CN"}, CommonName: cn} }
	if o.root, err = ca.Root(ctx, rootKey, name("示例根"), now, life.Root); err != nil {
		return o, err
	}
	if o.issuing, err = ca.Issuing(ctx, rootKey, o.root, issuingKey.Public(), name("示例签发"), now, life.Issuing); err != nil {
		return o, err
	}
	authority, err := ca.NewEmbedded(issuingKey, ca.Config{IssuingDER: o.issuing, RootDER: o.root, Lifetimes: life, Subject: ca.DefaultSubjectTemplate(),
		Now: func() time.Time { return now }})
	if err != nil {
		return o, err
	}
	if o.maker, err = authority.IssueMaker(ctx, makerKey.Public(), name("示例制章")); err != nil {
		return o, err
	}
	if o.audit, err = authority.IssueAudit(ctx, o.auditKey.Public(), name("示例日志")); err != nil {
		return o, err
	}
	return o, o.makeSeal(ctx, authority, makerKey, now)
}

func (o *office) makeSeal(ctx context.Context, authority *ca.Embedded, maker softKey, now time.Time) (err error) {
	e := synthetic.New("sealctl", 1)
	if o.certificate, _, err = authority.Issue(ctx, ca.Request{PublicKey: o.sealKey.Public(), ESID: demoESID, Name: e.Name, USCC: e.USCC}); err != nil {
		return err
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewNRGBA(image.Rect(0, 0, 8, 8))); err != nil {
		return err
	}
	o.esl, err = seal.Make(seal.Info{Vid: "demo", ESID: demoESID, Type: 1, Name: e.Name, Certs: [][]byte{o.certificate}, CreateDate: now, ValidStart: now,
		ValidEnd: now.AddDate(2, 0, 0), Picture: seal.Picture{Type: "PNG", Data: picture.Bytes(), WidthMM: 40, HeightMM: 40}}, o.maker, maker.Key.Sign)
	return err
}

// sign makes a complete SES_Signature.
func (o *office) sign(hash [32]byte, property string, at time.Time) ([]byte, error) {
	tbs, err := seal.TBS{SealDER: o.esl, Time: at, DataHash: hash, PropertyInfo: property}.Marshal()
	if err != nil {
		return nil, err
	}
	sig, err := o.sealKey.Key.Sign(tbs)
	if err != nil {
		return nil, err
	}
	return seal.AssembleSignature(tbs, o.certificate, sig, nil)
}

// writeSealed writes what an office made yesterday: root.pem and issuing.pem, seal.esl, plain.ofd, sealed.ofd, altered.ofd (a page changed afterwards),
// client.crt, and sign/SignedValue.dat with sign/Signature.xml beside it.
func writeSealed(dir string) error {
	now := time.Now().UTC().Add(-24 * time.Hour).Truncate(time.Second)
	o, err := newOffice(now)
	if err != nil {
		return err
	}
	plain := ofdgen.Document("示例申请书", 3)
	p, err := ofd.Open(plain, ofd.Limits{})
	if err != nil {
		return err
	}
	draft, err := p.Prepare(ofd.Request{Stamps: []ofd.Stamp{{Page: 3, X: 62, Y: 218, W: 40, H: 40}}, Seal: o.esl, SignatureTime: now, ProviderName: "test"})
	if err != nil {
		return err
	}
	value, err := o.sign(draft.DataHash(), draft.PropertyInfo(), now.Add(time.Minute))
	if err != nil {
		return err
	}
	sealed, err := draft.Embed(value)
	if err != nil {
		return err
	}
	altered, err := alter(sealed)
	if err != nil {
		return err
	}
	server, err := tlsCertificate()
	if err != nil {
		return err
	}
	offices.Store(dir, o)
	return errors.Join(
		write(dir, "root.pem", certificatePEM(o.root)), write(dir, "issuing.pem", certificatePEM(o.issuing)), write(dir, "maker.pem", certificatePEM(o.maker)),
		write(dir, "publisher.pem", certificatePEM(o.certificate)), write(dir, "seal.esl", o.esl),
		write(dir, "client.crt", certificatePEM(server.Certificate[0])), write(dir, "plain.ofd", plain), write(dir, "sealed.ofd", sealed), write(dir, "altered.ofd", altered),
		write(dir, "sign/SignedValue.dat", value), write(dir, "sign/Signature.xml", draft.SignatureXML()))
}

// offices are those of writeSealed, by directory.
var offices sync.Map

// publish signs a file with the office's seal, as sealctl sign cms --attached would have the appliance do; revoke makes a revocation list of the
// authority that names the seal's certificate.
func publish(dir, in, out string) error {
	kept, _ := offices.Load(dir)
	o := kept.(office)
	content, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	d, err := cms.Prepare(cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: o.certificate, Digest: gm.SM3(content), Content: content, SigningTime: time.Now()})
	if err != nil {
		return err
	}
	value, err := o.sealKey.Key.Sign(d.Attributes())
	if err != nil {
		return err
	}
	der, err := d.Assemble(value, nil)
	return errors.Join(err, os.WriteFile(out, der, 0o600))
}

func revoke(dir, out string) error {
	kept, _ := offices.Load(dir)
	o := kept.(office)
	issuer, err := gm.ParseCertificate(o.issuing)
	if err != nil {
		return err
	}
	c, err := gm.ParseCertificate(o.certificate)
	if err != nil {
		return err
	}
	der, err := gm.CreateRevocationList(&gm.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), SignatureAlgorithm: gm.SM2WithSM3,
		RevokedCertificateEntries: []gm.RevokedCertificate{{SerialNumber: c.SerialNumber, RevocationTime: c.NotBefore}}}, issuer, o.issuingKey.Key.Signer())
	return errors.Join(err, os.WriteFile(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600))
}

// tlsCertificate makes a self-signed P-256 certificate for 127.0.0.1 that serves and calls.
func tlsCertificate() (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// alter changes the text of a page and packs everything else again as it was.
func alter(sealed []byte) ([]byte, error) {
	r, err := zip.NewReader(bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		if !strings.Contains(f.Name, "Page_1/") {
			if err := w.Copy(f); err != nil {
				return nil, err
			}
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		e, err := w.Create(f.Name)
		if err != nil {
			return nil, err
		}
		if _, err := e.Write(bytes.ReplaceAll(content, []byte("不"), []byte("必"))); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return out.Bytes(), err
}
