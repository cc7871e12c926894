package access

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Config is what the appliance's configuration says about access.
type Config struct {
	Audience     string           // name of this appliance in identity assertions
	Now          func() time.Time // nil means time.Now
	ApprovalLife time.Duration    // longest time from now to an approval's expiry; 0 means 7 days

	// Owner says whose a seal is, or store.ErrNotFound; the register of seals answers it.
	Owner func(ctx context.Context, esid string) (Owner, error)
}

// Owner is what access needs to know of a seal.
type Owner struct {
	USCC          string
	SealType      string // 01 … 05
	Institutional bool   // an institution's own seal, which has no licence behind it
}

// Access reads and writes clients, grants, devices and delegations, and judges approvals. Safe for concurrent use.
type Access struct {
	st  store.Store
	cfg Config

	clients     store.Decoded[Client]
	persons     store.Decoded[person]
	grants      store.Decoded[Grant]
	devices     store.Decoded[bound]
	delegations store.Decoded[Registered]
	standings   store.Decoded[Standing]
	sharing     store.Decoded[SharingGrant]
}

// New takes the open store. Audience and Owner are required.
func New(st store.Store, cfg Config) (*Access, error) {
	if cfg.Audience == "" || cfg.Owner == nil {
		return nil, errors.New("access needs the appliance's audience name and the register's answer whose a seal is")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ApprovalLife == 0 {
		cfg.ApprovalLife = 7 * 24 * time.Hour
	}
	return &Access{st: st, cfg: cfg}, nil
}

func (a *Access) now() time.Time { return a.cfg.Now().UTC() }

// Collections lists what this package stores.
func Collections() []*store.Collection {
	return []*store.Collection{Clients, persons, Grants, Devices, Delegations, Standings, sharingGrants}
}

// Change is what an act adds to its caller's commit: store pieces and the record's evidence.
type Change struct {
	Expect   []store.Expect
	Put      []store.Put
	Spend    []store.Spend
	Audit    [][]byte
	Evidence json.RawMessage // for the caller's own record, when Audit is empty
}

// Mutation is the change alone, as the answer to req.
func (c Change) Mutation(req *store.Request) store.Mutation {
	return store.Mutation{Request: req, Expect: c.Expect, Put: c.Put, Spend: c.Spend, Audit: c.Audit}
}

// record appends the audit record of the change.
func (c *Change) record(kind string, by audit.Actor, subject string, detail any) error {
	b, err := audit.Event{Kind: kind, Actor: by, Subject: subject, Detail: detail}.Body()
	if err != nil {
		return fmt.Errorf("recording %s of %s: %w", kind, subject, err)
	}
	c.Audit = append(c.Audit, b)
	return nil
}

// write puts v under key, which must have version now; taken is returned when the commit finds another.
func (c *Change) write(col *store.Collection, key string, version store.Version, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding %s %s: %w", col.Name, key, err)
	}
	c.Expect = append(c.Expect, store.Expect{Collection: col, Key: []byte(key), Version: version})
	c.Put = append(c.Put, store.Put{Collection: col, Key: []byte(key), Value: b})
	return nil
}

// again answers a repeated request from its first receipt, before any check could see the first call's own effect.
func (a *Access) again(ctx context.Context, req *store.Request) (store.Receipt, bool, error) {
	if req == nil {
		return store.Receipt{}, false, nil
	}
	r, err := a.st.Lookup(ctx, *req)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Receipt{}, false, nil
	case err != nil:
		return store.Receipt{}, false, err
	}
	r.Duplicate = true
	return r, true, nil
}

// read reads one record of a collection whose values are T, decoded by d.
func read[T any](ctx context.Context, a *Access, col *store.Collection, d *store.Decoded[T], key string) (T, store.Version, error) {
	it, err := a.st.Get(ctx, col, []byte(key))
	if err != nil {
		var none T
		return none, 0, err
	}
	v, err := d.Of(it)
	return v, it.Version, err
}

// indexBy makes an index over one text field of the JSON value; an empty field is left out.
func indexBy(name string, field func(value []byte) (string, error)) store.Index {
	return store.Index{Name: name, Keys: func(value []byte) ([][]byte, error) {
		s, err := field(value)
		if err != nil || s == "" {
			return nil, err
		}
		return [][]byte{[]byte(s)}, nil
	}}
}

// page decodes one page of a listing.
func page[T any](ctx context.Context, a *Access, col *store.Collection, d *store.Decoded[T], index, prefix, cursor string, limit int) ([]T, string, error) {
	p, err := a.st.List(ctx, col, index, []byte(prefix), cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing %s: %w", col.Name, err)
	}
	out := make([]T, len(p.Items))
	for i, it := range p.Items {
		if out[i], err = d.Of(it); err != nil {
			return nil, "", err
		}
	}
	return out, p.Next, nil
}

func isHex(s string, n int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n && hex.EncodeToString(b) == s
}

// cleanText reports whether s is 1..max characters with a canonical form.
func cleanText(s string, max int) bool { return field{"value", s, max}.check() == nil }
