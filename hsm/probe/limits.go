package probe

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// sessions opens as many as the token bears, up to the bound, and closes them again. The login's and the desk's count.
func (r *run) sessions(ctx context.Context) error {
	s := &r.f.Sessions
	s.Claimed, s.Open = r.f.Token.MaxSessions, 2
	var open []pkcs11.SessionHandle
	defer func() {
		for _, h := range open {
			_ = r.c.CloseSession(h) // one that is dead is closed
		}
	}()
	for s.Open < r.o.Sessions && ctx.Err() == nil {
		h, err := r.open()
		if err != nil {
			s.Refused = err.Error()
			return fatal(err)
		}
		open = append(open, h)
		s.Open++
	}
	return ctx.Err()
}

// asks are how many handles may be asked for at once; the largest that loses none is the profile's find_max.
var asks = []int{100, 50, 20, 10, 1}

// finding makes small session objects and lists them with questions of every size.
func (r *run) finding(ctx context.Context) error {
	const objects = 101 // more than the largest question
	f := &r.f.Find
	f.Found = map[string]int{}
	var mine []pkcs11.ObjectHandle
	defer func() { r.drop(mine...) }()
	class := attr(pkcs11.CKA_CLASS, pkcs11.CKO_DATA)
	for range objects {
		h, err := r.c.CreateObject(r.t.Login, []*pkcs11.Attribute{class, attr(pkcs11.CKA_TOKEN, false), attr(pkcs11.CKA_PRIVATE, false),
			attr(pkcs11.CKA_LABEL, r.tag), attr(pkcs11.CKA_VALUE, []byte("probe"))})
		if err != nil {
			f.Note = "no session data objects: " + err.Error()
			return fatal(err)
		}
		r.keep("data object", h)
		mine = append(mine, h)
		f.Objects++
	}
	for _, most := range asks {
		if err := ctx.Err(); err != nil {
			return err
		}
		all, err := r.search(most, class, attr(pkcs11.CKA_LABEL, r.tag))
		if over(err) {
			return err
		}
		f.Found[fmt.Sprint(most)] = len(all)
		if err == nil && len(all) == objects && f.Max == 0 {
			f.Max = most
		}
	}
	return nil
}

// speed measures signatures at 1, 2, 4 … sessions, and how many pairs are made in a second.
func (r *run) speed(ctx context.Context) error {
	if r.o.Span == 0 {
		return nil
	}
	k, priv, t, ok := r.fastest()
	if !ok {
		return nil
	}
	most := min(r.f.Sessions.Open, 16)
	for n := 1; n <= most; n *= 2 {
		r.o.Progress("speed", n, most)
		rate, err := r.signRate(ctx, k, priv, t, n)
		if err != nil {
			return err
		}
		r.f.Rates = append(r.f.Rates, Rate{k.name + " signatures", n, rate})
	}
	rate, err := r.pairRate(ctx, k)
	if err == nil {
		r.f.Rates = append(r.f.Rates, Rate{k.name + " key pairs", 1, rate})
	}
	return err
}

// fastest is what speed is measured with: SM2 where a mechanism is understood, otherwise P-256.
func (r *run) fastest() (kind, pkcs11.ObjectHandle, tester, bool) {
	all := r.wrappable()
	if len(all) == 0 {
		return kind{}, 0, tester{}, false
	}
	if all[0].name == "sm2" {
		return all[0], r.sm2.priv, r.sm2Tester(r.sm2), true
	}
	pub, priv, err := r.pairs(all[0], false)
	if err != nil {
		return kind{}, 0, tester{}, false
	}
	t, err := all[0].public(pub)
	return all[0], priv, t, err == nil
}

// signRate signs in n sessions at once for the span.
func (r *run) signRate(ctx context.Context, k kind, priv pkcs11.ObjectHandle, t tester, n int) (float64, error) {
	var open []pkcs11.SessionHandle
	defer func() {
		for _, h := range open {
			_ = r.c.CloseSession(h) // nothing depends on it any more
		}
	}()
	for range n {
		h, err := r.open()
		if err != nil {
			return 0, fmt.Errorf("opening session %d: %w", len(open)+1, err)
		}
		open = append(open, h)
	}
	span, stop := context.WithTimeout(ctx, r.o.Span)
	defer stop()
	var signed atomic.Int64
	var first atomic.Pointer[error]
	var all sync.WaitGroup
	start := time.Now()
	for _, h := range open {
		all.Go(func() {
			for span.Err() == nil {
				err := r.c.SignInit(h, mech(k.sign, k.param), priv)
				if err == nil {
					_, err = r.c.Sign(h, t.ask())
				}
				if err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				signed.Add(1)
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return 0, fmt.Errorf("signing in %d sessions: %w", n, *err)
	}
	return float64(signed.Load()) / time.Since(start).Seconds(), ctx.Err()
}

func (r *run) pairRate(ctx context.Context, k kind) (float64, error) {
	start, n := time.Now(), 0
	for n == 0 || time.Since(start) < r.o.Span {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		pub, priv, err := r.pairs(k, false)
		if err != nil {
			return 0, fmt.Errorf("making pair %d: %w", n+1, err)
		}
		r.drop(pub, priv)
		n++
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
