package probe_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/hsm/probe"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestLaw07WrongPIN: a wrong PIN is tried once, latches, and the next probing does not try it again.
func TestLaw07WrongPIN(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k)
	cfg.Module = f.Module
	f.Script("C_Login return=0xA0")
	for range 3 {
		if _, err := probe.Run(t.Context(), cfg, probe.Options{Set: profiles(t)}); !errors.Is(err, hsm.ErrPINLatched) {
			t.Errorf("got %v", err)
		}
	}
	if n := f.Logins(); n != 1 {
		t.Errorf("%d logins were tried", n)
	}
}

// TestNoPINForAFinalTry: a token that would not forgive a mistake is sent no PIN.
func TestNoPINForAFinalTry(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k)
	cfg.Module = f.Module
	f.Script("C_GetTokenInfo flags=0x20000")
	if _, err := probe.Run(t.Context(), cfg, probe.Options{Set: profiles(t)}); !errors.Is(err, hsm.ErrPINLatched) || f.Logins() != 0 {
		t.Errorf("%v after %d logins", err, f.Logins())
	}
}

func TestTokenIsNamed(t *testing.T) {
	k, twin := softhsmtest.New(t), softhsmtest.New(t)
	for name, change := range map[string]func(*hsm.Config){
		"nobody":           func(c *hsm.Config) { c.Serial = "0000000000000000" },
		"several":          func(c *hsm.Config) { c.Serial = "" },
		"label of another": func(c *hsm.Config) { c.Label = twin.Label },
	} {
		cfg := config(t, k)
		change(&cfg)
		if _, err := probe.Run(t.Context(), cfg, probe.Options{Set: profiles(t)}); !errors.Is(err, probe.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokenThatGoesAway: the probing stops and says where; what it found until then is returned.
func TestTokenThatGoesAway(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k)
	cfg.Module = f.Module
	f.Script("C_Sign skip=20 return=0x32")
	got, err := probe.Run(t.Context(), cfg, probe.Options{Set: profiles(t)})
	if err == nil || !strings.Contains(err.Error(), "probing SM2 signatures") || got == nil || got.SM2 == nil {
		t.Errorf("%v, %+v", err, got)
	}
	f.Script()
	empty(t, k, softhsm2sm2(t))
}

// TestInterrupted: whoever stops a probing leaves nothing in the token.
func TestInterrupted(t *testing.T) {
	k := softhsmtest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	o := probe.Options{Set: profiles(t), Progress: func(what string, done, _ int) {
		if strings.HasPrefix(what, "mechanism") && done > 0 {
			stop()
		}
	}}
	if _, err := probe.Run(ctx, config(t, k), o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	empty(t, k, softhsm2sm2(t))
}

// TestWrongSignatures: a mechanism that is right most of the time is not called usable.
func TestWrongSignatures(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	cfg := config(t, k)
	cfg.Module = f.Module
	f.Script("C_Sign skip=300 times=1 corrupt")
	got, err := probe.Run(t.Context(), cfg, probe.Options{Set: profiles(t), Signatures: 400})
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, s := range got.SM2.Sign {
		if s.Wrong == 1 && s.Output == "" && s.Sample != "" && strings.Contains(s.Note, "1 of 400") {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("%+v", got.SM2.Sign)
	}
}
