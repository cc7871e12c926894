package ceremony

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"sealkeeper/internal/gm"
)

// Bounds of a plan.
const (
	MaxPlan  = 32 << 10 // bytes of its text
	maxSteps = 16
	maxLife  = 30 * 24 * time.Hour // from drafting to expiry
)

// Plan is what officers review: the acts, for one appliance, until a time.
type Plan struct {
	Appliance string // the appliance's name (audience)
	Title     string
	Reason    string
	Expires   time.Time // whole seconds, UTC
	Approvals int       // how many persons must approve, at least what the actions demand
	Steps     []Step
}

// Step is one act of a plan. Which fields an action takes is in the table of actions.
type Step struct {
	Action  Action `yaml:"action" json:"action"`
	Purpose string `yaml:"purpose" json:"purpose,omitempty"`
	Key     string `yaml:"key" json:"key,omitempty"`     // 32 hexadecimal digits
	Token   string `yaml:"token" json:"token,omitempty"` // serial number; make-replicated-kek takes several, with commas between
	Name    string `yaml:"name" json:"name,omitempty"`
	Role    string `yaml:"role" json:"role,omitempty"`
	Person  string `yaml:"person" json:"person,omitempty"`
	CSR     string `yaml:"csr" json:"csr,omitempty"` // PEM certificate request

	// Of institutions' own seals and the standing delegations over them. Lists have commas between, in alphabetical order.
	Filing     string `yaml:"filing" json:"filing,omitempty"` // number under which the impression was filed
	Delegation string `yaml:"delegation" json:"delegation,omitempty"`
	Seal       string `yaml:"seal" json:"seal,omitempty"`     // esID
	Client     string `yaml:"client" json:"client,omitempty"` // a client's identifier, or "appliance" for this one itself
	Purposes   string `yaml:"purposes" json:"purposes,omitempty"`
	Kinds      string `yaml:"kinds" json:"kinds,omitempty"`
	From       string `yaml:"from" json:"from,omitempty"` // as expires of a plan
	Until      string `yaml:"until" json:"until,omitempty"`
	Count      string `yaml:"count" json:"count,omitempty"` // decimal
}

// file is a plan as written.
type file struct {
	Ceremony  int    `yaml:"ceremony"` // 1
	Appliance string `yaml:"appliance"`
	Title     string `yaml:"title"`
	Reason    string `yaml:"reason"`
	Expires   string `yaml:"expires"`
	Approvals int    `yaml:"approvals"`
	Steps     []Step `yaml:"steps"`
}

// ParsePlan reads a plan strictly: unknown and repeated keys, a second document and values out of form are ErrPlan.
func ParsePlan(text []byte) (Plan, error) {
	if len(text) > MaxPlan || !utf8.Valid(text) {
		return Plan{}, fmt.Errorf("%d bytes, or not UTF-8: %w", len(text), ErrPlan)
	}
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(&f); err != nil {
		return Plan{}, fmt.Errorf("%w: %s", ErrPlan, yaml.FormatError(err, false, false))
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return Plan{}, fmt.Errorf("more than one document: %w", ErrPlan)
	}
	if f.Ceremony != 1 {
		return Plan{}, fmt.Errorf("ceremony is %d, want 1: %w", f.Ceremony, ErrPlan)
	}
	expires, err := time.Parse("2006-01-02T15:04:05Z", f.Expires)
	if err != nil {
		return Plan{}, fmt.Errorf("expires %.40q is not like 2026-01-31T12:00:00Z: %w", f.Expires, ErrPlan)
	}
	p := Plan{Appliance: f.Appliance, Title: f.Title, Reason: f.Reason, Expires: expires, Approvals: f.Approvals, Steps: f.Steps}
	return p, p.check()
}

