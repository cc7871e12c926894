package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"sealkeeper/client"
	"sealkeeper/seal"
	"sealkeeper/signer/verify/signeddata"
)

// service is the appliance as departments see it.
type service struct {
	calls     *client.Client
	request   client.SignatureRequest
	batch     int
	signature int // bytes of one
}

// try makes one signature and checks it, so that what is measured afterwards is known to be real.
func (s *service) try(ctx context.Context) error {
	r := s.fresh()
	signed, err := s.calls.SignDigest(ctx, client.NewKey(), r)
	if err != nil {
		return fmt.Errorf("trying one signature: %w", err)
	}
	if s.signature = len(signed.Signature); r.Kind == "digest" {
		err = checkSES(signed.Signature)
	} else {
		err = checkSignedData(signed.Signature, r.Digest)
	}
	if err != nil {
		return fmt.Errorf("checking one signature: %w", err)
	}
	return nil
}

func checkSES(der []byte) error {
	parsed, err := seal.ParseSignature(der)
	if err != nil {
		return err
	}
	return parsed.VerifyValue()
}

func checkSignedData(der []byte, digest string) error {
	parsed, err := signeddata.Parse(der)
	if err != nil {
		return err
	}
	d, err := hex.DecodeString(digest)
	if err != nil {
		return err
	}
	return parsed.Signer().VerifyDigest(d)
}

// fresh is a request over a digest that nobody signed before.
func (s *service) fresh() client.SignatureRequest {
	var digest [32]byte
	rand.Read(digest[:])
	r := s.request
	r.Digest = hex.EncodeToString(digest[:])
	return r
}

// single and many ask as package client does for everybody: the answer is complete when they return. That it holds true signatures was checked by
// try, and a refusal is never 200.
func (s *service) single(ctx context.Context) (int, error) {
	signed, err := s.calls.SignDigest(ctx, client.NewKey(), s.fresh())
	if err == nil && len(signed.Signature) < s.signature-16 { // r and s take a byte more or less
		err = fmt.Errorf("a signature of %d bytes", len(signed.Signature))
	}
	if err != nil {
		return 0, fmt.Errorf("measuring single requests: %w", err)
	}
	return 1, nil
}

func (s *service) many(ctx context.Context) (int, error) {
	items := make([]client.BatchItem, s.batch)
	for i := range items {
		items[i] = client.BatchItem{Key: client.NewKey(), SignatureRequest: s.fresh()}
	}
	outcomes, err := s.calls.SignBatch(ctx, client.NewKey(), items)
	if err != nil {
		return 0, fmt.Errorf("measuring batches: %w", err)
	}
	for _, o := range outcomes {
		if o.Problem != nil {
			return 0, fmt.Errorf("measuring batches: %w", o.Problem)
		}
		if len(o.Signature.Signature) < s.signature-16 {
			return 0, fmt.Errorf("measuring batches: a signature of %d bytes", len(o.Signature.Signature))
		}
	}
	return len(outcomes), nil
}
