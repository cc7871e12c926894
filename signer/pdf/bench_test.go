package pdf

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/softhsm-test/pdfgen"
)

// BenchmarkSeal opens, prepares, hashes and embeds; the value is ready-made, so that no key is measured, and the picture is kept as who signs
// often keeps it. heap/size is the most that was in use
// over the document's size, sampled, the document itself left out.
func BenchmarkSeal(b *testing.B) {
	for _, c := range []struct {
		name  string
		lines int
	}{{"one page", 0}, {"1 MB", 1 << 20 / 64}, {"50 MB", 50 << 20 / 64}} {
		b.Run(c.name, func(b *testing.B) {
			lines := make([]string, c.lines)
			for i := range lines {
				lines[i] = fmt.Sprintf("%032d", i)
			}
			doc := pdfgen.Document("contract", 1, lines...)
			r := request(b, corner)
			var err error
			if r.Image, err = NewImage(r.Picture, Limits{}); err != nil {
				b.Fatal(err)
			}
			value := make([]byte, 4<<10)
			copy(value, []byte{0x30, 0x82, 0x0F, 0xFC})
			run := func() {
				d, err := Open(doc, Limits{})
				if err != nil {
					b.Fatal(err)
				}
				draft, err := d.Prepare(r)
				if err != nil {
					b.Fatal(err)
				}
				h := gm.NewSM3()
				for _, part := range draft.Covered() {
					h.Write(part)
				}
				if out, err := draft.Embed(value); err != nil || len(out) < len(doc) {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			if c.lines > 0 {
				b.ReportMetric(float64(heap(run))/float64(len(doc)), "heap/size")
			}
		})
	}
}

// heap samples the heap while f runs: the most in use above what was before.
func heap(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most - before
}

func BenchmarkNewImage(b *testing.B) {
	png := picture(b)
	for b.Loop() {
		if _, err := NewImage(png, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPAdES is one signature of profile pades on one page, picture and all, with a P-256 key in software: what
// softhsm-test/interop/python/pades_cpu.py measures of pyHanko. With PADES_MATERIAL naming a directory it leaves document, picture, key and certificate
// there for it.
func BenchmarkPAdES(b *testing.B) {
	doc, r := pdfgen.Document("contract", 1), request(b, corner)
	if dir := os.Getenv("PADES_MATERIAL"); dir != "" {
		material(b, dir, doc, r.Picture)
	}
	image, err := NewImage(r.Picture, Limits{})
	if err != nil {
		b.Fatal(err)
	}
	r.Image = image
	start := processorTime(b)
	for b.Loop() {
		d, err := Open(doc, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		draft, err := d.Prepare(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := draft.Embed(signed(b, draft)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func material(b *testing.B, dir string, doc, picture []byte) {
	key, der := signer()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string][]byte{"one.pdf": doc, "seal.png": picture, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"certificate.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMemory: all that is ever allocated for a signature, garbage included, stays under twice the document; with the document itself that bounds
// the peak by three times its size, whatever the collector does.
func TestMemory(t *testing.T) {
	lines := make([]string, 16<<20/64)
	for i := range lines {
		lines[i] = fmt.Sprintf("%032d", i)
	}
	doc, r := pdfgen.Document("contract", 1, lines...), request(t, corner)
	var err error
	if r.Image, err = NewImage(r.Picture, Limits{}); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := Open(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	draft, err := d.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	h := gm.NewSM3()
	for _, part := range draft.Covered() {
		h.Write(part)
	}
	if _, err := draft.Embed(append([]byte{0x30, 0x20}, h.Sum(nil)...)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used, bound := after.TotalAlloc-before.TotalAlloc, 2*uint64(len(doc)); used > bound {
		t.Errorf("%d bytes allocated in all for %d, bound %d", used, len(doc), bound)
	}
}
