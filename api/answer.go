package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"github.com/gin-gonic/gin"
)

// answerWriter writes the JSON of signatures by hand: a signature is 27 kB of base64, which the general encoder would copy three times.
// What it writes is what encoding/json would; a test compares them.
type answerWriter struct{ b []byte }

var answers = sync.Pool{New: func() any { return &answerWriter{} }}

// newAnswer takes a writer with room for about size bytes of signatures.
func newAnswer(size int) *answerWriter {
	w := answers.Get().(*answerWriter)
	if want := base64.StdEncoding.EncodedLen(size) + 1024; cap(w.b) < want {
		w.b = make([]byte, 0, want)
	}
	w.b = w.b[:0]
	return w
}

func (w *answerWriter) text(s string) { w.b = append(w.b, s...) }

// value appends a small value by the general encoder.
func (w *answerWriter) value(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte("null") // strings, numbers and times of our own: none has a failing path
	}
	w.b = append(w.b, b...)
}

func (w *answerWriter) signature(a signatureAnswer) {
	w.text("{")
	w.fields(a)
	w.text("}")
}

func (w *answerWriter) fields(a signatureAnswer) {
	w.text(`"signature":"`)
	w.b = base64.StdEncoding.AppendEncode(w.b, a.Signature)
	w.text(`","receipt":`)
	w.value(a.Receipt)
}

func (w *answerWriter) outcome(o batchOutcome) {
	if o.signatureAnswer == nil {
		w.value(o)
		return
	}
	w.text(`{"key":`)
	w.value(o.Key)
	w.text(",")
	w.fields(*o.signatureAnswer)
	w.text("}")
}

// send answers the request and gives the writer back.
func (w *answerWriter) send(c *gin.Context) { w.sendAs(c, "application/json; charset=utf-8") }

func (w *answerWriter) sendAs(c *gin.Context, kind string) {
	whole(c, kind, w.b)
	if cap(w.b) <= 4<<20 {
		answers.Put(w)
	}
}

// whole sends a body whose length is known: without it net/http would frame it in chunks, one more record and write each.
func whole(c *gin.Context, kind string, body []byte) {
	c.Header("Content-Length", strconv.Itoa(len(body)))
	atOnce(c.Writer, c.Request, func() { c.Data(http.StatusOK, kind, body) })
}
