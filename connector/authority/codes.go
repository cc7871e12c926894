package authority

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"

	"sealkeeper/connector/wire"
	"sealkeeper/keystore/register"
)

// ErrCode: a code that the table does not know. It counts as no answer.
var ErrCode = errors.New("a code of the certificate authority that the table does not know")

//go:embed codes.yaml
var embedded []byte

// Codes is the table of the authority's codes.
type Codes struct {
	Requests    map[string]State  `yaml:"requests"`    // issued, taken or refused
	Revocations map[string]string `yaml:"revocations"` // done, waits or refused
	Reasons     map[string]string `yaml:"reasons"`     // reason or state of a seal here → its code; other is all that is not listed
}

// LoadCodes reads a table; an empty path means the embedded one.
func LoadCodes(path string) (c Codes, err error) {
	b := embedded
	if path != "" {
		if b, err = os.ReadFile(path); err != nil {
			return c, fmt.Errorf("reading the certificate authority's codes: %w", err)
		}
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&c); err != nil {
		return c, fmt.Errorf("reading the certificate authority's codes %s: %s", path, yaml.FormatError(err, false, true))
	}
	seen := map[string]bool{}
	for code, s := range c.Requests {
		if s != Issued && s != Taken && s != Refused {
			return c, fmt.Errorf("the certificate authority's codes %s: requests %q is %q, want issued, taken or refused", path, code, s)
		}
		seen[string(s)] = true
	}
	for code, s := range c.Revocations {
		if s != "done" && s != "waits" && s != "refused" {
			return c, fmt.Errorf("the certificate authority's codes %s: revocations %q is %q, want done, waits or refused", path, code, s)
		}
		seen[s] = true
	}
	if !seen["issued"] || !seen["done"] || c.Reasons["other"] == "" {
		return c, fmt.Errorf("the certificate authority's codes %s: no code means issued, or none done, or reasons has no other", path)
	}
	return c, nil
}

func (c Codes) request(code string) (State, error) {
	s, ok := c.Requests[code]
	if !ok {
		return "", fmt.Errorf("state %.32q of a request: %w: %w", code, wire.ErrGarbage, ErrCode)
	}
	return s, nil
}

func (c Codes) ended(code string) error {
	switch c.Revocations[code] {
	case "done":
		return nil
	case "refused":
		return fmt.Errorf("state %.32q of a revocation: %w", code, wire.ErrRefused)
	case "waits":
		return fmt.Errorf("state %.32q of a revocation: %w", code, wire.ErrDown)
	}
	return fmt.Errorf("state %.32q of a revocation: %w: %w", code, wire.ErrGarbage, ErrCode)
}

func (c Codes) reason(m register.CertificateMessage) string {
	for _, key := range []string{string(m.Reason), string(m.State), "other"} {
		if code := c.Reasons[key]; code != "" {
			return code
		}
	}
	return ""
}
