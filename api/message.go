package api

import (
	"github.com/danielgtaylor/huma/v2"

	"sealkeeper/internal/envelope"
)

// message is a signed message of an outside system on the wire. The schema lets a message without a signature through, absent, null or empty,
// so that it is refused as what it is and not as a field out of form.
type message struct {
	Kind      string    `json:"kind" doc:"for example licence-event/1"`
	Payload   []byte    `json:"payload" doc:"base64 of the exact JSON bytes that were signed"`
	Signature signature `json:"signature,omitempty" doc:"base64 of DER SEQUENCE{r,s} over kind and payload; a message without one is refused"`
}

func (m message) envelope() envelope.Envelope {
	return envelope.Envelope{Kind: m.Kind, Payload: m.Payload, Signature: m.Signature}
}

// signature is bytes in base64, possibly none.
type signature []byte

// Schema leaves contentEncoding out: the validator takes the empty text for broken base64.
func (signature) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: "^[A-Za-z0-9+/]*={0,2}$", PatternDescription: "base64"}
}
