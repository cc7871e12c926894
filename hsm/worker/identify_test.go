package worker_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestIdentify: a child asks who the token is, without a PIN; the token is free afterwards. TestChildKeepsToItself, which runs
// later, sees that the parent loaded nothing.
func TestIdentify(t *testing.T) {
	k := softhsmtest.New(t)
	cfg := config(t, k, "softhsm2-sm2")
	facts, err := worker.Identify(t.Context(), worker.Config{Config: hsm.Config{Module: k.Module, Serial: k.Serial}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Profile.Matches(facts); err != nil || !slices.Contains(facts.Mechanisms, 0x80008105) {
		t.Errorf("%+v, %v", facts, err)
	}
	open(t, cfg) // nobody holds the token
	for name, c := range map[string]struct {
		cfg  hsm.Config
		want error
	}{
		"no module":     {hsm.Config{Module: "/nonexistent/module.so", Serial: k.Serial}, hsm.ErrConfig},
		"another token": {hsm.Config{Module: k.Module, Serial: "0000000000000000"}, hsm.ErrTokenGone},
	} {
		if _, err := worker.Identify(t.Context(), worker.Config{Config: c.cfg}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A module that hangs when it is asked who it is costs a child, not the start.
func TestIdentifyHang(t *testing.T) {
	k := softhsmtest.New(t)
	f := softhsmtest.WithFaults(t, k)
	f.Script("C_GetTokenInfo hang")
	_, err := worker.Identify(t.Context(), worker.Config{Config: hsm.Config{Module: f.Module, Serial: k.Serial}, Hang: 200 * time.Millisecond})
	if !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("got %v", err)
	}
}
