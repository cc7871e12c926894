package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sealkeeper/hsm"
)

func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 10, 64 << 10, 64<<10 + 1, 1 << 20} {
		f := frame{kindObjects, 1 << 40, bytes.Repeat([]byte{7}, size)}
		got, err := readFrame(bytes.NewReader(f.encode()))
		if err != nil || got.kind != f.kind || got.id != f.id || !bytes.Equal(got.body, f.body) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	whole := frame{kindSign, 1, []byte("body")}.encode()
	for n := range len(whole) {
		if _, err := readFrame(bytes.NewReader(whole[:n])); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for name, head := range map[string]string{"too short": "\x00\x00\x00\x08", "too long": "\x04\x00\x00\x01", "far too long": "\xff\xff\xff\xff"} {
		if _, err := readFrame(strings.NewReader(head + strings.Repeat("x", 64))); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every sentinel survives the wire, in the company it had.
func TestFaultsOnTheWire(t *testing.T) {
	for name, s := range sentinels {
		err := decodeFault(encodeFault(fmt.Errorf("an act: %w: %w", s, hsm.ErrConfig)))
		if !errors.Is(err, s) || !errors.Is(err, hsm.ErrConfig) || !strings.HasPrefix(err.Error(), "an act: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := decodeFault(encodeFault(io.EOF)); errors.Is(err, hsm.ErrConfig) || err.Error() != io.EOF.Error() {
		t.Errorf("an error of no kind: %v", err)
	}
	if err := decodeFault([]byte("{")); !errors.Is(err, errFrame) {
		t.Errorf("no error at all: %v", err)
	}
	if !errors.Is(decodeFault(encodeFault(context.Canceled)), context.Canceled) {
		t.Error("a caller who left")
	}
}

func TestHello(t *testing.T) {
	h := hello{Module: "/m.so", Profile: []byte(`{"id":"x"}`), Serial: "1", Proven: true, MaxSessions: 9}
	b, err := h.encode([]byte("12345678"))
	if err != nil {
		t.Fatal(err)
	}
	got, pin, err := decodeHello(b)
	if err != nil || string(pin) != "12345678" || fmt.Sprint(got) != fmt.Sprint(h) {
		t.Errorf("%+v, %q, %v", got, pin, err)
	}
	for name, bad := range map[string]string{"empty": "", "one byte": "\x00", "PIN cut off": "\x00\x08123", "no JSON": "\x00\x00nonsense 12345678"} {
		if _, _, err := decodeHello([]byte(bad)); !errors.Is(err, errFrame) || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(frame{kindSign, 1, signBody(hsm.SignRequest{Algorithm: hsm.SM2})}.encode())
	f.Add(frame{kindSign, 1, signBody(hsm.SignRequest{Algorithm: hsm.SM2, Message: []byte("Z and the message")})}.encode())
	f.Add(frame{kindAnswer, 2, append(counters(hsm.Stats{Signs: 3}), "{}"...)}.encode())
	f.Add(frame{kindError, 2, append(counters(hsm.Stats{}), encodeFault(hsm.ErrBusy)...)}.encode())
	f.Add(frame{kindPong, 3, age("signing", 5)}.encode())
	f.Add([]byte("\x00\x00\x00\x0b\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, fr.encode()) {
			t.Error("a frame does not encode to what it was read from")
		}
		if r, err := decodeSign(fr.body); err == nil && !bytes.Equal(signBody(r), fr.body) {
			t.Error("a signing request does not encode to what it was read from")
		}
		if _, pin, err := decodeHello(fr.body); err == nil && len(pin) > len(fr.body) {
			t.Error("a PIN longer than its message")
		}
		_, _, _ = decodeCounters(fr.body)
		_, _, _ = decodeAge(fr.body)
		_ = decodeFault(fr.body)
	})
}
