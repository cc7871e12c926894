package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// opaque hides everything of a key but crypto.Signer, as a token does.
type opaque struct{ crypto.Signer }

func newP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type tlsHierarchy struct {
	rootKey, issuingKey *ecdsa.PrivateKey
	rootDER, issuingDER []byte
	*TLS
}

func newTLSHierarchy(t testing.TB, now time.Time) *tlsHierarchy {
	t.Helper()
	h := &tlsHierarchy{rootKey: newP256(t), issuingKey: newP256(t)}
	life := DefaultLifetimes()
	var err error
	if h.rootDER, err = TLSRoot(opaque{h.rootKey}, testName("示例TLS根"), now, life.TLSRoot); err != nil {
		t.Fatal(err)
	}
	if h.issuingDER, err = TLSIssuing(opaque{h.rootKey}, h.rootDER, h.issuingKey.Public(), testName("示例TLS签发"), now, life.TLSIssuing); err != nil {
		t.Fatal(err)
	}
	h.TLS, err = NewTLS(opaque{h.issuingKey}, TLSConfig{h.issuingDER, h.rootDER, life, func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHandshake runs mutual TLS 1.3 with the certificates, and refuses a client that shows a server's.
func TestHandshake(t *testing.T) {
	now := time.Now()
	h := newTLSHierarchy(t, now)
	clientKey, serverKey := newP256(t), newP256(t)
	client, err := h.IssueClient(clientKey.Public(), testName("示例部门"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := h.IssueServer(serverKey.Public(), testName("sealkeeper"), []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	root, err := x509.ParseCertificate(h.rootDER)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(root)
	chain := func(leaf []byte, key crypto.PrivateKey) []tls.Certificate {
		return []tls.Certificate{{Certificate: [][]byte{leaf, h.issuingDER}, PrivateKey: key}}
	}
	serverConfig := &tls.Config{Certificates: chain(server, serverKey), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
	for name, c := range map[string]struct {
		certs []tls.Certificate
		host  string
		ok    bool
	}{
		"client certificate":           {chain(client, clientKey), "127.0.0.1", true},
		"by name":                      {chain(client, clientKey), "localhost", true},
		"wrong host":                   {chain(client, clientKey), "other.example", false},
		"server's certificate as ours": {chain(server, serverKey), "localhost", false},
		"none":                         {nil, "localhost", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := handshake(t, serverConfig, &tls.Config{Certificates: c.certs, RootCAs: pool, ServerName: c.host, MinVersion: tls.VersionTLS13})
			if (err == nil) != c.ok {
				t.Errorf("handshake: %v, want success %v", err, c.ok)
			}
		})
	}
}

// handshake sends a byte each way over loopback and returns the first error of either side.
func handshake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.CopyN(c, c, 1)
			c.Close()
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_, err = c.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		c.Close()
	}
	if serr := <-served; serr != nil {
		return errors.Join(serr, err)
	}
	return err
}

func TestTLSCertificates(t *testing.T) {
	h := newTLSHierarchy(t, testNow)
	client, err := h.IssueClient(newP256(t).Public(), testName("示例部门"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := h.IssueServer(newP256(t).Public(), testName("sealkeeper"), []string{"localhost"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		der   []byte
		years int
		ca    bool
		path  int
		ekus  []x509.ExtKeyUsage
		usage x509.KeyUsage
	}{
		"root":    {h.rootDER, 20, true, 1, nil, x509.KeyUsageCertSign | x509.KeyUsageCRLSign},
		"issuing": {h.issuingDER, 15, true, 0, nil, x509.KeyUsageCertSign | x509.KeyUsageCRLSign},
		"client":  {client, 1, false, -1, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, x509.KeyUsageDigitalSignature},
		"server":  {server, 1, false, -1, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, x509.KeyUsageDigitalSignature},
	} {
		got, err := x509.ParseCertificate(c.der)
		if err != nil {
			t.Fatal(err)
		}
		sameEKU := len(got.ExtKeyUsage) == len(c.ekus) && (len(c.ekus) == 0 || got.ExtKeyUsage[0] == c.ekus[0])
		if !got.NotAfter.Equal(got.NotBefore.AddDate(c.years, 0, 0)) || got.IsCA != c.ca || got.MaxPathLen != c.path || !sameEKU || got.KeyUsage != c.usage {
			t.Errorf("%s: %s to %s, CA %v, path %d, %v, %b", name, got.NotBefore, got.NotAfter, got.IsCA, got.MaxPathLen, got.ExtKeyUsage, got.KeyUsage)
		}
		if got.SignatureAlgorithm != x509.ECDSAWithSHA256 || len(got.SerialNumber.Bytes()) != 20 {
			t.Errorf("%s: %s, serial of %d octets", name, got.SignatureAlgorithm, len(got.SerialNumber.Bytes()))
		}
	}
	dir := t.TempDir()
	rootFile, issuingFile := writePEM(t, dir, "root", h.rootDER), writePEM(t, dir, "issuing", h.issuingDER)
	for purpose, der := range map[string][]byte{"sslclient": client, "sslserver": server} {
		out, err := openssl(t, "verify", "-x509_strict", "-check_ss_sig", "-attime", "1800000000", "-purpose", purpose, "-CAfile", rootFile, "-untrusted", issuingFile, writePEM(t, dir, purpose, der))
		if err != nil || !strings.Contains(out, ": OK") {
			t.Errorf("openssl verify, %s: %v\n%s", purpose, err, out)
		}
	}
}

func TestTLSRefusals(t *testing.T) {
	h, foreign := newTLSHierarchy(t, testNow), newTLSHierarchy(t, testNow)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := newP256(t).Public()
	for name, c := range map[string]struct {
		pub     crypto.PublicKey
		subject pkix.Name
		want    error
	}{
		"P-384":     {p384.Public(), testName("x"), ErrPublicKey},
		"RSA":       {rsaKey.Public(), testName("x"), ErrPublicKey},
		"none":      {nil, testName("x"), ErrPublicKey},
		"no name":   {good, testName(""), ErrSubject},
		"long name": {good, testName(strings.Repeat("章", 65)), ErrSubject},
	} {
		if der, err := h.IssueClient(c.pub, c.subject); !errors.Is(err, c.want) || der != nil {
			t.Errorf("client, %s: %v", name, err)
		}
	}
	if _, err := h.IssueServer(good, testName("x"), nil, nil); !errors.Is(err, ErrSubject) {
		t.Errorf("server without name: %v", err)
	}
	if _, err := TLSIssuing(opaque{h.rootKey}, foreign.rootDER, good, testName("x"), testNow, Period{Years: 1}); !errors.Is(err, ErrAuthority) {
		t.Errorf("foreign root: %v", err)
	}
	if _, err := TLSIssuing(opaque{h.rootKey}, h.rootDER, good, testName("x"), testNow, Period{Years: 21}); !errors.Is(err, ErrValidity) {
		t.Errorf("outliving the root: %v", err)
	}
	late, err := NewTLS(opaque{h.issuingKey}, TLSConfig{h.issuingDER, h.rootDER, DefaultLifetimes(), func() time.Time { return testNow.AddDate(14, 1, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.IssueClient(good, testName("x")); !errors.Is(err, ErrValidity) {
		t.Errorf("outliving the issuer: %v", err)
	}
	for name, cfg := range map[string]TLSConfig{
		"foreign root": {h.issuingDER, foreign.rootDER, DefaultLifetimes(), time.Now},
		"other key":    {foreign.issuingDER, foreign.rootDER, DefaultLifetimes(), time.Now},
		"no clock":     {h.issuingDER, h.rootDER, DefaultLifetimes(), nil},
		"not DER":      {nil, nil, DefaultLifetimes(), time.Now},
	} {
		if _, err := NewTLS(opaque{h.issuingKey}, cfg); !errors.Is(err, ErrAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := newP256(t)
	if der, err := TLSRoot(mismatched{h.rootKey, wrong}, testName("x"), testNow, Period{Years: 1}); err == nil || der != nil {
		t.Error("a root signed by another key was released")
	}
}

// mismatched says one key and signs with another.
type mismatched struct{ says, signs *ecdsa.PrivateKey }

func (m mismatched) Public() crypto.PublicKey { return m.says.Public() }

func (m mismatched) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return m.signs.Sign(r, digest, o)
}

// TestTLSKeyIsOpaque: a P-256 authority works with nothing but crypto.Signer, and the SM2 one with nothing but Key.
func TestTLSKeyIsOpaque(t *testing.T) {
	var _ Key = newKey(t)
	if _, _, err := newHierarchy(t, nil).Issue(context.Background(), testRequest(t)); err != nil {
		t.Error(err)
	}
	if _, err := newTLSHierarchy(t, testNow).IssueClient(newP256(t).Public(), testName("x")); err != nil {
		t.Error(err)
	}
}
