package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"sealkeeper/internal/gm/softkey"
)

// sources are the three systems that send signed messages, each with an SM2 key for its messages and a P-256 key for TLS.
var sources = []string{"registration", "public-security", "e-licence"}

// makeKeys writes, for each source, NAME.key (SM2), NAME.pin (the public point to pin in the configuration), NAME.tls.key and NAME.csr.
func makeKeys(dir string) error {
	for _, sub := range []string{"", "impressions", "enterprises", "phones"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	if _, err := openAuthority(dir); err != nil {
		return fmt.Errorf("making the certificate authority: %w", err)
	}
	if _, err := keyOf(filepath.Join(dir, "person-check")); err != nil {
		return fmt.Errorf("making the key of the person check: %w", err)
	}
	for _, name := range sources {
		if err := makeSource(filepath.Join(dir, name), name); err != nil {
			return fmt.Errorf("making keys of %s: %w", name, err)
		}
	}
	return nil
}

func makeSource(prefix, name string) error {
	k, err := softkey.Generate(nil)
	if err != nil {
		return err
	}
	if err := k.Save(prefix + ".key"); err != nil {
		return err
	}
	if err := os.WriteFile(prefix+".pin", []byte(hex.EncodeToString(k.Public().Point())+"\n"), 0o644); err != nil {
		return err
	}
	return makeTLS(prefix, "示例 simulator "+name)
}

func makeTLS(prefix, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(prefix+".tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o400); err != nil {
		return err
	}
	return os.WriteFile(prefix+".csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), 0o644)
}
