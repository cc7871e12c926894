package envelope_test

import (
	"errors"
	"testing"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

type note struct {
	Name string `json:"name"`
}

func TestOpen(t *testing.T) {
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := envelope.Seal("note/1", note{"示例"}, k.Sign)
	if err != nil {
		t.Fatal(err)
	}
	changed := good
	changed.Payload = []byte(`{"name":"other"}`)
	unsigned := good
	unsigned.Signature = nil
	extra, err := envelope.Seal("note/1", map[string]string{"name": "示例", "more": "x"}, k.Sign)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := envelope.Seal("note/1", note{"示例"}, other.Sign)
	if err != nil {
		t.Fatal(err)
	}
	behind := envelope.Envelope{Kind: "note/1", Payload: []byte(`{"name":"示例"}}`)}
	if behind.Signature, err = k.Sign(behind.SignedBytes()); err != nil {
		t.Fatal(err)
	}
	renamed, err := envelope.Seal("note/2", note{"示例"}, k.Sign)
	if err != nil {
		t.Fatal(err)
	}
	renamed.Kind = "note/1"
	for _, c := range []struct {
		name string
		e    envelope.Envelope
		want error
	}{
		{"good", good, nil}, {"changed", changed, envelope.ErrSignature}, {"unsigned", unsigned, envelope.ErrUnsigned},
		{"unknown field", extra, envelope.ErrPayload}, {"bytes behind", behind, envelope.ErrPayload}, {"foreign key", foreign, envelope.ErrSignature}, {"renamed kind", renamed, envelope.ErrSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v note
			err := envelope.Open(c.e, "note/1", []*gm.PublicKey{k.Public()}, &v)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want == nil && v.Name != "示例" {
				t.Errorf("payload %+v", v)
			}
		})
	}
}
