package register

import (
	"bytes"
	"testing"
)

// FuzzSplitPicture reads stored values that may be damaged: no panic, and what it takes apart is what was there.
func FuzzSplitPicture(f *testing.F) {
	header := []byte(`{"key":{"key":"00000000000000000000000000000000","nonce":"AAAA","text":"AAAA"},"nonce":"AAAAAAAAAAAAAAAA"}`)
	f.Add(append([]byte{0, 0, 0, byte(len(header))}, append(header, "text"...)...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, text, err := splitPicture(b)
		if err == nil && (len(h.Nonce) != 12 || !bytes.HasSuffix(b, text)) {
			t.Fatalf("nonce of %d bytes, text of %d of %d", len(h.Nonce), len(text), len(b))
		}
	})
}
