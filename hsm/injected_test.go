package hsm_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// faulty is an open token behind the fault module, with a key of each kind that signs.
type faulty struct {
	*softhsmtest.Faults
	token *softhsmtest.Token
	cfg   hsm.Config
	m     *hsm.Module
	keys  []hsm.Birth
}

func openFaulty(t *testing.T, change ...func(*hsm.Config)) *faulty {
	t.Helper()
	f := &faulty{token: softhsmtest.New(t)}
	f.Faults = softhsmtest.WithFaults(t, f.token)
	f.cfg = config(t, f.token, "softhsm2-sm2")
	f.cfg.Module, f.cfg.Label = f.Module, f.token.Label
	for _, c := range change {
		c(&f.cfg)
	}
	f.m = open(t, f.cfg)
	for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256, hsm.RSA2048} {
		f.keys = append(f.keys, generate(t, f.m, a))
	}
	for _, b := range f.keys {
		mustSign(t, f.m, b)
	}
	return f
}

// duringLoad strikes while eight callers sign without pause, and lets them go on until each has had twenty signatures since. Nobody may notice
// anything. It returns how long the slowest call took that ended after the strike: the one that was struck, healing included.
func (f *faulty) duringLoad(t *testing.T, strike func()) time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	var struck atomic.Bool
	var slowest atomic.Int64
	begin := make(chan struct{}, 8)
	for i := range 8 {
		wg.Go(func() {
			since := 0
			for n := 0; since < 20; n++ {
				b, d := f.keys[(i+n)%len(f.keys)], digest()
				from := time.Now()
				sig, err := f.m.Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm, Digest: d})
				if err != nil {
					t.Errorf("%s: %v", b.Algorithm, err)
					return
				}
				if n == 0 {
					begin <- struct{}{}
				}
				if struck.Load() {
					for took, most := int64(time.Since(from)), slowest.Load(); took > most && !slowest.CompareAndSwap(most, took); most = slowest.Load() {
					}
					since++
				}
				verify(t, b, d, sig)
			}
		})
	}
	for range 8 {
		<-begin
	}
	struck.Store(true)
	strike()
	wg.Wait()
	return time.Duration(slowest.Load())
}

func TestFaultSessionInvalid(t *testing.T) {
	for name, rule := range map[string]string{
		"SESSION_HANDLE_INVALID at the start":  "C_SignInit times=3 return=0xB3",
		"SESSION_HANDLE_INVALID at the end":    "C_Sign times=3 return=0xB3",
		"SESSION_CLOSED":                       "C_Sign times=3 return=0xB0",
		"OPERATION_ACTIVE":                     "C_SignInit times=3 return=0x90",
		"the session is closed underneath":     "C_SignInit times=3 close-session",
		"every session is closed underneath":   "C_SignInit times=1 close-all",
		"sessions run out while one is needed": "C_OpenSession times=2 return=0xB1\nC_SignInit times=2 close-session",
	} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t)
			took := f.duringLoad(t, func() { f.Script(rule) })
			if n := f.Strikes("C_Sign") + f.Strikes("C_SignInit"); n == 0 {
				t.Error("nothing was struck")
			}
			t.Logf("slowest call %v; %+v", took, f.m.Stats())
		})
	}
}

func TestFaultKeyHandleInvalid(t *testing.T) {
	for name, rule := range map[string]string{
		"KEY_HANDLE_INVALID":    "C_SignInit times=3 return=0x60",
		"OBJECT_HANDLE_INVALID": "C_SignInit times=3 return=0x82",
	} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t)
			took := f.duringLoad(t, func() { f.Script(rule) })
			if f.Strikes("C_SignInit") != 3 {
				t.Errorf("%d strikes", f.Strikes("C_SignInit"))
			}
			t.Logf("slowest call %v; %+v", took, f.m.Stats())
		})
	}
}

func TestFaultLoggedOut(t *testing.T) {
	f := openFaulty(t)
	took := f.duringLoad(t, func() { f.Script("C_SignInit times=1 logout") })
	if f.Strikes("C_SignInit") != 1 || f.Logins() != 2 {
		t.Errorf("%d strikes, %d logins", f.Strikes("C_SignInit"), f.Logins())
	}
	t.Logf("slowest call %v; %+v", took, f.m.Stats())
}

func TestFaultHostMemory(t *testing.T) {
	for name, code := range map[string]string{"HOST_MEMORY": "0x02", "DEVICE_MEMORY": "0x31", "DEVICE_ERROR": "0x30", "GENERAL_ERROR": "0x05"} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t)
			took := f.duringLoad(t, func() { f.Script("C_Sign times=1 return=" + code) })
			if f.Strikes("C_Sign") != 1 {
				t.Errorf("%d strikes", f.Strikes("C_Sign"))
			}
			t.Logf("slowest call %v; %+v", took, f.m.Stats())
		})
	}
}

