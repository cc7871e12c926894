package hsm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// neighbours are two tokens in one library behind the fault module, with keys in each.
type neighbours struct {
	*softhsmtest.Faults
	serial [2]string
	cfg    [2]hsm.Config
	m      [2]*hsm.Module
	keys   [2][]hsm.Birth
}

func openNeighbours(t *testing.T) *neighbours {
	t.Helper()
	tokens := []*softhsmtest.Token{softhsmtest.New(t), softhsmtest.New(t)} // before the library is opened
	n := &neighbours{Faults: softhsmtest.WithFaults(t, tokens[0])}
	for i, k := range tokens {
		n.serial[i], n.cfg[i] = k.Serial, config(t, k, "softhsm2-sm2")
		n.cfg[i].Module, n.cfg[i].MayBeAway = n.Module, true
		n.m[i] = open(t, n.cfg[i])
		for _, a := range []hsm.Algorithm{hsm.SM2, hsm.ECDSAP256} {
			n.keys[i] = append(n.keys[i], generate(t, n.m[i], a))
		}
	}
	return n
}

func (n *neighbours) strike(rules ...string) {
	for i, r := range rules {
		rules[i] = strings.NewReplacer("on=A", "on="+n.serial[0], "on=B", "on="+n.serial[1]).Replace(r)
	}
	n.Script(rules...)
}

