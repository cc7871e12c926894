package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

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

// single and many look at no more of an answer than they must: decoding 27 kB of JSON would be charged to the service, whose processors these are,
// too. That the answers are signatures was checked by openService, and a refusal is never 200.
func (s *service) single(ctx context.Context) (int, error) {
	if err := s.post(ctx, "/v1/signatures", s.fresh(), 1); err != nil {
		return 0, fmt.Errorf("measuring single requests: %w", err)
	}
	return 1, nil
}

func (s *service) many(ctx context.Context) (int, error) {
	var in struct {
		Items []client.BatchItem `json:"items"`
	}
	for range s.batch {
		in.Items = append(in.Items, client.BatchItem{Key: client.NewKey(), SignatureRequest: s.fresh()})
	}
	if err := s.post(ctx, "/v1/signatures/batch", in, s.batch); err != nil {
		return 0, fmt.Errorf("measuring batches: %w", err)
	}
	return s.batch, nil
}

// post sends a request and counts the signatures of its answer.
func (s *service) post(ctx context.Context, path string, in any, signatures int) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	a, err := s.calls.Do(ctx, client.Call{Method: http.MethodPost, Path: path, Key: client.NewKey(), Body: body})
	if err != nil {
		return err
	}
	if n := bytes.Count(a.Body, []byte(`"signature":"`)); n != signatures {
		return fmt.Errorf("%d signatures for %d requests: %.300s", n, signatures, a.Body)
	}
	return nil
}
