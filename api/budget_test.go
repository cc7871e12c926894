package api

import (
	"errors"
	"testing"
)

// TestBudget: what is held is bounded for all and more tightly for callers without a certificate, and comes back.
func TestBudget(t *testing.T) {
	b := newBudget(DefaultLimits())
	var gives []func()
	hold := func(anonymous bool, n int64) error {
		give, err := b.reserve(anonymous, n)
		if err == nil {
			gives = append(gives, give)
		}
		return err
	}
	for range anonymousBytes / anonymousDocument {
		if err := hold(true, anonymousDocument); err != nil {
			t.Fatal(err)
		}
	}
	var p *Problem
	if err := hold(true, 1); !errors.As(err, &p) || p.Code != "busy" || p.retry == 0 {
		t.Errorf("one anonymous byte more: %v", err)
	}
	for range (documentBytes - anonymousBytes) / (64 << 20) {
		if err := hold(false, 64<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := hold(false, 1); !errors.As(err, &p) || p.Code != "busy" {
		t.Errorf("one byte more: %v", err)
	}
	for _, give := range gives {
		give()
	}
	if err := hold(true, anonymousBytes); err != nil {
		t.Errorf("after all was given back: %v", err)
	}
}
