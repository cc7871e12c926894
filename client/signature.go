package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"time"
)

// Stamp places a seal's picture: page from 1, millimetres from the page's top left corner, y down.
type Stamp struct {
	Page int     `json:"page"`
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	W    float64 `json:"w"`
	H    float64 `json:"h"`
}

// SignatureRequest asks for one signature by one seal.
type SignatureRequest struct {
	Kind       string          `json:"kind"`                 // digest or ofd
	Seal       string          `json:"seal"`                 // esID
	Purpose    string          `json:"purpose"`              // as granted
	Digest     string          `json:"digest,omitempty"`     // kind digest: SM3 of the document, 64 hexadecimal digits
	Stamps     []Stamp         `json:"stamps,omitempty"`     // kind ofd
	Approval   json.RawMessage `json:"approval,omitempty"`   // what the owner's device signed
	Delegation string          `json:"delegation,omitempty"` // id of a registered delegation
}

// Receipt is where the record of an act stands in the log.
type Receipt struct {
	Log   string    `json:"log"`
	Index uint64    `json:"index"`
	Leaf  string    `json:"leaf"` // leaf hash, base64
	Time  time.Time `json:"time"`
}

// Signature is the answer to kind digest.
type Signature struct {
	Signature []byte  `json:"signature"` // DER SES_Signature (GB/T 38540)
	Receipt   Receipt `json:"receipt"`
}

// SignDigest signs a document digest. key is the Idempotency-Key: the same again gives the same bytes.
func (c *Client) SignDigest(ctx context.Context, key string, r SignatureRequest) (*Signature, error) {
	var s Signature
	return &s, c.JSON(ctx, "POST", "/v1/signatures", nil, key, r, &s)
}

// BatchItem is one request of a batch with its own key.
type BatchItem struct {
	Key string `json:"key"`
	SignatureRequest
}

// BatchOutcome is a signature or the problem that refused it.
type BatchOutcome struct {
	Key string `json:"key"`
	*Signature
	Problem *Problem `json:"problem,omitempty"`
}

// SignBatch signs up to 100 digests in one commit; outcomes are in the order of the items.
func (c *Client) SignBatch(ctx context.Context, key string, items []BatchItem) ([]BatchOutcome, error) {
	in := struct {
		Items []BatchItem `json:"items"`
	}{items}
	var out struct {
		Outcomes []BatchOutcome `json:"outcomes"`
	}
	err := c.JSON(ctx, "POST", "/v1/signatures/batch", nil, key, in, &out)
	return out.Outcomes, err
}

// SignOFD sends a document and returns it sealed.
func (c *Client) SignOFD(ctx context.Context, key string, r SignatureRequest, document []byte) ([]byte, Receipt, error) {
	var receipt Receipt
	body, contentType, err := multipartBody(r, document)
	if err != nil {
		return nil, receipt, err
	}
	a, err := c.Do(ctx, Call{Method: "POST", Path: "/v1/signatures", Key: key, ContentType: contentType, Body: body})
	if err != nil {
		return nil, receipt, err
	}
	if err := json.Unmarshal([]byte(a.Header.Get("Sealkeeper-Receipt")), &receipt); err != nil {
		return nil, receipt, fmt.Errorf("decoding the receipt: %w", err)
	}
	return a.Body, receipt, nil
}

func multipartBody(r SignatureRequest, document []byte) ([]byte, string, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, part := range []struct {
		name, file, kind string
		body             func() ([]byte, error)
	}{
		{"request", "", "application/json", func() ([]byte, error) { return json.Marshal(r) }},
		{"document", "document.ofd", "application/ofd", func() ([]byte, error) { return document, nil }},
	} {
		h := textproto.MIMEHeader{"Content-Type": {part.kind}}
		disposition := `form-data; name="` + part.name + `"`
		if part.file != "" {
			disposition += `; filename="` + part.file + `"`
		}
		h.Set("Content-Disposition", disposition)
		body, err := part.body()
		if err != nil {
			return nil, "", fmt.Errorf("encoding the request: %w", err)
		}
		p, err := w.CreatePart(h)
		if err != nil {
			return nil, "", err
		}
		p.Write(body)
	}
	err := w.Close()
	return b.Bytes(), w.FormDataContentType(), err
}
