package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"sealkeeper/client"
)

// sha256Opts is how officers' keys sign.
const sha256Opts = crypto.SHA256

// identity is the key of the caller's certificate, and the public half by which the appliance knows them.
func (s *settings) identity() (crypto.Signer, []byte, error) {
	own, err := s.certificate()
	if err != nil {
		return nil, nil, err
	}
	signer, ok := own.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("the key of your certificate cannot sign")
	}
	spki, err := spkiOf(own.Certificate[0])
	return signer, spki, err
}

// certificate is the caller's chain with its key: a PEM file, or a reference to a key in a token.
func (s *settings) certificate() (tls.Certificate, error) {
	reading := func(err error) (tls.Certificate, error) {
		return tls.Certificate{}, fmt.Errorf("reading the client's certificate: %w", err)
	}
	key, err := os.ReadFile(s.key)
	if err != nil {
		return reading(err)
	}
	chain, err := os.ReadFile(s.cert)
	if err != nil {
		return reading(err)
	}
	if block, _ := pem.Decode(key); block != nil {
		own, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return reading(err)
		}
		return own, nil
	}
	var own tls.Certificate
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			own.Certificate = append(own.Certificate, block.Bytes)
		}
	}
	if len(own.Certificate) == 0 {
		return reading(fmt.Errorf("no certificate in %s", s.cert))
	}
	if own.Leaf, err = x509.ParseCertificate(own.Certificate[0]); err != nil {
		return reading(err)
	}
	own.PrivateKey, err = s.keyInToken(key, own.Leaf.PublicKey)
	return own, err
}

// client is how every command reaches the appliance.
func (s *settings) client() (*client.Client, error) {
	c := client.Config{Address: s.server, CA: s.ca}
	if s.cert != "" {
		own, err := s.certificate()
		if err != nil {
			return nil, err
		}
		c.Identity = &own
	}
	return client.New(c)
}

// begin gives the command's context to what cannot be given one.
func (s *settings) begin(ctx context.Context) { s.ctx = ctx }

// end lets go of a token that the command opened.
func (s *settings) end() error {
	if s.opened == nil {
		return nil
	}
	return s.opened.Close()
}
