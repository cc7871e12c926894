package ofd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
)

func asSign(r *Request) { r.Type, r.Seal, r.Stamps = Sign, nil, nil }

// prepare opens a document and lays a request out.
func prepare(t testing.TB, doc []byte, change ...func(*Request)) *Draft {
	t.Helper()
	p, err := Open(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r := testRequest(testStamp)
	for _, c := range change {
		c(&r)
	}
	d, err := p.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustEmbed(t testing.TB, d *Draft, value string) []byte {
	t.Helper()
	out, err := d.Embed([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWholeDocument: the list of signatures is protected with everything else, the first time and behind another signature, and nobody signs after.
func TestWholeDocument(t *testing.T) {
	whole := func(r *Request) { r.Mode = WholeDocument }
	behind := mustEmbed(t, prepare(t, fixture(t)), "first")
	for name, doc := range map[string][]byte{"fresh": fixture(t), "behind another": behind} {
		t.Run(name, func(t *testing.T) {
			sealed := mustEmbed(t, prepare(t, doc, whole), "last")
			u := unpack(t, sealed)
			s := readSigned(t, u) // every reference of every signature holds
			last := len(s.sigs) - 1
			dir := strings.TrimSuffix(s.names[last], "Signature.xml")
			if got, want := s.uncovered(u, last), []string{s.names[last], dir + "SignedValue.dat"}; !sameSet(got, want) {
				t.Errorf("uncovered: %q, want %q", got, want)
			}
			p, err := Open(sealed, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for what, change := range map[string]func(*Request){"continued": func(*Request) {}, "whole": whole, "sign": asSign} {
				r := testRequest(testStamp)
				change(&r)
				if d, err := p.Prepare(r); !errors.Is(err, ErrWholeDocument) || d != nil {
					t.Errorf("%s after the whole document: %v", what, err)
				}
			}
		})
	}
}

// TestWholeDocumentOfSeveral: the lists of the other documents are protected, too.
func TestWholeDocumentOfSeveral(t *testing.T) {
	root := strings.Replace(fixtureOFD, "</ofd:OFD>", `<ofd:DocBody><ofd:DocRoot>Doc_1/Document.xml</ofd:DocRoot><ofd:Signatures>/Doc_1/Signatures.xml</ofd:Signatures></ofd:DocBody></ofd:OFD>`, 1)
	doc := fixture(t, file{"OFD.xml", root}, file{"Doc_1/Document.xml", fixtureDocument}, file{"Doc_1/Pages/Page_0/Content.xml", fixturePage},
		file{"Doc_1/Signatures.xml", `<Signatures/>`})
	for mode, want := range map[Mode]bool{Continued: false, WholeDocument: true} {
		d := prepare(t, doc, func(r *Request) { r.Mode = mode })
		for _, list := range []string{"/Doc_0/Signs/Signatures.xml", "/Doc_1/Signatures.xml"} {
			if got := bytes.Contains(d.SignatureXML(), []byte(`FileRef="`+list+`"`)); got != want {
				t.Errorf("mode %d: %s protected: %v", mode, list, got)
			}
		}
	}
}

// TestSignature: a signature without seal is listed as such, shows nothing and brings no seal.
func TestSignature(t *testing.T) {
	d := prepare(t, mustEmbed(t, prepare(t, fixture(t)), "first"), asSign)
	u := unpack(t, mustEmbed(t, d, "value"))
	s := readSigned(t, u)
	if s.list.Signatures[0].Type != "Seal" || s.list.Signatures[1].Type != "Sign" || d.Type() != Sign || d.SealDER() != nil {
		t.Errorf("types %q and %q", s.list.Signatures[0].Type, s.list.Signatures[1].Type)
	}
	sig := s.sigs[1]
	if sig.SignedInfo.Seal.BaseLoc != "" || len(sig.SignedInfo.StampAnnot) != 0 || u.data["Doc_0/Signs/Sign_1/Seal.esl"] != nil {
		t.Errorf("a signature without seal brings one: %+v", sig)
	}
	if got := string(u.data[at(s.names[1], sig.SignedValue)]); got != "value" {
		t.Errorf("SignedValue.dat = %q", got)
	}
}

type xmlEntries struct {
	SignedValueLoc string
	FileList       struct {
		File []struct {
			ID      string `xml:"ID,attr"`
			FileLoc string `xml:"FileLoc,attr"`
		}
	}
}

// TestIntegrity: the list names every file of the sealed package but itself and its value, the signature protects it, and it ends the signing.
func TestIntegrity(t *testing.T) {
	doc := fixture(t, file{`Doc_0/Res/a&b.bin`, "x"}, file{"Doc_0/Res/", ""})
	for name, change := range map[string]func(*Request){"seal": func(*Request) {}, "sign": asSign, "whole": func(r *Request) { r.Mode = WholeDocument }} {
		t.Run(name, func(t *testing.T) {
			d := prepare(t, doc, change, func(r *Request) { r.Integrity = true })
			if d.EntriesHash() != gm.SM3(d.Entries()) {
				t.Error("EntriesHash is not SM3 of Entries")
			}
			if _, err := d.Embed([]byte("value")); !errors.Is(err, ErrRequest) {
				t.Errorf("without the list's value: %v", err)
			}
			listed, err := d.WithEntriesValue([]byte("list value"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Embed([]byte("value")); !errors.Is(err, ErrRequest) {
				t.Errorf("the draft itself has changed: %v", err)
			}
			sealed := mustEmbed(t, listed, "value")
			u := unpack(t, sealed)
			checkEntries(t, u, d)
			s := readSigned(t, u)
			for _, open := range s.uncovered(u, 0) {
				if open == entriesPart {
					t.Error("the signature leaves the list open")
				}
			}
			if _, err := Open(sealed, Limits{}); !errors.Is(err, ErrIntegrityList) {
				t.Errorf("opened for another signature: %v", err)
			}
		})
	}
}

func checkEntries(t *testing.T, u unpacked, d *Draft) {
	t.Helper()
	var list xmlEntries
	if err := xml.Unmarshal(u.data[entriesPart], &list); err != nil || !bytes.Equal(u.data[entriesPart], d.Entries()) {
		t.Fatalf("list: %v", err)
	}
	value, ids := at("", list.SignedValueLoc), map[string]bool{}
	if string(u.data[value]) != "list value" {
		t.Errorf("%s = %q", value, u.data[value])
	}
	var got, want []string
	for _, f := range list.FileList.File {
		if ids[f.ID] {
			t.Errorf("ID %s twice", f.ID)
		}
		ids[f.ID] = true
		got = append(got, at("", f.FileLoc))
	}
	for name := range u.data {
		if !strings.HasSuffix(name, "/") && name != entriesPart && name != value {
			want = append(want, name)
		}
	}
	if !sameSet(got, want) {
		t.Errorf("the list has\n%q, the package\n%q", got, want)
	}
}

func TestEntriesValueRefused(t *testing.T) {
	plain := prepare(t, fixture(t))
	listed := prepare(t, fixture(t), func(r *Request) { r.Integrity = true })
	for name, c := range map[string]struct {
		d     *Draft
		value []byte
	}{"no list": {plain, []byte("v")}, "no value": {listed, nil}, "huge value": {listed, make([]byte, maxSealBytes+1)}} {
		if d, err := c.d.WithEntriesValue(c.value); !errors.Is(err, ErrRequest) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A file where the list's value is to go.
	p, err := Open(fixture(t, file{"SIGNEDVALUE.dat", "x"}), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r := testRequest(testStamp)
	r.Integrity = true
	if _, err := p.Prepare(r); !errors.Is(err, ErrDuplicate) {
		t.Errorf("got %v, want ErrDuplicate", err)
	}
}

// TestPrepared: what goes through the bytes of a prepared package comes to the same as what never left memory.
func TestPrepared(t *testing.T) {
	list := func(r *Request) { r.Integrity = true }
	for name, changes := range map[string][]func(*Request){
		"seal": {}, "sign": {asSign}, "whole": {func(r *Request) { r.Mode = WholeDocument }}, "listed": {list}, "listed sign": {asSign, list},
	} {
		t.Run(name, func(t *testing.T) {
			d := prepare(t, fixture(t), changes...)
			b, err := d.Prepared()
			if err != nil {
				t.Fatal(err)
			}
			again, err := OpenPrepared(b, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if again.DataHash() != d.DataHash() || again.PropertyInfo() != d.PropertyInfo() || again.Type() != d.Type() || !bytes.Equal(again.SealDER(), d.SealDER()) ||
				!bytes.Equal(again.Entries(), d.Entries()) {
				t.Error("the draft reads otherwise")
			}
			if d.Entries() != nil {
				d, again = withList(t, d), withList(t, again)
				if b, err = again.Prepared(); err != nil {
					t.Fatal(err)
				}
			}
			want := mustEmbed(t, d, "value")
			if got := mustEmbed(t, again, "value"); !bytes.Equal(got, want) {
				t.Error("OpenPrepared and Embed give other bytes")
			}
			if d.Entries() != nil {
				if _, err := Embed(b, []byte("value")); !errors.Is(err, ErrRequest) {
					t.Errorf("without the list's value: %v", err)
				}
				return
			}
			if got, err := Embed(b, []byte("value")); err != nil || !bytes.Equal(got, want) {
				t.Errorf("Embed gives other bytes (%v)", err)
			}
		})
	}
}

func withList(t *testing.T, d *Draft) *Draft {
	t.Helper()
	d, err := d.WithEntriesValue([]byte("list value"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPreparedRefused: nothing is embedded into a package that is not as it was prepared.
func TestPreparedRefused(t *testing.T) {
	d := prepare(t, fixture(t))
	b, err := d.Prepared()
	if err != nil {
		t.Fatal(err)
	}
	u := unpack(t, b)
	repacked := func(change func(name string, data []byte) (string, []byte)) []byte {
		var files []file
		for _, name := range u.names {
			if n, data := change(name, u.data[name]); n != "" {
				files = append(files, file{n, string(data)})
			}
		}
		return packed(t, files...)
	}
	listed, err := prepare(t, fixture(t), func(r *Request) { r.Integrity = true }).Prepared()
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, data string) []byte { // the listed one with a file replaced, and no longer protected, or added
		u := unpack(t, listed)
		files := []file{{name, data}}
		for _, n := range u.names {
			if n == name {
				continue
			}
			text := string(u.data[n])
			if strings.HasSuffix(n, "Signature.xml") {
				text = regexp.MustCompile(`<ofd:Reference FileRef="/OFDEntries.xml">.*?</ofd:Reference>`).ReplaceAllString(text, "")
			}
			files = append(files, file{n, text})
		}
		return packed(t, files...)
	}
	keep := func(n string, b []byte) (string, []byte) { return n, b }
	bare := func(n int) string {
		return fmt.Sprintf(`<Signature><SignedInfo><References CheckMethod="SM3"/></SignedInfo><SignedValue>v%d.dat</SignedValue></Signature>`, n)
	}
	two := fixture(t, file{"OFD.xml", strings.Replace(fixtureOFD, "</ofd:DocRoot>", "</ofd:DocRoot><ofd:Signatures>S.xml</ofd:Signatures>", 1)},
		file{"S.xml", `<Signatures><Signature ID="1" Type="Sign" BaseLoc="1.xml"/><Signature ID="2" Type="Sign" BaseLoc="2.xml"/></Signatures>`},
		file{"1.xml", bare(1)}, file{"2.xml", bare(2)})
	for name, c := range map[string]struct {
		prepared []byte
		value    string
		want     error
	}{
		"as prepared":     {repacked(keep), "v", nil},
		"no value":        {b, "", ErrRequest},
		"plain document":  {fixture(t), "v", ErrPrepared},
		"sealed document": {mustEmbed(t, d, "v"), "v", ErrPrepared},
		"no package":      {[]byte("x"), "v", ErrNotZip},
		"two wait":        {two, "v", ErrPrepared},
		"list is signed":  {with("signedvalue.dat", "x"), "v", ErrPrepared},
		"list of nothing": {with(entriesPart, "<DocEntries/>"), "v", ErrPrepared},
		"page changed": {repacked(func(n string, b []byte) (string, []byte) {
			if strings.HasSuffix(n, "Content.xml") {
				b = bytes.Replace(b, []byte("/>"), []byte(" />"), 1)
			}
			return n, b
		}), "v", ErrEarlierSignature},
		"copy of the seal gone": {repacked(func(n string, b []byte) (string, []byte) {
			if strings.HasSuffix(n, "Seal.esl") {
				return "", nil
			}
			return n, b
		}), "v", ErrEarlierSignature},
	} {
		if out, err := Embed(c.prepared, []byte(c.value)); !errors.Is(err, c.want) || (out == nil) != (c.want != nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
