package pdf

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"sealkeeper/signer/placement"
)

var corner = placement.Stamp{Page: 1, X: 150, Y: 230, W: 40, H: 40}

// TestTwoSignatures: poppler calls both valid, the first one no longer whole, the second one whole; qpdf finds nothing to say.
func TestTwoSignatures(t *testing.T) {
	first, err := sealed(t, plain(2, ""), request(t, corner))
	if err != nil {
		t.Fatal(err)
	}
	second, err := sealed(t, first, request(t, placement.Stamp{Page: 2, X: 20, Y: 20, W: 30, H: 30}))
	if err != nil {
		t.Fatal(err)
	}
	out, _ := tool(t, second, "pdfsig", "-nocert")
	if strings.Count(out, "Signature is Valid.") != 2 || strings.Count(out, "Not total document signed") != 1 || strings.Count(out, "Total document signed") != 1 {
		t.Errorf("pdfsig:\n%s", out)
	}
	if strings.Count(out, "ETSI.CAdES.detached") != 2 || !strings.Contains(out, "Signature1") || !strings.Contains(out, "Signature2") {
		t.Errorf("pdfsig:\n%s", out)
	}
	if out, code := tool(t, second, "qpdf", "--check"); code != 0 || strings.Contains(out, "WARNING") {
		t.Errorf("qpdf exits %d:\n%s", code, out)
	}
}

// TestOneByteChanged: poppler sees a change in the covered bytes, so the ranges are the document's.
func TestOneByteChanged(t *testing.T) {
	doc, err := sealed(t, plain(1, ""), request(t, corner))
	if err != nil {
		t.Fatal(err)
	}
	doc = bytes.Replace(doc, []byte("(Page 1)"), []byte("(Page 9)"), 1)
	if out, _ := tool(t, doc, "pdfsig", "-nocert"); !strings.Contains(out, "Digest Mismatch") {
		t.Errorf("pdfsig:\n%s", out)
	}
}

// TestRidingSeam: one signature with a strip on each of five pages.
func TestRidingSeam(t *testing.T) {
	doc := plain(5, "")
	d, err := Open(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := placement.Plan{Riding: []placement.Riding{{Edge: placement.Right, W: 40, H: 40}}}.Resolve(d.Pages(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sealed(t, doc, request(t, stamps...))
	if err != nil {
		t.Fatal(err)
	}
	if said, _ := tool(t, out, "pdfsig", "-nocert"); strings.Count(said, "Signature is Valid.") != 1 {
		t.Errorf("pdfsig:\n%s", said)
	}
	if w, s := bytes.Count(out, []byte("/Subtype /Widget")), bytes.Count(out, []byte("/Subtype /Stamp")); w != 1 || s != 4 {
		t.Errorf("%d widgets, %d stamps", w, s)
	}
}

func TestInvisible(t *testing.T) {
	r := request(t)
	r.Picture = nil
	out, err := sealed(t, plain(1, ""), r)
	if err != nil {
		t.Fatal(err)
	}
	if said, _ := tool(t, out, "pdfsig", "-nocert"); !strings.Contains(said, "Signature is Valid.") {
		t.Errorf("pdfsig:\n%s", said)
	}
}

// TestCertification: with P 1 nothing may follow; with P 2 a signature may, a second certification may not.
func TestCertification(t *testing.T) {
	r := request(t, corner)
	r.Certify = 1
	closed, err := sealed(t, plain(1, ""), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealed(t, closed, request(t, corner)); !errors.Is(err, ErrDocMDP) {
		t.Errorf("after P 1: %v", err)
	}
	r.Certify = 2
	open, err := sealed(t, plain(1, ""), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealed(t, open, request(t, corner)); err != nil {
		t.Errorf("after P 2: %v", err)
	}
	if _, err := sealed(t, open, r); !errors.Is(err, ErrCertify) {
		t.Errorf("a second certification: %v", err)
	}
}

func TestSameBytes(t *testing.T) {
	prepared := func() []byte {
		d, err := Open(plain(3, ""), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		draft, err := d.Prepare(request(t, corner, placement.Stamp{Page: 3, X: 5, Y: 5, W: 40, H: 40, Clip: &placement.Rect{W: 20, H: 40}}))
		if err != nil {
			t.Fatal(err)
		}
		return draft.Prepared()
	}
	if !bytes.Equal(prepared(), prepared()) {
		t.Error("the same document and request give other bytes")
	}
}

func TestRequestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Request)
		err    error
	}{
		"no filter":             {func(r *Request) { r.Filter = "" }, ErrRequest},
		"filter that is syntax": {func(r *Request) { r.SubFilter = "x /Foo" }, ErrRequest},
		"no time":               {func(r *Request) { r.Time = time.Time{} }, ErrRequest},
		"field with a dot":      {func(r *Request) { r.Field = "a.b" }, ErrRequest},
		"long reason":           {func(r *Request) { r.Reason = strings.Repeat("x", 2000) }, ErrRequest},
		"no picture":            {func(r *Request) { r.Picture = nil }, ErrRequest},
		"picture that is none":  {func(r *Request) { r.Picture = []byte("GIF89a") }, ErrRequest},
		"no such page":          {func(r *Request) { r.Stamps[0].Page = 2 }, ErrPage},
		"off the page":          {func(r *Request) { r.Stamps[0].X = 180 }, ErrStampOutside},
		"no size":               {func(r *Request) { r.Stamps[0].W = 0 }, ErrStamp},
		"clip outside":          {func(r *Request) { r.Stamps[0].Clip = &placement.Rect{X: 30, W: 30, H: 40} }, ErrStamp},
		"certify":               {func(r *Request) { r.Certify = 4 }, ErrRequest},
	} {
		d, err := Open(plain(1, ""), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		r := request(t, corner)
		c.change(&r)
		if _, err := d.Prepare(r); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

func TestEmbedRefusals(t *testing.T) {
	d, err := Open(plain(1, ""), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, corner)
	r.Reserve = 100
	draft, err := d.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := draft.Embed(make([]byte, 101)); !errors.Is(err, ErrReserve) {
		t.Errorf("too long: %v", err)
	}
	if _, err := Embed(draft.Prepared(), nil); !errors.Is(err, ErrReserve) {
		t.Errorf("nothing: %v", err)
	}
	empty := bytes.Clone(draft.Prepared())
	full, err := draft.Embed(bytes.Repeat([]byte{0x30}, 100))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"full already": full, "no signature": plain(1, ""), "cut": empty[:len(empty)-1],
		"more behind": append(bytes.Clone(empty), ' '), "nothing": nil} {
		if _, err := Embed(b, []byte{0x30}); !errors.Is(err, ErrPrepared) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEmbedAgain: a value takes the whole place, whatever stood there.
func TestEmbedAgain(t *testing.T) {
	d, err := Open(plain(1, ""), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	draft, err := d.Prepare(request(t, corner))
	if err != nil {
		t.Fatal(err)
	}
	empty, short := bytes.Clone(draft.Prepared()), []byte{0x30, 0}
	if _, err := draft.Embed(bytes.Repeat([]byte{0xFF}, 200)); err != nil {
		t.Fatal(err)
	}
	want, err := Embed(empty, short)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := draft.Embed(short); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the longer value shows through, or %v", err)
	}
}
