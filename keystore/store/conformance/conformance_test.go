package conformance_test

import (
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/keystore/store"
	"sealkeeper/keystore/store/conformance"
)

func bolt(t *testing.T, dir string, c []*store.Collection, now func() time.Time) store.Store {
	st, err := store.Open(store.Config{Path: filepath.Join(dir, "store.db"), Create: true, Collections: c, Now: now, SnapshotEvery: 16})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestBolt(t *testing.T) { conformance.Run(t, bolt) }

// TestFaulty runs the suite over commits that fail before or after they happened: handled rightly, nobody can tell.
func TestFaulty(t *testing.T) {
	for name, plan := range map[string][]conformance.Fault{
		"refused":        {conformance.Refuse, conformance.None},
		"lost":           {conformance.Lose, conformance.None},
		"forgotten":      {conformance.Forget, conformance.None},
		"all of them":    {conformance.None, conformance.Refuse, conformance.Forget, conformance.Lose, conformance.Forget},
		"nothing at all": {conformance.None},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T, dir string, c []*store.Collection, now func() time.Time) store.Store {
				return conformance.NewFaulty(bolt(t, dir, c, now), conformance.Cycle(plan...))
			})
		})
	}
}
