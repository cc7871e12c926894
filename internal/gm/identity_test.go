package gm

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
)

func TestZOf(t *testing.T) {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := FromECDSA(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if z, err := p.ZOf([]byte(UserID)); err != nil || z != p.Z() {
		t.Errorf("default ID: %x, want %x, %v", z, p.Z(), err)
	}
	for _, id := range []string{"ALICE123@YAHOO.COM", "印章", strings.Repeat("x", maxID)} {
		// A fresh key object, since the library keeps one Z for each.
		fresh, err := NewPublicKey(p.Point())
		if err != nil {
			t.Fatal(err)
		}
		want, err := sm2.CalculateZA(fresh.key, []byte(id))
		if err != nil {
			t.Fatal(err)
		}
		if z, err := p.ZOf([]byte(id)); err != nil || string(z[:]) != string(want) {
			t.Errorf("%.20q: %x, want %x, %v", id, z, want, err)
		}
	}
	if _, err := p.ZOf(make([]byte, maxID+1)); !errors.Is(err, ErrKey) {
		t.Errorf("an ID whose length does not fit: %v", err)
	}
}
