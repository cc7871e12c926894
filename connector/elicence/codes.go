package elicence

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"

	"sealkeeper/licence"
	"sealkeeper/licence/presented"
)

// ErrCode: a code that the table does not know.
var ErrCode = errors.New("a code of the national system that the table does not know")

//go:embed codes.yaml
var embedded []byte

// Codes is the table of the national system's codes.
type Codes struct {
	File   map[string]presented.Word `yaml:"file"`
	Status map[string]licence.Status `yaml:"status"`
}

// LoadCodes reads a table; an empty path means the embedded one.
func LoadCodes(path string) (Codes, error) {
	b := embedded
	if path != "" {
		var err error
		if b, err = os.ReadFile(path); err != nil {
			return Codes{}, fmt.Errorf("reading the national system's codes: %w", err)
		}
	}
	var c Codes
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&c); err != nil {
		return c, fmt.Errorf("reading the national system's codes %s: %s", path, yaml.FormatError(err, false, true))
	}
	return c, c.check(path)
}

func (c Codes) check(path string) error {
	words := map[presented.Word]bool{}
	for code, w := range c.File {
		if w != presented.Genuine && w != presented.Altered && w != presented.Unknown {
			return fmt.Errorf("the national system's codes %s: file %q is %q, want genuine, altered or unknown", path, code, w)
		}
		words[w] = true
	}
	for code, s := range c.Status {
		if !s.Known() {
			return fmt.Errorf("the national system's codes %s: status %q is %q, which is no status of the library", path, code, s)
		}
	}
	if !words[presented.Genuine] || len(c.Status) == 0 {
		return fmt.Errorf("the national system's codes %s: no code means genuine, or no status is listed", path)
	}
	return nil
}

func look[T any](table map[string]T, what, code string) (T, error) {
	v, ok := table[code]
	if !ok {
		return v, fmt.Errorf("%s %.32q: %w", what, code, ErrCode)
	}
	return v, nil
}
