package firmware

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Errors of the loader. Every one of them stops the start; none changes anything.
var (
	// ErrSyntax: not one YAML document of plain mappings, or larger than 64 KiB.
	ErrSyntax = errors.New("not a firmware profile")
	// ErrInvalid: a value that no profile may have, or one that is missing.
	ErrInvalid = errors.New("firmware profile is not valid")
	// ErrInherits: the parent is unknown, or inherits itself.
	ErrInherits = errors.New("firmware profile cannot inherit")
	// ErrDuplicate: two files declare the same id.
	ErrDuplicate = errors.New("firmware profile is declared twice")
	// ErrUnknownProfile: no profile of that id.
	ErrUnknownProfile = errors.New("no such firmware profile")
	// ErrAbstract: the profile only lends numbers to others.
	ErrAbstract = errors.New("firmware profile is a base and cannot be used itself")
	// ErrIncomplete: the profile says itself what is not known of the device; until that is found out it signs nothing.
	ErrIncomplete = errors.New("firmware profile is not complete, so it signs nothing")
	// ErrNoMatch: no profile fits the module.
	ErrNoMatch = errors.New("no firmware profile matches")
	// ErrAmbiguous: several profiles fit; configuration must name one.
	ErrAmbiguous = errors.New("several firmware profiles match")
)

const maxFile = 64 << 10

//go:embed *.yaml
var embedded embed.FS

// Set is every profile known, resolved and valid.
type Set struct{ profiles map[string]*Profile }

// Embedded returns the profiles that ship with the program.
func Embedded() (*Set, error) { return Load() }

// Load reads the embedded profiles and then every *.yaml file at the top of each extra file system, in name order.
func Load(extra ...fs.FS) (*Set, error) {
	raw := map[string]map[string]any{}
	for _, fsys := range append([]fs.FS{embedded}, extra...) {
		names, err := fs.Glob(fsys, "*.yaml")
		if err != nil {
			return nil, fmt.Errorf("listing firmware profiles: %w", err)
		}
		for _, name := range names {
			if err := readInto(raw, fsys, name); err != nil {
				return nil, err
			}
		}
	}
	s := &Set{map[string]*Profile{}}
	for id := range raw {
		p, err := resolve(raw, id)
		if err != nil {
			return nil, fmt.Errorf("firmware profile %q: %w", id, err)
		}
		s.profiles[id] = p
	}
	return s, nil
}

func readInto(raw map[string]map[string]any, fsys fs.FS, name string) error {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("reading firmware profile: %w", err)
	}
	m, id, err := parse(b)
	if err != nil {
		return fmt.Errorf("firmware profile %s: %w", name, err)
	}
	if want := strings.TrimSuffix(path.Base(name), ".yaml"); id != want {
		return fmt.Errorf("firmware profile %s: id %q differs from the file's name: %w", name, id, ErrInvalid)
	}
	if _, dup := raw[id]; dup {
		return fmt.Errorf("firmware profile %s: %w", name, ErrDuplicate)
	}
	raw[id] = m
	return nil
}

// parse reads one file alone: its shape, its keys and its number forms. Inheritance and values come later.
func parse(b []byte) (m map[string]any, id string, err error) {
	if len(b) > maxFile {
		return nil, "", fmt.Errorf("%d bytes: %w", len(b), ErrSyntax)
	}
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		return nil, "", fmt.Errorf("%d documents: %w", len(f.Docs), ErrSyntax)
	}
	plain := &plainOnly{}
	ast.Walk(plain, f.Docs[0].Body)
	if plain.err != nil {
		return nil, "", plain.err
	}
	var p Profile
	if err := yaml.UnmarshalWithOptions(b, &p, yaml.Strict()); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if err := yaml.Unmarshal(b, &m); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return m, p.ID, nil
}

// plainOnly refuses anchors, aliases, merges and tags: a reader must see every value where it stands.
type plainOnly struct{ err error }

func (v *plainOnly) Visit(n ast.Node) ast.Visitor {
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType, ast.DirectiveType:
		v.err = fmt.Errorf("line %d: %s is not allowed: %w", n.GetToken().Position.Line, n.Type(), ErrSyntax)
		return nil
	}
	return v
}

// resolve lays a profile over what it inherits, key by key (lists are replaced whole), and checks the result.
func resolve(raw map[string]map[string]any, id string) (*Profile, error) {
	merged := map[string]any{}
	var chain []string
	for at := id; at != ""; {
		m, ok := raw[at]
		if !ok || contains(chain, at) {
			return nil, fmt.Errorf("from %q: %w", at, ErrInherits)
		}
		if len(chain) > 0 {
			if abstract, _ := m["abstract"].(bool); !abstract {
				return nil, fmt.Errorf("from %q, which is not abstract: %w", at, ErrInherits)
			}
		}
		chain = append(chain, at)
		fill(merged, m, len(chain) == 1)
		at, _ = m["inherits"].(string)
	}
	b, err := yaml.Marshal(merged)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	p := new(Profile)
	if err := yaml.UnmarshalWithOptions(b, p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return p, p.check()
}

// own are the keys a profile never takes from its parent: what it is and what it rests on.
var own = []string{"schema", "id", "title", "inherits", "abstract", "missing", "evidence", "match"}

// fill puts into dst what src has and dst lacks.
func fill(dst, src map[string]any, first bool) {
	for k, v := range src {
		if !first && contains(own, k) {
			continue
		}
		child, isMap := v.(map[string]any)
		have, exists := dst[k]
		switch haveMap, ok := have.(map[string]any); {
		case !exists && isMap:
			fresh := map[string]any{}
			fill(fresh, child, true)
			dst[k] = fresh
		case !exists:
			dst[k] = v
		case ok && isMap:
			fill(haveMap, child, true)
		}
	}
}

// UnmarshalYAML reads a decimal or 0x-hexadecimal number and no other form.
func (n *Number) UnmarshalYAML(b []byte) error {
	s := strings.TrimSpace(string(b))
	base, digits := 10, s
	if rest, ok := strings.CutPrefix(s, "0x"); ok {
		base, digits = 16, rest
	} else if len(s) > 1 && s[0] == '0' {
		return fmt.Errorf("number %q has a leading zero: %w", s, ErrInvalid)
	}
	v, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return fmt.Errorf("number %q is neither decimal nor 0x-hexadecimal below 2^32: %w", s, ErrInvalid)
	}
	*n = Number(v)
	return nil
}

// MarshalYAML writes the plain number.
func (n Number) MarshalYAML() (any, error) { return uint32(n), nil }

// IDs lists the profiles, abstract ones too, sorted.
func (s *Set) IDs() []string {
	ids := make([]string, 0, len(s.profiles))
	for id := range s.profiles {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}

// Lookup returns any profile by id, one that cannot be used too: ErrUnknownProfile otherwise.
func (s *Set) Lookup(id string) (*Profile, error) {
	p, ok := s.profiles[id]
	if !ok {
		return nil, fmt.Errorf("%q: %w", id, ErrUnknownProfile)
	}
	return p, nil
}

// Profile returns a usable profile by id: ErrUnknownProfile, ErrAbstract or ErrIncomplete otherwise.
func (s *Set) Profile(id string) (*Profile, error) {
	p, err := s.Lookup(id)
	if err != nil {
		return nil, err
	}
	return p, p.Refusal()
}
