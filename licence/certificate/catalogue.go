package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"sealkeeper/licence"
)

// ErrCatalogue: the table of certificate types cannot be used.
var ErrCatalogue = errors.New("not a usable certificate catalogue")

// Fields of a licence that a type may watch.
const (
	WatchName     = "name"
	WatchStatus   = "status"
	WatchLegalRep = "legal_rep"
)

var watchable = []string{WatchName, WatchStatus, WatchLegalRep}

// Bounds of a catalogue.
const (
	maxCatalogue = 1 << 20
	maxTypes     = 5000
	maxList      = 100 // issuers, clients or attributes of one type
)

// Type is one line of the catalogue (证照目录, GB/T 36902): a kind of certificate, and who states what of it.
type Type struct {
	Type       string   `yaml:"type" json:"type"` // 21 characters
	Title      string   `yaml:"title" json:"title"`
	Department string   `yaml:"department" json:"department"`     // for people
	Issuers    []string `yaml:"issuers" json:"issuers"`           // the issuer parts that its identifiers may have
	Clients    []string `yaml:"clients" json:"clients,omitempty"` // identifiers of the department's clients, who alone put and confirm
	Attributes []string `yaml:"attributes" json:"attributes"`     // names of what a certificate of this type may state
	Watch      []string `yaml:"watch" json:"watch"`               // what of the licence it depends on; all when left out
	Public     bool     `yaml:"public" json:"public"`             // its title and validity stand on the entity's public page
	NoFile     bool     `yaml:"no_file" json:"no_file"`           // certificates of this type come without one
}

// Catalogue is the table of types. It is immutable.
type Catalogue struct{ types map[string]Type }

// EmptyCatalogue knows no type: nobody may put anything.
func EmptyCatalogue() *Catalogue { return &Catalogue{} }

// ParseCatalogue reads the table: YAML, strictly. ErrCatalogue.
func ParseCatalogue(b []byte) (*Catalogue, error) {
	if len(b) > maxCatalogue {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), maxCatalogue, ErrCatalogue)
	}
	var table struct {
		Types []Type `yaml:"types"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&table); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrCatalogue, yaml.FormatError(err, false, true))
	}
	if len(table.Types) > maxTypes {
		return nil, fmt.Errorf("%d types, at most %d: %w", len(table.Types), maxTypes, ErrCatalogue)
	}
	c := &Catalogue{types: map[string]Type{}}
	for _, t := range table.Types {
		if fault := t.fault(); fault != "" {
			return nil, fmt.Errorf("type %.40q: %s: %w", t.Type, fault, ErrCatalogue)
		}
		if _, twice := c.types[t.Type]; twice {
			return nil, fmt.Errorf("type %s stands there twice: %w", t.Type, ErrCatalogue)
		}
		if len(t.Watch) == 0 {
			t.Watch = watchable
		}
		c.types[t.Type] = t
	}
	return c, nil
}

var (
	clientForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	issuerForm = regexp.MustCompile(`^[0-9A-Z]{1,18}$`)
)

func (t Type) fault() string {
	switch {
	case len(t.Type) != typeLength || strings.Trim(t.Type[18:], digits) != "":
		return "want a credit code and three digits"
	case !cleanText(t.Title, 100), !cleanText(t.Department, 100):
		return "title and department are texts of 1 to 100 characters"
	case len(t.Issuers) == 0 || len(t.Issuers) > maxList || !all(t.Issuers, issuerForm.MatchString):
		return "issuers are 1 to 100 codes of digits and capital letters"
	case len(t.Clients) > maxList || !all(t.Clients, clientForm.MatchString):
		return "clients are at most 100 identifiers of 64 lower-case hexadecimal digits"
	case len(t.Attributes) > maxList || !all(t.Attributes, func(s string) bool { return cleanText(s, 40) }):
		return "attributes are at most 100 names of 1 to 40 characters"
	case !all(t.Watch, func(s string) bool { return slices.Contains(watchable, s) }):
		return "watch names other fields than name, status and legal_rep"
	}
	if _, err := licence.CheckUSCC(t.Type[:18]); err != nil {
		return err.Error()
	}
	return ""
}

func all(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}

// Lookup finds a type.
func (c *Catalogue) Lookup(code string) (Type, bool) {
	t, ok := c.types[code]
	return t, ok
}

// Types lists the catalogue by code.
func (c *Catalogue) Types() []Type {
	out := make([]Type, 0, len(c.types))
	for _, t := range c.types {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Type) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// Of reports whether a client is one of the department that the type belongs to.
func (t Type) Of(client string) bool { return client != "" && slices.Contains(t.Clients, client) }

// cleanText: 1..max characters without outer blanks, control characters or marks that turn the direction of writing.
func cleanText(s string, max int) bool {
	n := utf8.RuneCountInString(s)
	return n > 0 && n <= max && utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\ufeff'
	})
}
