package signer_test

import (
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

// TestJudged: what was signed here is valid to the verifier, which shares no parser with the signing path, and one changed byte is not.
func TestJudged(t *testing.T) {
	w := newWorld(t)
	opts := verify.Options{Roots: []*gm.Certificate{w.rootCert}, Now: w.clock.now()}
	first := mustSign(t, w, w.ofdRequest(t, "ofd-1"))
	second := w.ofdRequest(t, "ofd-2")
	second.Seal, second.Document = sealRep, first.Document
	second.Approval = w.approve(t, second, nil)
	sealed := mustSign(t, w, second)
	r := verify.Document(t.Context(), "sealed.ofd", sealed.Document, opts)
	if r.Verdict != verify.Valid || len(r.Signatures) != 2 {
		t.Errorf("sealed OFD:\n%s", r.Text(verify.English))
	}
	bare := mustSign(t, w, w.digestRequest(t, "digest-1"))
	for _, s := range verify.Document(t.Context(), "bare", bare.Signature, opts).Signatures {
		for _, c := range s.Checks {
			if c.Result == verify.Fail {
				t.Errorf("bare signature: %s fails: %s", c.Code, c.Detail)
			}
		}
	}
	changed := append([]byte(nil), sealed.Document...)
	changed[len(changed)/2] ^= 1
	if r := verify.Document(t.Context(), "changed.ofd", changed, opts); r.Verdict != verify.Invalid {
		t.Errorf("changed OFD:\n%s", r.Text(verify.English))
	}
}
