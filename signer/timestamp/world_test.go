package timestamp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/signer/timestamp"
)

const policy = "1.2.156.10197.99.1"

var message = []byte("演示数据: the octets of a signature value")

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// signing is a Key of the tests: a function.
type signing func(message []byte) ([]byte, error)

func (s signing) Sign(_ context.Context, message []byte) ([]byte, error) { return s(message) }

// counter is a Serials of the tests.
type counter struct{ n atomic.Uint64 }

func (c *counter) Next(context.Context) (uint64, error) { return c.n.Add(1), nil }

// world is a root, and an authority's key and certificate below it.
type world struct {
	now  time.Time
	sm2  bool
	root *gm.Certificate
	pem  []byte // of the root
	key  signing
	pub  any
	cert []byte

	issue func(tpl *gm.Certificate, pub any) []byte
	pkcs8 []byte // P-256 alone
}

var (
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	timeStamping   = []byte("\x30\x0A\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x08")
	withServerAuth = []byte("\x30\x14\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x08\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x01")
)

func extKeyUsage(critical bool, value []byte) []pkix.Extension {
	return []pkix.Extension{{Id: oidExtKeyUsage, Critical: critical, Value: value}}
}

func (w *world) template() *gm.Certificate {
	return &gm.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{Country: []string{"CN"}, CommonName: "示例 time-stamp authority"},
		NotBefore: w.now.AddDate(0, 0, -2), NotAfter: w.now.AddDate(1, 0, 0), KeyUsage: gm.KeyUsageDigitalSignature | gm.KeyUsageContentCommitment,
		ExtraExtensions: extKeyUsage(true, timeStamping)}
}

func newWorld(t testing.TB, sm2 bool) *world {
	t.Helper()
	w := &world{now: time.Now().UTC().Truncate(time.Second), sm2: sm2}
	tpl := &gm.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例 root"}, NotBefore: w.now.AddDate(0, 0, -2),
		NotAfter: w.now.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: gm.KeyUsageCertSign}
	var der []byte
	if sm2 {
		ca, leaf := must(softkey.Generate(nil)), must(softkey.Generate(nil))
		tpl.SignatureAlgorithm = gm.SM2WithSM3
		der = must(gm.CreateCertificate(tpl, tpl, ca.Public().ECDSA(), ca.Signer()))
		w.issue = func(tpl *gm.Certificate, pub any) []byte {
			tpl.SignatureAlgorithm = gm.SM2WithSM3
			return must(gm.CreateCertificate(tpl, w.root, pub, ca.Signer()))
		}
		w.key, w.pub = leaf.Sign, leaf.Public().ECDSA()
	} else {
		ca, leaf := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		der = must(gm.CreateCertificate(tpl, tpl, &ca.PublicKey, ca))
		w.issue = func(tpl *gm.Certificate, pub any) []byte { return must(gm.CreateCertificate(tpl, w.root, pub, ca)) }
		w.key, w.pub = p256(leaf), &leaf.PublicKey
		w.pkcs8 = pemKey(leaf)
	}
	w.root = must(gm.ParseCertificate(der))
	w.pem = pemCert(der)
	w.cert = w.issue(w.template(), w.pub)
	return w
}

func p256(k *ecdsa.PrivateKey) signing {
	return func(m []byte) ([]byte, error) {
		d := sha256.Sum256(m)
		return ecdsa.SignASN1(rand.Reader, k, d[:])
	}
}

func (w *world) clock() time.Time { return w.now }

func (w *world) config() timestamp.AuthorityConfig {
	return timestamp.AuthorityConfig{Key: w.key, Certificate: w.cert, Serials: &counter{}, Policy: policy, Accuracy: time.Second, Now: w.clock}
}

func (w *world) authority(t testing.TB, change func(*timestamp.AuthorityConfig)) *timestamp.Authority {
	t.Helper()
	cfg := w.config()
	if change != nil {
		change(&cfg)
	}
	a, err := timestamp.NewAuthority(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func digestOf(alg timestamp.Imprint, b []byte) []byte {
	d := sha256.Sum256(b)
	if alg == timestamp.SM3 {
		d = gm.SM3(b)
	}
	return d[:]
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// folder is a place where OpenSSL works.
type folder struct {
	t   testing.TB
	dir string
}

func newFolder(t testing.TB) folder { return folder{t, t.TempDir()} }

func (f folder) write(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) read(name string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// openssl runs one command line, split at blanks.
func (f folder) openssl(line string) (out string, err error) {
	c := exec.Command("openssl", strings.Fields(line)...)
	c.Dir = f.dir
	b, err := c.CombinedOutput()
	return string(b), err
}

func (f folder) must(line string) string {
	f.t.Helper()
	out, err := f.openssl(line)
	if err != nil {
		f.t.Fatalf("openssl %s: %v\n%s", line, err, out)
	}
	return out
}
