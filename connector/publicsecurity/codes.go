package publicsecurity

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"

	"sealkeeper/keystore/register"
)

// ErrCode: a code that the table does not know.
var ErrCode = errors.New("a code of public security that the table does not know")

//go:embed codes.yaml
var embedded []byte

// Codes is the table of public security's codes.
type Codes struct {
	SealFiling map[string]register.FilingState `yaml:"seal_filing"`
}

// LoadCodes reads a table; an empty path means the embedded one.
func LoadCodes(path string) (Codes, error) {
	b := embedded
	if path != "" {
		var err error
		if b, err = os.ReadFile(path); err != nil {
			return Codes{}, fmt.Errorf("reading public security's codes: %w", err)
		}
	}
	var c Codes
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&c); err != nil {
		return c, fmt.Errorf("reading public security's codes %s: %s", path, yaml.FormatError(err, false, true))
	}
	known := map[register.FilingState]bool{register.FilingPending: true, register.FilingDone: true, register.FilingRefused: true}
	seen := map[register.FilingState]bool{}
	for code, s := range c.SealFiling {
		if !known[s] {
			return c, fmt.Errorf("public security's codes %s: seal_filing %q is %q, want pending, filed or refused", path, code, s)
		}
		seen[s] = true
	}
	if !seen[register.FilingDone] || !seen[register.FilingRefused] {
		return c, fmt.Errorf("public security's codes %s: no code means filed, or none refused", path)
	}
	return c, nil
}

func (c Codes) sealFiling(code string) (register.FilingState, error) {
	s, ok := c.SealFiling[code]
	if !ok {
		return "", fmt.Errorf("state %.32q of a seal's filing: %w", code, ErrCode)
	}
	return s, nil
}
