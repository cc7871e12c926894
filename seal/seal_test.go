package seal_test

import (
	"bytes"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/seal"
)

var (
	created = time.Date(2026, 3, 1, 1, 2, 3, 0, time.UTC)
	expires = time.Date(2029, 3, 1, 0, 0, 0, 0, time.UTC)
)

// pair is a software key with a self-signed certificate.
type pair struct {
	key  *softkey.Key
	cert []byte
}

func newPair(t testing.TB, name string, scalar byte) pair {
	t.Helper()
	d := make([]byte, 32)
	d[31] = scalar
	key, err := softkey.FromScalar(d)
	if err != nil {
		t.Fatal(err)
	}
	template := &gm.Certificate{
		SerialNumber: big.NewInt(int64(scalar)), Subject: pkix.Name{CommonName: name},
		NotBefore: created.AddDate(-1, 0, 0), NotAfter: expires.AddDate(1, 0, 0),
		SignatureAlgorithm: gm.SM2WithSM3,
	}
	cert, err := gm.CreateCertificate(template, template, key.Public().ECDSA(), key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return pair{key, cert}
}

// pngOf returns bytes that begin like a PNG file; this package never looks further.
func pngOf(n int) []byte { return append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, n)...) }

func sampleInfo(certs ...[]byte) seal.Info {
	return seal.Info{
		Vid: "sealkeeper", ESID: "41030000000001", Type: 1, Name: "洛阳示例有限公司（演示数据）", Certs: certs,
		CreateDate: created, ValidStart: created, ValidEnd: expires,
		Picture: seal.Picture{Type: "PNG", Data: pngOf(64), WidthMM: 40, HeightMM: 40},
		Ext:     []seal.Extension{{OID: "1.2.156.10260.4.1.4", Value: []byte("91410300MA00000000")}},
	}
}

func makeSeal(t testing.TB, info seal.Info) ([]byte, pair) {
	t.Helper()
	maker := newPair(t, "示例制章系统", 7)
	der, err := seal.Make(info, maker.cert, maker.key.Sign)
	if err != nil {
		t.Fatal(err)
	}
	return der, maker
}

func TestMakeParsesBack(t *testing.T) {
	user := newPair(t, "41030000000001", 9)
	for _, version := range []int{0, 4, 5} {
		info := sampleInfo(user.cert)
		info.Version = version
		der, maker := makeSeal(t, info)
		s, err := seal.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		want := map[int]seal.Generation{0: seal.V4, 4: seal.V4, 5: seal.V5}[version]
		if s.Generation != want || !bytes.Equal(s.Raw, der) || !bytes.Equal(s.MakerCert, maker.cert) || len(s.Notes) != 0 {
			t.Errorf("version %d: generation %s, notes %v", version, s.Generation, s.Notes)
		}
		got := s.Info
		if got.ESID != info.ESID || got.Name != info.Name || got.Type != 1 || got.CertListType != 1 || !got.CreateDate.Equal(created) ||
			!got.ValidEnd.Equal(expires) || got.Picture.WidthMM != 40 || !bytes.Equal(got.Picture.Data, info.Picture.Data) ||
			len(got.Ext) != 1 || got.Ext[0].OID != info.Ext[0].OID || got.Ext[0].Critical {
			t.Errorf("version %d: read back %+v", version, got)
		}
		if !s.Lists(user.cert) || s.Lists(maker.cert) {
			t.Error("the list holds the wrong certificates")
		}
		if !s.ValidAt(created) || !s.ValidAt(expires) || s.ValidAt(expires.Add(time.Second)) || s.ValidAt(created.Add(-time.Second)) {
			t.Error("validity ends are wrong")
		}
		if err := s.VerifySignature(); err != nil {
			t.Error(err)
		}
	}
}

