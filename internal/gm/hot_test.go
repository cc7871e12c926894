package gm_test

import (
	"crypto/rand"
	"errors"
	"sync"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

// uses verifies n signatures of one key and their opposites.
func uses(t *testing.T, k *softkey.Key, p *gm.PublicKey, n int) {
	t.Helper()
	for range n {
		var e [32]byte
		rand.Read(e[:])
		raw, err := k.SignE(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.VerifyE(e, raw); err != nil {
			t.Fatalf("genuine: %v", err)
		}
		e[7] ^= 0x10
		if err := p.VerifyE(e, raw); !errors.Is(err, gm.ErrSignature) {
			t.Fatalf("another e: %v", err)
		}
		if err := p.VerifyE(e, [64]byte{63: 1}); !errors.Is(err, gm.ErrSignatureForm) {
			t.Fatalf("r = 0: %v", err)
		}
	}
}

func softKey(t *testing.T) (*softkey.Key, *gm.PublicKey) {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := gm.NewPublicKey(k.Public().Point())
	if err != nil {
		t.Fatal(err)
	}
	return k, p
}

// TestHotKey: a key earns its table by use, keeps its verdicts, and gives the table up to others when it rests.
func TestHotKey(t *testing.T) {
	defer gm.SetTableCount(2)()
	k, p := softKey(t)
	uses(t, k, p, gm.TableAfter-1)
	if p.HasTable() {
		t.Error("a table too early")
	}
	uses(t, k, p, 20)
	if !p.HasTable() {
		t.Error("no table after all these uses")
	}
	for range 4 {
		other, q := softKey(t)
		uses(t, other, q, 4*gm.TableAfter)
	}
	if p.HasTable() {
		t.Error("a resting key keeps its table")
	}
	if n := gm.TablesInUse(); n != 2 {
		t.Errorf("%d tables, want 2", n)
	}
	uses(t, k, p, 4*gm.TableAfter)
}

// TestHotKeyDisagreement: a table that refuses what the library accepts releases nothing.
func TestHotKeyDisagreement(t *testing.T) {
	k, p := softKey(t)
	_, other := softKey(t)
	p.BorrowTable(other)
	var e [32]byte
	raw, err := k.SignE(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.VerifyE(e, raw); !errors.Is(err, gm.ErrDisagree) {
		t.Errorf("%v", err)
	}
}

// TestHotKeysTogether has more keys than tables at once; the race detector watches.
func TestHotKeysTogether(t *testing.T) {
	defer gm.SetTableCount(3)()
	var wg sync.WaitGroup
	for range 4 {
		k, p := softKey(t)
		for range 3 {
			wg.Go(func() { uses(t, k, p, 4*gm.TableAfter) })
		}
	}
	wg.Wait()
	if n := gm.TablesInUse(); n > 3 {
		t.Errorf("%d tables, want 3 at most", n)
	}
}
