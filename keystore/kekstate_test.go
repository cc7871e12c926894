package keystore_test

import (
	"errors"
	"fmt"
	"testing"

	"sealkeeper/keystore"
)

// TestKEKStates follows a wrapping key and its successor through a life: what is counted is what happened, and it counts the same after a restart.
func TestKEKStates(t *testing.T) {
	c, old := newWrappedCustody(t)
	const limit, born = 10, 4
	policy := keystore.WrappingPolicy{Purposes: []keystore.Purpose{keystore.PurposeSeal}, KeysPerKEK: limit}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.UseWrapping(policy))
	for i := range born {
		mustBear(t, c.Keystore, c.st, fmt.Sprintf("4103000000000%d", i))
	}
	is := func(what string, k *keystore.Keystore, places uint64, want ...string) {
		t.Helper()
		all, err := k.KEKStates(t.Context())
		must(err)
		var got []string
		for _, s := range all {
			text := fmt.Sprintf("born %d of %d, left %d", s.Born, s.Limit, s.Left)
			if s.Moved > 0 {
				text += fmt.Sprintf(", moved %d", s.Moved)
			}
			got = append(got, text)
		}
		left, err := k.Places(t.Context())
		must(err)
		if fmt.Sprint(got) != fmt.Sprint(want) || left != places {
			t.Errorf("%s: %q, %d places; want %q, %d", what, got, left, want, places)
		}
	}
	again := func() *keystore.Keystore {
		k := open(t, c.tok, c.st)
		must(k.UseWrapping(policy))
		return k
	}
	is("one", c.Keystore, limit-born, "born 4 of 10, left 0")
	is("one, after a restart", again(), limit-born, "born 4 of 10, left 0")
	makeKEK(t, c.Keystore, "ceremony/2")
	must(c.RetireKEK(t.Context(), old.ID, system, security, "rotation"))
	is("retired", c.Keystore, limit, "born 4 of 10, left 4", "born 0 of 10, left 0")
	must(c.RewrapRetired(t.Context(), system))
	is("moved", c.Keystore, limit-born, "born 4 of 10, left 0, moved 4", "born 4 of 10, left 0")
	is("moved, after a restart", again(), limit-born, "born 4 of 10, left 0", "born 4 of 10, left 0")
	must(c.DestroyKEK(t.Context(), old.ID, system, security, "rotation"))
	is("destroyed", c.Keystore, limit-born, "born 4 of 10, left 0", "born 4 of 10, left 0")
	must(errors.Join(c.RetireKEK(t.Context(), makeKEK(t, c.Keystore, "ceremony/3").ID, system, security, "rotation")))
	is("an empty one retired", c.Keystore, limit-born, "born 4 of 10, left 0", "born 4 of 10, left 0", "born 0 of 10, left 0")
}
