package licence

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"sealkeeper/internal/envelope"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Bounds of an import.
const (
	maxLine     = 2 * maxPayload
	importBatch = 1000 // lines decided and committed together
)

// ErrLine: a line of an import is too long or no envelope.
var ErrLine = errors.New("import line is out of form")

// Reject is a line that was not taken.
type Reject struct {
	Line   int // counted from 1
	Reason error
}

// Imported says how an import went so far. Lines before Offset are settled: taken, taken before, or rejected.
type Imported struct {
	Lines, Taken, Repeated, Rejected int
	Offset                           int64 // bytes read up to the end of the last settled line
}

// Import takes signed licence events from JSON Lines, one envelope a line, without opening orders: that is how enterprises older than this
// library come in. Each line stands or falls by itself, each event has its own record, and lines of one entity are taken in their order. Every
// batch is durable before progress is told; the same lines again are recognised, so an import that broke off goes on from the last Offset or
// from the start. The error is of reading or of the store; a bad line goes to reject and is none.
func (l *Library) Import(ctx context.Context, r io.Reader, actor audit.Actor, reject func(Reject), progress func(Imported)) (Imported, error) {
	in := importer{l: l, actor: actor, reject: reject, extend: alone}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		batch, size, readErr := readLines(lines, importBatch)
		if err := in.settle(ctx, batch); err != nil {
			return in.sum, err
		}
		in.sum.Offset += size
		if progress != nil && len(batch) > 0 {
			progress(in.sum)
		}
		if errors.Is(readErr, io.EOF) {
			return in.sum, nil
		}
		if readErr != nil {
			return in.sum, fmt.Errorf("reading line %d: %w", in.sum.Lines+1, readErr)
		}
	}
}

// Extend makes the commit of a change, with what the event does elsewhere.
type Extend func(ctx context.Context, c Change) (store.Mutation, error)

func alone(_ context.Context, c Change) (store.Mutation, error) { return c.Mutation(), nil }

// Take takes signed events as Import does, at most 1,000 at a time, and returns the reason for each that was refused, nil for the others.
// The error is of the store, or of extend, which may be nil; what was settled before stays.
func (l *Library) Take(ctx context.Context, events []envelope.Envelope, actor audit.Actor, extend Extend) ([]error, error) {
	if len(events) > importBatch {
		return nil, fmt.Errorf("%d events at once, at most %d: %w", len(events), importBatch, ErrLine)
	}
	if extend == nil {
		extend = alone
	}
	batch := make([]line, len(events))
	for i, e := range events {
		batch[i] = line{text: e.Payload, env: e}
		batch[i].peek()
	}
	in := importer{l: l, actor: actor, extend: extend}
	err := in.decide(ctx, batch)
	reasons := make([]error, len(batch))
	for i := range batch {
		reasons[i] = batch[i].err
	}
	return reasons, err
}

// readLines reads up to n lines. A line that is too long comes back empty but for its fault.
func readLines(r *bufio.Reader, n int) (lines []line, size int64, err error) {
	for len(lines) < n {
		text, read, err := readLine(r)
		size += read
		if read > 0 {
			lines = append(lines, text)
		}
		if err != nil {
			return lines, size, err
		}
	}
	return lines, size, nil
}

// line is one line of the input on its way.
type line struct {
	text []byte
	err  error
	ev   Event
	env  envelope.Envelope
	c    Change
}

