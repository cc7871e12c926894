package hsm_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// BenchmarkSignSM2 measures what stands between the module and a caller: a bare C_SignInit and C_Sign loop with a session per goroutine,
// Module.Sign, and Key.Sign (e computed, signature verified in software, strict DER). The three run in turn within one round, so that
// their ratios are of one moment; medians are reported. ns/op is of one round of all three and means nothing.
//
//	go test ./hsm -run - -bench SignSM2 -benchtime 7x
func BenchmarkSignSM2(b *testing.B) {
	k := softhsmtest.New(b)
	cfg := config(b, k, "softhsm2-sm2")
	cfg.MaxSessions, cfg.Log = 64, nil
	m := open(b, cfg)
	st, err := store.Open(store.Config{Path: filepath.Join(b.TempDir(), "store.db"), Create: true, Collections: keystore.Collections()})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	keys, err := keystore.Open(b.Context(), m, st, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	key, err := keys.Create(b.Context(), audit.Appliance("benchmark"), keystore.Want{Purpose: keystore.PurposeMaker, Label: "bench", Algorithm: hsm.SM2})
	if err != nil {
		b.Fatal(err)
	}
	raw := rawSigners(b, m, key.ID())
	d, message := digest(), make([]byte, 2000)
	// A request's context can always end, which is the dearer path through Module.Sign.
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	layers := []func(worker int) error{
		func(w int) error { return raw(w, d) },
		func(int) error {
			_, err := m.Sign(ctx, hsm.SignRequest{Key: key.ID(), Algorithm: hsm.SM2, Digest: d})
			return err
		},
		func(int) error { _, err := key.Sign(ctx, message); return err },
	}
	for _, g := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", g), func(b *testing.B) { compare(b, g, layers) })
	}
}

// rawSigners opens a session per worker and finds the key once.
func rawSigners(b *testing.B, m *hsm.Module, id hsm.ObjectID) func(worker int, d [32]byte) error {
	ctx, slot := m.Raw()
	var sessions []pkcs11.SessionHandle
	for range 64 {
		h, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			b.Fatal(err)
		}
		sessions = append(sessions, h)
	}
	if err := ctx.FindObjectsInit(sessions[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id[:])}); err != nil {
		b.Fatal(err)
	}
	found, _, err := ctx.FindObjects(sessions[0], 2)
	if err != nil || len(found) != 1 {
		b.Fatalf("%d keys, %v", len(found), err)
	}
	if err := ctx.FindObjectsFinal(sessions[0]); err != nil {
		b.Fatal(err)
	}
	mech := []*pkcs11.Mechanism{pkcs11.NewMechanism(0x80008105, nil)}
	return func(w int, d [32]byte) error {
		if err := ctx.SignInit(sessions[w], mech, found[0]); err != nil {
			return err
		}
		_, err := ctx.Sign(sessions[w], d[:])
		return err
	}
}

const roundOps = 512

func compare(b *testing.B, g int, layers []func(int) error) {
	rates, cpu := make([][]float64, len(layers)), make([][]float64, len(layers))
	for range b.N {
		for i, f := range layers {
			start, before := time.Now(), cpuTime()
			spread(b, g, f)
			rates[i] = append(rates[i], roundOps/time.Since(start).Seconds())
			cpu[i] = append(cpu[i], float64((cpuTime()-before).Microseconds())/roundOps)
		}
	}
	for i, name := range []string{"raw", "module", "key"} {
		b.ReportMetric(median(rates[i]), name+"/s")
		b.ReportMetric(median(cpu[i]), name+"-cpu-us")
		if i > 0 {
			b.ReportMetric(median(rates[i])/median(rates[0]), name+"/raw")
		}
	}
}

func spread(b *testing.B, g int, f func(int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range g {
		wg.Go(func() {
			for next.Add(1) <= roundOps {
				if err := f(w); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