// A device that says so to everything is gone until it stops.
func TestFaultDeviceErrorThatStays(t *testing.T) {
	f := openFaulty(t)
	f.Script("* return=0x30")
	for _, b := range f.keys {
		if err := sign(f.m, b.ID, b.Algorithm); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("%s: %v", b.Algorithm, err)
		}
	}
	if f.Logins() != 1 {
		t.Errorf("%d logins", f.Logins())
	}
	f.heals(t)
}

// heals ends every fault, and the next call of each kind must succeed.
func (f *faulty) heals(t *testing.T) {
	t.Helper()
	f.Script()
	since := time.Now()
	mustSign(t, f.m, f.keys[0])
	took := time.Since(since)
	for _, b := range f.keys {
		mustSign(t, f.m, b)
	}
	t.Logf("healed in %v; %+v", took, f.m.Stats())
}

func TestFaultDeviceRemovedAndReturned(t *testing.T) {
	f := openFaulty(t)
	f.Script("* on="+f.token.Serial+" absent", "* absent")
	for range 2 {
		for _, b := range f.keys {
			if err := sign(f.m, b.ID, b.Algorithm); !errors.Is(err, hsm.ErrTokenGone) {
				t.Errorf("%s: %v", b.Algorithm, err)
			}
		}
		if _, err := f.m.Info(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("asking: %v", err)
		}
		if _, err := f.m.Objects(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
			t.Errorf("listing: %v", err)
		}
	}
	if f.Logins() != 1 {
		t.Errorf("%d logins while the token was away", f.Logins()-1)
	}
	f.heals(t)
	if f.Logins() != 2 {
		t.Errorf("%d logins", f.Logins())
	}
}

// The PIN of one token is never sent to another.
func TestFaultTokenSwapped(t *testing.T) {
	for name, byLabel := range map[string]bool{"chosen by serial": false, "chosen by label": true} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t, func(c *hsm.Config) {
				if byLabel {
					c.Serial = ""
				}
			})
			f.Script("* serial=0123456789ABCDEF")
			for range 2 {
				for _, b := range f.keys {
					if err := sign(f.m, b.ID, b.Algorithm); !errors.Is(err, hsm.ErrTokenGone) {
						t.Errorf("%s: %v", b.Algorithm, err)
					}
				}
			}
			if f.Logins() != 1 {
				t.Errorf("%d logins to the other token", f.Logins()-1)
			}
			f.heals(t)
		})
	}
}

func TestFaultSlow(t *testing.T) {
	f := openFaulty(t)
	f.Script("C_Sign times=2 delay=300")
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	b := f.keys[0]
	if _, err := f.m.Sign(short, hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller in a hurry: %v", err)
	}
	f.Await("C_Sign", 1)
	took := f.duringLoad(t, func() {})
	if s := f.m.Stats(); s.Evictions != 0 || s.Epoch != 1 {
		t.Errorf("slowness is no fault: %+v", s)
	}
	t.Logf("slowest call %v", took)
}

// In this process a hung call cannot be ended. It keeps its session; nobody else notices, and its caller leaves in time.
func TestFaultHang(t *testing.T) {
	f := openFaulty(t)
	f.Script("C_Sign times=3 hang")
	short, cancel := context.WithCancel(t.Context())
	left := make(chan error, len(f.keys))
	for _, b := range f.keys {
		go func() {
			_, err := f.m.Sign(short, hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm})
			left <- err
		}()
	}
	f.Await("C_Sign", 3)
	took := f.duringLoad(t, func() {})
	cancel()
	for range f.keys {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("leaving: %v", err)
		}
	}
	if act, inside := f.m.Oldest(); act == "" || inside <= 0 {
		t.Errorf("the oldest call is %q, inside for %v", act, inside)
	}
	f.heals(t)
	if s := f.m.Stats(); s.Epoch != 1 {
		t.Errorf("%+v", s)
	}
	t.Logf("slowest call of the others %v", took)
}