func TestMakeDoesNotKeepTheCallersBytes(t *testing.T) {
	der, _ := makeSeal(t, sampleInfo(newPair(t, "u", 9).cert))
	s, err := seal.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	for i := range der {
		der[i] = 0
	}
	if err := s.VerifySignature(); err != nil {
		t.Errorf("a parsed seal changed with its input: %v", err)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	cert := newPair(t, "u", 9).cert
	cases := []struct {
		name string
		edit func(*seal.Info)
		want error
	}{
		{"version 3", func(i *seal.Info) { i.Version = 3 }, seal.ErrVersion},
		{"empty vid", func(i *seal.Info) { i.Vid = "" }, seal.ErrVid},
		{"empty esID", func(i *seal.Info) { i.ESID = "" }, seal.ErrESID},
		{"esID outside ASCII", func(i *seal.Info) { i.ESID = "４１" }, seal.ErrESID},
		{"long esID", func(i *seal.Info) { i.ESID = string(make([]byte, 65)) }, seal.ErrESID},
		{"type 0", func(i *seal.Info) { i.Type = 0 }, seal.ErrType},
		{"empty name", func(i *seal.Info) { i.Name = "" }, seal.ErrName},
		{"name not UTF-8", func(i *seal.Info) { i.Name = "\xff" }, seal.ErrName},
		{"control character in name", func(i *seal.Info) { i.Name = "a\x1b[2J" }, seal.ErrName},
		{"no certificate", func(i *seal.Info) { i.Certs = nil }, seal.ErrCertList},
		{"unreadable certificate", func(i *seal.Info) { i.Certs = [][]byte{{0x30, 0}} }, seal.ErrCertList},
		{"list of digests", func(i *seal.Info) { i.CertListType = 2 }, seal.ErrCertList},
		{"no createDate", func(i *seal.Info) { i.CreateDate = time.Time{} }, seal.ErrTimes},
		{"times reversed", func(i *seal.Info) { i.ValidStart, i.ValidEnd = i.ValidEnd, i.ValidStart }, seal.ErrTimes},
		{"created after the end", func(i *seal.Info) { i.CreateDate = expires }, seal.ErrTimes},
		{"empty picture", func(i *seal.Info) { i.Picture.Data = nil }, seal.ErrPicture},
		{"picture of another type", func(i *seal.Info) { i.Picture.Type = "JPG" }, seal.ErrPicture},
		{"picture type unknown", func(i *seal.Info) { i.Picture.Type = "OFD" }, seal.ErrPicture},
		{"picture without size", func(i *seal.Info) { i.Picture.HeightMM = 0 }, seal.ErrPicture},
		{"extension without OID", func(i *seal.Info) { i.Ext = []seal.Extension{{}} }, seal.ErrExtension},
		{"extension with 0x OID", func(i *seal.Info) { i.Ext = []seal.Extension{{OID: "0x0102"}} }, seal.ErrExtension},
		{"extension with OID 3.1", func(i *seal.Info) { i.Ext = []seal.Extension{{OID: "3.1"}} }, seal.ErrExtension},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			info := sampleInfo(cert)
			c.edit(&info)
			der, err := info.Marshal()
			if !errors.Is(err, c.want) || der != nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestLaw04MadeSealsAreVerifiedTwice(t *testing.T) {
	maker, other := newPair(t, "maker", 7), newPair(t, "other", 8)
	info := sampleInfo(newPair(t, "u", 9).cert)
	if der, err := seal.Make(info, maker.cert, other.key.Sign); !errors.Is(err, gm.ErrSignature) || der != nil {
		t.Errorf("signature of another key: %v", err)
	}
	raw := func(m []byte) ([]byte, error) { s, err := maker.key.SignE(maker.key.Public().E(m)); return s[:], err }
	if der, err := seal.Make(info, maker.cert, raw); !errors.Is(err, gm.ErrSignatureForm) || der != nil {
		t.Errorf("raw signature: %v", err)
	}
	broken := errors.New("token gone")
	if _, err := seal.Make(info, maker.cert, func([]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("signing error was lost: %v", err)
	}
}

func TestSigning(t *testing.T) {
	user := newPair(t, "41030000000001", 9)
	for _, size := range []int{1, 60, 20_000, 70_000} {
		info := sampleInfo(user.cert)
		info.Picture.Data = pngOf(size)
		sealDER, _ := makeSeal(t, info)
		g, err := seal.NewSigning(sealDER)
		if err != nil {
			t.Fatal(err)
		}
		for _, property := range []string{"", "/Doc_0/Signs/Sign_0/Signature.xml", "/Doc_0/Signs/Sign_1/Signature.xml", string(bytes.Repeat([]byte("a"), 300))} {
			at, hash := created.Add(time.Hour), gm.SM3([]byte(property))
			prefix, variable, err := g.TBS(at, hash, property)
			if err != nil {
				t.Fatal(err)
			}
			whole := append(append([]byte{}, prefix...), variable...)
			same, err := seal.TBS{SealDER: sealDER, Time: at, DataHash: hash, PropertyInfo: property}.Marshal()
			if err != nil || !bytes.Equal(whole, same) {
				t.Fatalf("picture %d, property %d: two ways differ: %v", size, len(property), err)
			}
			again, _, _ := g.TBS(at.Add(time.Minute), gm.SM3(nil), property)
			if &again[0] != &prefix[0] {
				t.Error("prefix is not shared")
			}
			m := user.key.Public().NewMessage()
			m.Write(prefix)
			kept := m.Clone() // what a signer keeps per seal and length of propertyInfo
			kept.Write(variable)
			if kept.E() != user.key.Public().E(whole) {
				t.Error("the kept state gives another e")
			}
			checkSignature(t, whole, user, property, hash, at)
		}
	}
}

func checkSignature(t *testing.T, tbs []byte, user pair, property string, hash [32]byte, at time.Time) {
	t.Helper()
	sig, err := user.key.Sign(tbs)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range [][]byte{nil, {0x30, 3, 2, 1, 5}, append([]byte{0x30, 0x82, 1, 44}, make([]byte, 300)...)} {
		der, err := seal.AssembleSignature(tbs, user.cert, sig, token)
		if err != nil {
			t.Fatal(err)
		}
		parts, start, err := seal.AssembleParts(tbs[:len(tbs)-30], tbs[len(tbs)-30:], user.cert, sig, token)
		if err != nil || !bytes.Equal(parts, der) || !bytes.Equal(parts[start:start+len(tbs)], tbs) {
			t.Errorf("in two parts, TBS_Sign at %d: %x, %v", start, parts, err)
		}
		s, err := seal.ParseSignature(der)
		if err != nil {
			t.Fatal(err)
		}
		if s.Generation != seal.V4 || s.Version != 4 || !bytes.Equal(s.Raw, der) || !bytes.Equal(s.TBS, tbs) || s.DataHash != hash ||
			s.PropertyInfo != property || !s.Time.Equal(at) || !bytes.Equal(s.Timestamp, token) || len(s.Notes) != 0 {
			t.Errorf("read back %+v", s)
		}
		if err := s.VerifyValue(); err != nil {
			t.Error(err)
		}
		if !s.SignatoryListed() {
			t.Error("signatory not listed")
		}
	}
}

func TestSigningIsSafeForConcurrentUse(t *testing.T) {
	sealDER, _ := makeSeal(t, sampleInfo(newPair(t, "u", 9).cert))
	g, err := seal.NewSigning(sealDER)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for n := range 40 { // more lengths than are remembered
		wait.Go(func() {
			property := strings.Repeat("p", n)
			prefix, variable, err := g.TBS(created, [32]byte{byte(n)}, property)
			if err != nil {
				t.Error(err)
				return
			}
			whole, err := seal.TBS{SealDER: sealDER, Time: created, DataHash: [32]byte{byte(n)}, PropertyInfo: property}.Marshal()
			if err != nil || !bytes.Equal(whole, append(prefix, variable...)) {
				t.Errorf("length %d: %v", n, err)
			}
		})
	}
	wait.Wait()
}

func TestTBSWithExtensions(t *testing.T) {
	user := newPair(t, "u", 9)
	sealDER, _ := makeSeal(t, sampleInfo(user.cert))
	tbs, err := seal.TBS{SealDER: sealDER, Time: created, PropertyInfo: "p", Ext: []seal.Extension{{OID: "1.2.3", Critical: true, Value: []byte("x")}}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, _ := user.key.Sign(tbs)
	der, err := seal.AssembleSignature(tbs, user.cert, sig, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.ParseSignature(der)
	if err != nil || len(s.Ext) != 1 || s.Ext[0].OID != "1.2.3" || !s.Ext[0].Critical || len(s.Notes) != 0 {
		t.Fatalf("%+v %v", s, err)
	}
}

func TestSigningRefusals(t *testing.T) {
	user := newPair(t, "u", 9)
	sealDER, _ := makeSeal(t, sampleInfo(user.cert))
	g, err := seal.NewSigning(sealDER)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.TBS(created, [32]byte{}, "印章"); !errors.Is(err, seal.ErrPropertyInfo) {
		t.Errorf("propertyInfo outside ASCII: %v", err)
	}
	if _, _, err := g.TBS(created, [32]byte{}, string(make([]byte, 2000))); !errors.Is(err, seal.ErrPropertyInfo) {
		t.Errorf("long propertyInfo: %v", err)
	}
	if _, _, err := g.TBS(time.Time{}, [32]byte{}, ""); !errors.Is(err, seal.ErrSigningTime) {
		t.Errorf("zero time: %v", err)
	}
	if _, err := seal.NewSigning(sealDER[:len(sealDER)-1]); !errors.Is(err, seal.ErrStructure) {
		t.Errorf("cut seal: %v", err)
	}
	tbs, _ := seal.TBS{SealDER: sealDER, Time: created}.Marshal()
	if _, err := seal.AssembleSignature(tbs, user.cert, make([]byte, 64), nil); !errors.Is(err, gm.ErrSignatureForm) {
		t.Errorf("raw signature value: %v", err)
	}
	sig, _ := user.key.Sign(tbs)
	if _, err := seal.AssembleSignature(append(tbs, 0), user.cert, sig, nil); !errors.Is(err, seal.ErrStructure) {
		t.Errorf("trailing byte: %v", err)
	}
	if _, _, err := seal.AssembleParts(tbs[:len(tbs)-9], tbs[len(tbs)-8:], user.cert, sig, nil); !errors.Is(err, seal.ErrStructure) {
		t.Errorf("a byte missing between the parts: %v", err)
	}
	if _, _, err := seal.AssembleParts(tbs[:1], tbs[1:], user.cert, sig, nil); !errors.Is(err, seal.ErrStructure) {
		t.Errorf("a first part without its header: %v", err)
	}
	if _, err := seal.AssembleSignature(tbs, nil, sig, nil); !errors.Is(err, seal.ErrStructure) {
		t.Errorf("no certificate: %v", err)
	}
	if _, err := seal.AssembleSignature(tbs, user.cert, sig, []byte{5, 0}); !errors.Is(err, seal.ErrStructure) {
		t.Errorf("timestamp that is no token: %v", err)
	}
}

// TestOpenSSLVerifies lets an unrelated program judge both signatures.
func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("REQUIRE_SOFTHSM") == "1" {
			t.Fatal("no openssl command: make deps installs it")
		}
		t.Skip("SKIPPED: no openssl command")
	}
	user := newPair(t, "u", 9)
	sealDER, maker := makeSeal(t, sampleInfo(user.cert))
	s, err := seal.Parse(sealDER)
	if err != nil {
		t.Fatal(err)
	}
	opensslVerify(t, openssl, maker.cert, s.InfoRaw, s.Signature)
	tbs, err := seal.TBS{SealDER: sealDER, Time: created, DataHash: gm.SM3([]byte("original")), PropertyInfo: "/Doc_0/Signs/Sign_0/Signature.xml"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := user.key.Sign(tbs)
	if err != nil {
		t.Fatal(err)
	}
	opensslVerify(t, openssl, user.cert, tbs, sig)
}

func opensslVerify(t *testing.T, openssl string, cert, message, sig []byte) {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pub, err := exec.Command(openssl, "x509", "-inform", "DER", "-in", put("cert", cert), "-pubkey", "-noout").Output()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"dgst", "-sm3", "-verify", put("pub", pub), "-sigopt", "distid:" + gm.UserID, "-signature", put("sig", sig), put("message", message)}
	if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
		t.Errorf("openssl: %v: %s", err, out)
	}
	message[len(message)-1] ^= 1
	args[len(args)-1] = put("changed", message)
	if out, err := exec.Command(openssl, args...).CombinedOutput(); err == nil {
		t.Errorf("openssl accepts a changed message: %s", out)
	}
}

func BenchmarkTBS(b *testing.B) {
	info := sampleInfo(newPair(b, "u", 9).cert)
	info.Picture.Data = pngOf(20_000)
	sealDER, _ := makeSeal(b, info)
	g, err := seal.NewSigning(sealDER)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := g.TBS(created, [32]byte{1}, "/Doc_0/Signs/Sign_0/Signature.xml"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	info := sampleInfo(newPair(b, "u", 9).cert)
	info.Picture.Data = pngOf(20_000)
	sealDER, _ := makeSeal(b, info)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := seal.Parse(sealDER); err != nil {
			b.Fatal(err)
		}
	}
}
