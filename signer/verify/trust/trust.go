// Package trust reads trust lists (信任列表): which seal makers, certificate authorities and time-stamp authorities a region's bureau
// vouches for, so that seals of other cities can be judged.
//
// Its one promise is that a list vouches only for its own region: every entry is bound to numbers of seals that begin with the region's
// code (GB/T 2260), and nothing of a list is read before its signature by a pinned key holds.
//
//	list.json ─ signed (GB/T 35275 SignedData, attached) ─► Parse(pinned signers) ─► List ─ Maker, Anchors, Stampers ─► signer/verify
//
// Limits: 1 MiB and 1,000 entries; no list refers to another one; where versions are kept is the caller's business, Newest picks among those
// at hand.
package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify/signeddata"
)

// Format is the value of the member "format".
const Format = "sealkeeper-trust-list-1"

// The sizes beyond which a list is refused.
const (
	MaxSize    = 1 << 20
	maxEntries = 1000
)

// Kinds of entries.
const (
	Maker                = "seal-maker"            // the certificate of a seal maker itself
	Authority            = "certificate-authority" // an anchor for signers' and makers' certificates
	TimeStampAuthority   = "time-stamp-authority"  // an anchor for time stamps, or the authority's own certificate
	maxName, maxPrefixes = 200, 50
)

var (
	// ErrFormat says that bytes are not a trust list, or that it contradicts itself.
	ErrFormat = errors.New("not a usable trust list")
	// ErrSigner says that a list is not signed by one of the pinned certificates, or its signature does not hold.
	ErrSigner = errors.New("trust list is not signed by a publisher that is pinned here")
)

// Draft is the content of a list: the JSON that is signed.
type Draft struct {
	Format     string    `json:"format"`
	Region     string    `json:"region"` // code of the region, 2 to 6 digits (GB/T 2260)
	Name       string    `json:"name"`   // of the publisher
	Version    uint64    `json:"version"`
	Issued     time.Time `json:"issued"`
	NextUpdate time.Time `json:"next_update"`
	Entries    []Item    `json:"entries"`
}

// Item is one entry as written.
type Item struct {
	Kind        string     `json:"kind"`
	Name        string     `json:"name"`
	Certificate []byte     `json:"certificate"` // DER, base64
	From        *time.Time `json:"from,omitempty"`
	Until       *time.Time `json:"until,omitempty"` // trust ended here; what was made before still counts
	ESID        []string   `json:"esid,omitempty"`  // prefixes of seal numbers, each within the region; none: the region's code
}

// List is a list whose signature holds. It is immutable.
type List struct {
	Draft
	Signer  *gm.Certificate
	entries []entry
}

type entry struct {
	Item
	certificate *gm.Certificate
}

// Parse reads a signed list: SignedData of GB/T 35275 or RFC 5652 that encloses the JSON, strictly DER, by exactly one of the pinned
// certificates, which was valid when the list was issued. Errors: ErrFormat, ErrSigner.
func Parse(der []byte, pinned []*gm.Certificate) (*List, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("%d bytes: %w", len(der), ErrFormat)
	}
	signed, err := signeddata.Parse(der)
	if err != nil || signed.Content == nil {
		return nil, fmt.Errorf("want SignedData that encloses the list: %w: %w", ErrFormat, errors.Join(err))
	}
	signer, err := authentic(signed, pinned)
	if err != nil {
		return nil, err
	}
	l, err := decode(signed.Content)
	if err != nil {
		return nil, err
	}
	if l.Issued.Before(signer.NotBefore) || l.Issued.After(signer.NotAfter) {
		return nil, fmt.Errorf("issued %s, outside the publisher's certificate: %w", l.Issued.Format(time.RFC3339), ErrSigner)
	}
	l.Signer = signer
	return l, nil
}

func authentic(signed *signeddata.SignedData, pinned []*gm.Certificate) (*gm.Certificate, error) {
	c, err := signed.Signer().Signatory()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	i := slices.IndexFunc(pinned, func(p *gm.Certificate) bool { return bytes.Equal(p.Raw, c.Raw) })
	if i < 0 {
		return nil, fmt.Errorf("certificate %s: %w", c.Serial, ErrSigner)
	}
	if _, err := signed.Covers(signed.Content); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	if err := signed.VerifyValue(signed.Content); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	if weak := signed.Signer().Weak(); weak != "" {
		return nil, fmt.Errorf("%w: %s", ErrSigner, weak)
	}
	return pinned[i], nil
}

// decode reads the JSON of a list. Errors: ErrFormat.
func decode(b []byte) (*List, error) {
	l := &List{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l.Draft); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if d.More() {
		return nil, fmt.Errorf("bytes behind the list: %w", ErrFormat)
	}
	if err := l.Check(); err != nil {
		return nil, err
	}
	for _, item := range l.Entries {
		c, err := gm.ParseCertificate(item.Certificate)
		if err != nil {
			return nil, fmt.Errorf("certificate of %s: %w: %w", item.Name, ErrFormat, err)
		}
		l.entries = append(l.entries, entry{item, c})
	}
	return l, nil
}

