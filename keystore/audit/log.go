package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/keystore/store"
)

// ErrRecovering says that the store differs from its anchor, and only two operators together can let it go on.
var ErrRecovering = errors.New("the store does not match its anchor; two operators must re-synchronise it")

// ErrOverdue says that records have waited too long for a checkpoint over them.
var ErrOverdue = errors.New("no checkpoint covers the newest records")

// checkpoints holds signed notes: under "latest" the newest, under its size (8 bytes) one per hour and the one of every close.
var checkpoints = &store.Collection{Name: "checkpoint", Codec: 1}

var latestKey = []byte("latest")

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{checkpoints} }

// Config says how a Log signs and anchors. Key and Anchor are required.
type Config struct {
	Key    Key
	Anchor Anchor
	// Former keys may have signed the anchor: after a change of keys the first anchor is still the old one's.
	Former []*gm.PublicKey
	// Genesis takes the store for right although nothing is anchored yet. Only the ceremony that made the store sets it.
	Genesis bool
	// Every is the least time between checkpoints under load, default 1 s. A single record in quiet times is signed for at once.
	Every time.Duration
	// AnchorEvery spares an anchor that wears (a USB key): the least time between two savings, default none. What was signed
	// since the last one could be put back unnoticed. Close always saves.
	AnchorEvery time.Duration
	// Uncovered bounds how long records may be without a checkpoint before Overdue says so; 0 means without bound.
	Uncovered time.Duration
	// Witness is given every anchored checkpoint, one at a time; slow ones miss some. Its errors are logged.
	Witness func(ctx context.Context, checkpoint []byte) error
	Log     *slog.Logger
}

// Log signs checkpoints over the store's log, keeps its anchor and answers for its proofs. It is safe for concurrent use.
type Log struct {
	st     store.Store
	cfg    Config
	origin string
	hasher *merkle.Hasher

	mu       sync.Mutex // one checkpoint at a time
	anchored time.Time
	unsaved  bool // the latest checkpoint is not anchored yet
	rotated  bool // another key has signed nothing yet
	kept     time.Time

	latest     atomic.Pointer[signed]
	recovering atomic.Pointer[string]
	failure    atomic.Pointer[failure] // why the last checkpoint could not be signed or anchored
	refusals   refusals
	witness    chan []byte
	stop       chan struct{}
	stopped    chan struct{}
	running    atomic.Bool
	closing    sync.Once
}

// failure is why there is no checkpoint, and since when.
type failure struct {
	err   error
	since time.Time
}

// signed is a checkpoint and its note.
type signed struct {
	Checkpoint
	note []byte
}

