package worker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/hsm"
)

// hello is the first message to a child. On the wire the PIN stands before it, because JSON would leave copies:
//
//	length of the PIN, 2 bytes big-endian | PIN | hello as JSON
type hello struct {
	Module      string          `json:"module"`
	Allowed     []hsm.Allowed   `json:"allowed,omitempty"`
	Profile     json.RawMessage `json:"profile"` // resolved
	Serial      string          `json:"serial,omitempty"`
	Label       string          `json:"label,omitempty"`
	LatchFile   string          `json:"latch_file"`
	MaxSessions int             `json:"max_sessions"`
	Opened      hsm.Opened      `json:"opened"`
	Proven      bool            `json:"proven"`
	LogLevel    int             `json:"log_level"`
}

// encode returns the body; the caller clears it.
func (h hello) encode(pin []byte) ([]byte, error) {
	j, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding the worker's configuration: %w", err)
	}
	b := make([]byte, 2, 2+len(pin)+len(j))
	binary.BigEndian.PutUint16(b, uint16(len(pin)))
	return append(append(b, pin...), j...), nil
}

// decodeHello returns what encode was given. The PIN is part of b.
func decodeHello(b []byte) (h hello, pin []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return h, nil, fmt.Errorf("a first message of %d bytes: %w", len(b), errFrame)
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if err := json.Unmarshal(b[n:], &h); err != nil {
		return h, nil, fmt.Errorf("reading the worker's configuration: %w", errFrame) // without the cause, which might quote
	}
	return h, b[2:n], nil
}

// dataBody is what SetData and Data say.
type dataBody struct {
	Label string `json:"label"`
	Value []byte `json:"value,omitempty"`
}

const signHead = 16 + 32 + 1

// signBody is the one message that every signature sends: key, digest, length and name of the algorithm, and the message where the token wants it.
func signBody(r hsm.SignRequest) []byte {
	b := make([]byte, 0, signHead+len(r.Algorithm)+len(r.Message))
	b = append(append(b, r.Key[:]...), r.Digest[:]...)
	b = append(append(b, byte(len(r.Algorithm))), r.Algorithm...)
	return append(b, r.Message...)
}

func decodeSign(b []byte) (hsm.SignRequest, error) {
	if len(b) < signHead || len(b) < signHead+int(b[signHead-1]) {
		return hsm.SignRequest{}, fmt.Errorf("a signing request of %d bytes: %w", len(b), errFrame)
	}
	message := signHead + int(b[signHead-1])
	r := hsm.SignRequest{Key: hsm.ObjectID(b[:16]), Digest: [32]byte(b[16:48]), Algorithm: hsm.Algorithm(b[signHead:message])}
	if len(b) > message {
		r.Message = b[message:]
	}
	return r, nil
}

const countersSize = 8 * 8

// counters stand before every answer, so that the parent knows them as of the last one when the child dies.
func counters(s hsm.Stats) []byte {
	b := make([]byte, 0, countersSize)
	for _, v := range []uint64{s.Signs, s.FindObjects, s.Evictions, s.Relogins, s.Epoch, uint64(s.Idle), s.Unwraps, uint64(s.Unwrapped)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeCounters(b []byte) (hsm.Stats, []byte, error) {
	if len(b) < countersSize {
		return hsm.Stats{}, nil, fmt.Errorf("an answer of %d bytes: %w", len(b), errFrame)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return hsm.Stats{Signs: at(0), FindObjects: at(1), Evictions: at(2), Relogins: at(3), Epoch: at(4), Idle: int(at(5)),
		Unwraps: at(6), Unwrapped: int(at(7))}, b[countersSize:], nil
}

// age is the body of a pong: how long the oldest call has been inside, in nanoseconds, and what it does.
func age(act string, inside time.Duration) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(inside)), act...)
}

func decodeAge(b []byte) (string, time.Duration, error) {
	if len(b) < 8 {
		return "", 0, fmt.Errorf("a pong of %d bytes: %w", len(b), errFrame)
	}
	return string(b[8:]), time.Duration(binary.BigEndian.Uint64(b)), nil
}

// fault is an error on the wire: its text and the sentinels in its chain.
type fault struct {
	Text string   `json:"text"`
	Is   []string `json:"is,omitempty"`
}

// sentinels are all that a caller of a token may branch on.
var sentinels = map[string]error{
	"not-found": hsm.ErrNotFound, "busy": hsm.ErrBusy, "logged-out": hsm.ErrLoggedOut, "token-gone": hsm.ErrTokenGone, "unsupported": hsm.ErrUnsupported,
	"refused": hsm.ErrRefused, "pin-latched": hsm.ErrPINLatched, "exists": hsm.ErrExists, "birth": hsm.ErrBirth, "blob": hsm.ErrBlob, "unproven": hsm.ErrUnproven, "damaged": hsm.ErrDamaged,
	"config": hsm.ErrConfig, "module": hsm.ErrModule, "pin-file": hsm.ErrPINFile, "canceled": context.Canceled, "frame": errFrame,
}

func encodeFault(err error) []byte {
	f := fault{Text: err.Error()}
	for name, s := range sentinels {
		if errors.Is(err, s) {
			f.Is = append(f.Is, name)
		}
	}
	b, _ := json.Marshal(f) // two kinds of strings always encode
	return b
}

// told is an error that the child reported.
type told struct {
	text string
	is   []error
}

func (e *told) Error() string   { return e.text }
func (e *told) Unwrap() []error { return e.is }

func decodeFault(b []byte) error {
	var f fault
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("reading an error: %w", errFrame)
	}
	e := &told{text: f.Text}
	for _, name := range f.Is {
		if s := sentinels[name]; s != nil {
			e.is = append(e.is, s)
		}
	}
	return e
}
