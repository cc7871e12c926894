package wire

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The headers of a signed request. The signature covers SignedBytes.
const (
	HeaderTime      = "Sealkeeper-Time"
	HeaderNonce     = "Sealkeeper-Nonce"
	HeaderSignature = "Sealkeeper-Signature"
)

// Sign signs one message with the appliance's key.
type Sign func(ctx context.Context, message []byte) (signature []byte, err error)

// Signed is the same client with a signature on every request; nil changes nothing.
func (c *Client) Signed(sign Sign) *Client {
	s := *c
	s.sign = sign
	return &s
}

// SignedBytes is what the signature of a request covers: one line each. uri is path and query as sent, key the Idempotency-Key.
func SignedBytes(method, host, uri, key string, body []byte, at, nonce string) []byte {
	sum := sha256.Sum256(body)
	return []byte(strings.Join([]string{"sealkeeper-outbound/1", method, host, uri, key, hex.EncodeToString(sum[:]), at, nonce, ""}, "\n"))
}

// seal signs a request. Without its key nothing is sent: it waits as if the other side were down.
func (c *Client) seal(r *http.Request, body []byte) error {
	if c.sign == nil {
		return nil
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	at, n := time.Now().UTC().Format(time.RFC3339), hex.EncodeToString(nonce[:])
	value, err := c.sign(r.Context(), SignedBytes(r.Method, r.URL.Host, r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), body, at, n))
	if err != nil {
		return fmt.Errorf("%w: signing the request: %w", ErrDown, err)
	}
	r.Header.Set(HeaderTime, at)
	r.Header.Set(HeaderNonce, n)
	r.Header.Set(HeaderSignature, base64.StdEncoding.EncodeToString(value))
	return nil
}
