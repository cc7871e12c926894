package worker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	"sealkeeper/keystore"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/conformance"
	"sealkeeper/softhsm-test/simulator"
)

var _ keystore.Token = (*worker.Token)(nil)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == worker.Command {
		os.Exit(worker.Main())
	}
	os.Exit(softhsmtest.Main(m))
}

func config(t testing.TB, k *softhsmtest.Token, profile string) worker.Config {
	t.Helper()
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile(profile)
	if err != nil {
		t.Fatal(err)
	}
	return worker.Config{Config: hsm.Config{Module: k.Module, Profile: p, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
}

func open(t testing.TB, cfg worker.Config) *worker.Token {
	t.Helper()
	tok, err := worker.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	})
	return tok
}

func TestConformance(t *testing.T) {
	t.Run("SM2 module", func(t *testing.T) {
		conformance.Run(t, open(t, config(t, softhsmtest.New(t), "softhsm2-sm2")))
	})
	t.Run("SoftHSM2", func(t *testing.T) {
		conformance.Run(t, open(t, config(t, softhsmtest.New(t, softhsmtest.Plain()), "softhsm2")), hsm.ECDSAP256, hsm.RSA2048, hsm.AES256)
	})
	t.Run("a device that hashes", func(t *testing.T) { // the message crosses to the child
		cfg := config(t, softhsmtest.New(t), "sansec")
		p, err := cfg.Profile.Using("sm3-default-id-der")
		if err != nil {
			t.Fatal(err)
		}
		k := simulator.New(t, p)
		cfg.Profile, cfg.Module, cfg.Serial, cfg.PINFile = p, k.Module, k.Serial, k.PINFile
		conformance.Run(t, open(t, cfg), hsm.SM2)
	})
}

// What a token says of itself does not depend on where its module runs.
func TestSameAsInProcess(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	m, err := hsm.Open(t.Context(), cfg.Config)
	if err != nil {
		t.Fatal(err)
	}
	here, err := m.Info(t.Context())
	if err = errors.Join(err, m.Close()); err != nil {
		t.Fatal(err)
	}
	there, err := open(t, cfg).Info(t.Context())
	if err != nil || here != there {
		t.Errorf("in process %+v\nin a worker %+v, %v", here, there, err)
	}
}

func generate(t testing.TB, tok keystore.Token, a hsm.Algorithm) hsm.Birth {
	t.Helper()
	var id hsm.ObjectID
	rand.Read(id[:])
	b, err := tok.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "test:" + id.String(), Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(ctx context.Context, tok keystore.Token, b hsm.Birth) error {
	var d [32]byte
	rand.Read(d[:])
	sig, err := tok.Sign(ctx, hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm, Digest: d})
	if err != nil {
		return err
	}
	return conformance.Verify(b, d, sig)
}

func mustSign(t testing.TB, tok keystore.Token, b hsm.Birth) {
	t.Helper()
	if err := sign(t.Context(), tok, b); err != nil {
		t.Fatal(err)
	}
}

// faulty is a token in a worker behind the fault module.
type faulty struct {
	*softhsmtest.Faults
	cfg  worker.Config
	tok  *worker.Token
	keys []hsm.Birth
}

func openFaulty(t *testing.T, hang time.Duration) *faulty {
	t.Helper()
	k := softhsmtest.New(t)
	f := &faulty{Faults: softhsmtest.WithFaults(t, k), cfg: config(t, k, "softhsm2-sm2")}
	f.cfg.Module, f.cfg.Hang = f.Module, hang
	f.tok = open(t, f.cfg)
	for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256} {
		f.keys = append(f.keys, generate(t, f.tok, a))
		mustSign(t, f.tok, f.keys[len(f.keys)-1])
	}
	return f
}

// heals counts what a dozen callers notice of a fault that takes the worker with it: a call fails as interrupted or not at all, and each caller
// is served again without a restart of this process.
func (f *faulty) heals(t *testing.T, rule string) {
	t.Helper()
	children := f.tok.Stats().Relogins
	var wg sync.WaitGroup
	var interrupted atomic.Int32
	var slowest atomic.Int64
	struck := make(chan struct{})
	for i := range 12 {
		wg.Go(func() {
			for good := 0; good < 10; {
				from := time.Now()
				err := sign(t.Context(), f.tok, f.keys[i%len(f.keys)])
				slowest.Store(max(slowest.Load(), int64(time.Since(from))))
				switch {
				case errors.Is(err, hsm.ErrInterrupted):
					interrupted.Add(1)
					good = 0
				case err != nil:
					t.Error(err)
					return
				default:
					select {
					case <-struck:
						good++
					default:
					}
				}
			}
		})
	}
	f.Script(rule) // every child obeys it anew
	await(t, func() bool { return f.tok.Stats().Relogins > children })
	f.Script()
	close(struck)
	wg.Wait()
	if interrupted.Load() == 0 || f.tok.Stats().Relogins == children {
		t.Errorf("%d calls were interrupted, %+v", interrupted.Load(), f.tok.Stats())
	}
	t.Logf("%d calls interrupted, slowest call %v, %+v", interrupted.Load(), time.Duration(slowest.Load()), f.tok.Stats())
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it never happened")
		}
	}
}

