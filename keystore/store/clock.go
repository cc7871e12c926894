package store

import (
	"fmt"
	"time"
)

// maxJump is how far the wall clock may stray from the monotonic clock before an operator must look (law 8).
const maxJump = 5 * time.Second

// clock gives records their time. It belongs to the writer.
type clock struct {
	now  func() time.Time
	mono func() time.Duration

	wall  time.Time     // the wall clock when it was last taken for right
	since time.Duration // the monotonic clock then
	floor time.Time     // time of the last record
	err   error         // set once the clock is in doubt
}

// newClock takes the clock as it is; floor is the time of the last record. A nil mono means the monotonic reading that now carries;
// a clock without one (a test's) is then its own measure and only going back is noticed.
func newClock(now func() time.Time, mono func() time.Duration, floor time.Time) *clock {
	if now == nil {
		now = time.Now
	}
	if mono == nil {
		start := now()
		mono = func() time.Duration { return now().Sub(start) }
	}
	c := &clock{now: now, mono: mono, floor: floor}
	c.base()
	return c
}

func (c *clock) base() {
	c.wall, c.since = c.read(), c.mono()
}

func (c *clock) read() time.Time { return c.now().Round(0).UTC().Truncate(time.Microsecond) }

// time returns the time for the next records, never before that of the last one, or ErrClock. A wall clock set back by less than
// maxJump is ridden over by the monotonic clock; once in doubt, the clock stays so until accept.
func (c *clock) time() (time.Time, error) {
	if c.err != nil {
		return time.Time{}, c.err
	}
	wall, steady := c.read(), c.wall.Add(c.mono()-c.since).Truncate(time.Microsecond)
	if d := wall.Sub(steady); d > maxJump || d < -maxJump {
		c.err = fmt.Errorf("it jumped by %s against the monotonic clock: %w", d.Round(time.Millisecond), ErrClock)
		return time.Time{}, c.err
	}
	if wall.Before(c.floor) {
		wall = steady
	}
	if wall.Before(c.floor) {
		c.err = fmt.Errorf("it is %s behind the last record: %w", c.floor.Sub(wall).Round(time.Millisecond), ErrClock)
		return time.Time{}, c.err
	}
	return wall, nil
}

// accept takes the clock as it is now for right.
func (c *clock) accept() time.Time {
	c.base()
	c.err = nil
	c.floor = c.wall
	return c.wall
}
