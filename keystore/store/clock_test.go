package store

import (
	"errors"
	"testing"
	"time"
)

// TestClock is law 8: what the wall clock and the monotonic clock may do to each other.
func TestClock(t *testing.T) {
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		floor, wall, mono time.Duration // last record, wall clock and monotonic clock after the start
		want              time.Duration
		refused           bool
	}{
		"both go on":                    {0, time.Minute, time.Minute, time.Minute, false},
		"stands still":                  {0, 0, 0, 0, false},
		"4 s ahead":                     {0, 64 * time.Second, time.Minute, 64 * time.Second, false},
		"6 s ahead":                     {0, 66 * time.Second, time.Minute, 0, true},
		"6 s back":                      {0, 54 * time.Second, time.Minute, 0, true},
		"1 s back, before a record":     {time.Minute, 59 * time.Second, time.Minute, time.Minute, false},
		"1 s back, record not passed":   {time.Minute + 1, 59 * time.Second, time.Minute, 0, true},
		"behind the last record":        {time.Hour, time.Minute, time.Minute, 0, true},
		"nanoseconds are cut":           {0, time.Second + 999, time.Second, time.Second, false},
		"slept: the wall clock went on": {0, time.Hour, time.Second, 0, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var wall, mono time.Duration
			k := newClock(func() time.Time { return start.Add(wall) }, func() time.Duration { return mono }, start.Add(c.floor))
			wall, mono = c.wall, c.mono
			got, err := k.time()
			if c.refused {
				if !errors.Is(err, ErrClock) {
					t.Fatalf("%s, %v", got, err)
				}
				wall, mono = time.Hour, time.Hour // right again, but in doubt until somebody accepts it
				if _, err := k.time(); !errors.Is(err, ErrClock) {
					t.Fatalf("the doubt went by itself: %v", err)
				}
				k.accept()
				wall, mono = wall+time.Second, mono+time.Second
				if got, err = k.time(); err != nil || !got.Equal(start.Add(wall)) {
					t.Fatalf("accepted: %s, %v", got, err)
				}
				return
			}
			if err != nil || !got.Equal(start.Add(c.want)) || got.Location() != time.UTC {
				t.Fatalf("%s, %v", got, err)
			}
		})
	}
}

// TestClockOfTheSystem: time.Now carries the monotonic reading that the check needs.
func TestClockOfTheSystem(t *testing.T) {
	k := newClock(nil, nil, time.Time{})
	a, err := k.time()
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.time()
	if err != nil || b.Before(a) || b.Nanosecond()%1000 != 0 {
		t.Fatalf("%s after %s, %v", b, a, err)
	}
	if k.mono() <= 0 {
		t.Fatal("the monotonic clock stands still")
	}
}

func TestClockStopsCommits(t *testing.T) {
	var mono time.Duration
	r := newRig(t, func(c *Config) { c.Monotonic = func() time.Duration { return mono } })
	r.commit(Mutation{Audit: record("r")})
	r.now = r.now.Add(10 * time.Second)
	_, err := r.b.Commit(t.Context(), Mutation{Audit: record("r")})
	r.want(err, ErrClock, "after a jump")
	r.want(r.b.Health(), ErrClock, "health")
	if _, err := r.b.AcceptClock(t.Context(), Mutation{Audit: record("r"), Expect: []Expect{{things, []byte("a"), 1}}}); !errors.Is(err, ErrConflict) {
		t.Fatalf("a refused acceptance: %v", err)
	}
	_, err = r.b.Commit(t.Context(), Mutation{Audit: record("r")})
	r.want(err, ErrClock, "after a refused acceptance")
	if _, err := r.b.AcceptClock(t.Context(), Mutation{Audit: record("accepted")}); err != nil {
		t.Fatal(err)
	}
	r.commit(Mutation{Audit: record("r")})
	r.must(r.b.Health())
	// Recovering and a clock in doubt at once: the two operators' decision covers both.
	r.now = r.now.Add(-time.Hour)
	r.b.SetReadOnly("recovering")
	r.b.Commit(t.Context(), Mutation{Audit: record("r")})
	if _, err := r.b.Resume(t.Context(), Mutation{Audit: record("resumed")}); err != nil {
		t.Fatal(err)
	}
	r.commit(Mutation{Audit: record("r")})
}