func readLine(r *bufio.Reader) (line, int64, error) {
	var text []byte
	var size int64
	for {
		part, err := r.ReadSlice('\n')
		size += int64(len(part))
		if size <= maxLine {
			text = append(text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return line{}, 0, err // what came of this line is not the line
		}
		l := line{text: bytes.TrimSpace(text)}
		if size > maxLine {
			l = line{err: fmt.Errorf("%d bytes, at most %d: %w", size, maxLine, ErrLine)}
		}
		return l, size, err
	}
}

// importer carries one import.
type importer struct {
	l      *Library
	actor  audit.Actor
	reject func(Reject)
	extend Extend
	sum    Imported
}

// settle opens a batch, decides it and counts it.
func (in *importer) settle(ctx context.Context, batch []line) error {
	inParallel(batch, func(l *line) { l.open() })
	if err := in.decide(ctx, batch); err != nil {
		return err
	}
	for i := range batch {
		in.count(&batch[i])
	}
	return nil
}

// decide takes a batch. Events of one entity follow one another, so the batch goes in rounds: the first open line of every entity, then
// the second, and so on. A commit that came too late, or behind another, is decided again.
func (in *importer) decide(ctx context.Context, batch []line) error {
	for open := waiting(batch); len(open) > 0; {
		round, rest := firstOfEach(batch, open)
		if err := in.round(ctx, round); err != nil {
			return err
		}
		open = rest
	}
	return nil
}

func (l *line) open() {
	if l.err != nil || len(l.text) == 0 {
		return
	}
	d := json.NewDecoder(bytes.NewReader(l.text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l.env); err != nil || d.More() {
		l.err = fmt.Errorf("no envelope: %w", ErrLine)
		return
	}
	l.peek()
}

// peek reads whom the event is about, only to keep lines of one entity in order; Prepare reads the payload again, under its signature.
func (l *line) peek() {
	if err := json.Unmarshal(l.env.Payload, &l.ev); err != nil {
		l.err = fmt.Errorf("no licence event: %w", ErrLine)
	}
}

func waiting(batch []line) []int {
	var open []int
	for i, l := range batch {
		if l.err == nil && len(l.text) > 0 {
			open = append(open, i)
		}
	}
	return open
}

func firstOfEach(batch []line, open []int) (round []*line, rest []int) {
	seen := map[string]bool{}
	for _, i := range open {
		key, id := batch[i].ev.Licence.USCC, "event "+batch[i].ev.ID
		if seen[key] || seen[id] {
			rest = append(rest, i)
			continue
		}
		seen[key], seen[id] = true, true
		round = append(round, &batch[i])
	}
	return round, rest
}

// round prepares lines that do not touch each other and commits them with one durable write.
func (in *importer) round(ctx context.Context, round []*line) error {
	for len(round) > 0 {
		inParallel(round, func(l **line) { (*l).c, (*l).err = in.l.Prepare(ctx, (*l).env, in.actor) })
		ready, all, err := in.changes(ctx, round)
		if err != nil {
			return err
		}
		round = nil
		for i, r := range in.l.st.CommitAll(ctx, all) {
			switch {
			case errors.Is(r.Err, store.ErrConflict):
				round = append(round, ready[i])
			case r.Err != nil:
				return fmt.Errorf("committing licence event %s: %w", ready[i].ev.ID, r.Err)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// changes collects what a round has to commit. An error that is not about the line itself ends the import.
func (in *importer) changes(ctx context.Context, round []*line) (ready []*line, all []store.Mutation, err error) {
	for _, l := range round {
		if l.err != nil && !refused(l.err) {
			return nil, nil, fmt.Errorf("licence event %s: %w", l.ev.ID, l.err)
		}
		if l.err != nil || l.c.Repeated {
			continue
		}
		m, err := in.extend(ctx, l.c)
		if err != nil {
			return nil, nil, fmt.Errorf("licence event %s: %w", l.ev.ID, err)
		}
		ready, all = append(ready, l), append(all, m)
	}
	return ready, all, nil
}

// refusals are what makes a line bad.
var refusals = []error{ErrLine, ErrUSCC, ErrFields, ErrEventKind, ErrEventForm, ErrEventFuture, ErrEventOrder, ErrEventReused, ErrTransition, ErrSynthetic,
	ErrNotSynthetic, envelope.ErrUnsigned, envelope.ErrSignature, envelope.ErrPayload}

func refused(err error) bool {
	return slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) })
}

// count adds a settled line to the sum.
func (in *importer) count(l *line) {
	in.sum.Lines++
	switch {
	case l.err != nil:
		in.sum.Rejected++
		if in.reject != nil {
			in.reject(Reject{in.sum.Lines, l.err})
		}
	case l.c.Repeated:
		in.sum.Repeated++
	case len(l.text) > 0:
		in.sum.Taken++
	}
}

// inParallel runs f over all on every processor.
func inParallel[T any](all []T, f func(*T)) {
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		wg.Go(func() {
			for i := w; i < len(all); i += n {
				f(&all[i])
			}
		})
	}
	wg.Wait()
}
