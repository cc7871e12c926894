package feed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sealkeeper/connector/wire"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// hold keeps a message that could not be taken, with a record the first time and whenever it begins to wait for a human.
func (r *Reader) hold(ctx context.Context, h Held, cause error) error {
	v := r.cfg.Judge(cause)
	if errors.Is(cause, errBehind) || errors.Is(cause, ErrGap) {
		v = Human
	}
	if v == Ours || ours(cause) || ctx.Err() != nil {
		return fmt.Errorf("feed %s, number %d: %w", h.Feed, h.Seq, cause)
	}
	was, at, err := r.get(ctx, h.Seq)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if at == 0 && r.held.Load() >= r.cfg.MaxHeld {
		return fmt.Errorf("feed %s, number %d: %w", h.Feed, h.Seq, ErrFull)
	}
	if at > 0 {
		h.Since = was.Since
	}
	h.Tried, h.Again, h.Why = r.cfg.Now().UTC(), v == Again, wire.Cut(cause.Error(), 300)
	var records [][]byte
	if at == 0 || was.Again && !h.Again {
		body, err := audit.Event{Kind: "message-held", Actor: r.actor(), Subject: h.name(), Detail: h}.Body()
		if err != nil {
			return err
		}
		records = [][]byte{body}
	}
	if err := r.write(ctx, h, at, records); err != nil {
		return err
	}
	if at == 0 {
		r.held.Add(1)
	}
	return nil
}

// ours reports whether a failure is the store's: the message is as good as before.
func ours(err error) bool {
	for _, of := range []error{store.ErrConflict, store.ErrUnavailable, store.ErrUnknownOutcome, store.ErrFenced, store.ErrClock, store.ErrReadOnly,
		store.ErrCorrupt, store.ErrMutation, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

func (h Held) name() string { return fmt.Sprintf("%s/%d", h.Feed, h.Seq) }

func (r *Reader) write(ctx context.Context, h Held, at store.Version, records [][]byte) error {
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	key := heldKey(h.Feed, h.Seq)
	_, err = r.st.Commit(ctx, store.Mutation{Put: []store.Put{{Collection: helds, Key: key, Value: value}},
		Expect: []store.Expect{{Collection: helds, Key: key, Version: at}}, Audit: records})
	if err != nil {
		return fmt.Errorf("holding message %s: %w", h.name(), err)
	}
	return nil
}

// release lets go of a message: it was taken, or an operator drops it.
func (r *Reader) release(ctx context.Context, req *store.Request, h Held, at store.Version, e audit.Event) error {
	body, err := e.Body()
	if err != nil {
		return err
	}
	key := heldKey(h.Feed, h.Seq)
	_, err = r.st.Commit(ctx, store.Mutation{Request: req, Put: []store.Put{{Collection: helds, Key: key}},
		Expect: []store.Expect{{Collection: helds, Key: key, Version: at}}, Audit: [][]byte{body}})
	if err != nil {
		return fmt.Errorf("releasing message %s: %w", h.name(), err)
	}
	r.held.Add(-1)
	return nil
}

func (r *Reader) get(ctx context.Context, seq uint64) (h Held, at store.Version, err error) {
	it, err := r.st.Get(ctx, helds, heldKey(r.cfg.Name, seq))
	if errors.Is(err, store.ErrNotFound) {
		err = ErrUnknown
	}
	if err != nil {
		return h, 0, fmt.Errorf("message %s/%d: %w", r.cfg.Name, seq, err)
	}
	return h, it.Version, decode(it, &h)
}

func decode(it store.Item, h *Held) error {
	if err := json.Unmarshal(it.Value, h); err != nil {
		return fmt.Errorf("reading held message %s: %w: %w", it.Key, store.ErrCorrupt, err)
	}
	return nil
}

// most is how many held messages of an entity are looked at together.
const most = 100

func (r *Reader) heldOf(ctx context.Context, entity string) ([]Held, error) {
	return r.list(ctx, byEntity, entityKey(r.cfg.Name, entity), most)
}

func (r *Reader) list(ctx context.Context, index, prefix string, limit int) ([]Held, error) {
	p, err := r.st.List(ctx, helds, index, []byte(prefix), "", limit)
	if err != nil {
		return nil, fmt.Errorf("listing held messages of %s: %w", r.cfg.Name, err)
	}
	all := make([]Held, len(p.Items))
	for n, it := range p.Items {
		if err := decode(it, &all[n]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// mend tries what is held of an entity, by the source's time, and stops at the first that still cannot be taken.
func (r *Reader) mend(ctx context.Context, entity string) error {
	all, err := r.heldOf(ctx, entity)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b Held) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Seq, b.Seq)) })
	for _, h := range all {
		taken, err := r.try(ctx, h)
		if err != nil {
			return err
		}
		if !taken && r.cfg.Ordered {
			return nil
		}
	}
	return nil
}