// Open compares the store with its anchor. When they contradict each other the store becomes read-only and Recovering says why; that is
// not an error. Otherwise the present state is signed for and anchored before Open returns. What was committed after the last anchor, at
// most Every and AnchorEvery before a crash, could be put back without a contradiction.
func Open(ctx context.Context, st store.Store, cfg Config) (*Log, error) {
	if cfg.Key == nil || cfg.Anchor == nil {
		return nil, errors.New("opening audit log: key and anchor are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	l := &Log{st: st, cfg: cfg, origin: Origin(st.State()), witness: make(chan []byte, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	l.refusals.wake = make(chan struct{}, 1)
	var err error
	if l.hasher, err = merkle.ByName(st.State().Hash); err != nil {
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	reason, err := l.compare(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	if reason != "" {
		l.enterRecovery(reason)
		return l, nil
	}
	// A clock in doubt lets nothing be stored, so the checkpoint is signed and anchored but not kept: the operator who is to accept the
	// clock needs an appliance that runs.
	if _, err := l.Sign(ctx); err != nil && !errors.Is(err, store.ErrClock) {
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	return l, nil
}

// compare checks the store against the anchor and returns what contradicts, or "". The anchor's signature counts: an anchor that the
// audit key did not sign proves nothing.
func (l *Log) compare(ctx context.Context) (reason string, err error) {
	state := l.st.State()
	b, err := l.cfg.Anchor.Load(ctx)
	switch {
	case errors.Is(err, ErrNoAnchor) && (l.cfg.Genesis || state.Size == 0):
		return "", nil
	case errors.Is(err, ErrNoAnchor):
		return fmt.Sprintf("the log has %d records but no anchor", state.Size), nil
	case err != nil:
		return "", err
	}
	c, err := openAny(b, append([]*gm.PublicKey{l.cfg.Key.Public()}, l.cfg.Former...))
	switch {
	case err != nil:
		return fmt.Sprintf("the anchor is not good: %v", err), nil
	case c.Origin != l.origin:
		return fmt.Sprintf("the anchor is of log %q, the store holds %q", c.Origin, l.origin), nil
	case c.Size > state.Size:
		return fmt.Sprintf("the store has %d records, its anchor says %d", state.Size, c.Size), nil
	}
	root, err := merkle.Root(l.hasher, c.Size, l.tiles(ctx))
	if err != nil {
		return "", fmt.Errorf("computing the root at the anchor's size: %w", err)
	}
	if root != c.Root {
		return fmt.Sprintf("the first %d records are not those of the anchor", c.Size), nil
	}
	return "", nil
}

func (l *Log) enterRecovery(reason string) {
	l.recovering.Store(&reason)
	l.st.SetReadOnly("recovering: " + reason)
	l.cfg.Log.Error("the store does not match its anchor and is read-only until two operators re-synchronise it", "reason", reason)
}

// Recovering returns why the store is read-only, or "" when all is well. Nothing may be destroyed while it is not empty (law 12).
func (l *Log) Recovering() string {
	if r := l.recovering.Load(); r != nil {
		return *r
	}
	return ""
}

// Health returns nil, ErrRecovering, or why the last checkpoint could not be signed or anchored.
func (l *Log) Health() error {
	if r := l.Recovering(); r != "" {
		return fmt.Errorf("%w: %s", ErrRecovering, r)
	}
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// Overdue returns ErrOverdue when no checkpoint could be signed and anchored for longer than Config.Uncovered: from then on nothing should be
// signed that nobody signs for. It costs one atomic load while all is well.
func (l *Log) Overdue() error {
	f := l.failure.Load()
	if f == nil || l.cfg.Uncovered <= 0 || time.Since(f.since) <= l.cfg.Uncovered {
		return nil
	}
	return fmt.Errorf("%w: none could be made for longer than %s: %v", ErrOverdue, l.cfg.Uncovered, f.err) // %v: overdue is the answer, whatever the cause
}

func (l *Log) tiles(ctx context.Context) merkle.Reader {
	return func(t merkle.Tile) ([]byte, error) { return l.st.Tile(ctx, t.Level, t.Index) }
}

// Checkpoint returns the latest signed note, nil before the first.
func (l *Log) Checkpoint() []byte {
	if s := l.latest.Load(); s != nil {
		return s.note
	}
	return nil
}

// Sign makes a checkpoint of the log as it is now, anchors it, keeps it in the store and returns the note. When nothing was added since
// the latest one, that is returned.
func (l *Log) Sign(ctx context.Context) ([]byte, error) { return l.sign(ctx, false) }

// sign is Sign; last saves the anchor whatever AnchorEvery says and keeps the checkpoint for good.
func (l *Log) sign(ctx context.Context, last bool) ([]byte, error) {
	if r := l.Recovering(); r != "" {
		return nil, fmt.Errorf("signing checkpoint: %w: %s", ErrRecovering, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.advance(ctx, last)
	if err != nil {
		l.failed(err)
		return nil, err
	}
	l.failure.Store(nil)
	return l.latest.Load().note, nil
}

// failed keeps the newest reason and the time of the first.
func (l *Log) failed(err error) {
	now := failure{err, time.Now()}
	if before := l.failure.Load(); before != nil {
		now.since = before.since
	} else {
		l.cfg.Log.Error("no checkpoint", "error", err)
	}
	l.failure.Store(&now)
}

// advance signs for new records and saves what is not anchored yet. Order: sign, anchor, publish, store; so the store never tells of a
// checkpoint that the anchor has not seen, except within AnchorEvery.
func (l *Log) advance(ctx context.Context, last bool) error {
	state, have := l.st.State(), l.latest.Load()
	fresh := have == nil || state.Size != have.Size || l.rotated
	if fresh {
		c := Checkpoint{Origin: l.origin, Size: state.Size, Root: state.Root}
		b, err := c.sign(ctx, l.cfg.Key)
		if err != nil {
			return err
		}
		have = &signed{c, b}
		l.unsaved, l.rotated = true, false
	}
	if l.unsaved && (last || time.Since(l.anchored) >= l.cfg.AnchorEvery) {
		if err := l.cfg.Anchor.Save(ctx, have.note); err != nil {
			return fmt.Errorf("anchoring checkpoint of size %d: %w", have.Size, err)
		}
		l.unsaved, l.anchored = false, time.Now()
		l.post(have.note)
	}
	l.latest.Store(have)
	if fresh || last {
		return l.keep(ctx, have, last)
	}
	return nil
}

// keep stores the note: as the latest, and for good once an hour and at the end.
func (l *Log) keep(ctx context.Context, s *signed, last bool) error {
	puts := []store.Put{{Collection: checkpoints, Key: latestKey, Value: s.note}}
	if last || time.Since(l.kept) >= time.Hour {
		puts = append(puts, store.Put{Collection: checkpoints, Key: binary.BigEndian.AppendUint64(nil, s.Size), Value: s.note})
	}
	if _, err := l.st.Commit(ctx, store.Mutation{Put: puts}); err != nil {
		return fmt.Errorf("keeping checkpoint of size %d: %w", s.Size, err)
	}
	if len(puts) == 2 {
		l.kept = time.Now()
	}
	return nil
}

// post hands a checkpoint to the witness loop; one that is still waiting is replaced.
func (l *Log) post(note []byte) {
	if l.cfg.Witness == nil {
		return
	}
	select {
	case <-l.witness:
	default:
	}
	l.witness <- note
}

// Run signs checkpoints and writes refusals until ctx ends or Close. It must run once.
func (l *Log) Run(ctx context.Context) error {
	if !l.running.CompareAndSwap(false, true) {
		return errors.New("the audit log is running already")
	}
	defer close(l.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var witness sync.WaitGroup
	witness.Go(func() { l.witnessLoop(ctx) })
	defer witness.Wait()
	defer cancel()
	l.loop(ctx)
	return nil
}

// loop answers records and refusals at once when things are quiet, and once per Every under load.
func (l *Log) loop(ctx context.Context) {
	for {
		changed, start := l.st.Changed(), time.Now()
		if l.Recovering() == "" {
			l.flush(ctx) // what it could not write it keeps for the next round
			if s := l.latest.Load(); s == nil || s.Size != l.st.State().Size || l.due() {
				l.sign(ctx, false) // its error is kept for Health and tried again
			}
		}
		if l.failure.Load() == nil && !l.due() && !l.wait(ctx, changed, l.refusals.wake, nil) {
			return
		}
		if !l.wait(ctx, nil, nil, time.After(l.cfg.Every-time.Since(start))) {
			return
		}
	}
}

// wait returns true when one of the channels speaks, false when Run shall end.
func (l *Log) wait(ctx context.Context, changed, refused <-chan struct{}, pause <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.stop:
		return false
	case <-changed:
	case <-refused:
	case <-pause:
	}
	return true
}

// due says that a signed checkpoint waits to be anchored.
func (l *Log) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsaved
}

func (l *Log) witnessLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-l.witness:
			if err := l.cfg.Witness(ctx, b); err != nil {
				l.cfg.Log.Warn("a witness did not take the checkpoint", "error", err)
			}
		}
	}
}

// Close ends Run, writes what refusals wait, and signs and anchors the last state. The store is still the caller's to close.
func (l *Log) Close(ctx context.Context) error {
	l.closing.Do(func() { close(l.stop) })
	if l.running.Load() {
		select {
		case <-l.stopped:
		case <-ctx.Done():
			return fmt.Errorf("closing audit log: %w", ctx.Err())
		}
	}
	if l.Recovering() != "" {
		return nil
	}
	for range 2 { // what could not be written earlier, and what came since
		if err := l.flush(ctx); err != nil {
			return fmt.Errorf("closing audit log: %w", err)
		}
	}
	if _, err := l.sign(ctx, true); err != nil {
		return fmt.Errorf("closing audit log: %w", err)
	}
	return nil
}
