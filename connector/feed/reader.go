package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

var (
	// ErrGap: a number of the feed is missing. Nothing behind it is read.
	ErrGap = errors.New("a number of the feed is missing")
	// ErrBehind: the source knows of fewer messages than were read from it.
	ErrBehind = errors.New("the feed ends before what was read from it")
	// ErrFull: too many messages are held; a human must look at them first.
	ErrFull = errors.New("too many messages of the feed wait for a human")
	// ErrUnknown: no such message is held.
	ErrUnknown = errors.New("no such message is held")
	// ErrWhy: no reason was given.
	ErrWhy = errors.New("no reason given")
)

// Item is one message of a feed.
type Item struct {
	Seq     uint64            `json:"seq"`
	Message envelope.Envelope `json:"message"`
}

// Page is a part of a feed: items behind the number asked for, in order, and the highest number that there is.
type Page struct {
	Items []Item `json:"items"`
	Last  uint64 `json:"last"`
}

// Source is the other side of a feed.
type Source interface {
	Page(ctx context.Context, after uint64, limit int) (Page, error)
}

// Verdict says what is to be done about a message that could not be taken.
type Verdict int

// The verdicts.
const (
	Human Verdict = iota // held until a human decides
	Again                // held, and tried again by itself
	Ours                 // the fault is here: nothing is held, the reading stops for now
)

// Config is one feed.
type Config struct {
	Name    string
	Source  Source
	Open    func(e envelope.Envelope) (entity string, at time.Time, err error) // checks the signature
	Take    func(ctx context.Context, e envelope.Envelope) error
	Judge   func(err error) Verdict
	Ordered bool          // what is held holds back what comes later about the same entity
	Page    int           // items asked for at once; default 100
	Every   time.Duration // between two rounds; default 30 s
	MaxHeld int64         // default 10,000
	Now     func() time.Time
	Log     *slog.Logger
}

// Reader reads one feed. It is safe for concurrent use; one per feed and store.
type Reader struct {
	st  store.Store
	cfg Config
	mu  sync.Mutex // held for a round and for an operator's act

	last    atomic.Uint64
	held    atomic.Int64
	counted bool // guarded by mu
	stopped atomic.Pointer[string]
}

// New wires a reader.
func New(st store.Store, cfg Config) *Reader {
	if cfg.Page <= 0 {
		cfg.Page = 100
	}
	if cfg.Every <= 0 {
		cfg.Every = 30 * time.Second
	}
	if cfg.MaxHeld <= 0 {
		cfg.MaxHeld = 10_000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Reader{st: st, cfg: cfg}
}

// Stats is where a feed stands.
type Stats struct {
	Last    uint64 // number of the last message that was read
	Held    int64
	Stopped string // why the last round did not come to the end of the feed; empty when it did
}

// Stats reports on the feed as the last round left it.
func (r *Reader) Stats() Stats {
	s := Stats{Last: r.last.Load(), Held: r.held.Load()}
	if why := r.stopped.Load(); why != nil {
		s.Stopped = *why
	}
	return s
}

// Run reads until ctx ends. A source that fails is asked again later, at longer intervals the longer it fails.
func (r *Reader) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		err := r.Round(ctx)
		if failures++; err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "feed", slog.String("feed", r.cfg.Name), slog.String("error", err.Error()))
		}
		pause := r.cfg.Every << min(failures, 4)
		t := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// Round tries once more what is held for that, and reads to the end of the feed. Errors: those of the source, ErrGap, ErrBehind, ErrFull, and what
// Judge calls ours.
func (r *Reader) Round(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.round(ctx)
	why := ""
	if err != nil {
		why = wire.Cut(err.Error(), 300)
	}
	r.stopped.Store(&why)
	return err
}

func (r *Reader) round(ctx context.Context) error {
	p, at, err := r.place(ctx)
	if err != nil {
		return err
	}
	if err := r.tryAgain(ctx); err != nil {
		return err
	}
	for {
		page, err := r.ask(ctx, p.Last)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			if err = r.item(ctx, it); err != nil {
				break
			}
			p.Last = it.Seq
		}
		if len(page.Items) > 0 {
			if at, err = r.advance(ctx, p, at, err); err != nil {
				return err
			}
		}
		if p.Last >= page.Last {
			return nil
		}
	}
}

