package ofd

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestUntouched: of every sample that can be signed, in every way to sign it, each entry but OFD.xml and the list stays as it was: local header, name,
// extra fields, compressed data and data descriptor, and its directory record but for the offset. The two differ by what is inserted alone.
func TestUntouched(t *testing.T) {
	dir, names, _ := samples(t)
	for _, more := range []string{"ofd-v1-fjca/00101.ofd", "ofd-v4-koal/test.ofd", "ofd-v4-koal-3sig/many-ofd.ofd", "ofd-sign-bare/DigitalSign.ofd", "ofd-sign-cms/image-signs.ofd"} {
		names = append(names, "../"+more)
	}
	ways := map[string]func(*Request){"continued": func(*Request) {}, "whole": func(r *Request) { r.Mode = WholeDocument }, "sign": asSign, "listed": func(r *Request) { r.Integrity = true }}
	signed := 0
	for _, name := range names {
		doc, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Open(doc, Limits{})
		if err != nil {
			continue
		}
		for way, change := range ways {
			r := testRequest(Stamp{Page: 1, W: 1, H: 1})
			change(&r)
			d, err := p.Prepare(r)
			if err != nil {
				continue // TestSamples has which and why
			}
			if r.Integrity {
				d = withList(t, d)
			}
			untouched(t, name+", "+way, p, mustEmbed(t, d, "value"))
			signed++
		}
	}
	if signed < 80 {
		t.Errorf("%d signed packages compared only", signed)
	}
}

var inserted = regexp.MustCompile(`<[A-Za-z]*:?Signatures>/[^<]*</[A-Za-z]*:?Signatures>|<[A-Za-z]*:?Signature ID="s\d+" Type="(Seal|Sign)" BaseLoc="/[^"]*"/>|<([A-Za-z]*:?)MaxSignId>[^<]*</[A-Za-z]*:?MaxSignId>`)

func untouched(t *testing.T, name string, p *Package, sealed []byte) {
	t.Helper()
	after, err := readArchive(sealed, Limits{}.withDefaults())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(after.comment, p.arc.comment) {
		t.Errorf("%s: the comment changed", name)
	}
	list := ""
	if l := p.lists[p.body]; l != nil {
		list = l.part
	}
	for i, e := range p.arc.entries {
		now := after.entries[i]
		if e.name == list || e.name == rootPart && list == "" {
			insertedOnly(t, name+": "+e.name, read(t, p.arc, e), read(t, after, now))
			continue
		}
		was, is := bytes.Clone(e.central), bytes.Clone(now.central)
		le.PutUint32(was[42:], 0)
		le.PutUint32(is[42:], 0)
		if !bytes.Equal(p.arc.b[e.from:e.to], after.b[now.from:now.to]) || !bytes.Equal(was, is) {
			t.Errorf("%s: %s changed", name, e.name)
		}
	}
}

func read(t *testing.T, a *archive, e *entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(a.readApart(e)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// insertedOnly takes out of both what signing inserts or replaces; the rest must be the same, but for an empty element that had to be opened.
func insertedOnly(t *testing.T, name string, was, is []byte) {
	t.Helper()
	for _, m := range inserted.FindAll(was, -1) {
		if !bytes.Contains(m, []byte("MaxSignId")) && !bytes.Contains(is, m) {
			t.Errorf("%s: %s is gone", name, m)
		}
	}
	was, is = inserted.ReplaceAll(was, nil), inserted.ReplaceAll(is, nil)
	if !bytes.Equal(was, is) && !bytes.Contains(was, []byte("Signatures/>")) && !bytes.Contains(was, []byte("Signatures></")) {
		t.Errorf("%s: more than insertions\n%s\n%s", name, was, is)
	}
}
