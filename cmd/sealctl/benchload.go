package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is so many workers doing one thing again and again: a ramp that is not counted, then a span that is.
type load struct {
	workers    int
	ramp, span time.Duration
	pid        int // of the daemon, 0 for none
}

// sample is what one load gave.
type sample struct {
	rate     float64 // per second
	p50, p99 float64 // milliseconds of one call
	cpu      float64 // microseconds of the daemon per operation
	rss      float64 // MB of anonymous memory of the daemon
	own      float64 // microseconds of this program per operation
}

// counters are what the workers and the watcher share.
type counters struct {
	signatures, requests atomic.Int64
	counting, stop       atomic.Bool
}

// run counts what completes inside the span while all workers are busy. The first error ends it: figures with refusals in them mean nothing.
func (l load) run(ctx context.Context, one func(ctx context.Context) (int, error)) (sample, error) {
	var c counters
	took := make([][]time.Duration, l.workers)
	g, ctx := errgroup.WithContext(ctx)
	for i := range l.workers {
		g.Go(func() error {
			for !c.stop.Load() {
				start := time.Now()
				n, err := one(ctx)
				if err != nil {
					return err
				}
				c.signatures.Add(int64(n))
				c.requests.Add(1)
				if c.counting.Load() {
					took[i] = append(took[i], time.Since(start))
				}
			}
			return nil
		})
	}
	s, err := l.watch(ctx, &c)
	c.stop.Store(true)
	if werr := g.Wait(); werr != nil {
		return sample{}, werr
	}
	if err != nil {
		return sample{}, err
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if s.rate == 0 || len(all) == 0 {
		return sample{}, fmt.Errorf("nothing completed in %s: take a longer --span", maxSpans*l.span)
	}
	s.p50, s.p99 = milliseconds(all[len(all)/2]), milliseconds(all[len(all)*99/100])
	return s, nil
}

// maxSpans is how many spans a measurement may take when single requests are long.
const maxSpans = 10

// watch waits for the ramp, then reads the counters at both ends of the span. Where requests are long, the span is lengthened until as many
// have completed as there are workers: a few whole batches at the edges would say little.
func (l load) watch(ctx context.Context, c *counters) (s sample, err error) {
	if err := wait(ctx, l.ramp); err != nil {
		return s, err
	}
	before, err := usageOf(l.pid)
	if err != nil {
		return s, err
	}
	self, start, first, requests := ownCPU(), time.Now(), c.signatures.Load(), c.requests.Load()
	c.counting.Store(true)
	for range maxSpans {
		if err := wait(ctx, l.span); err != nil {
			return s, err
		}
		if c.requests.Load()-requests >= int64(l.workers) {
			break
		}
	}
	c.counting.Store(false)
	elapsed, counted := time.Since(start), c.signatures.Load()-first
	after, err := usageOf(l.pid)
	if err != nil || counted == 0 {
		return s, err
	}
	s.rate = float64(counted) / elapsed.Seconds()
	s.cpu = float64((after.cpu - before.cpu).Microseconds()) / float64(counted)
	s.own = float64((ownCPU() - self).Microseconds()) / float64(counted)
	s.rss = after.rss
	return s, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ownCPU is the processor time of this process so far.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// processUsage is what /proc says about a process.
type processUsage struct {
	cpu time.Duration
	rss float64 // MB
}

// tick is the unit of processor time in /proc/PID/stat: USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// usageOf reads processor time and anonymous memory; pid 0 gives nothing.
func usageOf(pid int) (u processUsage, err error) {
	if pid == 0 {
		return u, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("reading the daemon's processor time: %w", err)
	}
	// Fields are counted behind the command's name, which may hold anything but ends with the last ")".
	fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	if len(fields) < 13 {
		return u, fmt.Errorf("reading the daemon's processor time: /proc/%d/stat has another form", pid)
	}
	for _, f := range fields[11:13] { // utime and stime, fields 14 and 15 of proc(5)
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("reading the daemon's processor time: %w", err)
		}
		u.cpu += time.Duration(n) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("reading the daemon's memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kb float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kb); err != nil {
		return u, fmt.Errorf("reading the daemon's memory: %w", err)
	}
	u.rss = kb / 1024
	return u, nil
}
