package signer_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/ofdgen"
)

// ofdRequestOf is an approved request of kind ofd, changed before it is approved.
func (w *world) ofdRequestOf(t testing.TB, id string, doc []byte, change ...func(*signer.Request)) signer.Request {
	t.Helper()
	r := signer.Request{ID: id, Kind: signer.KindOFD, Seal: sealName, Document: doc, Plan: placement.Plan{Stamps: stamps}, Purpose: purpose, BodyDigest: gm.SM3([]byte("body of " + id))}
	for _, c := range change {
		c(&r)
	}
	r.Approval = w.approve(t, r, nil)
	return r
}

func signing(r *signer.Request) { r.Profile, r.Plan = signer.ProfileSign, placement.Plan{} }
func wholly(r *signer.Request)  { r.WholeDocument = true }
func listing(r *signer.Request) { r.Integrity = true }
func onTime(r *signer.Request)  { r.Timestamp = true }

func (w *world) judge(t testing.TB, doc []byte) verify.Report {
	t.Helper()
	return verify.Document(t.Context(), "test.ofd", doc, verify.Options{Roots: []*gm.Certificate{w.rootCert}, Now: w.clock.now()})
}

// TestSignOFDForms: every way to sign an OFD is valid to the verifier, is on record with what it takes to make it again, and is the same when it is
// asked for again after a restart.
func TestSignOFDForms(t *testing.T) {
	w := newWorld(t)
	w.authority(t)
	doc := document(t)
	for name, c := range map[string]struct {
		change     []func(*signer.Request)
		signatures int
	}{
		"continued":              {nil, 1},
		"whole":                  {[]func(*signer.Request){wholly}, 1},
		"sign":                   {[]func(*signer.Request){signing}, 1},
		"sign, whole, stamped":   {[]func(*signer.Request){signing, wholly, onTime}, 1},
		"listed":                 {[]func(*signer.Request){listing}, 2},
		"listed, whole, stamped": {[]func(*signer.Request){listing, wholly, onTime}, 2},
		"sign, listed, stamped":  {[]func(*signer.Request){signing, listing, onTime}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			before, signs := w.Stats(), w.token.Stats().Signs
			r := w.ofdRequestOf(t, "ofd "+name, doc, c.change...)
			rel := mustSign(t, w, r)
			report := w.judge(t, rel.Document)
			if report.Verdict != verify.Valid || len(report.Signatures) != c.signatures {
				t.Errorf("%d signatures\n%s", len(report.Signatures), report.Text(verify.English))
			}
			rec := recordOf(t, w, rel)
			stamped := rec.Timestamp != nil && (rec.EntriesTimestamp != nil || !r.Integrity)
			if (rec.EntriesSignature != nil) != r.Integrity || stamped != r.Timestamp {
				t.Errorf("record %+v", rec)
			}
			after, made := w.Stats(), uint64(c.signatures)
			if after.Released-before.Released != made || after.Signed-before.Signed != made || after.Discarded != before.Discarded {
				t.Errorf("counted %+v after %+v", after, before)
			}
			if !r.Timestamp && w.token.Stats().Signs-signs != made { // a time stamp is a signature, too
				t.Errorf("the token signed %d times", w.token.Stats().Signs-signs)
			}
			w.clock.passes(3e9)
			w.restart(t)
			if again := mustSign(t, w, r); !again.Duplicate || !bytes.Equal(again.Document, rel.Document) {
				t.Error("asked again it is something else")
			}
		})
	}
}

func byKeyword(text string) placement.Plan {
	return placement.Plan{Keywords: []placement.Keyword{{Text: text, Occurrence: -1, W: 40, H: 40}}}
}

// TestOFDKeyword: the picture's centre stands on the word, and record and approval have the plan.
func TestOFDKeyword(t *testing.T) {
	w := newWorld(t)
	doc := ofdgen.Document("演示合同", 2)
	r := w.ofdRequestOf(t, "keyword", doc, func(r *signer.Request) { r.Plan = byKeyword("申请单位（盖章）") })
	rel := mustSign(t, w, r)
	rec := recordOf(t, w, rel)
	if len(rec.Stamps) != 1 || rec.Stamps[0].Page != 2 || rec.Plan == nil || len(rec.Plan.Keywords) != 1 {
		t.Fatalf("record %+v", rec)
	}
	var x, y, width, height float64
	_, boundary, _ := strings.Cut(string(entryOf(t, rel.Document, "Doc_0/Signs/Sign_0/Signature.xml")), `Boundary="`)
	if _, err := fmt.Sscanf(boundary, "%g %g %g %g", &x, &y, &width, &height); err != nil {
		t.Fatal(err)
	}
	s := rec.Stamps[0]
	if math.Abs(x-s.X)+math.Abs(y-s.Y) > 0.002 || width != 40 || height != 40 || x < 5 || x > 40 || y < ofdgen.NameSealY-10 {
		t.Errorf("stands at %g %g %g %g, on record at %+v", x, y, width, height, s)
	}
	w.restart(t)
	if again := mustSign(t, w, r); !bytes.Equal(again.Document, rel.Document) {
		t.Error("asked again it is something else")
	}
	_, err := w.Sign(t.Context(), w.dept, w.ofdRequestOf(t, "absent", doc, func(r *signer.Request) { r.Plan = byKeyword("无此文字") }))
	wantErr(t, err, placement.ErrKeywordNotFound)
	wantErr(t, err, signer.ErrDocument)
}

