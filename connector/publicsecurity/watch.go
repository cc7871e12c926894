package publicsecurity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
)

// Rule is how long a made seal may wait to be filed.
const Rule = 24 * time.Hour

// Asking begins when a filing has waited for some minutes: most are answered at once.
const (
	grace = 5 * time.Minute
	most  = 500 // questions in one round
)

// Pending is how many made seals wait for the answer to their filing, and how many for longer than the rule allows, as the last Watch found.
func (c *Connector) Pending() (pending, overdue int64) { return c.pending.Load(), c.overdue.Load() }

// Watch asks for the answers that are missing and counts. Those who do not answer are told of by the first error.
func (c *Connector) Watch(ctx context.Context) error {
	var pending, overdue int64
	var first error
	asked := 0
	now := c.Now()
	for cursor := ""; ; {
		page, next, err := c.Register.PendingFilings(ctx, cursor, 200)
		if err != nil {
			return errors.Join(first, err)
		}
		for _, f := range page {
			pending++
			if f.Overdue(now) {
				overdue++
			}
			if first == nil && asked < most && now.Sub(f.Since) > grace { // one that fails ends the asking for now, not the counting
				asked++
				first = c.ask(ctx, f.ESID)
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	c.pending.Store(pending)
	c.overdue.Store(overdue)
	return first
}

// ask gets the answer to one filing; that there is none yet is no error.
func (c *Connector) ask(ctx context.Context, esid string) error {
	var e envelope.Envelope
	status, err := c.Client.Do(ctx, wire.Call{Method: http.MethodGet, Path: "/v1/seals/" + url.PathEscape(esid) + "/filing"}, &e)
	if status == http.StatusNotFound || err == nil && status == http.StatusAccepted {
		return nil // the notice has not arrived, or nobody has looked at it
	}
	if err != nil {
		return err
	}
	return c.answered(ctx, esid, e)
}

// Run watches until ctx ends.
func (c *Connector) Run(ctx context.Context, every time.Duration, log *slog.Logger) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := c.Watch(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "filings of made seals", slog.String("error", err.Error()))
		}
		if n := c.overdue.Load(); n > 0 && ctx.Err() == nil {
			log.ErrorContext(ctx, "made seals are not filed with public security within 24 hours", slog.Int64("count", n))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
