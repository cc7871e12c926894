package api

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"sealkeeper/signer"
)

// TestFrame writes each seal once and lets a reader put every signature together again, with the JSON that the other form would hold.
func TestFrame(t *testing.T) {
	made := func(esl, head, seal, tail string) signer.Outcome {
		r := &signer.Released{Signature: []byte(head + seal + tail), Log: "log", Index: 7, Record: signer.Record{ESL: esl}}
		if seal != "" {
			r.Seal = signer.Span{From: len(head), To: len(head) + len(seal)}
		}
		return signer.Outcome{Released: r}
	}
	outcomes := []signer.Outcome{made("a", "<", "SEAL-A", ">"), made("b", "(", "SEAL-B", ")"), made("a", "[", "SEAL-A", "]"), {Err: errors.New("示例")}, made("a", "SignedData", "", "")}
	items := make([]batchItem, len(outcomes))
	for i := range items {
		items[i].Key = string(rune('k' + i))
	}
	w := newAnswer(10)
	if err := w.frame(items, outcomes, func(error) *Problem { return busy.problem("示例", "r") }); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(w.b, []byte("SEAL-A")); n != 1 {
		t.Errorf("the first seal stands there %d times", n)
	}
	rest := w.b
	number := func() (n int) {
		n, rest = int(binary.BigEndian.Uint32(rest)), rest[4:]
		return n
	}
	text := func() (s string) {
		n := number()
		s, rest = string(rest[:n]), rest[n:]
		return s
	}
	if string(rest[:4]) != frameMark {
		t.Fatalf("%q", rest[:4])
	}
	rest = rest[4:]
	seals := []string{""}
	for range number() {
		seals = append(seals, text())
	}
	if n := number(); n != len(outcomes) {
		t.Fatalf("%d outcomes", n)
	}
	for i, o := range outcomes {
		var head headOf
		if err := json.Unmarshal([]byte(text()), &head); err != nil || head.Key != items[i].Key || (head.Problem == nil) != (o.Err == nil) {
			t.Errorf("%d: %+v, %v", i, head, err)
		}
		signature := text() + seals[number()] + text()
		if o.Err == nil && (signature != string(o.Released.Signature) || head.Receipt.Index != 7) || o.Err != nil && signature != "" {
			t.Errorf("%d: %q, %+v", i, signature, head)
		}
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes behind", len(rest))
	}
}

func TestAccepts(t *testing.T) {
	for header, want := range map[string]bool{"": false, "*/*": false, "application/json": false, typeDER: true, typeDER + ";q=0": false,
		"application/json;q=0.1, Application/Octet-Stream; q=0.9": true, "application/octet-streams": false} {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		c.Request = httptest.NewRequest("POST", "/", nil)
		c.Request.Header.Set("Accept", header)
		if got := accepts(c, typeDER); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
