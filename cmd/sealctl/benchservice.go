package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"sealkeeper/client"
	"sealkeeper/seal"
)

// service is the appliance as departments see it.
type service struct {
	calls     *client.Client
	request   client.SignatureRequest
	batch     int
	signature int // bytes of one SES_Signature
}

// openService makes one signature and checks it, so that what is measured afterwards is known to be real.
func (b *benchmark) openService(ctx context.Context) (*service, error) {
	calls, err := client.New(client.Config{Address: b.server, CA: b.ca, Certificate: b.cert, Key: b.settings.key, Connections: max(b.clients, b.batchClients)})
	if err != nil {
		return nil, err
	}
	s := &service{calls: calls, request: b.request, batch: b.batch}
	signed, err := calls.SignDigest(ctx, client.NewKey(), s.fresh())
	if err != nil {
		return nil, fmt.Errorf("trying one signature: %w", err)
	}
	parsed, err := seal.ParseSignature(signed.Signature)
	if err != nil {
		return nil, fmt.Errorf("checking one signature: %w", err)
	}
	if err := parsed.VerifyValue(); err != nil {
		return nil, fmt.Errorf("checking one signature: %w", err)
	}
	s.signature = len(signed.Signature)
	return s, nil
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
// openService, and a refusal is never 200.
func (s *service) single(ctx context.Context) (int, error) {
	signed, err := s.calls.SignDigest(ctx, client.NewKey(), s.fresh())
	if err == nil && len(signed.Signature) < s.signature-8 { // r and s take a byte more or less
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
		if len(o.Signature.Signature) < s.signature-8 {
			return 0, fmt.Errorf("measuring batches: a signature of %d bytes", len(o.Signature.Signature))
		}
	}
	return len(outcomes), nil
}
