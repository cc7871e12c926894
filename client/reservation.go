package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Offer is what the holder of a seal's key needs to lay out a signature on their own machine. Provider and Options are passed on as they came.
type Offer struct {
	Reservation string          `json:"reservation"` // empty: answered before, ask for the signature itself
	Until       time.Time       `json:"until"`
	Seal        string          `json:"seal"`
	Key         string          `json:"key"`   // CKA_ID
	Token       string          `json:"token"` // serial
	Time        time.Time       `json:"time"`
	Provider    json.RawMessage `json:"provider"`
	Options     json.RawMessage `json:"options"`
	ESL         []byte          `json:"esl"`
	Certificate []byte          `json:"certificate"`
	Chain       [][]byte        `json:"chain"`
	Contents    []string        `json:"contents"` // SM3, hexadecimal
}

// Reserve asks for a signature whose key is in its owner's token; document is nil where a digest goes in. Nothing is signed and nothing spent before Release.
func (c *Client) Reserve(ctx context.Context, key string, r SignatureRequest, document []byte) (Offer, error) {
	var o Offer
	call := Call{Method: "POST", Path: "/v1/signatures/reservations", Key: key}
	var err error
	if document == nil {
		call.Body, err = json.Marshal(r)
	} else {
		call.Body, call.ContentType, err = multipartBody(r, document)
	}
	if err != nil {
		return o, fmt.Errorf("encoding the request: %w", err)
	}
	a, err := c.Do(ctx, call)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(a.Body, &o); err != nil {
		return o, fmt.Errorf("decoding the offer: %w", err)
	}
	return o, nil
}

// Release brings the signatures that the owner's token made, DER each, and returns what they released. key is that of Reserve.
func (c *Client) Release(ctx context.Context, key, reservation string, signatures [][]byte) ([]byte, Receipt, error) {
	var receipt Receipt
	body, err := json.Marshal(map[string][][]byte{"signatures": signatures})
	if err != nil {
		return nil, receipt, fmt.Errorf("encoding the signatures: %w", err)
	}
	a, err := c.Do(ctx, Call{Method: "POST", Path: at("/v1/signatures/reservations", reservation), Key: key, Accept: typeDER, Body: body})
	if err != nil {
		return nil, receipt, err
	}
	if err := json.Unmarshal([]byte(a.Header.Get("Sealkeeper-Receipt")), &receipt); err != nil {
		return nil, receipt, fmt.Errorf("decoding the receipt: %w", err)
	}
	return a.Body, receipt, nil
}

// OfferKey brings a key that was made in its owner's token for one seal of an order: its birth as the token told it, and a certificate request that it
// signed (PKCS#10, DER; common name order/ID/TYPE).
func (c *Client) OfferKey(ctx context.Context, key, order, sealType string, birth json.RawMessage, request []byte) error {
	in := struct {
		Type    string          `json:"type"`
		Birth   json.RawMessage `json:"birth"`
		Request []byte          `json:"request"`
	}{sealType, birth, request}
	_, err := post[json.RawMessage](ctx, c, at("/v1/orders", order, "/keys"), key, in)
	return err
}
