package licence

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Fields is what the registration system states about an entity. All text, so that two statements compare with ==. Dates are
// YYYY-MM-DD; the interchange names of the fields stand in brackets.
type Fields struct {
	USCC        string `json:"uscc"`                  // [uniscid]
	Name        string `json:"name"`                  // [entname], at most 100 characters
	EntityType  string `json:"entity_type"`           // [enttype], code or text
	LegalRep    string `json:"legal_rep"`             // [name]: the responsible person, whatever the entity type calls them
	Capital     string `json:"capital,omitempty"`     // [regcap] decimal, in 10,000 of Currency
	Currency    string `json:"currency,omitempty"`    // [regcapcur] ISO 4217; empty means CNY
	Established string `json:"established,omitempty"` // [estdate]
	TermFrom    string `json:"term_from,omitempty"`   // [opfrom]
	TermTo      string `json:"term_to,omitempty"`     // [opto]; empty means without end (长期)
	Scope       string `json:"scope,omitempty"`       // [opscope]
	Address     string `json:"address,omitempty"`     // [dom]
	Division    string `json:"division,omitempty"`    // the entity's present division, not the one inside its code
	Authority   string `json:"authority,omitempty"`   // [regorg]
	Approved    string `json:"approved,omitempty"`    // [apprdate]
	LicenceID   string `json:"licence_id,omitempty"`  // e-certificate identifier (GB/T 36904)
	FileSM3     string `json:"file_sm3,omitempty"`    // SM3 of the licence file, 64 hexadecimal digits
}

// Licence is one version of a business licence (营业执照).
type Licence struct {
	Fields
	Status     Status    `json:"status"`
	Version    int       `json:"version"`            // from 1, without gaps
	ValidFrom  time.Time `json:"valid_from"`         // the event's effective time
	ValidTo    time.Time `json:"valid_to,omitzero"`  // the next version's ValidFrom, filled when read; zero while it is the last
	Event      string    `json:"event"`              // id of the event that made it
	Kind       Kind      `json:"kind"`               // of that event
	Cause      Cause     `json:"cause,omitempty"`    // of that event
	ReceivedAt time.Time `json:"received_at"`        // by this library
	Warnings   []string  `json:"warnings,omitempty"` // of CheckUSCC
}

// Standing is the small record that signing asks: the last version's number, name and status.
type Standing struct {
	USCC      string    `json:"uscc"`
	Version   int       `json:"version"`
	Name      string    `json:"name"`
	LegalRep  string    `json:"legal_rep"`
	Status    Status    `json:"status"`
	Event     string    `json:"event"`
	ValidFrom time.Time `json:"valid_from"`
	IssuedAt  time.Time `json:"issued_at"` // of the last event; the next must be later
	Division  string    `json:"division,omitempty"`
	TakenAt   time.Time `json:"taken_at"` // when the library took the last event; the feed of changes goes by it
}

// ErrFields: a licence holds a value that it cannot have.
var ErrFields = errors.New("licence field is out of form")

type rule struct {
	name, value string
	required    bool
	max         int // characters
	form        *regexp.Regexp
}

var (
	dateForm     = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	decimalForm  = regexp.MustCompile(`^\d{1,16}(\.\d{1,6})?$`)
	currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)
	divisionForm = regexp.MustCompile(`^\d{6}$`)
	digestForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (f Fields) rules() []rule {
	return []rule{
		{"name", f.Name, true, 100, nil}, {"entity_type", f.EntityType, true, 64, nil}, {"legal_rep", f.LegalRep, true, 64, nil},
		{"capital", f.Capital, false, 24, decimalForm}, {"currency", f.Currency, false, 3, currencyForm},
		{"established", f.Established, false, 10, dateForm}, {"term_from", f.TermFrom, false, 10, dateForm},
		{"term_to", f.TermTo, false, 10, dateForm}, {"scope", f.Scope, false, 10000, nil}, {"address", f.Address, false, 300, nil},
		{"division", f.Division, false, 6, divisionForm}, {"authority", f.Authority, false, 100, nil},
		{"approved", f.Approved, false, 10, dateForm}, {"licence_id", f.LicenceID, false, 128, nil},
		{"file_sm3", f.FileSM3, false, 64, digestForm},
	}
}

// check judges every field but the code, which CheckUSCC judges.
func (f Fields) check() error {
	for _, r := range f.rules() {
		if err := r.check(); err != nil {
			return err
		}
	}
	if f.TermTo != "" && f.TermTo < f.TermFrom {
		return fmt.Errorf("term_to %s is before term_from: %w", f.TermTo, ErrFields)
	}
	return nil
}

func (r rule) check() error {
	switch {
	case r.value == "" && !r.required:
		return nil
	case r.value == "":
		return fmt.Errorf("%s is missing: %w", r.name, ErrFields)
	case !utf8.ValidString(r.value) || utf8.RuneCountInString(r.value) > r.max:
		return fmt.Errorf("%s is no text of at most %d characters: %w", r.name, r.max, ErrFields)
	case strings.TrimSpace(r.value) != r.value || strings.ContainsFunc(r.value, unclean):
		return fmt.Errorf("%s has outer blanks or control characters: %w", r.name, ErrFields)
	case r.form != nil && !r.form.MatchString(r.value):
		return fmt.Errorf("%s is %q: %w", r.name, r.value, ErrFields)
	}
	if r.form == dateForm {
		if _, err := time.Parse(time.DateOnly, r.value); err != nil {
			return fmt.Errorf("%s is %q: %w", r.name, r.value, ErrFields)
		}
	}
	return nil
}

// unclean also refuses the direction marks that make a name look like another.
func unclean(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\ufeff'
}

func (l Licence) standing(issued time.Time) Standing {
	return Standing{l.USCC, l.Version, l.Name, l.LegalRep, l.Status, l.Event, l.ValidFrom, issued, l.Division, l.ReceivedAt}
}