// Check reports what keeps a draft from being a list. Errors: ErrFormat.
func (d *Draft) Check() error {
	switch {
	case d.Format != Format:
		return fmt.Errorf("format %q, want %s: %w", d.Format, Format, ErrFormat)
	case !code(d.Region, 6):
		return fmt.Errorf("region %q, want 2 to 6 digits: %w", d.Region, ErrFormat)
	case d.Version == 0:
		return fmt.Errorf("version 0: %w", ErrFormat)
	case !named(d.Name):
		return fmt.Errorf("name of %d bytes: %w", len(d.Name), ErrFormat)
	case d.Issued.IsZero() || !d.Issued.Before(d.NextUpdate):
		return fmt.Errorf("issued %s, next update %s: %w", d.Issued, d.NextUpdate, ErrFormat)
	case len(d.Entries) == 0 || len(d.Entries) > maxEntries:
		return fmt.Errorf("%d entries, want 1 to %d: %w", len(d.Entries), maxEntries, ErrFormat)
	}
	for i, item := range d.Entries {
		if err := item.check(d.Region); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}

func (i Item) check(region string) error {
	switch {
	case i.Kind != Maker && i.Kind != Authority && i.Kind != TimeStampAuthority:
		return fmt.Errorf("kind %q: %w", i.Kind, ErrFormat)
	case !named(i.Name):
		return fmt.Errorf("name of %d bytes: %w", len(i.Name), ErrFormat)
	case i.From != nil && i.Until != nil && !i.From.Before(*i.Until):
		return fmt.Errorf("trusted from %s until %s: %w", i.From, i.Until, ErrFormat)
	case len(i.ESID) > maxPrefixes:
		return fmt.Errorf("%d prefixes: %w", len(i.ESID), ErrFormat)
	}
	for _, p := range i.ESID {
		if !code(p, 14) || !strings.HasPrefix(p, region) {
			return fmt.Errorf("seals %q lie outside region %s: %w", p, region, ErrFormat)
		}
	}
	return nil
}

// code reports whether s is 2 to most digits.
func code(s string, most int) bool {
	return len(s) >= 2 && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func named(s string) bool { return s != "" && len(s) <= maxName }

// Current reports whether the list still counts at a moment.
func (l *List) Current(at time.Time) bool { return at.Before(l.NextUpdate) }

// String names the list for people.
func (l *List) String() string {
	return fmt.Sprintf("trust list of region %s, version %d", l.Region, l.Version)
}

func (e *entry) covers(region, esid string) bool {
	if len(e.ESID) == 0 {
		return strings.HasPrefix(esid, region)
	}
	return slices.ContainsFunc(e.ESID, func(p string) bool { return strings.HasPrefix(esid, p) })
}

func (e *entry) trustedAt(at time.Time) bool {
	return (e.From == nil || !at.Before(*e.From)) && (e.Until == nil || at.Before(*e.Until))
}

// ErrMaker says why a maker that the list names does not count for a seal.
var ErrMaker = errors.New("the trust list does not vouch for this maker here")

// Vouches looks a maker's certificate up. It returns false when the list does not name it, and ErrMaker with the reason when it names it
// but not for a seal of this number made at this moment.
func (l *List) Vouches(maker []byte, esid string, at time.Time) (bool, error) {
	var why error
	for _, e := range l.entries {
		switch {
		case e.Kind != Maker || !bytes.Equal(e.certificate.Raw, maker):
		case !e.covers(l.Region, esid):
			why = fmt.Errorf("%w: %s names it for other seals than %s", ErrMaker, l, esid)
		case !e.trustedAt(at):
			why = fmt.Errorf("%w: %s does not name it for %s", ErrMaker, l, at.Format(time.RFC3339))
		default:
			return true, nil
		}
	}
	return why != nil, why
}

// HasMakers reports whether the list names any seal maker.
func (l *List) HasMakers() bool {
	return slices.ContainsFunc(l.entries, func(e entry) bool { return e.Kind == Maker })
}

// Anchors returns the certificate authorities that count at a moment for a seal of this number; with an empty number, of a signature without
// seal, those of every number.
func (l *List) Anchors(esid string, at time.Time) []*gm.Certificate {
	return l.pick(Authority, func(e *entry) bool { return (esid == "" || e.covers(l.Region, esid)) && e.trustedAt(at) })
}

// Stampers returns the anchors of time stamps that count at a moment.
func (l *List) Stampers(at time.Time) []*gm.Certificate {
	return l.pick(TimeStampAuthority, func(e *entry) bool { return e.trustedAt(at) })
}

func (l *List) pick(kind string, counts func(*entry) bool) []*gm.Certificate {
	var out []*gm.Certificate
	for i := range l.entries {
		if e := &l.entries[i]; e.Kind == kind && counts(e) {
			out = append(out, e.certificate)
		}
	}
	return out
}

// Newest keeps the highest version of every region and publisher's name, in their order, and returns the rest apart.
func Newest(lists []*List) (newest, older []*List) {
	for _, l := range lists {
		i := slices.IndexFunc(newest, func(n *List) bool { return n.Region == l.Region && n.Name == l.Name })
		switch {
		case i < 0:
			newest = append(newest, l)
		case l.Version > newest[i].Version:
			older = append(older, newest[i])
			newest[i] = l
		default:
			older = append(older, l)
		}
	}
	return newest, older
}
