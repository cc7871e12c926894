package onecode

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/signer/statement"
)

// PresentationKind is the kind of a presentation's statement.
const PresentationKind = "presentation/1"

// Kinds of records.
const (
	kindPresented = "presentation"
	kindRedeemed  = "presentation-redeemed"
)

// attributes are the fields of a licence that a holder may choose to show; credit code and status are always shown.
var attributes = map[string]func(licence.Licence) string{
	"name":        func(l licence.Licence) string { return l.Name },
	"entity_type": func(l licence.Licence) string { return l.EntityType },
	"legal_rep":   func(l licence.Licence) string { return l.LegalRep },
	"capital":     func(l licence.Licence) string { return strings.TrimSpace(l.Capital + " " + l.Currency) },
	"established": func(l licence.Licence) string { return l.Established },
	"term":        func(l licence.Licence) string { return strings.Trim(l.TermFrom+"/"+l.TermTo, "/") },
	"scope":       func(l licence.Licence) string { return l.Scope },
	"address":     func(l licence.Licence) string { return l.Address },
	"authority":   func(l licence.Licence) string { return l.Authority },
	"approved":    func(l licence.Licence) string { return l.Approved },
}

// Attributes lists what a presentation may show of a licence.
func Attributes() []string { return slices.Sorted(maps.Keys(attributes)) }

// Presentation is a code that was made, and what became of it. The code itself is not kept: who reads the store cannot redeem.
type Presentation struct {
	ID           string    `json:"id"`
	USCC         string    `json:"uscc"`
	Client       string    `json:"client"` // who may redeem it, or any
	Attributes   []string  `json:"attributes"`
	Certificates []string  `json:"certificates"`
	Made         time.Time `json:"made"`
	Expires      time.Time `json:"expires"`
	Statement    []byte    `json:"statement,omitempty"` // SignedData, DER; not in listings
	Redeemed     *Redeemer `json:"redeemed,omitempty"`
}

// Redeemer is who saw what the code shows.
type Redeemer struct {
	Client  string    `json:"client"`
	Name    string    `json:"name"`
	Purpose string    `json:"purpose"`
	At      time.Time `json:"at"`
}

// shown is the body of the statement.
type shown struct {
	USCC         string    `json:"uscc"`
	Client       string    `json:"client"`
	Attributes   []string  `json:"attributes"`
	Certificates []string  `json:"certificates"`
	Expires      time.Time `json:"expires"`
}

func (p Presentation) shown() shown {
	return shown{p.USCC, p.Client, p.Attributes, p.Certificates, p.Expires}
}

// Presented is what the phone gets: the code to show, and the presentation.
type Presented struct {
	Code         string       `json:"code"`
	Presentation Presentation `json:"presentation"`
}

// made is the detail of the record: the device's wish whole, with the key that signed it.
type made struct {
	ID      string          `json:"id"`
	Expires time.Time       `json:"expires"`
	Wish    json.RawMessage `json:"wish"`
}

// Present makes a code from the wish that the enterprise's bound device signed. The same request again gives the same code.
// access.ErrNotEntitled, those of access.CheckPresentation, licence.ErrUnknown, ErrChoice, ErrNoKey.
func (d *Desk) Present(ctx context.Context, req *store.Request, actor access.Actor, s access.SignedPresentation) (Presented, error) {
	if err := d.Access.Allow(actor, access.PresentationMake, access.Resource{}); err != nil {
		return Presented{}, err
	}
	var before made
	if _, done, err := certificate.Before(ctx, d.Store, req, kindPresented, &before); err != nil {
		return Presented{}, err
	} else if done {
		p, _, err := d.presentation(ctx, before.ID)
		return Presented{d.code(p), p}, err
	}
	wish, cleared, err := d.Access.CheckPresentation(ctx, s)
	if err != nil {
		return Presented{}, err
	}
	if err := d.choice(ctx, wish); err != nil {
		return Presented{}, err
	}
	if d.Statements == nil {
		return Presented{}, ErrNoKey
	}
	now := d.now()
	p := Presentation{ID: newName(), USCC: wish.USCC, Client: wish.Client, Attributes: append([]string{}, wish.Attributes...), Certificates: append([]string{}, wish.Certificates...),
		Made: now.Truncate(time.Microsecond), Expires: now.Add(time.Duration(wish.Seconds) * time.Second).Truncate(time.Second)}
	signed, err := d.Statements.Sign(ctx, statement.Claim{Kind: PresentationKind, ID: p.ID, Body: p.shown()})
	if err != nil {
		return Presented{}, fmt.Errorf("signing a presentation of %s: %w", p.USCC, err)
	}
	p.Statement = signed.DER
	return Presented{d.code(p), p}, d.keep(ctx, req, actor, p, cleared)
}

