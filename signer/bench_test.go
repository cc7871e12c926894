package signer_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/signer"
)

// BenchmarkSignDigest measures full seal signatures over a digest (20 kB picture, consent checked, durable record) against the token's
// own rate, in turns, and reports the medians: rates per second, their ratio, and CPU per signature. The token's rate is taken with the
// same number of callers; for batches with as many as its sessions can use.
func BenchmarkSignDigest(b *testing.B) {
	w := newWorld(b)
	w.delegate(b, "delegation-1", 1<<40)
	var serial atomic.Int64
	delegated := func() signer.Request { return w.delegated(fmt.Sprint("request-", serial.Add(1))) }
	sign := func(b *testing.B, r signer.Request) {
		if _, err := w.Sign(b.Context(), w.dept, r); err != nil {
			b.Error(err)
		}
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("delegation-%d", callers), func(b *testing.B) {
			w.compare(b, callers, 1, func() func() { r := delegated(); return func() { sign(b, r) } })
		})
		b.Run(fmt.Sprintf("approval-%d", callers), func(b *testing.B) {
			w.compare(b, callers, 1, func() func() {
				r := w.digestRequest(b, fmt.Sprint("request-", serial.Add(1)))
				return func() { sign(b, r) }
			})
		})
	}
	b.Run("batch-100", func(b *testing.B) {
		w.compare(b, 4, signer.MaxBatch, func() func() {
			rs := make([]signer.Request, signer.MaxBatch)
			for i := range rs {
				rs[i] = delegated()
			}
			return func() {
				out, err := w.SignBatch(b.Context(), w.dept, rs)
				if err != nil {
					b.Error(err)
				}
				for _, o := range out {
					if o.Err != nil {
						b.Error(o.Err)
					}
				}
			}
		})
	})
	if st := w.Stats(); st.Released == 0 || st.Signed != st.Released+st.Discarded {
		b.Errorf("counted %+v", st)
	}
}

const benchRound = 3000 // signatures of one measurement

// compare runs rounds of the token alone and of the service, each act being size signatures.
func (w *world) compare(b *testing.B, callers, size int, prepare func() func()) {
	key := w.sealKey(b)
	acts := benchRound / size
	var ratios, token, service, cpu, tokenCPU []float64
	for b.Loop() {
		b.StopTimer()
		prepared := make([]func(), acts)
		for i := range prepared {
			prepared[i] = prepare()
		}
		b.StartTimer()
		alone, tokenUsed := rate(max(callers, min(size, 64)), benchRound, func(int) { w.rawSign(b, key) })
		served, used := rate(callers, acts, func(i int) { prepared[i]() })
		served, used = served*float64(size), used/float64(size)
		token, service, ratios, cpu = append(token, alone), append(service, served), append(ratios, served/alone), append(cpu, used)
		tokenCPU = append(tokenCPU, tokenUsed)
	}
	b.ReportMetric(median(token), "token/s")
	b.ReportMetric(median(service), "service/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(cpu), "cpu-us/op")
	b.ReportMetric(median(tokenCPU), "token-cpu-us/op")
}

func (w *world) sealKey(b *testing.B) hsm.ObjectID {
	s, _, err := w.reg.Seal(b.Context(), sealName)
	if err != nil {
		b.Fatal(err)
	}
	return s.Key
}

// rawSign is C_Sign and nothing else.
func (w *world) rawSign(b *testing.B, key hsm.ObjectID) {
	r := hsm.SignRequest{Key: key, Algorithm: hsm.SM2}
	rand.Read(r.Digest[:])
	if _, err := w.token.Sign(b.Context(), r); err != nil {
		b.Error(err)
	}
}

// rate runs n acts from some callers and returns acts per second and CPU microseconds per act of the whole process.
func rate(callers, n int, act func(i int)) (perSecond, cpu float64) {
	var next atomic.Int64
	var all sync.WaitGroup
	from, began := processCPU(), time.Now()
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				act(i)
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(began).Seconds(), float64((processCPU() - from).Microseconds()) / float64(n)
}

func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkVerifySM2 is what law 4 costs on every signature, for the reading of the ratios above.
func BenchmarkVerifySM2(b *testing.B) {
	w := newWorld(b)
	key, err := w.keys.Key(b.Context(), w.sealKey(b))
	if err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 200)
	sig, err := key.Sign(b.Context(), msg)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := gm.DecodeSignature(sig)
	if err != nil {
		b.Fatal(err)
	}
	e := key.Public().E(msg)
	for b.Loop() {
		if err := key.Public().VerifyE(e, raw); err != nil {
			b.Fatal(err)
		}
	}
}
