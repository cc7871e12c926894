package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// csr makes a caller's TLS key and certificate request. The key stays with the caller; only the request travels.
func (s *settings) csr() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{Use: "csr --name NAME --out PREFIX", Short: "make a TLS key (PREFIX.key, 0400) and a certificate request (PREFIX.csr)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := makeRequest(name, out)
			if err != nil {
				return err
			}
			return s.show(cmd, map[string]string{"client": id, "key": out + ".key", "csr": out + ".csr"}, func(w io.Writer) {
				fmt.Fprintf(w, "client\t%s\nkey\t%s\ncsr\t%s\n", id, out+".key", out+".csr")
			})
		}}
	cmd.Flags().StringVar(&name, "name", "", "common name")
	cmd.Flags().StringVar(&out, "out", "client", "prefix of the two files")
	cmd.MarkFlagRequired("name")
	return cmd
}

// makeRequest writes both files and returns the client id, the SHA-256 of the public key. Existing files are never overwritten.
func makeRequest(name, prefix string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	req, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return "", fmt.Errorf("making certificate request: %w", err)
	}
	if err := writeNew(prefix+".key", 0o400, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}); err != nil {
		return "", err
	}
	if err := writeNew(prefix+".csr", 0o644, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req}); err != nil {
		return "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", err
	}
	id := sha256.Sum256(spki)
	return hex.EncodeToString(id[:]), nil
}

func writeNew(path string, mode os.FileMode, b *pem.Block) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if err := pem.Encode(f, b); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
