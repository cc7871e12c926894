package client_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"sealkeeper/client"
)

// TestSignPrepared: the digest goes out, with the property where the kind has one, and what comes back is embedded here.
func TestSignPrepared(t *testing.T) {
	a := newAppliance(t)
	a.says(200, map[string]any{"signature": []byte("DER"), "receipt": map[string]any{"log": "l", "index": 7}})
	failed := errors.New("does not fit")
	digest := [32]byte{1, 2, 3}
	for name, c := range map[string]struct {
		kind, sent string
		embed      error
	}{
		"seal":          {"", `"kind":"digest","seal":"1","purpose":"示例","digest":"` + hex.EncodeToString(digest[:]) + `","property_info":"/Signature.xml"`, nil},
		"without seal":  {"cms", `"kind":"cms","seal":"1","purpose":"示例","digest":"` + hex.EncodeToString(digest[:]) + `"}`, nil},
		"does not fit":  {"digest", `"property_info":"/Signature.xml"`, failed},
		"asked in full": {"digest", `"kind":"digest"`, nil},
	} {
		p := client.Prepared{Digest: digest, Property: "/Signature.xml", Embed: func(s []byte) ([]byte, error) { return append([]byte("sealed with "), s...), c.embed }}
		sealed, receipt, err := a.client(t).SignPrepared(t.Context(), "key", client.SignatureRequest{Kind: c.kind, Seal: "1", Purpose: "示例"}, p)
		if !errors.Is(err, c.embed) || receipt.Index != 7 || (string(sealed) == "sealed with DER") != (c.embed == nil) {
			t.Errorf("%s: %q, %+v, %v", name, sealed, receipt, err)
		}
		if !strings.Contains(string(a.body), c.sent) {
			t.Errorf("%s: sent %s", name, a.body)
		}
	}
	a.says(403, map[string]any{"code": "digest-only"})
	if sealed, _, err := a.client(t).SignPrepared(t.Context(), "key", client.SignatureRequest{}, client.Prepared{Embed: func([]byte) ([]byte, error) { panic("nothing came") }}); err == nil || sealed != nil {
		t.Errorf("refused, and yet %q", sealed)
	}
}
