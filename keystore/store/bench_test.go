package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
