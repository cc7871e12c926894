package client

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Media types of the compact answers, see /openapi.json.
const (
	typeDER   = "application/octet-stream"
	typeBatch = "application/vnd.sealkeeper.signatures"
)

// maxBatchBytes bounds what a compact answer may grow to when its seals are put back: a hundred signatures of the largest seal are far below.
const maxBatchBytes = 512 << 20

// errFrame says that a compact answer has not its form.
var errFrame = errors.New("the compact answer has not the form SKS1")

// rawOutcome is one outcome of a batch before its JSON is decoded.
type rawOutcome struct {
	head      []byte // JSON of BatchOutcome without the signature
	signature []byte // DER, in a buffer of its own; empty beside a problem
}

// splitBatch takes the compact answer to a batch apart and puts each seal back into its signatures. It believes no length that the frame does not hold.
func splitBatch(frame []byte) ([]rawOutcome, error) {
	r := frameReader{rest: frame}
	if string(r.take(4)) != "SKS1" {
		return nil, errFrame
	}
	var seals [][]byte
	for n := r.number(); n > 0 && !r.bad; n-- {
		seals = append(seals, r.bytes())
	}
	var out []rawOutcome
	total := 0
	for n := r.number(); n > 0 && !r.bad; n-- {
		head, before, at, behind := r.bytes(), r.bytes(), r.number(), r.bytes()
		var seal []byte
		if at > len(seals) {
			r.bad = true
		} else if at > 0 {
			seal = seals[at-1]
		}
		size := len(before) + len(seal) + len(behind)
		if total += size; r.bad || total > maxBatchBytes {
			return nil, errFrame
		}
		out = append(out, rawOutcome{head, append(append(append(make([]byte, 0, size), before...), seal...), behind...)})
	}
	if r.bad || len(r.rest) > 0 {
		return nil, errFrame
	}
	return out, nil
}

// frameReader reads the parts of a frame; after the first mistake it returns nothing more.
type frameReader struct {
	rest []byte
	bad  bool
}

func (r *frameReader) take(n int) []byte {
	if n < 0 || n > len(r.rest) || r.bad {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *frameReader) number() int {
	b := r.take(4)
	if r.bad {
		return 0
	}
	return int(binary.BigEndian.Uint32(b))
}

func (r *frameReader) bytes() []byte { return r.take(r.number()) }

// outcomes decodes the answer to a batch in whichever of its two forms it came.
func (a *Answer) outcomes() ([]BatchOutcome, error) {
	if a.Header.Get("Content-Type") != typeBatch {
		var out struct {
			Outcomes []BatchOutcome `json:"outcomes"`
		}
		if err := json.Unmarshal(a.Body, &out); err != nil {
			return nil, fmt.Errorf("decoding the answer to a batch: %w", err)
		}
		return out.Outcomes, nil
	}
	raw, err := splitBatch(a.Body)
	if err != nil {
		return nil, fmt.Errorf("decoding the answer to a batch: %w", err)
	}
	out := make([]BatchOutcome, len(raw))
	for i, r := range raw {
		var head struct {
			Key     string   `json:"key"`
			Receipt *Receipt `json:"receipt"`
			Problem *Problem `json:"problem"`
		}
		if err := json.Unmarshal(r.head, &head); err != nil {
			return nil, fmt.Errorf("decoding the answer to a batch: %w", err)
		}
		out[i] = BatchOutcome{Key: head.Key, Problem: head.Problem}
		if head.Receipt != nil {
			out[i].Signature = &Signature{Signature: r.signature, Receipt: *head.Receipt}
		}
	}
	return out, nil
}

// signature decodes the answer to a digest in whichever of its two forms it came.
func (a *Answer) signature() (*Signature, error) {
	s := &Signature{Signature: a.Body}
	var err error
	if a.Header.Get("Content-Type") == typeDER {
		err = json.Unmarshal([]byte(a.Header.Get("Sealkeeper-Receipt")), &s.Receipt)
	} else {
		err = json.Unmarshal(a.Body, s)
	}
	if err != nil {
		return &Signature{}, fmt.Errorf("decoding the answer to a signature: %w", err)
	}
	return s, nil
}
