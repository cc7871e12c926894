package firmware

import (
	"fmt"
	"io/fs"

	"github.com/goccy/go-yaml"
)

// Print writes the profile as a file of its own: keys in the struct's order, numbers as vendors' headers write them.
func (p *Profile) Print() ([]byte, error) {
	hex := yaml.CustomMarshaler[Number](func(n Number) ([]byte, error) { return []byte(n.String()), nil })
	b, err := yaml.MarshalWithOptions(p, hex)
	if err != nil {
		return nil, fmt.Errorf("writing firmware profile %q: %w", p.ID, err)
	}
	return b, nil
}

// Read reads one file as strictly as Load does. It may inherit from the profiles that ship with the program, and may take the id of one of them.
func Read(b []byte) (*Profile, error) {
	raw := map[string]map[string]any{}
	names, err := fs.Glob(embedded, "*.yaml")
	for _, name := range names {
		if err == nil {
			err = readInto(raw, embedded, name)
		}
	}
	if err != nil {
		return nil, err
	}
	m, id, err := parse(b)
	if err != nil {
		return nil, err
	}
	raw[id] = m
	return resolve(raw, id)
}
