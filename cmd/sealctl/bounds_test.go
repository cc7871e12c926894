package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
)

// FuzzStamp: whatever is taken can be printed and read again as the same, and is a usable number of millimetres.
func FuzzStamp(f *testing.F) {
	for _, s := range []string{"1,20,30,40,40", "3,-1.5,2e2,0.001,5", "1,NaN,0,1,1", "1,0,0,Inf,1", "0,1,1,1,1", "1,2,3", "1,1,1,1,1,1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again stamps
		if s.Set(text) != nil {
			return
		}
		p := s[0]
		for _, v := range []float64{p.X, p.Y, p.W, p.H} {
			if math.IsNaN(v) || math.Abs(v) >= 1e5 {
				t.Fatalf("%q gave %+v", text, p)
			}
		}
		if p.Page < 1 || p.W <= 0 || p.H <= 0 {
			t.Fatalf("%q gave %+v", text, p)
		}
		if err := again.Set(s.String()); err != nil || !slices.Equal(s, again) {
			t.Fatalf("%q printed as %q: %v", text, s.String(), err)
		}
	})
}

// FuzzPoint: no input panics, and what is taken as a point is one on the curve or refused by the key's own check.
func FuzzPoint(f *testing.F) {
	k, err := newSoftKey()
	if err != nil {
		f.Fatal(err)
	}
	text, err := spkiPEM(k.Public())
	if err != nil {
		f.Fatal(err)
	}
	block, _ := pem.Decode(text)
	f.Add(block.Bytes)
	f.Add(append(bytes.Clone(block.Bytes), 0))
	f.Add(block.Bytes[:len(block.Bytes)-1])
	f.Fuzz(func(t *testing.T, der []byte) {
		point, ok := pointOf(der)
		if !ok {
			return
		}
		key, err := gm.NewPublicKey(point)
		if err == nil && !bytes.Equal(key.Point(), point) {
			t.Fatalf("%x became %x", point, key.Point())
		}
	})
}

func TestPointOf(t *testing.T) {
	k, err := newSoftKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := spkiPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if point, ok := pointOf(block.Bytes); !ok || !bytes.Equal(point, k.Public().Point()) {
		t.Errorf("%x, %v", point, ok)
	}
	if _, ok := pointOf(append(bytes.Clone(block.Bytes), 0)); ok {
		t.Error("bytes behind the key were taken")
	}
	otherCurve := bytes.Clone(block.Bytes)
	otherCurve[bytes.LastIndex(otherCurve, []byte{0x82, 0x2d})+1] ^= 1
	if _, ok := pointOf(otherCurve); ok {
		t.Error("a point on another curve was taken")
	}
}

func TestWindow(t *testing.T) {
	now := time.Date(2026, 1, 31, 8, 0, 0, 999, time.FixedZone("", 8*3600))
	for _, c := range []struct {
		name, from, until string
		length            time.Duration
		first, last       string // empty: refused
	}{
		{"now, for an hour", "", "", time.Hour, "2026-01-31T00:00:00Z", "2026-01-31T01:00:00Z"},
		{"from a time on", "2026-02-01T00:00:00+08:00", "", time.Minute, "2026-01-31T16:00:00Z", "2026-01-31T16:01:00Z"},
		{"until a time", "", "2026-02-01T00:00:00Z", 0, "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"over before it begins", "", "2026-01-30T00:00:00Z", 0, "", ""},
		{"less than a second", "2026-02-01T00:00:00.5Z", "", time.Hour, "", ""},
		{"no time", "soon", "", time.Hour, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, until, err := (&window{from: c.from, until: c.until, length: c.length}).times(now)
			if c.first == "" {
				if err == nil {
					t.Errorf("taken: %s to %s", from, until)
				}
				return
			}
			if err != nil || when(from) != c.first || when(until) != c.last || from.Location() != time.UTC || until.Location() != time.UTC {
				t.Errorf("%s to %s, %v", from, until, err)
			}
		})
	}
}

// TestAnswerEnds leaves a terminal that says nothing when the user gives up.
func TestAnswerEnds(t *testing.T) {
	silent, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := answer(ctx, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if line, err := answer(t.Context(), strings.NewReader("同意")); err != nil || line != "同意" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{"示例用途": "示例用途", "a\u202eb": `a\u202eb`, "a\x1b[2J": `a\u001b[2J`, "two\nlines": "two\nlines", "\u200b": `\u200b`} {
		if got := visible(in); got != want {
			t.Errorf("%q is shown as %q", in, got)
		}
	}
}
