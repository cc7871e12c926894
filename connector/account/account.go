// Package account connects 豫事办 and the government service site: each enterprise with a licence has a legal-person account there.
//
// Its one promise: which account an enterprise was given, and in which state it is there, stands in the store once the other side said so. The
// contract is docs/connectors/account.md.
package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"sealkeeper/connector/delivery"
	"sealkeeper/connector/wire"
	"sealkeeper/keystore/store"
)

// Account is what is known of an enterprise's account.
type Account struct {
	USCC    string    `json:"uscc"`
	Account string    `json:"account"` // the other side's name for it
	State   string    `json:"state"`   // open or closed
	Licence int       `json:"licence_version"`
	Since   time.Time `json:"since"`
}

var accounts = &store.Collection{Name: "account", Codec: 1}

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{accounts} }

// ErrUnknown: the enterprise has no account that we know of.
var ErrUnknown = errors.New("no account is known")

// Outgoing is a message on the wire; Account is issuance.AccountMessage.
type Outgoing struct {
	ID      string          `json:"id"`
	Account json.RawMessage `json:"account"`
}

// Incoming is the answer.
type Incoming struct {
	Account string `json:"account"`
	State   string `json:"state"`
}

// Connector speaks the contract. It is safe for concurrent use.
type Connector struct {
	Client *wire.Client
	Store  store.Store
	Now    func() time.Time
}

var accountForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Deliver is delivery.Destination for issuance.QueueAccount.
func (c *Connector) Deliver(ctx context.Context, m delivery.Message) error {
	var in Incoming
	if _, err := c.Client.Do(ctx, wire.Call{Method: http.MethodPost, Path: "/v1/accounts", Key: m.Key, In: Outgoing{m.ID, m.Body}}, &in); err != nil {
		return err
	}
	if !accountForm.MatchString(in.Account) || in.State != "open" && in.State != "closed" {
		return fmt.Errorf("account of %s: %.80q is %.20q: %w", m.Entity, in.Account, in.State, wire.ErrGarbage)
	}
	var sent struct {
		Version int `json:"licence_version"`
	}
	if err := json.Unmarshal(m.Body, &sent); err != nil {
		return err
	}
	return c.keep(ctx, Account{USCC: m.Entity, Account: in.Account, State: in.State, Licence: sent.Version, Since: c.Now().UTC()})
}

func (c *Connector) keep(ctx context.Context, a Account) error {
	was, at, err := c.get(ctx, a.USCC)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if was.Account == a.Account && was.State == a.State && was.Licence == a.Licence {
		return nil
	}
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	key := []byte(a.USCC)
	_, err = c.Store.Commit(ctx, store.Mutation{Put: []store.Put{{Collection: accounts, Key: key, Value: value}},
		Expect: []store.Expect{{Collection: accounts, Key: key, Version: at}}})
	if err != nil {
		return fmt.Errorf("keeping the account of %s: %w", a.USCC, err)
	}
	return nil
}

// Get returns the account of an enterprise, or ErrUnknown.
func (c *Connector) Get(ctx context.Context, uscc string) (Account, error) {
	a, _, err := c.get(ctx, uscc)
	return a, err
}

func (c *Connector) get(ctx context.Context, uscc string) (a Account, at store.Version, err error) {
	it, err := c.Store.Get(ctx, accounts, []byte(uscc))
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return a, 0, fmt.Errorf("account of %.20q: %w", uscc, err)
	}
	if err := json.Unmarshal(it.Value, &a); err != nil {
		return a, 0, fmt.Errorf("account of %s: %w: %w", uscc, store.ErrCorrupt, err)
	}
	return a, it.Version, nil
}
