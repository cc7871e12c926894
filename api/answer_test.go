package api

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// TestAnswersAreJSON: what is written by hand is, byte for byte, what the general encoder would write.
func TestAnswersAreJSON(t *testing.T) {
	sig := &signatureAnswer{bytes.Repeat([]byte{0, 255, 62}, 7000), receipt{Log: "log", Index: 7, Leaf: [32]byte{1, 2}, Time: time.Date(2026, 1, 2, 3, 4, 5, 600000, time.UTC)}}
	for name, o := range map[string]batchOutcome{
		"signature": {Key: "k-\"<&>", signatureAnswer: sig}, "empty": {Key: "k", signatureAnswer: &signatureAnswer{Signature: []byte{}}},
		"problem": {Key: "k", Problem: busy.problem("示例", "r")},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			w := newAnswer(10)
			w.outcome(o)
			if !bytes.Equal(w.b, want) {
				t.Errorf("got %.200s\nwant %.200s", w.b, want)
			}
			if o.signatureAnswer == nil {
				return
			}
			want, err = json.Marshal(o.signatureAnswer)
			if err != nil {
				t.Fatal(err)
			}
			w = newAnswer(10)
			w.signature(*o.signatureAnswer)
			if !bytes.Equal(w.b, want) {
				t.Errorf("alone: got %.200s\nwant %.200s", w.b, want)
			}
		})
	}
}
