package verify_test

import (
	"bytes"
	"fmt"
	mathrand "math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/pdfgen"
)

// heap samples the heap while f runs and returns the most that was in use above what was before. It is a lower bound: what lives between two
// samples is not seen.
func heap(f func()) uint64 {
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
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	<-done
	if most < before {
		return 0
	}
	return most - before
}

// many signs a package n times, each signature covering what stood before it.
func many(b *testing.B, n int, ballast int) (*world, []byte) {
	w := newWorld(b)
	if ballast > 0 {
		noise := make([]byte, ballast)
		mathrand.NewChaCha8([32]byte{1}).Read(noise)
		w.add("Doc_0/Res/ballast.bin", string(noise))
	}
	w.files["Doc_0/Signs/Signatures.xml"] = listOf(n)
	return w, w.buildMany(b, n)
}

func judge(b *testing.B, doc []byte, opts verify.Options, signatures int) {
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	name := "x.ofd"
	if bytes.HasPrefix(doc, []byte("%PDF")) {
		name = "x.pdf"
	}
	run := func() {
		r := verify.Document(b.Context(), name, doc, opts)
		if r.Verdict != verify.Valid || len(r.Signatures) != signatures {
			b.Fatal(r.Text(verify.English))
		}
	}
	for b.Loop() {
		run()
	}
	if len(doc) >= 1<<20 {
		b.ReportMetric(float64(heap(run))/float64(len(doc)), "heap/size")
	}
}

// BenchmarkVerifyOFD judges packages of one and three signatures, and large ones. A signature is four SM2 verifications: its value, the seal,
// the signer's and the maker's certificate; x4SM2 is the time in units of those, measured beside.
func BenchmarkVerifyOFD(b *testing.B) {
	for _, c := range []struct {
		name       string
		signatures int
		ballast    int
	}{{"one signature", 1, 0}, {"three signatures", 3, 0}, {"1 MB", 1, 1 << 20}, {"50 MB", 1, 50 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			w, doc := many(b, c.signatures, c.ballast)
			one := ceiling(b, w)
			judge(b, doc, w.options(), c.signatures)
			if c.ballast == 0 {
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(4*c.signatures)/float64(one), "x4SM2")
			}
		})
	}
}

// ceiling is the time of one SM2 verification, measured beside.
func ceiling(b *testing.B, w *world) time.Duration {
	message := []byte("x")
	value, err := w.signer.key.Sign(message)
	if err != nil {
		b.Fatal(err)
	}
	raw, _, err := gm.DecodeLenient(value)
	if err != nil {
		b.Fatal(err)
	}
	key, times := w.signer.key.Public(), 2000
	start := time.Now()
	for range times {
		if err := key.VerifyE(key.E(message), raw); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / time.Duration(times)
}

// BenchmarkVerifyPDF judges documents of profile gm.
func BenchmarkVerifyPDF(b *testing.B) {
	for _, c := range []struct {
		name  string
		lines int
	}{{"one page", 0}, {"1 MB", 1 << 20 / 64}, {"50 MB", 50 << 20 / 64}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPaper(b)
			p.stamp = func([]byte) []byte { return nil }
			lines := make([]string, c.lines)
			for i := range lines {
				lines[i] = fmt.Sprintf("%032d", i)
			}
			doc := p.gm(pdfgen.Document("contract", 1, lines...))
			judge(b, doc, p.opts, 1)
		})
	}
}

// BenchmarkSM3 is what one core does over a document, the floor under every other figure; MB/cpu-s is by processor time, which other work on
// the machine hardly touches.
func BenchmarkSM3(b *testing.B) {
	doc := make([]byte, 50<<20)
	b.SetBytes(int64(len(doc)))
	before, n := processorTime(b), 0
	for b.Loop() {
		gm.SM3(doc)
		n++
	}
	b.ReportMetric(float64(n*len(doc))/1e6/(processorTime(b)-before).Seconds(), "MB/cpu-s")
}

// processorTime is the user time that this process has had.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