// entryOf reads one file of a package with the standard library.
func entryOf(t testing.TB, doc []byte, name string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(doc), int64(len(doc)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOFDClosed: after the whole document, or an integrity list, nobody signs; what is added by other means is found.
func TestOFDClosed(t *testing.T) {
	w := newWorld(t)
	first := mustSign(t, w, w.ofdRequestOf(t, "continued", document(t)))
	for name, c := range map[string]struct {
		close func(*signer.Request)
		want  error
		code  string // of the check that finds another file, empty for one that is a note only
	}{
		"whole":  {wholly, ofd.ErrWholeDocument, ""},
		"listed": {listing, ofd.ErrIntegrityList, verify.CodeReferences},
	} {
		closed := mustSign(t, w, w.ofdRequestOf(t, "closing "+name, first.Document, c.close))
		if r := w.judge(t, closed.Document); r.Verdict != verify.Valid {
			t.Errorf("%s, behind a continued one:\n%s", name, r.Text(verify.English))
		}
		for what, change := range map[string]func(*signer.Request){"continued": func(*signer.Request) {}, "whole": wholly, "sign": signing, "listed": listing} {
			signs := w.token.Stats().Signs
			_, err := w.Sign(t.Context(), w.dept, w.ofdRequestOf(t, name+" then "+what, closed.Document, change))
			if !errors.Is(err, c.want) || !errors.Is(err, signer.ErrDocument) || w.token.Stats().Signs != signs {
				t.Errorf("%s then %s: %v", name, what, err)
			}
		}
		r := w.judge(t, repacked(t, closed.Document, "Doc_0/Res/added.bin", ""))
		if c.code != "" && !fails(r, c.code) {
			t.Errorf("%s, a file added:\n%s", name, r.Text(verify.English))
		}
		if r := w.judge(t, repacked(t, closed.Document, "", "Doc_0/Pages/Page_0/Content.xml")); r.Verdict != verify.Invalid {
			t.Errorf("%s, a page removed:\n%s", name, r.Text(verify.English))
		}
	}
}

// TestOFDWholeHolds: one more signature in the list, by whatever tool, breaks the signature over the whole document and leaves a continued one whole.
func TestOFDWholeHolds(t *testing.T) {
	w := newWorld(t)
	for name, broken := range map[string]bool{"whole": true, "continued": false} {
		doc := mustSign(t, w, w.ofdRequestOf(t, name, document(t), func(r *signer.Request) { r.WholeDocument = broken })).Document
		list := "Doc_0/Signs/Signatures.xml"
		longer := bytes.Replace(entryOf(t, doc, list), []byte("</ofd:Signatures>"), []byte(`<!-- one more --></ofd:Signatures>`), 1)
		r := w.judge(t, replaced(t, doc, list, longer))
		if fails(r, verify.CodeReferences) != broken || (r.Verdict == verify.Valid) == broken {
			t.Errorf("%s:\n%s", name, r.Text(verify.English))
		}
	}
}

func fails(r verify.Report, code string) bool {
	for _, s := range r.Signatures {
		for _, c := range s.Checks {
			if c.Code == code && c.Result == verify.Fail {
				return true
			}
		}
	}
	return false
}

// repacked copies a package with one file added and one left out.
func repacked(t testing.TB, doc []byte, add, drop string) []byte {
	t.Helper()
	return repack(t, doc, func(name string, b []byte) []byte {
		if name == drop {
			return nil
		}
		return b
	}, add)
}

func replaced(t testing.TB, doc []byte, name string, with []byte) []byte {
	t.Helper()
	return repack(t, doc, func(n string, b []byte) []byte {
		if n == name {
			return with
		}
		return b
	}, "")
}

func repack(t testing.TB, doc []byte, change func(name string, b []byte) []byte, add string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(doc), int64(len(doc)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	write := func(name string, b []byte) {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range r.File {
		if b := change(f.Name, entryOf(t, doc, f.Name)); b != nil {
			write(f.Name, b)
		}
	}
	if add != "" {
		write(add, []byte("x"))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestOFDMalformed: what a request of kind ofd cannot be.
func TestOFDMalformed(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*signer.Request){
		"nothing placed":    func(r *signer.Request) { r.Plan = placement.Plan{} },
		"a place for none":  func(r *signer.Request) { r.Profile = signer.ProfileSign },
		"another's profile": func(r *signer.Request) { r.Profile = signer.ProfilePAdES },
	} {
		_, err := w.Sign(t.Context(), w.dept, w.ofdRequestOf(t, name, document(t), change))
		if !errors.Is(err, signer.ErrRequestForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	digest := w.delegated("digest")
	for _, change := range []func(*signer.Request){wholly, listing} {
		r := digest
		change(&r)
		_, err := w.Sign(t.Context(), w.dept, r)
		wantErr(t, err, signer.ErrRequestForm)
	}
}
