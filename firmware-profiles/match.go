package firmware

import (
	"fmt"
	"path/filepath"
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
}

// Version is a CK_VERSION.
type Version struct{ Major, Minor byte }

// String returns "major.minor".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

func (v Version) number() int { return int(v.Major)<<8 | int(v.Minor) }

// Match returns the one usable profile that fits: ErrNoMatch or ErrAmbiguous otherwise.
func (s *Set) Match(f Facts) (*Profile, error) {
	var found *Profile
	for _, id := range s.IDs() {
		p := s.profiles[id]
		if p.Abstract || p.Matches(f) != nil {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%q and %q: %w", found.ID, id, ErrAmbiguous)
		}
		found = p
	}
	if found == nil {
		return nil, fmt.Errorf("library %q by %q, token %q: %w", f.LibraryDescription, f.LibraryManufacturer, f.TokenModel, ErrNoMatch)
	}
	return found, nil
}

// Matches returns nil when every rule of the profile holds, else ErrNoMatch with the rule that does not.
func (p *Profile) Matches(f Facts) error {
	m := p.Match
	for _, r := range []struct {
		name string
		list []string
		have string
	}{
		{"library_manufacturer", m.LibraryManufacturer, f.LibraryManufacturer},
		{"library_description", m.LibraryDescription, f.LibraryDescription},
		{"library_file", m.LibraryFile, filepath.Base(f.LibraryFile)},
		{"token_manufacturer", m.TokenManufacturer, f.TokenManufacturer},
		{"token_model", m.TokenModel, f.TokenModel},
	} {
		if len(r.list) > 0 && !containsFold(r.have, r.list) {
			return fmt.Errorf("%s is %q, profile %q wants one of %q: %w", r.name, r.have, p.ID, r.list, ErrNoMatch)
		}
	}
	for _, r := range []struct {
		name, bounds string
		have         Version
	}{{"library_version", m.LibraryVersion, f.LibraryVersion}, {"firmware", m.Firmware, f.Firmware}} {
		low, high, err := parseRange(r.bounds)
		if err != nil {
			return err
		}
		if r.bounds != "" && (r.have.number() < low || r.have.number() > high) {
			return fmt.Errorf("%s is %s, profile %q wants %s: %w", r.name, r.have, p.ID, r.bounds, ErrNoMatch)
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

func (m Match) check(abstract bool) error {
	lists := [][]string{m.LibraryManufacturer, m.LibraryDescription, m.LibraryFile, m.TokenManufacturer, m.TokenModel}
	rules := 0
	for _, l := range lists {
		rules += len(l)
		for _, s := range l {
			if strings.TrimSpace(s) == "" {
				return invalid("match has an empty entry, which would match everything")
			}
		}
	}
	if (rules == 0) != abstract {
		return invalid("match: a base profile has no rules, every other at least one")
	}
	for _, r := range []string{m.LibraryVersion, m.Firmware} {
		if _, _, err := parseRange(r); err != nil {
			return err
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
