package client

import (
	"bytes"
	"context"
	"encoding/hex"
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

// Range are pages from 1, both ends included; zero means all.
type Range struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Keyword centres the picture on a word of the text, moved by DX and DY millimetres.
type Keyword struct {
	Text       string  `json:"text"`
	Pages      Range   `json:"pages,omitzero"`
	Occurrence int     `json:"occurrence,omitempty"` // 0 each, 1 the first, -1 the last
	W          float64 `json:"w"`
	H          float64 `json:"h"`
	DX         float64 `json:"dx,omitempty"`
	DY         float64 `json:"dy,omitempty"`
}

// Riding cuts one picture into strips over the edges of several pages (骑缝章).
type Riding struct {
	Edge      string   `json:"edge"` // left, right, top, bottom
	Pages     Range    `json:"pages,omitzero"`
	MaxStrips int      `json:"max_strips,omitempty"`
	W         float64  `json:"w"`
	H         float64  `json:"h"`
	At        *float64 `json:"at,omitempty"` // millimetres along the edge; nil in the middle
	Margin    float64  `json:"margin,omitempty"`
}

// Facing cuts one picture over two facing pages (对开).
type Facing struct {
	Pages Range    `json:"pages,omitzero"`
	W     float64  `json:"w"`
	H     float64  `json:"h"`
	At    *float64 `json:"at,omitempty"`
	Ratio float64  `json:"ratio,omitempty"` // share of the left page; 0 means half
}

// SignatureRequest asks for one signature by one seal.
type SignatureRequest struct {
	Kind       string          `json:"kind"`                    // digest, ofd, pdf or cms
	Profile    string          `json:"profile,omitempty"`       // ofd: seal, sign; pdf: gm, pades; cms: gm, gm-rfc, rfc, pades; empty for the first
	Seal       string          `json:"seal"`                    // esID
	Purpose    string          `json:"purpose"`                 // as granted
	Digest     string          `json:"digest,omitempty"`        // digest, cms: SM3 of the document (rfc, pades: SHA-256), 64 hexadecimal digits
	Stamps     []Stamp         `json:"stamps,omitempty"`        // ofd, pdf
	Keywords   []Keyword       `json:"keywords,omitempty"`      // ofd, pdf
	Riding     []Riding        `json:"riding,omitempty"`        // ofd, pdf
	Facing     []Facing        `json:"facing,omitempty"`        // ofd, pdf
	Property   string          `json:"property_info,omitempty"` // digest: what the signature will be embedded under
	Mode       string          `json:"mode,omitempty"`          // ofd: continued (the default), whole: nobody can sign afterwards
	Integrity  bool            `json:"integrity,omitempty"`     // ofd: write the integrity list of GM/T 0099; nobody can sign afterwards
	Reason     string          `json:"reason,omitempty"`        // pdf
	Location   string          `json:"location,omitempty"`      // pdf
	Timestamp  bool            `json:"timestamp,omitempty"`     // put a time stamp over the signature value
	QR         bool            `json:"qr,omitempty"`            // publish the signature; pdf: with a QR code beside the stamp
	Approval   json.RawMessage `json:"approval,omitempty"`      // what the owner's device signed
	Delegation string          `json:"delegation,omitempty"`    // id of a registered delegation
}

// Receipt is where the record of an act stands in the log.
type Receipt struct {
	Log   string    `json:"log"`
	Index uint64    `json:"index"`
	Leaf  string    `json:"leaf"` // leaf hash, base64
	Time  time.Time `json:"time"`
	// Of signatures alone: whether the time stamp that was asked for is there (granted, absent), and the address of the public page.
	Timestamp string `json:"timestamp,omitempty"`
	Page      string `json:"page,omitempty"`
}

// Signature is the answer where a digest came in.
type Signature struct {
	Signature []byte  `json:"signature"` // DER: SES_Signature (GB/T 38540), for kind cms SignedData
	Receipt   Receipt `json:"receipt"`
}

// SignDigest signs the digest of a document that stays with the caller: kind digest, or cms for SignedData. key is the Idempotency-Key: the same again gives the same bytes.
func (c *Client) SignDigest(ctx context.Context, key string, r SignatureRequest) (*Signature, error) {
	a, err := c.ask(ctx, "/v1/signatures", key, typeDER, r)
	if err != nil {
		return &Signature{}, err
	}
	return a.signature()
}

// ask posts JSON and names the compact form of the answer beside JSON, which an appliance that does not know that form sends.
func (c *Client) ask(ctx context.Context, path, key, compact string, in any) (*Answer, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	return c.Do(ctx, Call{Method: "POST", Path: path, Key: key, Accept: compact + ", application/json;q=0.5", Body: body})
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
	a, err := c.ask(ctx, "/v1/signatures/batch", key, typeBatch, in)
	if err != nil {
		return nil, err
	}
	return a.outcomes()
}

// SignOFD sends an OFD document and returns it sealed.
func (c *Client) SignOFD(ctx context.Context, key string, r SignatureRequest, document []byte) ([]byte, Receipt, error) {
	r.Kind = "ofd"
	return c.SignDocument(ctx, key, r, document)
}

// SignPDF sends a PDF and returns it with one more revision.
func (c *Client) SignPDF(ctx context.Context, key string, r SignatureRequest, document []byte) ([]byte, Receipt, error) {
	r.Kind = "pdf"
	return c.SignDocument(ctx, key, r, document)
}

// SignCMS sends content and returns SignedData around it; the signature alone, over a digest, is SignDigest's.
func (c *Client) SignCMS(ctx context.Context, key string, r SignatureRequest, content []byte) ([]byte, Receipt, error) {
	r.Kind = "cms"
	return c.SignDocument(ctx, key, r, content)
}

// Stamp asks the appliance's time-stamp authority (RFC 3161); query and answer are DER, and the answer's status says whether a token is in it.
func (c *Client) Stamp(ctx context.Context, query []byte) ([]byte, error) {
	a, err := c.Do(ctx, Call{Method: "POST", Path: "/tsa", ContentType: "application/timestamp-query", Body: query})
	if err != nil {
		return nil, err
	}
	return a.Body, nil
}

// SignDocument sends a document of the request's kind and returns what came of it.
func (c *Client) SignDocument(ctx context.Context, key string, r SignatureRequest, document []byte) ([]byte, Receipt, error) {
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
		{"document", "document", "application/octet-stream", func() ([]byte, error) { return document, nil }},
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

// Prepared is a document that was laid out on this machine and stays here: of signer/ofd its draft's DataHash, PropertyInfo and Embed, of signer/pdf
// the digest over what its draft covers, and Embed.
type Prepared struct {
	Digest   [32]byte
	Property string // OFD, kind digest
	Embed    func(signature []byte) ([]byte, error)
}

// SignPrepared has the digest of a prepared document signed and embeds what comes back; the appliance sees nothing else of it (未见原文). The kind is
// digest (the default) for an SES_Signature, cms for SignedData: PDF, and OFD without a seal. An error of Embed comes after the signature was made: the
// same key again gives it once more.
func (c *Client) SignPrepared(ctx context.Context, key string, r SignatureRequest, p Prepared) ([]byte, Receipt, error) {
	r.Digest = hex.EncodeToString(p.Digest[:])
	if r.Kind == "" {
		r.Kind = "digest"
	}
	if r.Kind == "digest" {
		r.Property = p.Property
	}
	s, err := c.SignDigest(ctx, key, r)
	if err != nil {
		return nil, Receipt{}, err
	}
	sealed, err := p.Embed(s.Signature)
	if err != nil {
		return nil, s.Receipt, fmt.Errorf("embedding the signature: %w", err)
	}
	return sealed, s.Receipt, nil
}
