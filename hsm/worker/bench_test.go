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

// BenchmarkIsolation sets the same token in this process beside a worker, in turns of 256 signatures each: signatures a second of both, their ratio, and the
// median of one.
func BenchmarkIsolation(b *testing.B) {
	cfg := config(b, softhsmtest.New(b), "softhsm2-sm2")
	m, err := hsm.Open(b.Context(), cfg.Config)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	sides := []keystore.Token{m, open(b, cfg)}
	for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256} {
		key := generate(b, m, a)
		for _, tok := range sides {
			mustSign(b, tok, key)
		}
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/%d", a, callers), func(b *testing.B) { compare(b, sides, key, callers) })
		}
	}
}

const turn = 256

func compare(b *testing.B, sides []keystore.Token, key hsm.Birth, callers int) {
	took, rates := make([][]time.Duration, len(sides)), make([][]float64, len(sides))
	for n := 0; n < b.N; n += turn {
		for i, tok := range sides {
			from := time.Now()
			took[i] = append(took[i], signMany(b, tok, key, callers)...)
			rates[i] = append(rates[i], turn/time.Since(from).Seconds())
		}
	}
	for i, name := range []string{"here", "worker"} {
		slices.Sort(took[i])
		slices.Sort(rates[i])
		b.ReportMetric(rates[i][len(rates[i])/2], name+"-sig/s")
		b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds()), name+"-p50-us")
	}
	b.ReportMetric(rates[1][len(rates[1])/2]/rates[0][len(rates[0])/2], "ratio")
}

// signMany makes one turn's signatures and returns how long each took.
func signMany(b *testing.B, tok keystore.Token, key hsm.Birth, callers int) []time.Duration {
	took := make([]time.Duration, turn)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := i; n < turn; n += callers {
				from := time.Now()
				if _, err := tok.Sign(b.Context(), hsm.SignRequest{Key: key.ID, Algorithm: key.Algorithm, Digest: [32]byte{byte(n)}}); err != nil {
					b.Error(err)
					return
				}
				took[n] = time.Since(from)
			}
		})
	}
	wg.Wait()
	return took
}
