package licence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/store"
	"sealkeeper/keystore/store/conformance"
	"sealkeeper/licence"
	demo "sealkeeper/softhsm-test/synthetic"
	"sealkeeper/softhsm-test/synthetic/dataset"
)

// established is the first event of the n-th enterprise.
func established(n int) licence.Event {
	e := demo.New("import", n)
	f := fields()
	f.USCC, f.Name, f.Division, f.LegalRep, f.Address = e.USCC, e.Name, e.Division, e.LegalRep, e.Address
	return licence.Event{ID: fmt.Sprintf("import-%d", n), Kind: licence.KindEstablished, Licence: f, EffectiveAt: at(1), IssuedAt: at(1)}
}

// jsonLines signs events into JSON Lines.
func (d *desk) jsonLines(events ...licence.Event) []byte {
	d.Helper()
	var b bytes.Buffer
	for _, ev := range events {
		if err := json.NewEncoder(&b).Encode(d.sign(ev)); err != nil {
			d.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestImport(t *testing.T) {
	d := newDesk(t, licence.Demo)
	renamed := established(0)
	renamed.ID, renamed.Kind, renamed.IssuedAt, renamed.EffectiveAt, renamed.Licence.Name = "import-0-renamed", licence.KindChanged, at(2), at(2), "洛阳示例更名商贸有限公司"
	early := established(3)
	early.ID, early.Kind = "import-3-early", licence.KindDormant
	foreign := &desk{TB: t, key: newKey(t)}
	input := slicesOf(
		d.jsonLines(established(0), established(1)), []byte("\n"), // an empty line is nothing
		[]byte("{\"kind\": 7}\n"), d.jsonLines(renamed), foreign.jsonLines(established(2)), d.jsonLines(early, established(3)),
		[]byte(strings.Repeat("x", 600<<10)+"\n"), bytes.TrimSpace(d.jsonLines(established(4))))
	var rejects []licence.Reject
	var last licence.Imported
	sum, err := d.lib.Import(t.Context(), bytes.NewReader(input), actor, func(r licence.Reject) { rejects = append(rejects, r) }, func(i licence.Imported) { last = i })
	if err != nil {
		t.Fatal(err)
	}
	if want := (licence.Imported{Lines: 10, Taken: 5, Rejected: 4, Offset: int64(len(input))}); sum != want || last != want {
		t.Errorf("sum %+v, progress %+v, want %+v", sum, last, want)
	}
	wants := []struct {
		line int
		err  error
	}{{4, licence.ErrLine}, {6, envelope.ErrSignature}, {7, licence.ErrTransition}, {9, licence.ErrLine}}
	for i, w := range wants {
		if i >= len(rejects) || rejects[i].Line != w.line || !errors.Is(rejects[i].Reason, w.err) {
			t.Fatalf("rejects %v, want %v", rejects, wants)
		}
	}
	if l, _, err := d.lib.Current(t.Context(), renamed.Licence.USCC); err != nil || l.Version != 2 || l.Name != renamed.Licence.Name {
		t.Errorf("two events of one entity in one batch: %+v, %v", l, err)
	}
	before := d.st.State().Size
	if sum, err = d.lib.Import(t.Context(), bytes.NewReader(input), actor, nil, nil); err != nil || sum.Repeated != 5 || sum.Taken != 0 || d.st.State().Size != before {
		t.Errorf("the same file again: %+v, %v", sum, err)
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestImportGoesOnFromItsOffset: an input that breaks off after a batch goes on behind it and ends with everything.
func TestImportGoesOnFromItsOffset(t *testing.T) {
	d := newDesk(t, licence.Demo)
	const n = 2300
	var all []licence.Event
	for i := range n {
		all = append(all, established(i))
	}
	input := d.jsonLines(all...)
	torn := errors.New("the line is cut")
	sum, err := d.lib.Import(t.Context(), io.MultiReader(bytes.NewReader(input[:len(input)/2]), failing{torn}), actor, nil, nil)
	if !errors.Is(err, torn) {
		t.Fatalf("a torn input: %+v, %v", sum, err)
	}
	rest, err := d.lib.Import(t.Context(), bytes.NewReader(input[sum.Offset:]), actor, nil, nil)
	if err != nil || rest.Rejected > 0 || sum.Taken+rest.Taken != n || rest.Offset+sum.Offset != int64(len(input)) {
		t.Fatalf("first %+v, then %+v of %d, %v", sum, rest, len(input), err)
	}
	if got, err := d.lib.Count(t.Context(), licence.Active); err != nil || got != n {
		t.Errorf("%d licences, want %d: %v", got, n, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestImportOverFaults: a store that refuses, or loses its answer, ends the import with its error; again and again, everything gets in, once.
func TestImportOverFaults(t *testing.T) {
	d := newDesk(t, licence.Demo)
	const n = 40
	var all []licence.Event
	for i := range n {
		all = append(all, established(i))
	}
	input := d.jsonLines(all...)
	faulty := conformance.NewFaulty(d.st, conformance.Cycle(conformance.Refuse, conformance.None, conformance.Lose, conformance.None, conformance.Forget, conformance.None))
	lib, err := licence.New(faulty, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{d.key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ {
		sum, err := lib.Import(t.Context(), bytes.NewReader(input), actor, nil, nil)
		if err == nil && sum.Rejected == 0 && sum.Taken+sum.Repeated == n {
			break
		}
		if try == 200 || err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("after %d tries: %+v, %v", try, sum, err)
		}
	}
	if size := d.st.State().Size; size != n {
		t.Errorf("%d records of %d events", size, n)
	}
}

// BenchmarkImport300k imports a made-up city from a file, histories and defects with it, and asks it: -benchtime 1x. The memory is what the process
// holds of its own, beyond what it held before, at its highest.
func BenchmarkImport300k(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		d := benchDesk(b)
		dir := filepath.Join(b.TempDir(), "city")
		sum, err := dataset.Write(context.Background(), dataset.Config{Size: dataset.Sizes["city"], Seed: "import", Dir: dir, Events: d.key})
		if err != nil {
			b.Fatal(err)
		}
		input, err := os.Open(filepath.Join(dir, "licences.jsonl"))
		if err != nil {
			b.Fatal(err)
		}
		debug.FreeOSMemory()
		before, peak := rssAnon(b), 0.0
		b.StartTimer()
		start := time.Now()
		got, err := d.lib.Import(context.Background(), input, actor, nil, func(licence.Imported) { peak = max(peak, rssAnon(b)) })
		if err != nil || got.Taken != sum.Taken || got.Rejected != sum.Rejected {
			b.Fatal(got, sum, err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "import-s")
		b.ReportMetric(float64(got.Taken)/time.Since(start).Seconds(), "events/s")
		b.ReportMetric(peak-before, "rss-anon-MiB")
		b.ReportMetric(d.lookups(sum.Enterprises), "lookup-p99-us")
		start = time.Now()
		if c, err := d.lib.Changed(context.Background(), time.Time{}, "", 1000); err != nil || len(c.Items) != 1000 {
			b.Fatal(len(c.Items), err)
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "feed-page-ms")
		input.Close()
	}
}

// rssAnon is the process's own memory in MiB.
func rssAnon(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

func benchDesk(b *testing.B) *desk {
	st, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "store"), Collections: licence.Collections(), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	d := &desk{TB: b, st: st, key: newKey(b)}
	if d.lib, err = licence.New(st, licence.Config{Mode: licence.Demo, Pinned: []*gm.PublicKey{d.key.Public()}}); err != nil {
		b.Fatal(err)
	}
	return d
}

// lookups returns the 99th percentile of looking current licences up, in microseconds.
func (d *desk) lookups(n int) float64 {
	var took []time.Duration
	for i := range 20_000 {
		code := demo.New("import", 1+i*7919%n).USCC
		start := time.Now()
		if _, _, err := d.lib.Current(context.Background(), code); err != nil {
			d.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return float64(took[len(took)*99/100].Nanoseconds()) / 1000
}
