package onecode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence/certificate"
	"sealkeeper/signer/statement"
)

// EntityKind is the kind of an entity code's statement, and with a hyphen of its record.
const EntityKind = "entity-code/1"

// Code is an enterprise's static code, for its life.
type Code struct {
	ID        string    `json:"id"` // opaque
	USCC      string    `json:"uscc"`
	URL       string    `json:"url"` // of the public page; a QR code shows it
	Since     time.Time `json:"since"`
	Statement []byte    `json:"statement"` // SignedData, DER: that this URL is this enterprise's
}

// entity is the body of its statement.
type entity struct {
	USCC string `json:"uscc"`
	URL  string `json:"url"`
}

// Issue gives an enterprise its static code, or returns the one it has. access.ErrNotEntitled, licence.ErrUnknown, ErrNoPages, ErrNoKey.
func (d *Desk) Issue(ctx context.Context, req *store.Request, actor access.Actor, uscc string) (Code, error) {
	if err := d.Access.Allow(actor, access.CodeIssue, access.Resource{}); err != nil {
		return Code{}, err
	}
	if _, _, err := d.Licences.Standing(ctx, uscc); err != nil {
		return Code{}, err
	}
	for {
		c, err := d.Code(ctx, actor, uscc)
		if !errors.Is(err, ErrNoPage) {
			return c, err
		}
		if c, err = d.issue(ctx, req, actor, uscc); !errors.Is(err, store.ErrConflict) {
			return c, err
		} // somebody gave it one meanwhile
	}
}

// Code returns the static code of an enterprise. access.ErrNotEntitled, ErrNoPage.
func (d *Desk) Code(ctx context.Context, actor access.Actor, uscc string) (Code, error) {
	var c Code
	if err := d.Access.Allow(actor, access.CodeIssue, access.Resource{}); err != nil {
		return c, err
	}
	it, err := d.Store.Get(ctx, codes, []byte(uscc))
	if errors.Is(err, store.ErrNotFound) {
		return c, fmt.Errorf("entity code of %.18s: %w", uscc, ErrNoPage)
	}
	return c, decode(it, err, &c)
}

func (d *Desk) issue(ctx context.Context, req *store.Request, actor access.Actor, uscc string) (Code, error) {
	switch {
	case d.Pages == "":
		return Code{}, ErrNoPages
	case d.Statements == nil:
		return Code{}, ErrNoKey
	}
	c := Code{ID: newName(), USCC: uscc, Since: d.now().Truncate(time.Second)}
	c.URL = d.Pages + "/c/" + c.ID
	signed, err := d.Statements.Sign(ctx, statement.Claim{Kind: EntityKind, ID: c.ID, Body: entity{uscc, c.URL}})
	if err != nil {
		return Code{}, fmt.Errorf("signing the entity code of %s: %w", uscc, err)
	}
	c.Statement = signed.DER
	value, err := json.Marshal(c)
	if err != nil {
		return Code{}, err
	}
	body, err := audit.Event{Kind: "entity-code", Actor: actor.Audit(), Subject: uscc, Detail: c}.Body()
	if err != nil {
		return Code{}, err
	}
	key := []byte(uscc)
	_, err = d.Store.Commit(ctx, store.Mutation{Request: req, Audit: [][]byte{body}, Expect: []store.Expect{{Collection: codes, Key: key}},
		Put: []store.Put{{Collection: codes, Key: key, Value: value}}})
	if err != nil {
		return Code{}, fmt.Errorf("recording the entity code of %s: %w", uscc, err)
	}
	return c, nil
}

// Page is what anybody who scans an entity code may know.
type Page struct {
	Name         string   `json:"name"`
	Status       string   `json:"status"`
	Certificates []string `json:"certificates"` // titles of those that hold now, and that the catalogue calls public
}

// Public answers whoever scans an entity code. A name that was never given out and one that has no form are the same ErrNoPage.
func (d *Desk) Public(ctx context.Context, id string) (Page, error) {
	if !isName(id) {
		return Page{}, ErrNoPage
	}
	p, err := d.Store.List(ctx, codes, byName, []byte(id), "", 1)
	if err != nil {
		return Page{}, fmt.Errorf("reading entity code: %w", err)
	}
	if len(p.Items) == 0 {
		return Page{}, ErrNoPage
	}
	var c Code
	if err := decode(p.Items[0], nil, &c); err != nil {
		return Page{}, err
	}
	s, _, err := d.Licences.Standing(ctx, c.USCC)
	if err != nil {
		return Page{}, err
	}
	notices, err := d.Certificates.Notices(ctx, c.USCC)
	out := Page{Name: s.Name, Status: string(s.Status), Certificates: []string{}}
	for _, n := range notices {
		if n.State == certificate.Valid {
			out.Certificates = append(out.Certificates, n.Title)
		}
	}
	return out, err
}
