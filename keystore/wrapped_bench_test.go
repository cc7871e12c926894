package keystore_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

const (
	realKeys = 1000 // made in the token, each with a blob of its own
	fewKeys  = 100  // in the small store, and the warm set of both
)

// BenchmarkWrapped holds custody of a million wrapped keys against that of a hundred: one token, two stores, the same hundred keys signing from eight
// goroutines in turn within each round. The large store holds a thousand keys that were made in the token; its other records are copies of these under
// identifiers of their own, which weigh the same and never sign. Medians of rounds; the start is that of the large store.
//
//	make bench-wrapped
//
// SEALKEEPER_WRAPPED_KEYS is another number than 1,000,000.
func BenchmarkWrapped(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("SEALKEEPER_WRAPPED_KEYS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	tok := openToken(b, 16)
	dir := b.TempDir()
	path := filepath.Join(dir, "large.db")
	small, large := openStore(b, filepath.Join(dir, "small.db")), openStore(b, path)
	few, many := quietly(b, tok, small), quietly(b, tok, large)
	useWrapping(b, many, wrapSeals)
	makeKEK(b, many, "ceremony/1")
	ids := make([]keystore.ID, realKeys)
	for i := range ids {
		ids[i] = mustBear(b, many, large, fmt.Sprintf("41030000%06d", i)).ID()
	}
	values := copyKeys(b, large, small, ids)
	fill(b, large, values, n-realKeys)
	if err := large.Close(); err != nil {
		b.Fatal(err)
	}
	start, large, many := restart(b, tok, path)
	atStart := rssAnon(b)

	round := func(k *keystore.Keystore, warm []keystore.ID) float64 { return signRate(b, k, warm, 1500) }
	round(few, ids[:fewKeys])
	round(many, ids)
	var rates [3][]float64
	var ratios []float64
	for b.Loop() {
		var x, y float64
		if len(ratios)%2 == 0 { // neither always comes second
			x = round(few, ids[:fewKeys])
			y = round(many, ids[:fewKeys])
		} else {
			y = round(many, ids[:fewKeys])
			x = round(few, ids[:fewKeys])
		}
		rates[0], rates[1], ratios = append(rates[0], x), append(rates[1], y), append(ratios, y/x)
		rates[2] = append(rates[2], round(many, ids))
	}
	b.ReportMetric(float64(start.Milliseconds()), "start-ms") // not before the loop, which forgets what was reported
	b.ReportMetric(float64(atStart), "start-RssAnon-MB")
	b.ReportMetric(median(rates[0]), "few/s")
	b.ReportMetric(median(rates[1]), "many/s")
	b.ReportMetric(median(rates[2]), "many-1000-warm/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(0, "ns/op")
	touch(b, many, large, 100_000)
	b.ReportMetric(float64(rssAnon(b)), "end-RssAnon-MB")
	b.ReportMetric(float64(tok.Stats().Unwraps), "unwraps")
}

func quietly(b *testing.B, tok keystore.Token, st store.Store) *keystore.Keystore {
	b.Helper()
	k, err := keystore.Open(b.Context(), tok, st, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	return k
}

// copyKeys copies the first keys to the small store, and returns the values of all.
func copyKeys(b *testing.B, from, to store.Store, ids []keystore.ID) (values [][]byte) {
	b.Helper()
	for i, id := range ids {
		c, it := storedWrapped(b, from, id)
		values = append(values, it.Value)
		if i >= fewKeys {
			continue
		}
		if _, err := to.Commit(b.Context(), store.Mutation{Put: []store.Put{{Collection: c, Key: it.Key, Value: it.Value}}}); err != nil {
			b.Fatal(err)
		}
	}
	return values
}

// fill writes n copies of values under identifiers in ascending order.
func fill(b *testing.B, st store.Store, values [][]byte, n int) {
	b.Helper()
	c := wrappedCollection(b)
	var bytes int
	for at := 0; at < n; {
		var m store.Mutation
		for ; at < n && len(m.Put) < 1000; at++ {
			var id keystore.ID
			binary.BigEndian.PutUint64(id[:], uint64(at+1))
			v := slices.Clone(values[at%len(values)])
			var r struct {
				ID keystore.ID `json:"id"`
			}
			if err := json.Unmarshal(v, &r); err != nil {
				b.Fatal(err)
			}
			v = []byte(strings.ReplaceAll(string(v), r.ID.String(), id.String()))
			bytes += len(v)
			m.Put = append(m.Put, store.Put{Collection: c, Key: id[:], Value: v})
		}
		if _, err := st.Commit(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d records of %d bytes on average", n, bytes/max(n, 1))
}

// restart is what a start does once the token is open, up to the first signature that could be made.
func restart(b *testing.B, tok *hsm.Module, path string) (time.Duration, *store.Bolt, *keystore.Keystore) {
	b.Helper()
	runtime.GC()
	from := time.Now()
	st := openStore(b, path)
	k := quietly(b, tok, st)
	useWrapping(b, k, wrapSeals)
	if r, err := k.Reconcile(b.Context(), audit.Appliance("start")); err != nil || len(r.Missing)+len(r.Orphans) > 0 {
		b.Fatalf("%+v, %v", r, err)
	}
	return time.Since(from), st, k
}

// signRate has eight goroutines sign n times with the keys in turn, each looked up as a request looks it up.
func signRate(b *testing.B, k *keystore.Keystore, ids []keystore.ID, n int) float64 {
	const workers = 8
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var wg sync.WaitGroup
	from := time.Now()
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				key, err := k.Key(ctx, ids[i%len(ids)])
				if err == nil {
					_, err = key.Sign(ctx, []byte("to be signed"))
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(from).Seconds()
}

// touch looks up as many keys as custody keeps in memory.
func touch(b *testing.B, k *keystore.Keystore, st store.Store, n int) {
	b.Helper()
	c := wrappedCollection(b)
	for cursor := ""; n > 0; {
		page, err := st.List(b.Context(), c, "", nil, cursor, 1000)
		if err != nil {
			b.Fatal(err)
		}
		for _, it := range page.Items {
			if _, err := k.Key(b.Context(), keystore.ID(it.Key)); err != nil {
				b.Fatal(err)
			}
			n--
		}
		if cursor = page.Next; cursor == "" {
			return
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// rssAnon is what the process holds beside its mapped files, in MB.
func rssAnon(b *testing.B) (mb int) {
	b.Helper()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			var kb int
			fmt.Sscan(v, &kb)
			mb = kb / 1000
		}
	}
	return mb
}
