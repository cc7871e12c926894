package onecode

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/signer/statement"
)

// Why a code is not made, or not honoured. Nothing was shown when one of them is returned.
var (
	// ErrNoKey: the appliance has no key of statements.
	ErrNoKey = errors.New("the appliance has no key that signs codes")
	// ErrNoPages: no address for public pages is configured.
	ErrNoPages = errors.New("no address for public pages is configured")
	// ErrNoPage: no entity code has that name.
	ErrNoPage = errors.New("no such entity code")
	// ErrChoice: the presentation shows something that there is not.
	ErrChoice = errors.New("the presentation chooses what there is not")
	// ErrCode: the text is not a presentation code.
	ErrCode = errors.New("not a presentation code")
	// ErrForeign: the code is another appliance's, or for another department.
	ErrForeign = errors.New("the presentation code is for somebody else")
	// ErrAltered: the code does not name a statement of this appliance.
	ErrAltered = errors.New("the presentation code was altered")
	// ErrExpired: the code's time is over.
	ErrExpired = errors.New("the presentation code has expired")
	// ErrRedeemed: the code was redeemed before.
	ErrRedeemed = errors.New("the presentation code was redeemed before")
	// ErrPurpose: the purpose is no text of 1 to 64 characters.
	ErrPurpose = errors.New("redeeming a code needs a purpose")
)

// The collections. Values are JSON. "entity-code" holds a Code per credit code, "presentation" a Presentation per name.
var (
	codes = &store.Collection{Name: "entity-code", Codec: 1, Indexes: []store.Index{
		{Name: byName, Keys: indexed(func(c Code) string { return c.ID })}}}
	presentations = &store.Collection{Name: "presentation", Codec: 1, Indexes: []store.Index{
		{Name: byHolder, Keys: indexed(func(p Presentation) string { return fmt.Sprintf("%s/%020d", p.USCC, math.MaxInt64-p.Made.UnixMicro()) })}}}
)

const (
	byName   = "name"
	byHolder = "holder"
)

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{codes, presentations} }

func indexed[T any](of func(T) string) func([]byte) ([][]byte, error) {
	return func(b []byte) ([][]byte, error) {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		return [][]byte{[]byte(of(v))}, nil
	}
}

// Signer signs statements in the appliance's name.
type Signer interface {
	Sign(ctx context.Context, c statement.Claim) (statement.Signed, error)
}

// Config is what the codes stand on.
type Config struct {
	Store        store.Store
	Access       *access.Access
	Licences     *licence.Library
	Certificates *certificate.Library
	Statements   Signer // nil: no codes are made
	// Judge verifies a statement of this appliance and decodes its body, refusing what does not hold.
	Judge     func(der []byte, kind string, body any) error
	Appliance string // names this appliance in codes
	Pages     string // address under which readers reach entity codes; empty: none are made
	Now       func() time.Time
}

// Desk makes and honours codes. Safe for concurrent use.
type Desk struct{ Config }

// New checks the configuration.
func New(c Config) (*Desk, error) {
	if c.Store == nil || c.Access == nil || c.Licences == nil || c.Certificates == nil || c.Judge == nil || c.Appliance == "" {
		return nil, errors.New("codes need the store, access, both libraries, a judge of statements and the appliance's name")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Desk{c}, nil
}

func (d *Desk) now() time.Time { return d.Now().UTC() }

// nameChars is the length of a code's name: 128 random bits in base32.
const nameChars = 26

var nameText = base32.StdEncoding.WithPadding(base32.NoPadding)

func newName() string {
	var b [16]byte
	rand.Read(b[:])
	return strings.ToLower(nameText.EncodeToString(b[:]))
}

func isName(s string) bool {
	b, err := nameText.DecodeString(strings.ToUpper(s))
	return len(s) == nameChars && err == nil && strings.ToLower(nameText.EncodeToString(b)) == s
}

func decode(it store.Item, err error, v any) error {
	if err != nil {
		return err
	}
	if err := json.Unmarshal(it.Value, v); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return nil
}
