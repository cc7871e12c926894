package issuance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/seal"
	"sealkeeper/seal/impression"
)

// Issuer makes the certificate of a seal's key; the embedded authority or one outside.
type Issuer interface {
	Issue(ctx context.Context, r ca.Request) (certDER []byte, chain [][]byte, err error)
}

// Maker is the seal maker (制章人): the bureau's key and its certificate, DER.
type Maker struct {
	Key         *keystore.Key
	Certificate []byte
}

// Parts are the packages issuance joins. All but the last are needed.
type Parts struct {
	Store    store.Store
	Library  *licence.Library
	Register *register.Register
	Keys     *keystore.Keystore
	Access   *access.Access
	Issuer   Issuer
	Maker    Maker
	// Documents certifies the companion keys of seals; nil when there is no such authority.
	Documents DocumentIssuer
	// Persons checks who takes seals over, by name and face; nil takes the licence system's word alone.
	Persons PersonCheck
	// Lists are the authorities that make revocation lists, by the lists' names: "" the first, others those that took its place. Nil: the Issuer, if
	// it can.
	Lists map[string]Revoker
}

// SealType is what becomes of one type of seal.
type SealType struct {
	Number   int    // type in SES_ESPropertyInfo
	Name     string // of the seal; {name} is the enterprise, {person} its responsible person
	Template impression.Template
}

// Config holds what a deployment decides. Zero values mean the defaults of DefaultConfig. Whoever controls the pinned keys can have
// impressions and devices accepted.
type Config struct {
	PublicSecurity []*gm.PublicKey     // pinned: sign filings of impressions
	ELicence       []*gm.PublicKey     // pinned: sign identity assertions
	Institutions   []*gm.PublicKey     // pinned: sign the impressions of their own seals; nil takes none
	Sets           map[string][]string // seal types by the first two characters of the code; "" for all others
	Release        register.Release
	Types          map[string]SealType
	Vid            string // vendor in the seal header
	HeaderVersion  int    // 4 or 5
	// Timestamp returns a time-stamp token over an SM3 digest, for seals of header version 5 (GM/T 0031-2025); nil makes them without, as does
	// an answer of nil; an error keeps the order waiting.
	Timestamp       func(ctx context.Context, sm3 []byte) (token []byte, err error)
	DocumentSubject ca.SubjectTemplate // of the certificates of document keys
	SealYears       int                // life of a seal and its certificate
	RetryEvery      time.Duration      // how often Run looks for complete orders that could not be made
	// ExpireImpressions and ExpireCollection end orders that have waited so long for an impression, or to be collected; zero means never.
	ExpireImpressions, ExpireCollection time.Duration
	// RemakeBefore orders a seal anew from its own impression so long before it expires; zero leaves that to operators.
	RemakeBefore time.Duration
	// RenameEndsPersonal ends the legal representative's seal, too, when the enterprise is renamed: where it bears the enterprise's name.
	RenameEndsPersonal bool
	// Outside says that Issuer is an authority outside, which is told of seals that end before their time.
	Outside bool
	// Accounts and Notices say that messages for QueueAccount and QueueNotice have a receiver.
	Accounts, Notices bool

	Now func() time.Time
	Log *slog.Logger
}

// DefaultConfig returns the defaults, without pinned keys.
func DefaultConfig() Config {
	t := impression.DefaultTemplates()
	return Config{
		Sets:    map[string][]string{"": {"01", "02", "03", "05"}},
		Release: register.Together,
		Types: map[string]SealType{
			"01": {1, "{name}法定名称章", t["01"]}, "02": {2, "{name}财务专用章", t["02"]},
			"03": {3, "{name}发票专用章", t["03"]}, "05": {5, "{name}法定代表人章（{person}）", t["05"]},
		},
		Vid: "Sealkeeper", HeaderVersion: 4, DocumentSubject: ca.DefaultSubjectTemplate(), SealYears: 3, RetryEvery: 30 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}

// Issuance runs the workflow. It is safe for concurrent use.
type Issuance struct {
	Parts
	cfg    Config
	maker  *seal.Certificate
	nudge  chan struct{} // wakes Run; holds at most one
	making makings

	applying sync.Mutex // held while an application is looked at

	revoked map[string]*revocations // by the names of Lists; made by New
}

// New checks parts and configuration.
func New(p Parts, cfg Config) (*Issuance, error) {
	cfg = cfg.withDefaults()
	if p.Store == nil || p.Library == nil || p.Register == nil || p.Keys == nil || p.Access == nil || p.Issuer == nil || p.Maker.Key == nil {
		return nil, errors.New("issuance: a part is missing")
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("issuance: %w", err)
	}
	maker, err := seal.ReadCertificate(p.Maker.Certificate)
	if err != nil {
		return nil, fmt.Errorf("issuance: certificate of the seal maker: %w", err)
	}
	if maker.Key == nil || !maker.Key.Equal(p.Maker.Key.Public()) {
		return nil, errors.New("issuance: certificate of the seal maker is not for its key")
	}
	if by, ok := p.Issuer.(Revoker); ok && p.Lists == nil {
		p.Lists = map[string]Revoker{"": by}
	}
	i := &Issuance{Parts: p, cfg: cfg, maker: maker, nudge: make(chan struct{}, 1), revoked: map[string]*revocations{}}
	for name, by := range p.Lists {
		i.revoked[name] = &revocations{by: by}
	}
	return i, nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Sets == nil {
		c.Sets = d.Sets
	}
	if c.Types == nil {
		c.Types = d.Types
	}
	if c.Log == nil {
		c.Log = d.Log
	}
	if c.Now == nil {
		c.Now = d.Now
	}
	if len(c.DocumentSubject.Lines()) == 0 {
		c.DocumentSubject = d.DocumentSubject
	}
	c.Release, c.Vid = or(c.Release, d.Release), or(c.Vid, d.Vid)
	c.HeaderVersion, c.SealYears = or(c.HeaderVersion, d.HeaderVersion), or(c.SealYears, d.SealYears)
	c.RetryEvery = or(c.RetryEvery, d.RetryEvery)
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (c Config) check() error {
	switch {
	case len(c.PublicSecurity) == 0 || len(c.ELicence) == 0:
		return errors.New("the keys of public security and of the e-licence system must be pinned")
	case c.Release != register.Together && c.Release != register.AsFiled:
		return fmt.Errorf("release is %q, want together or as-filed", c.Release)
	case c.ExpireImpressions < 0 || c.ExpireCollection < 0 || c.RemakeBefore < 0:
		return errors.New("orders that expire before they are made")
	case c.SealYears < 1 || c.SealYears > 10:
		return fmt.Errorf("seals of %d years", c.SealYears)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Sets)) {
		if err := c.checkSet(kind, c.Sets[kind]); err != nil {
			return err
		}
	}
	if c.Sets[""] == nil {
		return errors.New("there is no default set of seal types")
	}
	return nil
}

func (c Config) checkSet(kind string, set []string) error {
	for n, t := range set {
		if _, known := c.Types[t]; !known || slices.Contains(set[:n], t) {
			return fmt.Errorf("set %q names type %q, which is unknown or named twice", kind, t)
		}
	}
	return nil
}

// set returns the seal types that an entity gets.
func (c Config) set(uscc string) []string {
	if s, ok := c.Sets[uscc[:2]]; ok {
		return s
	}
	return c.Sets[""]
}

func (i *Issuance) now() time.Time { return i.cfg.Now().UTC() }
