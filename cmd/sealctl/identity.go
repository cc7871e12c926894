package main

import (
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"

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

// certificate is the caller's chain with its key.
func (s *settings) certificate() (tls.Certificate, error) {
	own, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return own, fmt.Errorf("reading the client's certificate: %w", err)
	}
	return own, nil
}

func (s *settings) client() (*client.Client, error) {
	return client.New(client.Config{Address: s.server, CA: s.ca, Certificate: s.cert, Key: s.key})
}
