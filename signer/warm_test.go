package signer

import (
	"fmt"
	"testing"
)

// TestWarmIsBounded: the seals used last stay, and only under the version that was read.
func TestWarmIsBounded(t *testing.T) {
	w := newWarm(2)
	for i := range 3 {
		w.put(fmt.Sprint(i), &ready{version: 1})
		w.get("1", 1)
	}
	for esid, want := range map[string]bool{"0": false, "1": true, "2": true} {
		if got := w.get(esid, 1) != nil; got != want {
			t.Errorf("seal %s kept: %v, want %v", esid, got, want)
		}
	}
	if w.get("1", 2) != nil {
		t.Error("a seal of another version counts")
	}
	w.put("1", &ready{version: 2})
	if w.get("1", 2) == nil || w.get("1", 1) != nil || len(w.seals) != 2 || w.order.Len() != 2 {
		t.Error("a new version does not take the place of the old one")
	}
}
