package firmware

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Facts are what a module and its token say of themselves.
type Facts struct {
	LibraryManufacturer string
	LibraryDescription  string
	LibraryFile         string // path of the module; its last element counts
	LibraryVersion      Version
	TokenManufacturer   string
	TokenModel          string
	Firmware            Version
	Mechanisms          []uint32 // C_GetMechanismList; nil when it was not asked for
}

// Version is a CK_VERSION.
type Version struct{ Major, Minor byte }

// String returns "major.minor".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

func (v Version) number() int { return int(v.Major)<<8 | int(v.Minor) }

// Match returns the one usable profile whose names and numbers fit: ErrNoMatch, ErrAmbiguous or, when the one that fits is not complete,
// ErrIncomplete otherwise. A profile that matches by numbers alone is never chosen here: the same number means different things at
// different vendors.
func (s *Set) Match(f Facts) (*Profile, error) {
	var fit []*Profile
	var ids []string
	for _, id := range s.IDs() {
		if p := s.profiles[id]; !p.Abstract && p.Match.named() && p.Matches(f) == nil {
			fit, ids = append(fit, p), append(ids, strconv.Quote(id))
		}
	}
	switch len(fit) {
	case 0:
		return nil, fmt.Errorf("library %q by %q in %q, token %q by %q with %d mechanisms: %w", f.LibraryDescription, f.LibraryManufacturer,
			filepath.Base(f.LibraryFile), f.TokenModel, f.TokenManufacturer, len(f.Mechanisms), ErrNoMatch)
	case 1:
		return fit[0], fit[0].Refusal()
	}
	return nil, fmt.Errorf("%s: %w; configuration must name one", strings.Join(ids, " and "), ErrAmbiguous)
}

// Why lists the rules of the profile that hold, for the log of an automatic choice.
func (p *Profile) Why(f Facts) []string {
	var why []string
	for _, r := range p.texts(f) {
		if len(r.list) > 0 {
			why = append(why, fmt.Sprintf("%s %q holds one of %q", r.name, r.have, r.list))
		}
	}
	for _, r := range p.ranges(f) {
		if r.bounds != "" {
			why = append(why, fmt.Sprintf("%s %s is within %s", r.name, r.have, r.bounds))
		}
	}
	for _, path := range p.Match.Mechanisms {
		why = append(why, fmt.Sprintf("the token lists %s, %s", path, p.numbers()[path]))
	}
	return why
}

type text struct {
	name string
	list []string
	have string
}

func (p *Profile) texts(f Facts) []text {
	m := p.Match
	return []text{
		{"library_manufacturer", m.LibraryManufacturer, f.LibraryManufacturer},
		{"library_description", m.LibraryDescription, f.LibraryDescription},
		{"library_file", m.LibraryFile, filepath.Base(f.LibraryFile)},
		{"token_manufacturer", m.TokenManufacturer, f.TokenManufacturer},
		{"token_model", m.TokenModel, f.TokenModel},
	}
}

type bounded struct {
	name, bounds string
	have         Version
}

func (p *Profile) ranges(f Facts) []bounded {
	return []bounded{{"library_version", p.Match.LibraryVersion, f.LibraryVersion}, {"firmware", p.Match.Firmware, f.Firmware}}
}

// Matches returns nil when every rule of the profile holds, else ErrNoMatch with the rule that does not.
func (p *Profile) Matches(f Facts) error {
	for _, r := range p.texts(f) {
		if len(r.list) > 0 && !containsFold(r.have, r.list) {
			return fmt.Errorf("%s is %q, profile %q wants one of %q: %w", r.name, r.have, p.ID, r.list, ErrNoMatch)
		}
	}
	for _, r := range p.ranges(f) {
		low, high, err := parseRange(r.bounds)
		if err != nil {
			return err
		}
		if r.bounds != "" && (r.have.number() < low || r.have.number() > high) {
			return fmt.Errorf("%s is %s, profile %q wants %s: %w", r.name, r.have, p.ID, r.bounds, ErrNoMatch)
		}
	}
	numbers := p.numbers()
	for _, path := range p.Match.Mechanisms {
		if !slices.Contains(f.Mechanisms, uint32(numbers[path])) {
			return fmt.Errorf("the token does not list mechanism %s, which is %s of profile %q: %w", numbers[path], path, p.ID, ErrNoMatch)
		}
	}
	return nil
}

func containsFold(text string, list []string) bool {
	text = strings.ToLower(text)
	for _, s := range list {
		if strings.Contains(text, strings.ToLower(s)) {
			return true
		}
	}
	return false
}

// named reports whether a rule speaks of a name that library or token give themselves.
func (m Match) named() bool {
	return len(m.LibraryManufacturer)+len(m.LibraryDescription)+len(m.LibraryFile)+len(m.TokenManufacturer)+len(m.TokenModel) > 0
}

func (p *Profile) checkMatch() error {
	m := p.Match
	for _, r := range p.texts(Facts{}) {
		for _, s := range r.list {
			if strings.TrimSpace(s) == "" {
				return invalid("match has an empty entry, which would match everything")
			}
		}
	}
	switch rules := m.named() || len(m.Mechanisms) > 0; {
	case p.Abstract && rules:
		return invalid("match: a base profile has no rules")
	case p.Usable() && !rules:
		return invalid("match: a profile that is no base has at least one rule")
	}
	for _, r := range []string{m.LibraryVersion, m.Firmware} {
		if _, _, err := parseRange(r); err != nil {
			return err
		}
	}
	numbers := p.numbers()
	for _, path := range m.Mechanisms {
		if numbers[path] == 0 {
			return invalid("match.mechanisms: %q is the path of no number here", path)
		}
	}
	return nil
}

// parseRange reads "major.minor-major.minor", both ends included.
func parseRange(s string) (low, high int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	a, b, ok := strings.Cut(s, "-")
	lo, err1 := parseVersion(a)
	hi, err2 := parseVersion(b)
	if !ok || err1 != nil || err2 != nil || lo.number() > hi.number() {
		return 0, 0, invalid("version range %q is not like 1.0-9.255", s)
	}
	return lo.number(), hi.number(), nil
}

func parseVersion(s string) (Version, error) {
	a, b, _ := strings.Cut(s, ".")
	major, err1 := strconv.ParseUint(a, 10, 8)
	minor, err2 := strconv.ParseUint(b, 10, 8)
	if err1 != nil || err2 != nil {
		return Version{}, invalid("version %q is not major.minor", s)
	}
	return Version{byte(major), byte(minor)}, nil
}