// A module that hangs while the token is opened again keeps nobody longer than he is willing to wait.
func TestFaultHangWhileOpening(t *testing.T) {
	for _, call := range []string{"C_Initialize", "C_GetTokenInfo", "C_OpenSession", "C_Login"} {
		t.Run(call, func(t *testing.T) {
			f := openFaulty(t)
			before := f.Strikes(call)
			f.Script("C_SignInit times=1 logout", call+" times=1 hang")
			for range 2 {
				short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				if _, err := f.m.Sign(short, hsm.SignRequest{Key: f.keys[0].ID, Algorithm: hsm.SM2}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				cancel()
			}
			f.Await(call, before+1)
			f.heals(t)
			if f.Logins() != 2 {
				t.Errorf("%d logins", f.Logins())
			}
		})
	}
}

// A PIN that is refused while the token is opened again is tried once. The latch outlives the process; clearing it is enough to go on.
func TestFaultPINIncorrect(t *testing.T) { pinRefused(t, "0xA0") }

func TestFaultPINLocked(t *testing.T) {
	t.Run("C_Login says so", func(t *testing.T) { pinRefused(t, "0xA4") })
	t.Run("the token says so beforehand", func(t *testing.T) {
		f := openFaulty(t)
		f.Script("C_GetTokenInfo flags=0x40000", "C_SignInit times=1 logout")
		for range 3 {
			if err := sign(f.m, f.keys[0].ID, hsm.SM2); !errors.Is(err, hsm.ErrPINLatched) {
				t.Errorf("got %v", err)
			}
		}
		if f.Logins() != 1 {
			t.Errorf("the PIN was tried on a locked token %d times", f.Logins()-1)
		}
		f.heals(t) // the security officer unlocked it
	})
}

func pinRefused(t *testing.T, code string) {
	f := openFaulty(t)
	f.Script("C_SignInit times=1 logout", "C_Login return="+code)
	if err := sign(f.m, f.keys[0].ID, hsm.SM2); !errors.Is(err, hsm.ErrPINLatched) {
		t.Errorf("the call that met it: %v", err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			b := f.keys[i%len(f.keys)]
			if err := sign(f.m, b.ID, b.Algorithm); !errors.Is(err, hsm.ErrPINLatched) {
				t.Errorf("%s: %v", b.Algorithm, err)
			}
		})
	}
	wg.Wait()
	if f.Logins() != 2 {
		t.Errorf("the refused PIN was tried %d times", f.Logins()-1)
	}
	if l, err := hsm.ReadLatch(f.cfg.LatchFile); l == nil || err != nil {
		t.Errorf("latch %+v, %v", l, err)
	}
	f.Script()
	if err := sign(f.m, f.keys[0].ID, hsm.SM2); !errors.Is(err, hsm.ErrPINLatched) || f.Logins() != 2 {
		t.Errorf("under the latch: %v, %d logins", err, f.Logins())
	}
	if err := hsm.ClearLatch(f.cfg.LatchFile); err != nil {
		t.Fatal(err)
	}
	f.heals(t)
}

// A device that fails in the middle of making a key may have made it. Making it again would leave two keys of one name.
func TestFaultWhileGenerating(t *testing.T) {
	for name, code := range map[string]string{"DEVICE_REMOVED": "0x32", "DEVICE_ERROR": "0x30", "GENERAL_ERROR": "0x05"} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t)
			f.Script("C_GenerateKeyPair after=" + code)
			r := hsm.GenerateRequest{ID: newID(), Label: "cut-off", Algorithm: hsm.SM2}
			if _, err := f.m.Generate(t.Context(), r); err == nil || f.Strikes("C_GenerateKeyPair") != 1 {
				t.Errorf("%d tries, %v", f.Strikes("C_GenerateKeyPair"), err)
			}
			f.Script()
			if err := f.m.Destroy(t.Context(), r.ID); err != nil {
				t.Errorf("the key that is there after all: %v", err)
			}
			if _, err := f.m.Generate(t.Context(), r); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// A birth that loses login, session or handle half-way is cut off; it is not "not found", and nobody has to clear anything.
func TestFaultInTheMiddleOfABirth(t *testing.T) {
	for name, rule := range map[string]string{"logged out": "C_SignInit times=1 logout", "session": "C_SignInit times=1 close-session", "handle": "C_SignInit times=1 return=0x82"} {
		t.Run(name, func(t *testing.T) {
			f := openFaulty(t)
			f.Script(rule)
			r := hsm.GenerateRequest{ID: newID(), Label: "cut-off", Algorithm: hsm.SM2}
			if _, err := f.m.Generate(t.Context(), r); !errors.Is(err, hsm.ErrTokenGone) || errors.Is(err, hsm.ErrNotFound) || errors.Is(err, hsm.ErrLoggedOut) {
				t.Errorf("got %v", err)
			}
			if err := f.m.Destroy(t.Context(), r.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) {
				t.Errorf("what may be left: %v", err)
			}
			if _, err := f.m.Generate(t.Context(), r); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// crashing, in the environment, has this binary open a token whose C_Login ends the process.
const crashing = "SEALKEEPER_TEST_CRASH_IN_LOGIN"

func TestCrashInLogin(t *testing.T) {
	latch := os.Getenv(crashing)
	if latch == "" {
		t.Skip("SKIPPED: the other half of TestFaultCrashInLogin")
	}
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k, "softhsm2-sm2")
	cfg.Module, cfg.LatchFile = f.Module, latch
	f.Script("C_Login crash")
	_, err := hsm.Open(t.Context(), cfg)
	t.Errorf("still here: %v", err)
}

// A process that dies in its first C_Login leaves a latch: nobody knows whether the token counted a wrong try.
func TestFaultCrashInLogin(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run", "^TestCrashInLogin$")
	cmd.Env = append(os.Environ(), crashing+"="+cfg.LatchFile)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("it did not crash: %s", out)
	}
	_, err = hsm.Open(t.Context(), cfg)
	if !errors.Is(err, hsm.ErrPINLatched) {
		t.Errorf("the next process: %v\n%s", err, out)
	}
	if err := hsm.ClearLatch(cfg.LatchFile); err != nil {
		t.Fatal(err)
	}
	m := open(t, cfg)
	mustSign(t, m, generate(t, m, hsm.SM2))
}