// ask reads the next page and holds it against the numbers. What was read before and comes again is left out; a number that is missing is asked for
// once more by itself.
func (r *Reader) ask(ctx context.Context, last uint64) (Page, error) {
	page, err := r.cfg.Source.Page(ctx, last, r.cfg.Page)
	if err != nil {
		return Page{}, fmt.Errorf("feed %s behind %d: %w", r.cfg.Name, last, err)
	}
	if page.Last < last {
		return Page{}, fmt.Errorf("feed %s: it ends at %d, and %d was read: %w", r.cfg.Name, page.Last, last, ErrBehind)
	}
	next := last + 1
	var items []Item
	for _, it := range page.Items {
		switch {
		case it.Seq < next:
		case it.Seq == next:
			items = append(items, it)
			next++
		case len(items) > 0: // read so far first; the gap is looked at in the next page
			return Page{items, page.Last}, nil
		default:
			one, err := r.replay(ctx, next)
			return Page{[]Item{one}, page.Last}, err
		}
	}
	if len(items) == 0 && page.Last > last {
		one, err := r.replay(ctx, next)
		return Page{[]Item{one}, page.Last}, err
	}
	return Page{items, page.Last}, nil
}

// replay asks for one message by its number.
func (r *Reader) replay(ctx context.Context, seq uint64) (Item, error) {
	page, err := r.cfg.Source.Page(ctx, seq-1, 1)
	if err != nil {
		return Item{}, fmt.Errorf("feed %s, number %d: %w", r.cfg.Name, seq, err)
	}
	for _, it := range page.Items {
		if it.Seq == seq {
			return it, nil
		}
	}
	return Item{}, fmt.Errorf("feed %s, number %d: %w: %w", r.cfg.Name, seq, ErrGap, wire.ErrGarbage)
}

// item takes one message or holds it.
func (r *Reader) item(ctx context.Context, it Item) error {
	h := Held{Feed: r.cfg.Name, Seq: it.Seq, Since: r.cfg.Now().UTC()}
	var err error
	if h.Entity, h.At, err = r.cfg.Open(it.Message); err != nil {
		h.Entity = "" // nobody knows who wrote it: it holds nothing back
		return r.hold(ctx, h, err)
	}
	if r.cfg.Ordered {
		before, err := r.heldOf(ctx, h.Entity)
		if err != nil {
			return err
		}
		if len(before) > 0 {
			if err := r.hold(ctx, h, errBehind); err != nil {
				return err
			}
			return r.mend(ctx, h.Entity)
		}
	}
	if err := r.cfg.Take(ctx, it.Message); err != nil {
		return r.hold(ctx, h, err)
	}
	return nil
}

var errBehind = errors.New("an earlier message about the same entity waits")

func (r *Reader) place(ctx context.Context) (p place, at store.Version, err error) {
	it, err := r.st.Get(ctx, places, []byte(r.cfg.Name))
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return p, 0, err
	default:
		if err := json.Unmarshal(it.Value, &p); err != nil {
			return p, 0, fmt.Errorf("feed %s: %w: %w", r.cfg.Name, store.ErrCorrupt, err)
		}
	}
	r.last.Store(p.Last)
	return p, it.Version, r.census(ctx)
}

// advance notes how far the feed was read, also when the reading stopped at a message for a fault of ours.
func (r *Reader) advance(ctx context.Context, p place, at store.Version, stopped error) (store.Version, error) {
	if p.Last == r.last.Load() {
		return at, stopped
	}
	value, err := json.Marshal(p)
	if err != nil {
		return at, err
	}
	_, err = r.st.Commit(ctx, store.Mutation{Put: []store.Put{{Collection: places, Key: []byte(r.cfg.Name), Value: value}},
		Expect: []store.Expect{{Collection: places, Key: []byte(r.cfg.Name), Version: at}}})
	if err != nil {
		return at, errors.Join(fmt.Errorf("feed %s, noting %d: %w", r.cfg.Name, p.Last, err), stopped)
	}
	r.last.Store(p.Last)
	return at + 1, stopped
}

// reader is who holds and takes.
func (r *Reader) actor() audit.Actor { return audit.Appliance("feed-" + r.cfg.Name) }
