package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sealkeeper/keystore/store"
)

const (
	benchCallers = 64
	benchRound   = 16_000 // appends of one measurement
	benchBody    = 400    // bytes of a record's body
)

// BenchmarkAppend64 measures 64 callers appending to the store against 64 callers appending the same bytes to a plain file whose writer
// groups them and calls fdatasync: the limit of the disk. The three are measured in turn, and the medians of the ratios are reported.
func BenchmarkAppend64(b *testing.B) {
	var bare, full []float64
	run := 0
	for b.Loop() {
		file := filePerSecond(b)
		bare = append(bare, storePerSecond(b, func(int) store.Mutation { return bareCommit() })/file)
		run++
		full = append(full, storePerSecond(b, func(i int) store.Mutation { return fullCommit(run, i) })/file)
		b.ReportMetric(file, "file-appends/s")
	}
	b.ReportMetric(median(bare), "bare/file")
	b.ReportMetric(median(full), "full/file")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func bareCommit() store.Mutation { return store.Mutation{Audit: [][]byte{make([]byte, benchBody)}} }

// fullCommit is what one released signature commits.
func fullCommit(run, i int) store.Mutation {
	id := fmt.Sprintf("%d-%d", run, i)
	return store.Mutation{
		Request: &store.Request{Client: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", ID: id},
		Spend: []store.Spend{{Counter: "nonce/" + id, N: 1, Limit: 1, Expires: time.Now().Add(5 * time.Minute)},
			{Counter: fmt.Sprintf("delegation/%d", i%1000), N: 1, Limit: 1 << 40}},
		Audit: [][]byte{make([]byte, benchBody)},
	}
}

// perSecond runs act benchRound times from benchCallers goroutines and returns the rate.
func perSecond(b *testing.B, act func(i int) error) float64 {
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range benchCallers {
		wg.Go(func() {
			for i := next.Add(1); i <= benchRound; i = next.Add(1) {
				if err := act(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return benchRound / time.Since(start).Seconds()
}

func storePerSecond(b *testing.B, m func(i int) store.Mutation) float64 {
	s, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "bench.db"), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	return perSecond(b, func(i int) error {
		_, err := s.Commit(context.Background(), m(i))
		return err
	})
}

// filePerSecond is the plain file: length and bytes appended, one write and one fdatasync for all that wait.
func filePerSecond(b *testing.B) float64 {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "plain"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	type append64 struct {
		body []byte
		done chan error
	}
	queue := make(chan append64, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		var group []append64
		var buf []byte
		for a := range queue {
			group, buf = append(group[:0], a), append(buf[:0], a.body...)
			for more := true; more; {
				select {
				case a, ok := <-queue:
					if more = ok; ok {
						group, buf = append(group, a), append(buf, a.body...)
					}
				default:
					more = false
				}
			}
			_, err := f.Write(buf)
			if err == nil {
				err = syscall.Fdatasync(int(f.Fd()))
			}
			for _, a := range group {
				a.done <- err
			}
		}
	})
	rate := perSecond(b, func(int) error {
		a := append64{make([]byte, benchBody), make(chan error, 1)}
		queue <- a
		return <-a.done
	})
	close(queue)
	writer.Wait()
	return rate
}

// BenchmarkOpen opens a store with 250,000 values, as many remembered requests, 100,000 live counters and 8,000 records behind the
// snapshot.
func BenchmarkOpen(b *testing.B) {
	seals := &store.Collection{Name: "seal", Indexes: []store.Index{{Name: "owner", Keys: func(v []byte) ([][]byte, error) { return [][]byte{v[:18]}, nil }}}}
	cfg := store.Config{Path: filepath.Join(b.TempDir(), "bench.db"), Create: true, Collections: []*store.Collection{seals}}
	s, err := store.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	const n = 250_000
	for i := 0; i < n; i += 1000 {
		var ms []store.Mutation
		for j := i; j < i+1000; j++ {
			m := fullCommit(0, j)
			m.Spend = []store.Spend{{Counter: fmt.Sprintf("delegation/%d", j%100_000), N: 1}}
			m.Put = []store.Put{{Collection: seals, Key: fmt.Appendf(nil, "%014d", j), Value: fmt.Appendf(nil, "%018d%400d", j/4, j)}}
			ms = append(ms, m)
		}
		for _, r := range s.CommitAll(context.Background(), ms) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	cfg.SnapshotEvery = 1 << 30
	if s, err = store.Open(cfg); err != nil {
		b.Fatal(err)
	}
	for i := 0; i < 8000; i += 1000 {
		var ms []store.Mutation
		for j := i; j < i+1000; j++ {
			ms = append(ms, fullCommit(1, j))
		}
		s.CommitAll(context.Background(), ms)
	}
	var copied bytes.Buffer
	if err := s.Backup(context.Background(), &copied); err != nil { // as if killed: without the snapshot of Close
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(cfg.Path, copied.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(copied.Len())/(1<<20), "MiB")
	copied.Reset()
	for b.Loop() {
		s, err := store.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
		if st := s.Stats(); st.Requests < n || s.State().Size != n+8000 {
			b.Fatalf("%+v", st)
		}
		s.Close() // with a huge snapshot interval it still writes one, so the next round replays nothing: the first counts
		b.StartTimer()
	}
}

// BenchmarkGet reads a 400-byte value from every processor at once while nothing is written.
func BenchmarkGet(b *testing.B) {
	c := &store.Collection{Name: "seal"}
	s, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "bench.db"), Create: true, Collections: []*store.Collection{c}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var ms []store.Mutation
	for i := range 1000 {
		ms = append(ms, store.Mutation{Put: []store.Put{{Collection: c, Key: fmt.Appendf(nil, "%014d", i), Value: make([]byte, benchBody)}}})
	}
	s.CommitAll(context.Background(), ms)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			if _, err := s.Get(context.Background(), c, fmt.Appendf(nil, "%014d", i%1000)); err != nil {
				b.Error(err)
			}
		}
	})
}
