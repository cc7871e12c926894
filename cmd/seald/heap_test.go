package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 300}, {16 << 20, 300}, {24 << 20, 300}, {32 << 20, 200}, {40 << 20, 140}, {48 << 20, 100}, {1 << 30, 100}} {
		if got := growth(c.live); got != c.want {
			t.Errorf("%d MB alive: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
	for live := uint64(1 << 20); live < 48<<20; live += 1 << 20 {
		if heap := live * uint64(100+growth(live)) / 100; heap > heapGoal {
			t.Errorf("%d MB alive may grow to %d MB", live>>20, heap>>20)
		}
	}
}

// TestTendHeap: the heap is measured, the percentage is set without an operator's choice, and left alone with one.
func TestTendHeap(t *testing.T) {
	runtime.GC()
	if n := liveHeap(); n == 0 || n > 1<<30 {
		t.Errorf("%d bytes alive", n)
	}
	const chosen = 123
	old := debug.SetGCPercent(chosen)
	t.Cleanup(func() { debug.SetGCPercent(old) })
	over, stop := context.WithCancel(t.Context())
	stop()
	for operator, want := range map[string]int{"50": chosen, "": heapMost} {
		t.Setenv("GOGC", operator)
		debug.SetGCPercent(chosen)
		tendHeap(over)
		if got := debug.SetGCPercent(chosen); got != want {
			t.Errorf("GOGC %q: %d %%, want %d", operator, got, want)
		}
	}
}
