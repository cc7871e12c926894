// Package envelope carries messages that outside systems sign: licence events, filings of impressions, identity assertions.
//
// The signature covers the exact payload bytes behind a line that names the kind, so nothing is ever re-encoded and a message of one
// kind can never pass for another. SM2 with SM3, default user ID, strict DER. Keys are pinned by the receiver's configuration.
package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sealkeeper/internal/gm"
)

var (
	// ErrUnsigned: no signature, or not this kind of message.
	ErrUnsigned = errors.New("message is not signed")
	// ErrSignature: signed, but not by a pinned key of the sender over these bytes.
	ErrSignature = errors.New("message is not signed by the pinned key of its sender")
	// ErrPayload: the signed payload is not the JSON its kind prescribes.
	ErrPayload = errors.New("signed payload does not fit its kind")
)

// Envelope is the JSON form on the wire.
type Envelope struct {
	Kind      string `json:"kind"`      // for example licence-event/1
	Payload   []byte `json:"payload"`   // base64 of the exact JSON bytes
	Signature []byte `json:"signature"` // base64 of DER SEQUENCE{r,s}
}

// SignedBytes returns what the signature covers: "sealkeeper-envelope LF kind LF payload".
func (e Envelope) SignedBytes() []byte {
	return append([]byte("sealkeeper-envelope\n"+e.Kind+"\n"), e.Payload...)
}

// Seal encodes v as JSON and signs it.
func Seal(kind string, v any, sign func(message []byte) ([]byte, error)) (Envelope, error) {
	p, err := json.Marshal(v)
	if err != nil {
		return Envelope{}, fmt.Errorf("encoding %s: %w", kind, err)
	}
	e := Envelope{Kind: kind, Payload: p}
	if e.Signature, err = sign(e.SignedBytes()); err != nil {
		return Envelope{}, fmt.Errorf("signing %s: %w", kind, err)
	}
	return e, nil
}

// Open checks kind and signature against any of the pinned keys and decodes the payload into v, refusing unknown fields.
func Open(e Envelope, kind string, pinned []*gm.PublicKey, v any) error {
	if e.Kind != kind || len(e.Signature) == 0 {
		return fmt.Errorf("opening %s: %w", kind, ErrUnsigned)
	}
	if !signedByAny(e, pinned) {
		return fmt.Errorf("opening %s: %w", kind, ErrSignature)
	}
	d := json.NewDecoder(bytes.NewReader(e.Payload))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("opening %s: %w: %w", kind, ErrPayload, err)
	}
	if _, err := d.Token(); err != io.EOF { // More would let } and ] through
		return fmt.Errorf("opening %s: bytes behind the payload: %w", kind, ErrPayload)
	}
	return nil
}

func signedByAny(e Envelope, pinned []*gm.PublicKey) bool {
	for _, k := range pinned {
		if k.Verify(e.SignedBytes(), e.Signature) == nil {
			return true
		}
	}
	return false
}
