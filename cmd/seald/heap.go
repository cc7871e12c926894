package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A signature allocates some 50 kB that die at once beside a small heap that lives, so rare collections are cheap: the heap may grow to heapGoal
// between two of them, to four times what lives at most. When much lives (many seals in memory, large documents) it grows less. ADR 0024.
const (
	heapGoal    = 96 << 20
	heapMost    = 300 // percent over what lives
	heapLeast   = 100 // the Go runtime's own
	heapChecked = 2 * time.Second
)

// growth is how many percent over the living heap the next collection may wait for.
func growth(live uint64) int {
	if live*(100+heapMost) <= heapGoal*100 {
		return heapMost
	}
	if live*(100+heapLeast) >= heapGoal*100 {
		return heapLeast
	}
	return int(heapGoal*100/live) - 100
}

// tendHeap follows the living heap until ctx ends. GOGC in the environment is an operator's choice, which stands.
func tendHeap(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	set := growth(0)
	debug.SetGCPercent(set)
	tick := time.NewTicker(heapChecked)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := growth(liveHeap()); now < set-set/16 || now > set+set/16 { // a change stops the world for a moment
			set = now
			debug.SetGCPercent(set)
		}
	}
}

// liveHeap is what the last collection found alive.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
