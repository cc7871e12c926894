package hsm_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestPoolIsBoundedAndObeysTheCaller(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	cfg.MaxSessions = 4 // one session for everything raw
	m := open(t, cfg)
	b := generate(t, m, hsm.SM2)

	inside, leave := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- m.Occupy(ctx, func() { close(inside); <-leave }) }()
	<-inside

	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err := m.Sign(short, hsm.SignRequest{Key: b.ID, Algorithm: hsm.SM2})
	if !errors.Is(err, hsm.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("full pool: %v", err)
	}

	cancel() // the caller leaves, the call stays inside with its session
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("leaving: %v", err)
	}
	short2, stop2 := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop2()
	if _, err := m.Sign(short2, hsm.SignRequest{Key: b.ID, Algorithm: hsm.SM2}); !errors.Is(err, hsm.ErrBusy) {
		t.Errorf("the session came back before its call ended: %v", err)
	}
	close(leave)
	mustSign(t, m, b)

	done, end := context.WithCancel(t.Context())
	end()
	if _, err := m.Sign(done, hsm.SignRequest{Key: b.ID, Algorithm: hsm.SM2}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller already gone: %v", err)
	}
}

func TestSessionsStayWithinTheBudget(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	cfg.MaxSessions = 8
	m := open(t, cfg)
	keys := []hsm.Birth{generate(t, m, hsm.SM2), generate(t, m, hsm.ECDSAP256)}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 5 {
				mustSign(t, m, keys[i%2])
			}
		})
	}
	wg.Wait()
	raw, slot := m.Raw()
	n := 0
	for h := range pkcs11.SessionHandle(10_000) { // SoftHSM2 does not count sessions, but numbers them from 1
		if info, err := raw.GetSessionInfo(h); err == nil && info.SlotID == slot {
			n++
		}
	}
	if n > 8 || n < 5 {
		t.Errorf("%d sessions are open", n)
	}
	if s := m.Stats(); s.Signs < 64*5 || s.Evictions != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestNoSearchPerSignature(t *testing.T) {
	cfg := config(t, softhsmtest.New(t), "softhsm2-sm2")
	m := open(t, cfg)
	keys := []hsm.Birth{generate(t, m, hsm.SM2), generate(t, m, hsm.ECDSAP256), generate(t, m, hsm.RSA2048)}
	for _, b := range keys {
		mustSign(t, m, b)
	}
	before := m.Stats()
	for range 20 {
		for _, b := range keys {
			mustSign(t, m, b)
		}
	}
	if after := m.Stats(); after.FindObjects != before.FindObjects || after.Signs != before.Signs+60 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, cfg)
	for range 3 {
		mustSign(t, again, keys[0])
	}
	if s := again.Stats(); s.FindObjects != 1 {
		t.Errorf("%d searches for one key after a restart", s.FindObjects)
	}
}