func TestFaultCrash(t *testing.T) {
	f := openFaulty(t, 0)
	before := f.tok.Stats()
	f.heals(t, "C_Sign times=1 crash")
	info, err := f.tok.Info(t.Context())
	if after := f.tok.Stats(); err != nil || after.Signs <= before.Signs || after.Epoch != info.Epoch || info.Epoch < 2 {
		t.Errorf("before %+v, after %+v, info %+v, %v", before, after, info, err)
	}
	if l, err := hsm.ReadLatch(f.cfg.LatchFile); l != nil || err != nil {
		t.Errorf("latch %+v, %v", l, err)
	}
}

func TestFaultHang(t *testing.T) {
	f := openFaulty(t, 500*time.Millisecond)
	f.heals(t, "C_Sign times=1 hang")
}

// A module that hangs while a new child opens the token is given up as well.
func TestFaultHangWhileOpening(t *testing.T) {
	for _, call := range []string{"C_Initialize", "C_Login"} {
		t.Run(call, func(t *testing.T) {
			f := openFaulty(t, 400*time.Millisecond)
			f.Script("C_Sign times=1 crash", call+" times=1 hang")
			ctx := t.Context()
			if err := sign(ctx, f.tok, f.keys[0]); !errors.Is(err, hsm.ErrInterrupted) {
				t.Errorf("the crash: %v", err)
			}
			if err := sign(ctx, f.tok, f.keys[0]); !errors.Is(err, hsm.ErrTokenGone) {
				t.Errorf("opening again: %v", err)
			}
			f.Script()
			await(t, func() bool {
				err := sign(ctx, f.tok, f.keys[0])
				if err != nil && !errors.Is(err, hsm.ErrTokenGone) {
					t.Fatal(err)
				}
				return err == nil
			})
		})
	}
}

// A child that dies in its first C_Login may have cost a try. Nothing tries again.
func TestFaultCrashInFirstLogin(t *testing.T) {
	k := softhsmtest.New(t)
	f, cfg := softhsmtest.WithFaults(t, k), config(t, k, "softhsm2-sm2")
	cfg.Module = f.Module
	f.Script("C_Login crash")
	if _, err := worker.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("the crash: %v", err)
	}
	for range 2 {
		if _, err := worker.Open(t.Context(), cfg); !errors.Is(err, hsm.ErrPINLatched) {
			t.Errorf("again: %v", err)
		}
	}
	if f.Logins() != 1 {
		t.Errorf("the PIN was tried %d times", f.Logins())
	}
	if err := hsm.ClearLatch(cfg.LatchFile); err != nil {
		t.Fatal(err)
	}
	f.Script()
	tok := open(t, cfg)
	mustSign(t, tok, generate(t, tok, hsm.SM2))
}

// A PIN that is refused to a new child is tried once, however many call.
func TestFaultPINIncorrect(t *testing.T) {
	f := openFaulty(t, 0)
	f.Script("C_Sign times=1 crash", "C_Login return=0xA0")
	if err := sign(t.Context(), f.tok, f.keys[0]); !errors.Is(err, hsm.ErrInterrupted) {
		t.Errorf("the crash: %v", err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := sign(t.Context(), f.tok, f.keys[0]); !errors.Is(err, hsm.ErrPINLatched) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if f.Logins() != 2 {
		t.Errorf("the refused PIN was tried %d times", f.Logins()-1)
	}
	f.Script()
	if err := hsm.ClearLatch(f.cfg.LatchFile); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return sign(t.Context(), f.tok, f.keys[0]) == nil })
}

// Another token in the slot gets no PIN from a new child either.
func TestFaultTokenSwapped(t *testing.T) {
	f := openFaulty(t, 0)
	f.Script("C_SignInit times=1 crash", "* serial=0123456789ABCDEF")
	if err := sign(t.Context(), f.tok, f.keys[0]); !errors.Is(err, hsm.ErrInterrupted) {
		t.Errorf("the crash: %v", err)
	}
	for range 3 {
		if err := sign(t.Context(), f.tok, f.keys[0]); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("got %v", err)
		}
	}
	if f.Logins() != 1 {
		t.Errorf("the PIN went to another token %d times", f.Logins()-1)
	}
	f.Script()
	await(t, func() bool { return sign(t.Context(), f.tok, f.keys[0]) == nil })
}

// What heals in a process heals in a child without costing it.
func TestFaultsThatTheChildHeals(t *testing.T) {
	f := openFaulty(t, 0)
	for name, rule := range map[string]string{"logged out": "C_SignInit times=1 logout", "session closed": "C_SignInit times=1 close-session",
		"device error": "C_Sign times=1 return=0x30", "key handle": "C_SignInit times=1 return=0x60"} {
		f.Script(rule)
		for _, b := range f.keys {
			if err := sign(t.Context(), f.tok, b); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	f.Script("* absent")
	if err := sign(t.Context(), f.tok, f.keys[0]); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("absent: %v", err)
	}
	f.Script()
	mustSign(t, f.tok, f.keys[0])
}
