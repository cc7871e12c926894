package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/keystore/store"
)

// ErrUnknown: no such seal, order or impression.
var ErrUnknown = errors.New("not in the register")

// The collections. Values are JSON but for esl (the SESeal itself, DER) and impression-data (see sealedPicture).
var (
	seals = &store.Collection{Name: "seal", Codec: 1, Indexes: []store.Index{
		{Name: "uscc", Keys: field(func(s Seal) string { return s.USCC })},
		{Name: "ended", Keys: field(func(s Seal) string {
			if s.State.Final() {
				return "ended"
			}
			return ""
		})},
		{Name: "until", Keys: field(func(s Seal) string {
			if s.State.Final() || s.Institutional {
				return ""
			}
			return s.NotAfter.UTC().Format("20060102150405")
		})},
	}}
	esls         = &store.Collection{Name: "esl", Codec: 1}
	certificates = &store.Collection{Name: "seal-certificate", Codec: 1}
	companions   = &store.Collection{Name: "seal-document-certificate", Codec: 1}
	filings      = &store.Collection{Name: "seal-filing", Codec: 1, Indexes: []store.Index{
		{Name: "pending", Keys: field(func(f Filed) string {
			if f.State == FilingPending {
				return f.Since.UTC().Format("20060102150405.000000")
			}
			return ""
		})},
	}}
	numbers = &store.Collection{Name: "seal-number", Codec: 1}
	orders  = &store.Collection{Name: "order", Codec: 1, Indexes: []store.Index{
		{Name: "uscc", Keys: field(func(o Order) string { return o.USCC })},
		{Name: "state", Keys: field(func(o Order) string { return string(o.State) })},
	}}
	impressions = &store.Collection{Name: "impression", Codec: 1, Indexes: []store.Index{
		{Name: "uscc", Keys: field(func(i Impression) string { return i.USCC })},
	}}
	pictures    = &store.Collection{Name: "impression-data", Codec: 1}
	byFiling    = &store.Collection{Name: "impression-filing", Codec: 1}
	byCode      = &store.Collection{Name: "impression-code", Codec: 1}
	byLikeness  = &store.Collection{Name: "impression-likeness", Codec: 1}
	byDigest    = &store.Collection{Name: "impression-digest", Codec: 1}
	sealNotices = &store.Collection{Name: "seal-notice", Codec: 1}
	collections = []*store.Collection{seals, esls, certificates, companions, filings, numbers, orders, impressions, pictures, byFiling, byCode, byDigest, sealNotices, byLikeness, papers, paperFiles}
)

// Collections lists what this package stores.
func Collections() []*store.Collection { return collections }

// field makes an index over one text of a JSON value.
func field[T any](text func(T) string) func([]byte) ([][]byte, error) {
	return func(value []byte) ([][]byte, error) {
		var v T
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, err
		}
		if key := text(v); key != "" {
			return [][]byte{[]byte(key)}, nil
		}
		return nil, nil
	}
}

// Config wires a Register.
type Config struct {
	Store store.Store
	Keys  *keystore.Keystore // holds the key of the year that seals data keys
	Now   func() time.Time   // nil means time.Now
}

// Register reads and drafts. It is safe for concurrent use.
type Register struct {
	st   store.Store
	keys *keystore.Keystore
	now  func() time.Time
	hot  store.Decoded[Seal]

	mu   sync.Mutex
	next map[string]uint64 // running number to try next, by division; guarded by mu
	skip map[string]uint64 // running numbers below are not given; guarded by mu
	year sync.Mutex        // held while the key of a new year is made
}

// New wires a register.
func New(cfg Config) *Register {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Register{st: cfg.Store, keys: cfg.Keys, now: cfg.Now, next: map[string]uint64{}, skip: map[string]uint64{}}
}

// Seal reads a seal's record; its version belongs into the expectations of a commit that relies on the state.
func (r *Register) Seal(ctx context.Context, esid string) (Seal, store.Version, error) {
	it, err := r.st.Get(ctx, seals, []byte(esid))
	if err != nil {
		return Seal{}, 0, named(err, seals, esid)
	}
	s, err := r.hot.Of(it)
	return s, it.Version, err
}

// ExpectSeal requires a seal to be unchanged since it was read.
func ExpectSeal(esid string, at store.Version) store.Expect {
	return store.Expect{Collection: seals, Key: []byte(esid), Version: at}
}

// ESL returns the seal data (SESeal, DER) as made.
func (r *Register) ESL(ctx context.Context, esid string) ([]byte, error) {
	it, err := r.st.Get(ctx, esls, []byte(esid))
	return it.Value, named(err, esls, esid)
}

