package api

import (
	"encoding/binary"
	"encoding/json"
	"mime"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"sealkeeper/signer"
)

// The compact forms of answers, for callers that ask for them in Accept. A signature holds its whole seal, some 20 kB, which base64 makes 27 kB; a
// batch by one seal repeats it a hundred times.
//
// One signature: the body is its DER, the receipt stands in the header Sealkeeper-Receipt, as for documents.
//
// A batch, numbers being four bytes, most significant first:
//
//	"SKS1"
//	number of seals, each: length, bytes
//	number of outcomes in the order of the items, each:
//	  length, JSON of the outcome without its signature: {"key", "receipt"} or {"key", "problem"}
//	  length, bytes before the seal
//	  number of the seal from 1, or 0 for none
//	  length, bytes behind the seal
//
// A signature is what stands before its seal, the seal, and what stands behind it; all three are empty beside a problem.
const (
	typeDER   = "application/octet-stream"
	typeBatch = "application/vnd.sealkeeper.signatures"
	frameMark = "SKS1"
)

// frameText is the form above, for the OpenAPI document.
const frameText = "When Accept names this type. Numbers are four bytes, most significant first. The text SKS1; the number of seals, each its length and its bytes; " +
	"the number of outcomes in the order of the items, each: length and JSON {key, receipt} or {key, problem}; length and bytes before the seal; " +
	"the number of the seal from 1, or 0 for none; length and bytes behind the seal. A signature is these three joined; beside a problem all are empty."

// accepts reports whether the caller names this media type. A wildcard is not enough: who does not know the compact forms gets JSON.
func accepts(c *gin.Context, kind string) bool {
	return slices.ContainsFunc(strings.Split(c.GetHeader("Accept"), ","), func(s string) bool {
		if s = strings.TrimSpace(s); s == kind {
			return true
		}
		named, params, err := mime.ParseMediaType(s)
		return err == nil && named == kind && params["q"] != "0"
	})
}

// headOf is what an outcome says beside its signature.
type headOf struct {
	Key     string   `json:"key"`
	Receipt *receipt `json:"receipt,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

func (w *answerWriter) number(n int) { w.b = binary.BigEndian.AppendUint32(w.b, uint32(n)) }

func (w *answerWriter) bytes(b []byte) {
	w.number(len(b))
	w.b = append(w.b, b...)
}

// frame writes a batch's outcomes; problems are by index, for those without a signature.
func (w *answerWriter) frame(items []batchItem, outcomes []signer.Outcome, problem func(error) *Problem) error {
	seals := map[string]int{} // by SM3, from 1
	w.text(frameMark)
	count := len(w.b)
	w.number(0)
	for _, o := range outcomes {
		if r := o.Released; r != nil && r.Seal.To > 0 && seals[r.Record.ESL] == 0 {
			seals[r.Record.ESL] = len(seals) + 1
			w.bytes(r.Signature[r.Seal.From:r.Seal.To])
		}
	}
	binary.BigEndian.PutUint32(w.b[count:], uint32(len(seals)))
	w.number(len(outcomes))
	for i, o := range outcomes {
		head := headOf{Key: items[i].Key}
		var before, behind []byte
		at := 0
		if r := o.Released; r == nil {
			head.Problem = problem(o.Err)
		} else {
			place := receiptOf(*r)
			head.Receipt = &place
			before = r.Signature
			if r.Seal.To > 0 {
				before, at, behind = r.Signature[:r.Seal.From], seals[r.Record.ESL], r.Signature[r.Seal.To:]
			}
		}
		text, err := json.Marshal(head)
		if err != nil {
			return err
		}
		w.bytes(text)
		w.bytes(before)
		w.number(at)
		w.bytes(behind)
	}
	return nil
}
