package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/internal/bare"
)

// Options bound what is measured.
type Options struct {
	Set        *firmware.Set
	Against    string        // id of the profile to compare with; "" for the shipped one that fits by name
	By         string        // who answers for the measurement; needed for a real device
	ID         string        // of the profile; "" makes one of the token's model
	Signatures int           // of each signing mechanism; the known fault of one firmware shows in 1 of 256
	Sessions   int           // most that are opened
	Span       time.Duration // of each measurement of speed; 0 leaves speed out
	Progress   func(what string, done, of int)
}

// Enough is how many signatures meet a fault that shows in 1 of 256 with 99.7 %.
const Enough = 1500

func (o Options) filled() Options {
	if o.Signatures == 0 {
		o.Signatures = Enough
	}
	if o.Sessions == 0 {
		o.Sessions = 64
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	return o
}

// ErrToken: no token of that serial and label, or several.
var ErrToken = errors.New("the token to probe is not there, or not the only one")

// ErrBy: a profile of a real device names who measured it.
var ErrBy = errors.New("a measurement on a device needs somebody who answers for it")

// Run measures the token that cfg names, by serial or label, and then tries the measured profile out as the appliance would use it. It returns what
// it found even with an error, which then says why it stopped; what it made is destroyed in any case.
func Run(ctx context.Context, cfg hsm.Config, o Options) (*Findings, error) {
	o = o.filled()
	seen, err := hsm.Survey(cfg)
	if err != nil {
		return nil, err
	}
	f, err := begin(seen, cfg, o)
	if err != nil {
		return nil, err
	}
	cfg.Profile = f.shipped // for the kind of user that logs in
	err = hsm.Examine(ctx, cfg, func(t bare.Token) error {
		r := &run{t: t, c: t.Ctx, o: o, f: f, tag: newTag(), made: map[pkcs11.ObjectHandle]string{}}
		return r.all(ctx)
	})
	if err != nil {
		return f, err
	}
	return f, f.try(ctx, cfg, o)
}

// begin finds the token among what the library shows.
func begin(seen *hsm.Surveyed, cfg hsm.Config, o Options) (*Findings, error) {
	var found []*hsm.Present
	for _, s := range seen.Slots {
		if t := s.Token; t != nil && t.Flags.Initialised && (cfg.Serial == "" || t.Serial == cfg.Serial) && (cfg.Label == "" || t.Label == cfg.Label) {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("serial %q label %q: %d tokens: %w", cfg.Serial, cfg.Label, len(found), ErrToken)
	}
	f := &Findings{Time: time.Now().UTC().Truncate(time.Second), Module: seen.ModuleSHA256, Token: *found[0], facts: seen.Facts(found[0]), wanted: o.ID, By: o.By,
		Library:    fmt.Sprintf("%s, %s %s", seen.Manufacturer, seen.Description, seen.Version),
		Mechanisms: []Listed{}, Attributes: []Attribute{}, Wrapping: []Wrap{}, Rates: []Rate{}, Trials: []Trial{}, Notes: []string{}, Left: []string{}}
	if err := f.against(o); err != nil {
		return nil, err
	}
	if f.Simulated = simulated(f.facts, o.Set); !f.Simulated && o.By == "" {
		return nil, fmt.Errorf("token %q: %w", f.Token.Label, ErrBy)
	}
	return f, nil
}

// against finds the profile to compare with, whose ways are tried first.
func (f *Findings) against(o Options) error {
	if o.Against == "" {
		p, err := o.Set.Match(f.facts)
		switch {
		case err == nil:
			f.shipped, f.Shipped = p, p.ID
		case !errors.Is(err, firmware.ErrNoMatch):
			f.note("nothing is compared: %v", err)
		}
		return nil
	}
	p, err := o.Set.Profile(o.Against)
	if err == nil {
		err = p.Matches(f.facts)
	}
	if err != nil {
		return fmt.Errorf("comparing with a profile: %w", err)
	}
	f.shipped, f.Shipped = p, p.ID
	return nil
}

// simulated is what package hsm goes by: the library says so, or a shipped profile that fits was only ever seen on a software token, whatever profile
// is compared with.
func simulated(x firmware.Facts, set *firmware.Set) bool {
	for _, s := range []string{x.LibraryManufacturer, x.LibraryDescription, x.TokenManufacturer, x.TokenModel} {
		if strings.Contains(strings.ToLower(s), "simulat") {
			return true
		}
	}
	for _, id := range set.IDs() {
		if p, err := set.Profile(id); err == nil && p.Evidence.Level == firmware.Simulated && p.Matches(x) == nil {
			return true
		}
	}
	return false
}

func (f *Findings) note(format string, a ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, a...))
}

// Label begins the label of everything the probe makes; 16 hexadecimal digits of the run follow.
const Label = "sealctl-probe-"

func newTag() string {
	var b [8]byte
	rand.Read(b[:]) // never returns an error
	return Label + hex.EncodeToString(b[:])
}

// run is one probing of one token.
type run struct {
	t       bare.Token
	c       *pkcs11.Ctx
	o       Options
	f       *Findings
	tag     string
	made    map[pkcs11.ObjectHandle]string // what must be destroyed
	desk    pkcs11.SessionHandle           // signs; exchanged after an error
	onToken bool                           // the token makes no session pairs

	flags map[uint]uint   // of the mechanisms listed
	omit  map[string]bool // attributes that templates must leave out
	sm2   *pair
	use   *Sign // the mechanism that speed and wrapping are measured with
}

// all measures one thing after another, then clears up.
func (r *run) all(ctx context.Context) error {
	before, err := r.count()
	if err != nil {
		return err
	}
	if r.desk, err = r.open(); err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{{"mechanisms", r.mechanisms}, {"SM2 key generation", r.findSM2}, {"templates", r.templates}, {"SM2 signatures", r.signatures}, {"P-256", r.ecdsa}, {"RSA", r.rsa},
		{"AES", r.aes}, {"wrapping", r.wrapping}, {"carrying", r.carrying}, {"sessions", r.sessions}, {"searching", r.finding}, {"speed", r.speed}} {
		if err = ctx.Err(); err != nil {
			break
		}
		r.o.Progress(step.what, 0, 0)
		if err = step.do(ctx); err != nil {
			err = fmt.Errorf("probing %s: %w", step.what, err)
			break
		}
	}
	return errors.Join(err, r.clear(before))
}
