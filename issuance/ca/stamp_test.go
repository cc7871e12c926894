package ca

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestTSACertificates: the purpose is critical and alone, in both hierarchies, and openssl takes either for a time stamp's certificate.
func TestTSACertificates(t *testing.T) {
	sm2 := newHierarchy(t, nil)
	p256 := newTLSHierarchy(t, testNow)
	gmDER, err := sm2.IssueTSA(context.Background(), newKey(t).Public(), testName("示例时间戳"))
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := p256.IssueTSA(newP256(t).Public(), testName("示例时间戳"))
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{"SM2": gmDER, "P-256": ecDER} {
		c := mustParse(t, der)
		if c.IsCA || !c.NotAfter.Equal(testNow.UTC().Truncate(time.Second).AddDate(10, 0, 0)) {
			t.Errorf("%s: CA %v until %s", name, c.IsCA, c.NotAfter)
		}
		n := 0
		for _, e := range c.Extensions {
			if e.Id.Equal(oidExtKeyUsage) {
				want, err := timeStamping()
				if n++; err != nil || !e.Critical || !bytes.Equal(e.Value, want.Value) {
					t.Errorf("%s: key purpose %x, critical %v (%v)", name, e.Value, e.Critical, err)
				}
			}
		}
		if n != 1 {
			t.Errorf("%s: %d extensions of key purposes", name, n)
		}
	}
	dir := t.TempDir()
	out, err := openssl(t, "verify", "-attime", "1800000000", "-purpose", "timestampsign", "-CAfile", writePEM(t, dir, "root", p256.rootDER),
		"-untrusted", writePEM(t, dir, "issuing", p256.issuingDER), writePEM(t, dir, "tsa", ecDER))
	if err != nil || !strings.Contains(out, ": OK") {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}
	if _, err := sm2.IssueTSA(context.Background(), nil, testName("示例")); !errors.Is(err, ErrPublicKey) {
		t.Errorf("no key: %v", err)
	}
	if _, err := p256.IssueTSA(newKey(t).Public().ECDSA(), testName("示例")); !errors.Is(err, ErrPublicKey) {
		t.Errorf("SM2 key in the P-256 hierarchy: %v", err)
	}
}

// TestDocumentCertificate: the companion's subject and holder are the seal's, it never outlives what was asked, and it opens no connection.
func TestDocumentCertificate(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	h, s := newTLSHierarchy(t, now), newHierarchy(t, nil)
	r := testRequest(t)
	sealDER, _, err := s.Issue(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	r.NotAfter = now.AddDate(1, 0, 0)
	key := newP256(t)
	der, chain, err := h.IssueDocument(key.Public(), DefaultSubjectTemplate(), r)
	if err != nil {
		t.Fatal(err)
	}
	c, seal := mustParse(t, der), mustParse(t, sealDER)
	if !bytes.Equal(c.RawSubject, seal.RawSubject) {
		t.Errorf("subject %s, the seal's %s", c.Subject, seal.Subject)
	}
	if uscc, name, ok := Holder(c); !ok || uscc != r.USCC || name != r.Name {
		t.Errorf("holder %s %s %v", uscc, name, ok)
	}
	if !c.NotAfter.Equal(r.NotAfter) || len(chain) != 2 {
		t.Errorf("until %s, chain of %d", c.NotAfter, len(chain))
	}
	pool := x509.NewCertPool()
	root, err := x509.ParseCertificate(h.rootDER)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(root)
	serverKey := newP256(t)
	server, err := h.IssueServer(serverKey.Public(), testName("sealkeeper"), []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	err = handshake(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{server, h.issuingDER}, PrivateKey: serverKey}},
		ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13},
		&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, h.issuingDER}, PrivateKey: key}}, RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13})
	if err == nil {
		t.Error("a document key opens a connection")
	}
	r.NotAfter = now.AddDate(50, 0, 0)
	if der, _, err = h.IssueDocument(key.Public(), DefaultSubjectTemplate(), r); err != nil || mustParse(t, der).NotAfter.After(now.AddDate(3, 0, 0)) {
		t.Errorf("longer than a seal's certificate: %v", err)
	}
	r.USCC = "not a code"
	if _, _, err := h.IssueDocument(key.Public(), DefaultSubjectTemplate(), r); !errors.Is(err, ErrSubject) {
		t.Errorf("no code: %v", err)
	}
}
