package client_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"sealkeeper/client"
)

const batchType = "application/vnd.sealkeeper.signatures"

// frame writes the compact form by hand: texts are prefixed by their length, numbers stand for themselves.
func frame(parts ...any) []byte {
	b := []byte("SKS1")
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		}
	}
	return b
}

var goodFrame = frame(2, "SEAL-A", "SEAL-B",
	4, `{"key":"a","receipt":{"log":"l","index":7}}`, "<", 1, ">", `{"key":"b","receipt":{"log":"l","index":8}}`, "(", 2, ")",
	`{"key":"c","problem":{"code":"no-grant","status":403}}`, "", 0, "", `{"key":"d","receipt":{"log":"l","index":9}}`, "SignedData", 0, "")

// TestSignBatchCompact puts the seals back, and takes JSON from an appliance that knows no other form.
func TestSignBatchCompact(t *testing.T) {
	a := newAppliance(t)
	a.says(200, string(goodFrame), "Content-Type", batchType)
	out, err := a.client(t).SignBatch(t.Context(), "batch", []client.BatchItem{{Key: "a"}, {Key: "b"}, {Key: "c"}, {Key: "d"}})
	must(t, err)
	for i, want := range []string{"<SEAL-A>", "(SEAL-B)", "", "SignedData"} {
		o := out[i]
		if want == "" {
			if o.Signature != nil || o.Problem == nil || o.Problem.Code != "no-grant" {
				t.Errorf("%+v", o)
			}
			continue
		}
		if o.Problem != nil || o.Signature == nil || string(o.Signature.Signature) != want || o.Receipt.Index != uint64(7+i-i/3) || o.Key != string(rune('a'+i)) {
			t.Errorf("%d: %+v", i, o)
		}
	}
	if got := a.last.Header.Get("Accept"); got != batchType+", application/json;q=0.5" {
		t.Errorf("Accept %q", got)
	}
}

// TestSignDigestCompact takes the signature as the body and the receipt from the header.
func TestSignDigestCompact(t *testing.T) {
	a := newAppliance(t)
	a.says(200, "0DER", "Content-Type", "application/octet-stream", "Sealkeeper-Receipt", `{"log":"l","index":9}`)
	s, err := a.client(t).SignDigest(t.Context(), "key", client.SignatureRequest{})
	if err != nil || string(s.Signature) != "0DER" || s.Receipt.Index != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	a.says(200, "0DER", "Content-Type", "application/octet-stream")
	if s, err := a.client(t).SignDigest(t.Context(), "key", client.SignatureRequest{}); err == nil || s.Signature != nil {
		t.Errorf("no receipt: %+v, %v", s, err)
	}
}

// TestSignBatchBroken: a frame that is cut off anywhere, or refers to what it does not hold, is refused.
func TestSignBatchBroken(t *testing.T) {
	a := newAppliance(t)
	c := a.client(t)
	broken := [][]byte{bytes.Replace(goodFrame, []byte("SKS1"), []byte("SKS2"), 1), append(bytes.Clone(goodFrame), 0),
		frame(0, 1, `{"key":"a"}`, "", 1, ""), frame(1, "S", 1, `{"key":`, "", 1, ""), frame(-1), frame(0, -1), frame(0, 1, -1)}
	for i := range goodFrame {
		broken = append(broken, goodFrame[:i])
	}
	for _, b := range broken {
		a.says(200, string(b), "Content-Type", batchType)
		if out, err := c.SignBatch(t.Context(), "batch", nil); err == nil || out != nil {
			t.Fatalf("%q: %v", b, out)
		}
	}
	many := []any{1, string(make([]byte, 1<<20)), 1000}
	for range 1000 {
		many = append(many, `{"key":"a"}`, "", 1, "")
	}
	a.says(200, string(frame(many...)), "Content-Type", batchType)
	if _, err := c.SignBatch(t.Context(), "batch", nil); err == nil {
		t.Error("a gigabyte of signatures out of a megabyte")
	}
}
