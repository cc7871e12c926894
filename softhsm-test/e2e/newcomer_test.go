package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/client"
)

// newcomer is a client registered during a test.
type newcomer struct {
	*client.Client
	id, dir string
}

// at is the same caller after the appliance moved to another address.
func (n newcomer) at(t *testing.T, s *scene) newcomer {
	t.Helper()
	c, err := client.New(client.Config{Address: s.Address, CA: s.CA(), Certificate: filepath.Join(n.dir, "crt"), Key: filepath.Join(n.dir, "key")})
	if err != nil {
		t.Fatal(err)
	}
	n.Client = c
	return n
}

// register brings in a client with a fresh key: the security officer alone, or, for an operator, a ceremony of two officers.
func (s *scene) register(t *testing.T, role string) newcomer {
	t.Helper()
	dir := mustOf(os.MkdirTemp(s.Dir, "newcomer-"))(t)
	key := mustOf(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := mustOf(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "示例"}}, key))(t)
	csr := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	write(t, filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: mustOf(x509.MarshalPKCS8PrivateKey(key))(t)}))
	n := newcomer{dir: dir}
	certificate := ""
	if strings.HasPrefix(role, "operator-") {
		n.id, certificate = s.appoint(t, dir, role, "E2E-"+client.NewKey(), csr)
	} else {
		r, _, err := s.as(t, "security").RegisterClient(t.Context(), client.NewKey(), client.Registration{Name: "示例 newcomer", Role: role, CSR: csr})
		if err != nil {
			t.Fatal(err)
		}
		n.id, certificate = r.ID, r.Certificate
	}
	write(t, filepath.Join(dir, "crt"), []byte(certificate))
	return n.at(t, s)
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