func (p Plan) check() error {
	if len(p.Steps) == 0 || len(p.Steps) > maxSteps {
		return fmt.Errorf("%d steps, want 1 to %d: %w", len(p.Steps), maxSteps, ErrPlan)
	}
	least := 0
	for i, s := range p.Steps {
		if err := s.check(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		least = max(least, rules[s.Action].approvals)
	}
	if p.Approvals < least || p.Approvals > 16 {
		return fmt.Errorf("approvals is %d, these actions want at least %d: %w", p.Approvals, least, ErrPlan)
	}
	_, err := p.Canonical()
	return err
}

// fields lists a step's values by name, in the order of the canonical form.
func (s Step) fields() []field {
	return []field{{"purpose", s.Purpose, 32}, {"key", s.Key, 32}, {"token", s.Token, 64}, {"name", s.Name, 128}, {"role", s.Role, 32},
		{"person", s.Person, 64}, {"csr", s.request(), 8192}, {"filing", s.Filing, 64}, {"delegation", s.Delegation, 64}, {"seal", s.Seal, 64},
		{"client", s.Client, 64}, {"purposes", s.Purposes, 1024}, {"kinds", s.Kinds, 64}, {"from", s.From, 20}, {"until", s.Until, 20}, {"count", s.Count, 20}}
}

// request is the certificate request on one line.
func (s Step) request() string {
	block, rest := pem.Decode([]byte(s.CSR))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return strings.TrimSpace(s.CSR) // what is no request at all is refused for its form by the act
	}
	return base64.StdEncoding.EncodeToString(block.Bytes)
}

func (s Step) check() error {
	r, known := rules[s.Action]
	if !known {
		return fmt.Errorf("nobody knows the action %.40q: %w", s.Action, ErrPlan)
	}
	takes := map[string]bool{}
	for _, name := range r.takes {
		takes[name] = true
	}
	for _, f := range s.fields() {
		if (f.value != "") != takes[f.name] {
			return fmt.Errorf("%s takes [%s], look at %q: %w", s.Action, strings.Join(r.takes, ", "), f.name, ErrPlan)
		}
	}
	if b, err := hex.DecodeString(s.Key); err != nil || s.Key != "" && len(b) != 16 || hex.EncodeToString(b) != s.Key {
		return fmt.Errorf("key %.40q is not 32 lower-case hexadecimal digits: %w", s.Key, ErrPlan)
	}
	return nil
}

type field struct {
	name, value string
	max         int // in characters
}

func (f field) check() error {
	n := utf8.RuneCountInString(f.value)
	if n == 0 || n > f.max || strings.TrimSpace(f.value) != f.value {
		return fmt.Errorf("%s is empty, longer than %d characters or has outer blanks: %w", f.name, f.max, ErrPlan)
	}
	for _, r := range f.value {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%s holds a control character: %w", f.name, ErrPlan)
		}
	}
	return nil
}

func canonical(domain string, fields []field) ([]byte, error) {
	var b strings.Builder
	b.WriteString(domain + "\n")
	for _, f := range fields {
		if err := f.check(); err != nil {
			return nil, err
		}
		b.WriteString(f.name + ":" + f.value + "\n")
	}
	return []byte(b.String()), nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Canonical returns the bytes whose SM3 names the plan: UTF-8 lines, each ended by LF, in this order:
//
//	sealkeeper-ceremony-v1
//	appliance:<name>
//	title:<text>
//	reason:<text>
//	expires:<YYYY-MM-DDTHH:MM:SSZ>
//	approvals:<decimal>
//	step:<action>
//	<field of the step>:<value>            in the order purpose, key, token, name, role, person, csr (base64 of its DER),
//	                                       filing, delegation, seal, client, purposes, kinds, from, until, count
//
// with step and its fields once per step. How the plan was laid out as YAML does not matter, and comments do not count.
func (p Plan) Canonical() ([]byte, error) {
	fields := []field{{"appliance", p.Appliance, 64}, {"title", p.Title, 128}, {"reason", p.Reason, 512}, {"expires", stamp(p.Expires), 20},
		{"approvals", strconv.Itoa(p.Approvals), 2}}
	for _, s := range p.Steps {
		fields = append(fields, field{"step", string(s.Action), 32})
		for _, f := range s.fields() {
			if f.value != "" {
				fields = append(fields, f)
			}
		}
	}
	return canonical("sealkeeper-ceremony-v1", fields)
}

// ID names the plan: lower-case hexadecimal SM3 of its canonical bytes.
func (p Plan) ID() (string, error) {
	b, err := p.Canonical()
	if err != nil {
		return "", err
	}
	d := gm.SM3(b)
	return hex.EncodeToString(d[:]), nil
}