// load signs with four callers in each token until stop, and returns what went wrong by token. Every signature is verified.
func (n *neighbours) load(t *testing.T, during func()) (good [2]int64, wrong [2][]error) {
	t.Helper()
	var wg sync.WaitGroup
	var stop atomic.Bool
	var mu sync.Mutex
	var signed [2]atomic.Int64
	begun := make(chan struct{}, 8)
	for c := range 8 {
		i := c % 2
		wg.Go(func() {
			for r := 0; !stop.Load(); r++ {
				b, d := n.keys[i][r%len(n.keys[i])], digest()
				sig, err := n.m[i].Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm, Digest: d})
				if err == nil {
					verify(t, b, d, sig)
					signed[i].Add(1)
				} else {
					mu.Lock()
					wrong[i] = append(wrong[i], err)
					mu.Unlock()
				}
				if r == 0 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-begun
	}
	before := [2]int64{signed[0].Load(), signed[1].Load()}
	during()
	mu.Lock()
	so := [2]int{len(wrong[0]), len(wrong[1])}
	mu.Unlock()
	for i := range 2 { // each signs on after it, and somebody else was in it meanwhile
		for from := signed[i].Load(); signed[i].Load() < from+20; {
			if t.Context().Err() != nil {
				t.Fatalf("token %d does not sign any more", i)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	for i := range 2 {
		for _, err := range wrong[i][so[i]:] {
			t.Logf("token %d, after: %v", i, err)
		}
	}
	return [2]int64{signed[0].Load() - before[0], signed[1].Load() - before[1]}, wrong
}

// until waits for a token's calls to fail, or to go well again, with one call after another.
func (n *neighbours) until(t *testing.T, i int, want error) {
	t.Helper()
	for {
		b := n.keys[i][0]
		_, err := n.m[i].Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: b.Algorithm, Digest: digest()})
		if want == nil && err == nil || want != nil && errors.Is(err, want) {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
}

// A token that goes away takes nobody with it who is in the same library, and comes back without them noticing.
func TestFaultOneOfTwoTokensGone(t *testing.T) {
	for name, rule := range map[string]string{
		"device removed":            "* on=A absent",
		"another token in its slot": "* on=A serial=0000000000000000",
		"device errors that stay":   "C_SignInit on=A return=0x30\nC_Login on=A return=0x30",
	} {
		t.Run(name, func(t *testing.T) {
			n := openNeighbours(t)
			logins := n.Logins()
			good, wrong := n.load(t, func() {
				n.strike(rule)
				n.until(t, 0, hsm.ErrTokenGone)
				n.until(t, 0, hsm.ErrTokenGone)
				n.until(t, 1, nil)
				n.strike()
				n.until(t, 0, nil)
			})
			for _, err := range wrong[0] {
				if !errors.Is(err, hsm.ErrTokenGone) {
					t.Errorf("the token that went: %v", err)
				}
			}
			for _, err := range wrong[1] {
				t.Errorf("its neighbour: %v", err)
			}
			if s := n.m[1].Stats(); s.Epoch != 1 {
				t.Errorf("the neighbour is in its epoch %d", s.Epoch)
			}
			t.Logf("signed %v meanwhile, %d calls were told, %d logins", good, len(wrong[0]), n.Logins()-logins)
		})
	}
}

// A library that is finalised underneath is left by everybody before it is initialised again, whoever finds out first; nobody is told. (SoftHSM2 itself
// crashes when it is finalised while somebody is inside, so nobody is.)
func TestFaultLibraryFinalisedUnderTwoTokens(t *testing.T) {
	n := openNeighbours(t)
	raw, _ := n.m[0].Raw()
	for name, who := range map[string][]int{"both at once": {0, 1}, "the first": {0}, "the second": {1}} {
		t.Run(name, func(t *testing.T) {
			before := [2]uint64{n.m[0].Stats().Epoch, n.m[1].Stats().Epoch}
			if err := raw.Finalize(); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for _, i := range who {
				for c := range 4 {
					wg.Go(func() {
						for r := range 5 {
							mustSign(t, n.m[i], n.keys[i][(c+r)%2])
						}
					})
				}
			}
			wg.Wait()
			for i := range 2 {
				mustSign(t, n.m[i], n.keys[i][0])
				if now := n.m[i].Stats().Epoch; now == before[i] {
					t.Errorf("token %d uses handles of the library's former life, in epoch %d", i, now)
				}
			}
		})
	}
}

// Login is each token's own: what ends one's does not end the other's, and closing one leaves the library to the other.
func TestTwoTokensLogInApart(t *testing.T) {
	n := openNeighbours(t)
	n.strike("C_SignInit on=A times=1 logout", "C_SignInit on=A times=1 close-all")
	for range 4 {
		for i := range 2 {
			mustSign(t, n.m[i], n.keys[i][0])
		}
	}
	if s := n.m[1].Stats(); s.Epoch != 1 || s.Relogins != 0 {
		t.Errorf("the neighbour's %+v", s)
	}
	if err := n.m[0].Close(); err != nil {
		t.Fatal(err)
	}
	mustSign(t, n.m[1], n.keys[1][0])
	mustSign(t, n.m[1], n.keys[1][1])
	n.m[0] = open(t, n.cfg[0])
	mustSign(t, n.m[0], n.keys[0][0])
	if _, err := hsm.Open(t.Context(), n.cfg[0]); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("the same token twice: %v", err)
	}
}

// A token that may be away, or latched, opens when it can; a PIN is tried once for all that.
func TestTokenThatMayBeAway(t *testing.T) {
	k, other := softhsmtest.New(t), softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k, "softhsm2-sm2")
	cfg.Module, cfg.MayBeAway = f.Module, true
	f.Script("* on=" + k.Serial + " absent")
	m := open(t, cfg)
	if _, err := m.Info(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("away: %v", err)
	}
	if f.Logins() != 0 {
		t.Errorf("%d logins to a token that is away", f.Logins())
	}
	f.Script()
	mustSign(t, m, generate(t, m, hsm.SM2))

	latched := config(t, other, "softhsm2-sm2")
	latched.Module, latched.MayBeAway = f.Module, true
	right, err := os.ReadFile(other.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	latched.PINFile = filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(latched.PINFile, []byte("wrong-pin"), 0o400); err != nil {
		t.Fatal(err)
	}
	before := f.Logins()
	l := open(t, latched)
	for range 5 {
		if _, err := l.Info(t.Context()); !errors.Is(err, hsm.ErrPINLatched) {
			t.Errorf("latched: %v", err)
		}
	}
	if n := f.Logins() - before; n != 1 {
		t.Errorf("the PIN was tried %d times", n)
	}
	mustSign(t, m, generate(t, m, hsm.SM2))
	if err := errors.Join(os.Remove(latched.PINFile), os.WriteFile(latched.PINFile, right, 0o400), hsm.ClearLatch(latched.LatchFile)); err != nil {
		t.Fatal(err)
	}
	mustSign(t, l, generate(t, l, hsm.SM2))

	nameless := cfg
	nameless.Serial, nameless.Label = "", k.Label
	if _, err := hsm.Open(t.Context(), nameless); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("a token without serial: %v", err)
	}
}
