package onecode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/licence/certificate"
)

// Redemption is what a department hands in.
type Redemption struct {
	Code    string `json:"code" minLength:"1" maxLength:"400" doc:"as scanned"`
	Purpose string `json:"purpose" minLength:"1" maxLength:"64" doc:"what for; the holder sees it"`
}

// Shown is what the holder chose to show, as it is now.
type Shown struct {
	USCC         string             `json:"uscc"`
	Status       string             `json:"status"`
	Attributes   map[string]string  `json:"attributes"`
	Certificates []certificate.View `json:"certificates"`
	At           time.Time          `json:"at"`        // of the record that tells of this redemption
	Statement    []byte             `json:"statement"` // SignedData, DER, to be kept: what the holder presented, by the appliance's key
}

// redeemed is the detail of the record: enough to answer again.
type redeemed struct {
	ID      string           `json:"id"`
	Name    string           `json:"name"` // of the client
	Purpose string           `json:"purpose"`
	Read    certificate.Read `json:"read"`
}

// Redeem shows a registered department, once, what the holder chose. The redemption is on record before anything is shown; the same request again gives
// the same answer. In this order: access.ErrNotEntitled, ErrPurpose, ErrCode, ErrForeign for another appliance's, ErrAltered, ErrForeign for another client's,
// ErrRedeemed, ErrExpired.
func (d *Desk) Redeem(ctx context.Context, req *store.Request, actor access.Actor, r Redemption) (Shown, error) {
	for {
		client, err := d.Access.Registered(ctx, actor, access.PresentationRedeem)
		if err != nil {
			return Shown{}, err
		}
		if !plain(r.Purpose) {
			return Shown{}, ErrPurpose
		}
		var was redeemed
		receipt, done, err := certificate.Before(ctx, d.Store, req, kindRedeemed, &was)
		if err != nil {
			return Shown{}, err
		}
		if done { // now or before: what is shown is made from the record
			return d.show(ctx, was, receipt.Time)
		}
		err = d.redeem(ctx, req, actor, r, client)
		if errors.Is(err, store.ErrConflict) {
			err = ctx.Err() // somebody was first, or the time is over: the next look says which
		}
		if err != nil {
			return Shown{}, err
		}
	}
}

// redeem looks at the code once and tries to be first.
func (d *Desk) redeem(ctx context.Context, req *store.Request, actor access.Actor, r Redemption, client store.Expect) error {
	p, version, err := d.honoured(ctx, actor, r.Code)
	if err != nil {
		return err
	}
	read, err := d.Certificates.Look(ctx, p.USCC, func(row certificate.Row) bool { return slices.Contains(p.Certificates, row.Certificate) })
	if err != nil {
		return err
	}
	body, err := audit.Event{Kind: kindRedeemed, Actor: actor.Audit(), Subject: p.USCC, Detail: redeemed{p.ID, actor.Name, r.Purpose, read}}.Body()
	if err != nil {
		return err
	}
	p.Redeemed = &Redeemer{actor.Client, actor.Name, r.Purpose, d.now().Truncate(time.Second)}
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	key := []byte(p.ID)
	_, err = d.Store.Commit(ctx, store.Mutation{Request: req, Audit: [][]byte{body}, NotAfter: p.Expires,
		Expect: []store.Expect{client, {Collection: presentations, Key: key, Version: version}},
		Put:    []store.Put{{Collection: presentations, Key: key, Value: value}},
		Spend:  []store.Spend{{Counter: "presentation/" + p.ID, N: 1, Limit: 1, Expires: p.Expires.Add(time.Minute)}}})
	if errors.Is(err, store.ErrLimit) {
		return ErrRedeemed
	} else if err != nil {
		return fmt.Errorf("recording a redemption: %w", err)
	}
	return nil
}

// honoured finds the presentation of a code that this department may redeem now.
func (d *Desk) honoured(ctx context.Context, actor access.Actor, code string) (Presentation, store.Version, error) {
	id, sum, appliance, err := parseCode(code)
	if err != nil {
		return Presentation{}, 0, err
	}
	if appliance != d.Appliance {
		return Presentation{}, 0, fmt.Errorf("of appliance %.80q: %w", appliance, ErrForeign)
	}
	p, version, err := d.presentation(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && gm.SM3(p.Statement) != sum {
		return p, 0, ErrAltered
	} else if err != nil {
		return p, 0, fmt.Errorf("reading a presentation: %w", err)
	}
	var said shown
	if err := d.Judge(p.Statement, PresentationKind, &said); err != nil {
		return p, 0, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	switch {
	case !reflect.DeepEqual(said, p.shown()):
		return p, 0, fmt.Errorf("the statement says otherwise than the record: %w", ErrAltered)
	case p.Client != access.AnyClient && p.Client != actor.Client:
		return p, 0, ErrForeign
	case p.Redeemed != nil:
		return p, 0, ErrRedeemed
	case !d.now().Before(p.Expires):
		return p, 0, ErrExpired
	}
	return p, version, nil
}

// show makes the answer of a redemption from its record.
func (d *Desk) show(ctx context.Context, r redeemed, at time.Time) (Shown, error) {
	p, _, err := d.presentation(ctx, r.ID)
	if err != nil {
		return Shown{}, fmt.Errorf("reading a presentation: %w", err)
	}
	f, err := d.Certificates.Folder(ctx, r.Read, at)
	if err != nil {
		return Shown{}, err
	}
	out := Shown{USCC: p.USCC, Status: string(f.Licence.Status), Attributes: map[string]string{}, Certificates: f.Certificates, At: at, Statement: p.Statement}
	for _, a := range p.Attributes {
		out.Attributes[a] = attributes[a](f.Licence)
	}
	return out, nil
}

// plain: 1..64 characters without outer blanks or control characters.
func plain(s string) bool {
	n := utf8.RuneCountInString(s)
	return n > 0 && n <= 64 && utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	})
}
