package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

// soakFor, in the environment, is how long TestSoak runs on each side, for example 60s; soakSeed repeats a run.
const (
	soakFor  = "SEALKEEPER_SOAK"
	soakSeed = "SEALKEEPER_SOAK_SEED"
)

// troubles are what the soak chooses from. Those that only a worker survives come last.
var troubles = []string{
	"C_SignInit times=2 return=0xB3", "C_Sign times=2 return=0xB0", "C_SignInit times=1 close-session", "C_FindObjectsInit times=1 return=0xB3",
	"C_SignInit times=1 close-all", "C_SignInit times=1 logout", "C_SignInit times=2 return=0x60", "C_SignInit times=2 return=0x82", "C_Sign times=1 return=0x02",
	"C_Sign times=1 return=0x30", "C_Sign times=1 return=0x31", "C_Sign times=1 return=0x05", "C_OpenSession times=2 return=0xB1", "C_Sign times=3 delay=20",
	"C_GetTokenInfo times=2 return=0x30", "C_Sign times=1 corrupt", "* absent", "* serial=0123456789ABCDEF", "* return=0x30", "* times=5 return=0x32",
	"C_GenerateKeyPair times=1 after=0x32", "C_EncryptInit times=1 return=0xB3", "C_Initialize times=1 return=0x05\nC_SignInit times=1 logout",
	"C_Sign times=1 crash", "C_GenerateKeyPair times=1 crash", "C_GetTokenInfo times=1 crash", "C_Sign times=1 hang", "C_OpenSession times=1 hang\nC_SignInit times=1 close-session",
}

const needWorker = 5 // of the last

// TestSoak: one trouble after another at random, under load. No wrong signature is released, no PIN is refused, every error has a name that says to come
// back, and after each trouble the token serves again.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(soakFor))
	if err != nil {
		t.Skipf("SKIPPED: set %s to a duration, or use make soak", soakFor)
	}
	seed := rand.Uint64()
	if s := os.Getenv(soakSeed); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", soakSeed, seed)
	t.Run("in-process", func(t *testing.T) {
		soak(t, length, rand.New(rand.NewPCG(seed, 1)), troubles[:len(troubles)-needWorker], func(cfg worker.Config) (keystore.Token, error) { return hsm.Open(t.Context(), cfg.Config) })
	})
	t.Run("worker", func(t *testing.T) {
		soak(t, length, rand.New(rand.NewPCG(seed, 2)), troubles, func(cfg worker.Config) (keystore.Token, error) { return worker.Open(t.Context(), cfg) })
	})
}

// soaked is what a soak counts.
type soaked struct {
	mu     sync.Mutex
	good   atomic.Int64
	errors map[string]int
	heal   map[string][]time.Duration
}

// allowed are the errors that a caller may meet: all say that nothing was released and to come back.
var allowed = map[string]error{"gone": hsm.ErrTokenGone, "interrupted": hsm.ErrInterrupted, "wrong signature": keystore.ErrSignatureWrong, "busy": hsm.ErrBusy,
	"refused": hsm.ErrRefused}

func (s *soaked) note(t *testing.T, what string, err error) {
	if err == nil {
		s.good.Add(1)
		return
	}
	for name, a := range allowed {
		if errors.Is(err, a) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.errors[what+": "+name]++
			return
		}
	}
	t.Errorf("%s: %v", what, err)
}

func soak(t *testing.T, length time.Duration, choice *rand.Rand, rules []string, openToken func(worker.Config) (keystore.Token, error)) {
	k := softhsmtest.New(t)
	f, cfg := softhsmtest.WithFaults(t, k), config(t, k, "softhsm2-sm2")
	cfg.Module, cfg.Hang, cfg.Log = f.Module, 300*time.Millisecond, slog.New(slog.DiscardHandler)
	tok, err := openToken(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	})
	st, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store.db"), Create: true, Collections: keystore.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	keys, err := keystore.Open(t.Context(), tok, st, cfg.Log)
	if err != nil {
		t.Fatal(err)
	}
	create := func(ctx context.Context, p keystore.Purpose, a hsm.Algorithm) (*keystore.Key, error) {
		return keys.Create(ctx, audit.Actor{Role: "operator-system", ID: "soak"}, keystore.Want{Purpose: p, Label: fmt.Sprintf("soak-%s-%d", p, rand.Uint64()), Algorithm: a})
	}
	var signing []*keystore.Key
	for p, a := range map[keystore.Purpose]hsm.Algorithm{keystore.PurposeMaker: hsm.SM2, keystore.PurposeTSAP256: hsm.ECDSAP256} {
		key, err := create(t.Context(), p, a)
		if err != nil {
			t.Fatal(err)
		}
		signing = append(signing, key)
	}
	s := &soaked{errors: map[string]int{}, heal: map[string][]time.Duration{}}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				sig, err := signing[(i+n)%2].Sign(t.Context(), fmt.Appendf(nil, "%d/%d", i, n)) // verifies
				if err != nil && sig != nil {
					t.Errorf("a signature came with %v", err)
				}
				s.note(t, "sign", err)
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			_, err := create(t.Context(), keystore.PurposeDocument, hsm.ECDSAP256)
			s.note(t, "birth", err)
			<-time.After(50 * time.Millisecond)
		}
	})
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		rule := rules[choice.IntN(len(rules))]
		f.Script(rule)
		<-time.After(time.Duration(choice.IntN(120)) * time.Millisecond)
		f.Script()
		s.heals(t, signing, rule)
	}
	stop.Store(true)
	wg.Wait()
	if l, err := hsm.ReadLatch(cfg.LatchFile); l != nil || err != nil {
		t.Errorf("latch %+v, %v", l, err)
	}
	s.report(t, tok.Stats(), f.Logins())
}

// heals waits until both keys sign again.
func (s *soaked) heals(t *testing.T, keys []*keystore.Key, rule string) {
	from := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, key := range keys {
		for {
			_, err := key.Sign(ctx, []byte("again"))
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Errorf("after %q nothing is signed: %v", rule, err)
				return
			}
			<-time.After(time.Millisecond)
		}
	}
	s.heal[rule] = append(s.heal[rule], time.Since(from))
}

func (s *soaked) report(t *testing.T, stats hsm.Stats, logins int) {
	t.Logf("%d calls good, %d logins, %+v", s.good.Load(), logins, stats)
	for _, what := range slices.Sorted(maps.Keys(s.errors)) {
		t.Logf("%6d %s", s.errors[what], what)
	}
	for _, rule := range slices.Sorted(maps.Keys(s.heal)) {
		all := s.heal[rule]
		slices.Sort(all)
		t.Logf("%4d × %-60q healed after %v (median), %v (longest)", len(all), rule, all[len(all)/2].Round(100*time.Microsecond), all[len(all)-1].Round(100*time.Microsecond))
	}
}