// try asks the source for a held message and takes it, or holds it on.
func (r *Reader) try(ctx context.Context, h Held) (taken bool, err error) {
	it, err := r.replay(ctx, h.Seq)
	if errors.Is(err, ErrGap) {
		return false, r.hold(ctx, h, err) // the source has it no more: a human decides, and the reading goes on
	}
	if err != nil {
		return false, err
	}
	if _, _, err = r.cfg.Open(it.Message); err == nil {
		err = r.cfg.Take(ctx, it.Message)
	}
	if err != nil {
		return false, r.hold(ctx, h, err)
	}
	_, at, err := r.get(ctx, h.Seq)
	if err != nil {
		return false, err
	}
	return true, r.release(ctx, nil, h, at, audit.Event{Kind: "held-message-taken", Actor: r.actor(), Subject: h.name()})
}

// tryAgain tries what is held for that: some of it in each round, the one longest ago first.
func (r *Reader) tryAgain(ctx context.Context) error {
	all, err := r.list(ctx, byAgain, againKey(r.cfg.Name), r.cfg.Page)
	if err != nil {
		return err
	}
	for _, h := range all {
		if r.cfg.Ordered {
			err = r.mend(ctx, h.Entity)
		} else {
			_, err = r.try(ctx, h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) census(ctx context.Context) error {
	if r.counted {
		return nil
	}
	n := int64(0)
	for cursor := ""; ; {
		p, err := r.st.List(ctx, helds, "", []byte(againKey(r.cfg.Name)), cursor, 1000)
		if err != nil {
			return err
		}
		n += int64(len(p.Items))
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	r.held.Store(n)
	r.counted = true
	return nil
}

// Held pages through what is held, by number.
func (r *Reader) Held(ctx context.Context, cursor string, limit int) (all []Held, next string, err error) {
	p, err := r.st.List(ctx, helds, "", []byte(againKey(r.cfg.Name)), cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing held messages of %s: %w", r.cfg.Name, err)
	}
	all = make([]Held, len(p.Items))
	for n, it := range p.Items {
		if err := decode(it, &all[n]); err != nil {
			return nil, "", err
		}
	}
	return all, p.Next, nil
}

// Retry tries a held message again, in an ordered feed all of its entity. ErrUnknown, and the source's errors; whether it was taken shows in the list.
func (r *Reader) Retry(ctx context.Context, req *store.Request, by audit.Actor, seq uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if done, err := r.answered(ctx, req); done || err != nil {
		return err
	}
	h, _, err := r.get(ctx, seq)
	if err != nil {
		return err
	}
	body, err := audit.Event{Kind: "held-message-retried", Actor: by, Subject: h.name()}.Body()
	if err != nil {
		return err
	}
	if _, err := r.st.Commit(ctx, store.Mutation{Request: req, Audit: [][]byte{body}}); err != nil {
		return err
	}
	if r.cfg.Ordered && h.Entity != "" {
		return r.mend(ctx, h.Entity)
	}
	_, err = r.try(ctx, h)
	return err
}

// answered reports whether a request was carried out before.
func (r *Reader) answered(ctx context.Context, req *store.Request) (bool, error) {
	if req == nil {
		return false, nil
	}
	_, err := r.st.Lookup(ctx, *req)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Drop gives a held message up for good, and says why; what waited behind it is tried. ErrUnknown, ErrWhy.
func (r *Reader) Drop(ctx context.Context, req *store.Request, by audit.Actor, seq uint64, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if done, err := r.answered(ctx, req); done || err != nil {
		return err
	}
	if why = strings.TrimSpace(why); why == "" {
		return fmt.Errorf("dropping message %s/%d: %w", r.cfg.Name, seq, ErrWhy)
	}
	h, at, err := r.get(ctx, seq)
	if err != nil {
		return err
	}
	why = wire.Cut(why, 256)
	err = r.release(ctx, req, h, at, audit.Event{Kind: "held-message-dropped", Actor: by, Subject: h.name(), Detail: struct {
		Entity string `json:"entity"`
		Held   string `json:"held"`
		Why    string `json:"why"`
	}{h.Entity, h.Why, why}})
	if err != nil || !r.cfg.Ordered || h.Entity == "" {
		return err
	}
	return r.mend(ctx, h.Entity)
}
