package worker_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
	softhsmtest "sealkeeper/softhsm-test"
)

// BenchmarkSign sets the same token in this process beside a worker: signatures a second, and the median of one.
func BenchmarkSign(b *testing.B) {
	k := softhsmtest.New(b)
	cfg := config(b, k, "softhsm2-sm2")
	for _, where := range []string{"in-process", "worker"} {
		b.Run(where, func(b *testing.B) {
			var tok keystore.Token
			if where == "worker" {
				tok = open(b, cfg)
			} else {
				m, err := hsm.Open(b.Context(), cfg.Config)
				if err != nil {
					b.Fatal(err)
				}
				defer m.Close()
				tok = m
			}
			for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256} {
				key := generate(b, tok, a)
				for _, callers := range []int{1, 8, 64} {
					b.Run(fmt.Sprintf("%s/%d", a, callers), func(b *testing.B) { rate(b, tok, key, callers) })
				}
			}
		})
	}
}

func rate(b *testing.B, tok keystore.Token, key hsm.Birth, callers int) {
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			var mine []time.Duration
			for n := i; n < b.N; n += callers {
				from := time.Now()
				if _, err := tok.Sign(b.Context(), hsm.SignRequest{Key: key.ID, Algorithm: key.Algorithm, Digest: [32]byte{byte(n)}}); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(from))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sig/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
}
