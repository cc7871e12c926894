package store

import (
	"fmt"
	"regexp"
)

// Bounds of what a mutation may carry.
const (
	maxKey     = 1024
	maxValue   = 16 << 20
	maxEntries = 4096
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

func badMutation(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMutation, fmt.Errorf(format, args...))
}

// checkMutation refuses what no engine may store, before anything is queued.
func checkMutation(m *Mutation) error {
	if err := checkSizes(m); err != nil {
		return err
	}
	for _, s := range m.Spend {
		if len(s.Counter) == 0 || len(s.Counter) > maxCounter {
			return badMutation("counter name of %d bytes", len(s.Counter))
		}
		if !s.Expires.IsZero() && s.Expires.UnixMicro() <= 0 {
			return badMutation("counter %q expires before 1970", s.Counter)
		}
	}
	for i, body := range m.Audit {
		if len(body) == 0 || len(body) > maxBody {
			return badMutation("record %d has %d bytes", i, len(body))
		}
	}
	for _, o := range m.Outbox {
		if !nameForm.MatchString(o.Queue) || len(o.Body) > maxValue {
			return badMutation("message of %d bytes for queue %q", len(o.Body), o.Queue)
		}
	}
	return checkRequest(m)
}

func checkSizes(m *Mutation) error {
	for what, n := range map[string]int{"expectations": len(m.Expect), "puts": len(m.Put), "spends": len(m.Spend), "records": len(m.Audit),
		"messages": len(m.Outbox)} {
		if n > maxEntries {
			return badMutation("%d %s, at most %d", n, what, maxEntries)
		}
	}
	if len(m.Spend) > 0 && len(m.Audit) == 0 {
		return badMutation("a spend needs a record to ride in")
	}
	if len(m.Expect)+len(m.Put)+len(m.Audit)+len(m.Outbox) == 0 {
		return badMutation("nothing in it")
	}
	return nil
}

func checkRequest(m *Mutation) error {
	if m.Request == nil {
		return nil
	}
	if len(m.Audit) == 0 {
		return badMutation("a request needs a record to ride in")
	}
	return m.Request.check()
}

func (r *Request) check() error {
	if !printable(r.ID) || !printable(r.Client) {
		return badMutation("request id or client is not 1 to %d printable ASCII characters", maxRequestText)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxRequestText
}
