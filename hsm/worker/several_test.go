package worker_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	softhsmtest "sealkeeper/softhsm-test"
)

// Two tokens of one library are in two workers: what ends one of them, a crash or a hang, does not reach the other, and a token that is away at the
// start opens when it is there.
func TestFaultOneOfTwoWorkers(t *testing.T) {
	tokens := []*softhsmtest.Token{softhsmtest.New(t), softhsmtest.New(t)}
	f := softhsmtest.WithFaults(t, tokens[0])
	var tok [2]*worker.Token
	var born [2]hsm.Birth
	f.Script("* on=" + tokens[0].Serial + " absent")
	for i, k := range tokens {
		cfg := config(t, k, "softhsm2-sm2")
		cfg.Module, cfg.MayBeAway, cfg.Hang = f.Module, true, 2*time.Second
		tok[i] = open(t, cfg)
	}
	if _, err := tok[0].Info(t.Context()); !errors.Is(err, hsm.ErrTokenGone) {
		t.Fatalf("away at the start: %v", err)
	}
	born[1] = generate(t, tok[1], hsm.SM2)
	f.Script()
	for born[0].Public == nil { // a worker that failed is not started again at once
		if _, err := tok[0].Info(t.Context()); err == nil {
			born[0] = generate(t, tok[0], hsm.SM2)
		} else if !errors.Is(err, hsm.ErrTokenGone) {
			t.Fatal(err)
		}
	}

	for name, rule := range map[string]string{"crash": "C_Sign times=1 crash", "hang": "C_Sign times=1 hang", "device removed": "C_Sign times=1 return=0x32"} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			var stop atomic.Bool
			begun := make(chan struct{}, 4)
			for range 4 {
				wg.Go(func() {
					for r := 0; !stop.Load(); r++ {
						if err := sign(t.Context(), tok[1], born[1]); err != nil {
							t.Errorf("the neighbour: %v", err)
							return
						}
						if r == 0 {
							begun <- struct{}{}
						}
					}
				})
			}
			for range 4 {
				<-begun
			}
			f.Script(rule[:len("C_Sign")] + " on=" + tokens[0].Serial + rule[len("C_Sign"):])
			struck := sign(t.Context(), tok[0], born[0])
			if struck != nil && !errors.Is(struck, hsm.ErrInterrupted) {
				t.Errorf("the call that was struck: %v", struck)
			}
			f.Script() // a new worker would begin to count again
			for t.Context().Err() == nil && sign(t.Context(), tok[0], born[0]) != nil {
			}
			stop.Store(true)
			wg.Wait()
			if s := tok[1].Stats(); s.Epoch != 1 {
				t.Errorf("the neighbour is in its epoch %d", s.Epoch)
			}
		})
	}
}
