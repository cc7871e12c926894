package verify_test

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

// FuzzDocument feeds whole files: no panic, and nothing unsigned or changed is ever valid.
func FuzzDocument(f *testing.F) {
	w := newWorld(f)
	sound := w.build(f)
	f.Add(sound)
	f.Add(newWorld(f).seal(f))
	f.Add(w.sign(f, w.seal(f), nil))
	f.Add([]byte("PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	opts := verify.Options{Roots: []*gm.Certificate{w.root.cert}, Now: now, MaxBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := verify.Document(t.Context(), "x.ofd", b, opts)
		if r.Verdict == verify.Valid && r.Kind == verify.KindOFD && len(r.Findings) == 0 && !sameFiles(t, sound, b) {
			t.Fatalf("a changed package is valid: %s", r.Text(verify.English))
		}
		r.Text(verify.Chinese)
	})
}

// sameFiles compares the protected files of two packages, as the standard library reads them. What a signature value makes different
// in every process is left out.
func sameFiles(t *testing.T, a, b []byte) bool {
	t.Helper()
	return bytes.Equal(contents(t, a), contents(t, b))
}

func contents(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("a valid package that the standard library cannot open: %v", err)
	}
	var out []byte
	for _, name := range []string{"Doc_0/Document.xml", "Doc_0/PublicRes.xml", pageFile, "Doc_0/Res/image.png"} {
		file, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, content...), 0)
	}
	return out
}

// FuzzPage puts any bytes where a page stands: no panic, and never valid, since the page is protected.
func FuzzPage(f *testing.F) {
	w := newWorld(f)
	f.Add([]byte(pageXML))
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"))
	f.Add(bytes.Repeat([]byte("<a>"), 300))
	f.Add([]byte("\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"GBK\"?><Page a='1' a='2'/>"))
	w.build(f)
	opts := w.options()
	f.Fuzz(func(t *testing.T, page []byte) {
		files := map[string][]byte{}
		for name, content := range w.files {
			files[name] = []byte(content)
		}
		files[pageFile] = page
		r := verify.Document(t.Context(), "x.ofd", pack(t, w.order, files), opts)
		if (r.Verdict == verify.Valid) != (string(page) == pageXML) {
			t.Fatalf("%s", r.Text(verify.English))
		}
	})
}
