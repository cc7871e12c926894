package ofd

import (
	"fmt"
	mathrand "math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/softhsm-test/ofdgen"
)

// weighed is a one-page document with a picture of so many bytes that cannot be compressed.
func weighed(t testing.TB, size int) []byte {
	noise := make([]byte, size)
	mathrand.NewChaCha8([32]byte{1}).Read(noise)
	return fixture(t, file{"Doc_0/Res/picture.jpg", string(noise)})
}

// wordy is a document of text alone.
func wordy(t testing.TB, pages int) []byte {
	text := strings.Repeat(`<ofd:TextObject ID="21" Boundary="20 20 120 10" Font="3" Size="5"><ofd:TextCode X="0" Y="5">测试文档 test document</ofd:TextCode></ofd:TextObject>`, 100)
	var list strings.Builder
	var files []file
	for i := range pages {
		fmt.Fprintf(&list, `<ofd:Page ID="%d" BaseLoc="P/%d.xml"/>`, i+1, i)
		files = append(files, file{fmt.Sprintf("Doc_0/P/%d.xml", i), written(text)})
	}
	document := fixtureDocument[:strings.Index(fixtureDocument, "<ofd:Pages>")] + "<ofd:Pages>" + list.String() + "</ofd:Pages></ofd:Document>"
	return fixture(t, append(files, file{"Doc_0/Document.xml", document})...)
}

// assemble is all that this package does for one signature: open, lay out, say the digest, embed. The value is ready-made, so that no key is measured.
func assemble(t testing.TB, doc []byte, r Request, value []byte) []byte {
	p, err := Open(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	if d.DataHash() == [32]byte{} {
		t.Fatal("no digest")
	}
	out, err := d.Embed(value)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// BenchmarkSeal: a seal of 20 kB, as a picture makes it. heap/size is the most that was in use over the document's size, sampled, the document
// itself left out; sm3/seal is SM3 over the document alone, in the same run, over the whole.
func BenchmarkSeal(b *testing.B) {
	r := testRequest(testStamp)
	r.Seal = make([]byte, 20<<10)
	value := make([]byte, 21<<10)
	for _, c := range []struct {
		name string
		doc  []byte
	}{{"one page", ofdgen.Document("演示合同", 1)}, {"1 MB", weighed(b, 1<<20)}, {"50 MB", weighed(b, 50<<20)}, {"100 pages of text", wordy(b, 100)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.doc)))
			b.ReportAllocs()
			for b.Loop() {
				assemble(b, c.doc, r, value)
			}
			if len(c.doc) >= 1<<20 {
				each := b.Elapsed() / time.Duration(b.N)
				from := time.Now()
				gm.SM3(c.doc)
				b.ReportMetric(float64(time.Since(from))/float64(each), "sm3/seal")
				b.ReportMetric(float64(highest(func() { assemble(b, c.doc, r, value) }))/float64(len(c.doc)), "heap/size")
			}
		})
	}
}

// BenchmarkFind searches a page of 1,900 characters.
func BenchmarkFind(b *testing.B) {
	p, err := Open(wordy(b, 1), Limits{TextBytes: 1 << 50})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := p.Find("文档", 1); err != nil || len(found) != 1 {
			b.Fatal(found, err)
		}
	}
}

// highest samples the heap while f runs and returns the most that was in use above what was before: a lower bound.
func highest(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	<-done
	return max(most, before) - before
}

// TestMemory: all that is ever allocated for a signature, garbage included, stays under twice the document; with the document itself that bounds the
// peak by three times its size, whatever the collector does.
func TestMemory(t *testing.T) {
	doc := weighed(t, 16<<20)
	for name, change := range map[string]func(*Request){"continued": func(*Request) {}, "whole": func(r *Request) { r.Mode = WholeDocument }, "sign": asSign} {
		r := testRequest(testStamp)
		change(&r)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		assemble(t, doc, r, []byte("value"))
		runtime.ReadMemStats(&after)
		if used, bound := after.TotalAlloc-before.TotalAlloc, 2*uint64(len(doc)); used > bound {
			t.Errorf("%s: %d bytes allocated in all, bound %d", name, used, bound)
		}
	}
}
