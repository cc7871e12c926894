package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
)

func TestEventBody(t *testing.T) {
	type detail struct {
		B string `json:"b"`
		A int    `json:"a"`
	}
	e := audit.Event{Kind: audit.KindOrder, Actor: audit.Actor{Role: "department", ID: "c"}, Subject: "示例 <&>", Detail: detail{"x", 1},
		Result: map[string]int{"z": 1, "a": 2}}
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"order","actor":{"role":"department","id":"c"},"subject":"示例 <&>","detail":{"b":"x","a":1},"result":{"a":2,"z":1}}`
	if string(body) != want {
		t.Fatalf("%s, want %s", body, want)
	}
	back, err := audit.ParseBody(body)
	if err != nil || back.Kind != e.Kind || back.Actor != e.Actor || back.Subject != e.Subject {
		t.Fatalf("%+v %v", back, err)
	}
	var d detail
	if err := json.Unmarshal(back.Detail.(json.RawMessage), &d); err != nil || d != e.Detail {
		t.Fatalf("%+v %v", d, err)
	}
	if again, err := back.Body(); err != nil || !bytes.Equal(again, body) {
		t.Fatalf("%s %v", again, err)
	}
	short, err := audit.Event{Kind: "epoch", Actor: audit.Appliance("hsm")}.Body()
	if err != nil || string(short) != `{"kind":"epoch","actor":{"role":"appliance","id":"hsm"}}` {
		t.Fatalf("%s %v", short, err)
	}
	if back, err := audit.ParseBody(short); err != nil || back.Detail != nil || back.Result != nil {
		t.Fatalf("%+v %v", back, err)
	}
}

func TestEventRefused(t *testing.T) {
	actor := audit.Appliance("x")
	for name, e := range map[string]audit.Event{"no kind": {Actor: actor}, "strange kind": {Kind: "Order", Actor: actor}, "no role": {Kind: "order"},
		"detail without JSON": {Kind: "order", Actor: actor, Detail: math.NaN()}, "result without JSON": {Kind: "order", Actor: actor, Result: func() {}}} {
		if _, err := e.Body(); !errors.Is(err, audit.ErrEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string]string{"empty": "", "no object": "[]", "unknown field": `{"kind":"order","actor":{"role":"r","id":""},"extra":1}`,
		"two objects": `{"kind":"order","actor":{"role":"r","id":""}} {}`, "no role": `{"kind":"order","actor":{"role":"","id":""}}`,
		"no kind": `{"actor":{"role":"r","id":""}}`} {
		if _, err := audit.ParseBody([]byte(b)); !errors.Is(err, audit.ErrEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseBody: what is read can be written, and written again gives the same bytes.
func FuzzParseBody(f *testing.F) {
	f.Add([]byte(`{"kind":"order","actor":{"role":"department","id":"c"},"subject":"s","detail":{"a":1},"result":null}`))
	f.Add([]byte(`{"kind":"order","actor":{"role":"r","id":"\ud800"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := audit.ParseBody(b)
		if err != nil {
			if !errors.Is(err, audit.ErrEvent) {
				t.Fatal(err)
			}
			return
		}
		first, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		again, err := audit.ParseBody(first)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.Body(); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s, then %s: %v", first, second, err)
		}
	})
}

// FuzzOpenCheckpoint: nothing but what the key signed is accepted.
func FuzzOpenCheckpoint(f *testing.F) {
	k, err := softkey.Generate(nil)
	if err != nil {
		f.Fatal(err)
	}
	w := newWorld(f).found()
	f.Add(w.log.Checkpoint())
	f.Add([]byte("sealkeeper/0/sm3\n1\nAAAA\n\n— sealkeeper/0/sm3 AAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := audit.OpenCheckpoint(b, k.Public()); !errors.Is(err, audit.ErrCheckpoint) {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}

// TestBodyIsTheStruct: written part by part, a body is byte for byte what encoding/json makes of one struct.
func TestBodyIsTheStruct(t *testing.T) {
	type wire struct {
		Kind    string      `json:"kind"`
		Actor   audit.Actor `json:"actor"`
		Subject string      `json:"subject,omitempty"`
		Detail  any         `json:"detail,omitempty"`
		Result  any         `json:"result,omitempty"`
	}
	spaced := json.RawMessage("{ \"a\" : [ 1, \"<&>示例\u2028\" ] }")
	for _, e := range []audit.Event{
		{Kind: "epoch", Actor: audit.Appliance("hsm")},
		{Kind: "signature", Actor: audit.Actor{Role: "department", ID: `"<\>`}, Subject: "示例\n", Detail: spaced, Result: map[string]int{"b": 2, "a": 1}},
		{Kind: "signature", Actor: audit.Appliance("x"), Detail: struct{ A []byte }{[]byte("bytes")}},
		{Kind: "signature", Actor: audit.Appliance("x"), Result: "alone\xff"},
	} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(wire(e)); err != nil {
			t.Fatal(err)
		}
		got, err := e.Body()
		if err != nil || string(got)+"\n" != want.String() {
			t.Errorf("got  %s, %v\nwant %s", got, err, want.String())
		}
	}
	for what, e := range map[string]audit.Event{"detail": {Kind: "k", Actor: audit.Appliance("x"), Detail: func() {}}, "result": {Kind: "k", Actor: audit.Appliance("x"), Result: json.RawMessage("{")}} {
		if _, err := e.Body(); !errors.Is(err, audit.ErrEvent) || !strings.HasPrefix(err.Error(), what+" of k") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