// Certificate returns the certificate of the seal's key, DER.
func (r *Register) Certificate(ctx context.Context, esid string) ([]byte, error) {
	var c storedCertificate
	_, err := r.read(ctx, certificates, esid, &c)
	return c.Certificate, err
}

// Chain returns the issuing certificates above Certificate, DER.
func (r *Register) Chain(ctx context.Context, esid string) ([][]byte, error) {
	var c storedCertificate
	_, err := r.read(ctx, certificates, esid, &c)
	return c.Chain, err
}

// SealsOf lists the seals of an entity, by number.
func (r *Register) SealsOf(ctx context.Context, uscc string) ([]Seal, error) {
	return list[Seal](ctx, r.st, seals, "uscc", uscc)
}

// Ended lists the seals that are cancelled, superseded or expired, by number.
func (r *Register) Ended(ctx context.Context) ([]Seal, error) {
	return list[Seal](ctx, r.st, seals, "ended", "ended")
}

// Order reads an order.
func (r *Register) Order(ctx context.Context, id string) (Order, store.Version, error) {
	var o Order
	at, err := r.read(ctx, orders, id, &o)
	return o, at, err
}

// OrdersOf lists the orders of an entity.
func (r *Register) OrdersOf(ctx context.Context, uscc string) ([]Order, error) {
	return list[Order](ctx, r.st, orders, "uscc", uscc)
}

// OrdersIn lists the orders in a state.
func (r *Register) OrdersIn(ctx context.Context, s OrderState) ([]Order, error) {
	return list[Order](ctx, r.st, orders, "state", string(s))
}

// OrdersPage pages through the orders in a state.
func (r *Register) OrdersPage(ctx context.Context, s OrderState, cursor string, limit int) (all []Order, next string, err error) {
	p, err := r.st.List(ctx, orders, "state", []byte(s), cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing orders: %w", err)
	}
	all = make([]Order, len(p.Items))
	for n, it := range p.Items {
		if err := json.Unmarshal(it.Value, &all[n]); err != nil {
			return nil, "", fmt.Errorf("listing orders: %w: %w", store.ErrCorrupt, err)
		}
	}
	return all, p.Next, nil
}

// Impression reads the metadata of an impression; nothing of the picture.
func (r *Register) Impression(ctx context.Context, id string) (Impression, store.Version, error) {
	var i Impression
	at, err := r.read(ctx, impressions, id, &i)
	return i, at, err
}

// ImpressionsOf lists the impressions filed for an entity.
func (r *Register) ImpressionsOf(ctx context.Context, uscc string) ([]Impression, error) {
	return list[Impression](ctx, r.st, impressions, "uscc", uscc)
}

func (r *Register) read(ctx context.Context, c *store.Collection, key string, v any) (store.Version, error) {
	it, err := r.st.Get(ctx, c, []byte(key))
	if err != nil {
		return 0, named(err, c, key)
	}
	if err := json.Unmarshal(it.Value, v); err != nil {
		return 0, fmt.Errorf("reading %s %.64q: %w: %w", c.Name, key, store.ErrCorrupt, err)
	}
	return it.Version, nil
}

// lookup is read for records that may be missing: found is false and the version zero then.
func (r *Register) lookup(ctx context.Context, c *store.Collection, key string, v any) (at store.Version, found bool, err error) {
	at, err = r.read(ctx, c, key, v)
	if errors.Is(err, ErrUnknown) {
		return 0, false, nil
	}
	return at, err == nil, err
}

func named(err error, c *store.Collection, key string) error {
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return fmt.Errorf("reading %s %.64q: %w", c.Name, key, err)
	}
	return nil
}

const pageSize = 200

// list reads every value under an index key. No index key here begins another: codes have one length, and no state's name begins
// another's.
func list[T any](ctx context.Context, st store.Store, c *store.Collection, index, key string) ([]T, error) {
	var out []T
	cursor := ""
	for {
		p, err := st.List(ctx, c, index, []byte(key), cursor, pageSize)
		if err != nil {
			return nil, fmt.Errorf("listing %s by %s: %w", c.Name, index, err)
		}
		for _, it := range p.Items {
			var v T
			if err := json.Unmarshal(it.Value, &v); err != nil {
				return nil, fmt.Errorf("listing %s: %w: %w", c.Name, store.ErrCorrupt, err)
			}
			out = append(out, v)
		}
		if cursor = p.Next; cursor == "" {
			return out, nil
		}
	}
}