// choice checks that there is what the wish shows.
func (d *Desk) choice(ctx context.Context, w access.Presentation) error {
	for _, a := range w.Attributes {
		if attributes[a] == nil {
			return fmt.Errorf("attribute %.40q, want some of %s: %w", a, strings.Join(Attributes(), ", "), ErrChoice)
		}
	}
	read, err := d.Certificates.Look(ctx, w.USCC, func(r certificate.Row) bool { return slices.Contains(w.Certificates, r.Certificate) })
	if err == nil && len(read.Rows) != len(w.Certificates) {
		err = fmt.Errorf("%d of the %d certificates are this enterprise's: %w", len(read.Rows), len(w.Certificates), ErrChoice)
	}
	return err
}

func (d *Desk) keep(ctx context.Context, req *store.Request, actor access.Actor, p Presentation, c access.Cleared) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	body, err := audit.Event{Kind: kindPresented, Actor: actor.Audit(), Subject: p.USCC, Detail: made{p.ID, p.Expires, c.Evidence}}.Body()
	if err != nil {
		return err
	}
	key := []byte(p.ID)
	_, err = d.Store.Commit(ctx, store.Mutation{Request: req, Audit: [][]byte{body}, Spend: c.Spend, NotAfter: p.Expires,
		Expect: append(slices.Clone(c.Expect), store.Expect{Collection: presentations, Key: key}),
		Put:    []store.Put{{Collection: presentations, Key: key, Value: value}}})
	if errors.Is(err, store.ErrLimit) {
		return fmt.Errorf("%w: %w", access.ErrApprovalReplayed, err)
	} else if err != nil {
		return fmt.Errorf("recording a presentation of %s: %w", p.USCC, err)
	}
	return nil
}

func (d *Desk) presentation(ctx context.Context, id string) (Presentation, store.Version, error) {
	var p Presentation
	it, err := d.Store.Get(ctx, presentations, []byte(id))
	return p, it.Version, decode(it, err, &p)
}

// Presentations lists the codes of an enterprise, the newest first, with who redeemed each. access.ErrNotEntitled, licence.ErrUSCC, store.ErrCursor.
func (d *Desk) Presentations(ctx context.Context, actor access.Actor, uscc, cursor string, limit int) ([]Presentation, string, error) {
	if err := d.Access.Allow(actor, access.PresentationRead, access.Resource{}); err != nil {
		return nil, "", err
	}
	if _, err := licence.CheckUSCC(uscc); err != nil {
		return nil, "", err
	}
	page, err := d.Store.List(ctx, presentations, byHolder, []byte(uscc+"/"), cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing presentations of %s: %w", uscc, err)
	}
	out := make([]Presentation, len(page.Items))
	for i, it := range page.Items {
		if err := decode(it, nil, &out[i]); err != nil {
			return nil, "", err
		}
		out[i].Statement = nil
	}
	return out, page.Next, nil
}

// A code is SK1.<name>.<SM3 of the statement, base64url>.<appliance>.
const codeMark = "SK1"

// maxCode bounds a code's length.
const maxCode = 400

func (d *Desk) code(p Presentation) string { return formCode(p.ID, gm.SM3(p.Statement), d.Appliance) }

func formCode(id string, sum [32]byte, appliance string) string {
	return strings.Join([]string{codeMark, id, base64.RawURLEncoding.EncodeToString(sum[:]), appliance}, ".")
}

// parseCode takes a code apart. ErrCode.
func parseCode(s string) (id string, sum [32]byte, appliance string, err error) {
	parts := strings.SplitN(s, ".", 4)
	if len(s) > maxCode || len(parts) != 4 || parts[0] != codeMark || !isName(parts[1]) || parts[3] == "" {
		return "", sum, "", ErrCode
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(b) != len(sum) || strings.ContainsAny(parts[2], "\r\n") {
		return "", sum, "", ErrCode
	}
	return parts[1], [32]byte(b), parts[3], nil
}
