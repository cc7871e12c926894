package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// kind says what a frame is.
type kind byte

// From the parent.
const (
	kindOpen kind = iota + 1 // body: see hello
	kindSign                 // body: see signBody; the others JSON
	kindInfo
	kindGenerate
	kindEncrypt
	kindDecrypt
	kindAttributes
	kindDestroy
	kindObjects
	kindSetData
	kindData
	kindRandom
	kindSignWrapped
	kindGenerateWrapped
	kindRewrap
	kindExport
	kindImport
	kindLock
	kindCancel // the call with this number is not waited for any more
	kindPing
	kindClose
	kindIdentify // as the first frame, in place of kindOpen: body as kindOpen, without a PIN
)

// From the child.
const (
	kindAnswer kind = iota + 0x80 // body: counters and the answer
	kindError                     // body: counters and a fault
	kindPong                      // body: see age
	kindLog                       // body: one JSON log record
)

// frame is one message: 4 bytes of length of the rest, big-endian, then kind, number and body.
type frame struct {
	kind kind
	id   uint64 // of the call
	body []byte
}

const (
	frameHead = 4
	frameRest = 1 + 8   // kind and number
	maxFrame  = 1 << 26 // a listing of 200,000 objects
)

// errFrame: the other side does not speak this protocol, or its memory is damaged.
var errFrame = errors.New("not a frame of the worker's protocol")

// encode returns the frame as it travels.
func (f frame) encode() []byte {
	b := make([]byte, frameHead+frameRest, frameHead+frameRest+len(f.body))
	binary.BigEndian.PutUint32(b, uint32(frameRest+len(f.body)))
	b[4] = byte(f.kind)
	binary.BigEndian.PutUint64(b[5:], f.id)
	return append(b, f.body...)
}

// readFrame reads one frame, without buffering beyond it. Memory grows with what arrives, not with what is announced.
func readFrame(r io.Reader) (frame, error) {
	var head [frameHead + frameRest]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < frameRest || n > maxFrame {
		return frame{}, fmt.Errorf("a length of %d: %w", n, errFrame)
	}
	f := frame{kind: kind(head[4]), id: binary.BigEndian.Uint64(head[5:])}
	body, err := readBody(r, int(n)-frameRest)
	f.body = body
	return f, err
}

// readBody reads n bytes. Short bodies, which are nearly all, take one allocation.
func readBody(r io.Reader, n int) ([]byte, error) {
	const first = 64 << 10
	body := make([]byte, min(n, first))
	for have := 0; ; {
		if _, err := io.ReadFull(r, body[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading a frame: %w", err)
		}
		if have = len(body); have == n {
			return body, nil
		}
		more := make([]byte, min(n, 2*have))
		copy(more, body)
		body = more
	}
}
