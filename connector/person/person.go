// Package person connects the real-name and face check: whether the person who takes seals over is who the licence system says, alive and present.
//
// Its one promise: a check counts when the provider signed it, for exactly this person, enterprise, assertion and device, a moment ago. No answer is no
// check. The contract is docs/connectors/person-check.md.
package person

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
)

// ResultKind is the envelope kind of a result.
const ResultKind = "person-check/1"

// Result is what the provider found. RealName and Face are its own codes.
type Result struct {
	ID string `json:"id"` // its own name for the check
	issuance.PersonQuestion
	RealName string    `json:"real_name"`
	Face     string    `json:"face"`
	At       time.Time `json:"at"`
}

// Connector is issuance.PersonCheck. It is safe for concurrent use.
type Connector struct {
	Client *wire.Client
	Pinned []*gm.PublicKey // the provider's
	Codes  Codes
	Now    func() time.Time
}

// How old a check may be, and how far the provider's clock ahead.
const (
	fresh = 15 * time.Minute
	ahead = time.Minute
)

// Check asks for the result of the check that the person went through for this assertion. issuance.ErrPersonNotConfirmed when the provider says no or
// knows of none, issuance.ErrPersonUnavailable when it says nothing that counts.
func (c *Connector) Check(ctx context.Context, q issuance.PersonQuestion) (json.RawMessage, error) {
	var e envelope.Envelope
	status, err := c.Client.Do(ctx, wire.Call{Method: http.MethodPost, Path: "/v1/person-checks", Key: q.Assertion, In: q}, &e)
	switch {
	case errors.Is(err, wire.ErrRefused):
		return nil, fmt.Errorf("%w: %w", issuance.ErrPersonNotConfirmed, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", issuance.ErrPersonUnavailable, err)
	case status == http.StatusAccepted:
		return nil, fmt.Errorf("the person has not gone through the check yet: %w", issuance.ErrPersonNotConfirmed)
	}
	var r Result
	if err := envelope.Open(e, ResultKind, c.Pinned, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", issuance.ErrPersonUnavailable, err)
	}
	if err := c.judge(r, q); err != nil {
		return nil, fmt.Errorf("check %.64q: %w", r.ID, err)
	}
	return json.Marshal(e)
}

func (c *Connector) judge(r Result, q issuance.PersonQuestion) error {
	now := c.Now()
	if r.PersonQuestion != q {
		return fmt.Errorf("of another person, enterprise or device: %w", issuance.ErrPersonUnavailable)
	}
	if r.ID == "" || r.At.Before(now.Add(-fresh)) || r.At.After(now.Add(ahead)) {
		return fmt.Errorf("of %s: %w", r.At.Format(time.RFC3339), issuance.ErrPersonNotConfirmed)
	}
	for _, part := range []struct{ what, code string }{{"real name", r.RealName}, {"face", r.Face}} {
		switch c.Codes.Results[part.code] {
		case "confirmed":
		case "refused":
			return fmt.Errorf("%s %.32q: %w", part.what, part.code, issuance.ErrPersonNotConfirmed)
		default:
			return fmt.Errorf("%s %.32q: a code that the table does not know: %w", part.what, part.code, issuance.ErrPersonUnavailable)
		}
	}
	return nil
}

//go:embed codes.yaml
var embedded []byte

// Codes is the table of the provider's codes.
type Codes struct {
	Results map[string]string `yaml:"results"` // confirmed, refused or unavailable
}

// LoadCodes reads a table; an empty path means the embedded one.
func LoadCodes(path string) (c Codes, err error) {
	b := embedded
	if path != "" {
		if b, err = os.ReadFile(path); err != nil {
			return c, fmt.Errorf("reading the codes of the person check: %w", err)
		}
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&c); err != nil {
		return c, fmt.Errorf("reading the codes of the person check %s: %s", path, yaml.FormatError(err, false, true))
	}
	seen := map[string]bool{}
	for code, s := range c.Results {
		if s != "confirmed" && s != "refused" && s != "unavailable" {
			return c, fmt.Errorf("the codes of the person check %s: results %q is %q, want confirmed, refused or unavailable", path, code, s)
		}
		seen[s] = true
	}
	if !seen["confirmed"] || !seen["refused"] {
		return c, fmt.Errorf("the codes of the person check %s: no code means confirmed, or none refused", path)
	}
	return c, nil
}
