package probe

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	firmware "sealkeeper/firmware-profiles"
)

// ErrNothing: the token offers no algorithm of the appliance, so there is no profile to write.
var ErrNothing = errors.New("nothing was found that the appliance could use")

// drivable are the output forms that a profile can name.
var drivable = []string{firmware.OutputRaw64, firmware.OutputDER, firmware.OutputBroken, firmware.OutputRaw128}

// Profile writes the findings as a profile, which the strict loader has read. What cannot be measured is taken over from the shipped profile that
// fits: locking, user type, quirks.
func (f *Findings) Profile() (*firmware.Profile, []byte, error) {
	p := &firmware.Profile{Schema: firmware.Schema, ID: f.wanted, Title: fmt.Sprintf("%s, firmware %s, as measured", f.Token.Model, f.Token.Firmware), Match: f.match()}
	if f.wanted == "" {
		p.ID = f.id()
	}
	p.Evidence.Level = firmware.Simulated
	if !f.Simulated {
		p.Evidence = firmware.Evidence{Level: firmware.Verified, Device: &firmware.Device{Model: f.Token.Model, Firmware: f.Token.Firmware, Date: f.Time.Format(time.DateOnly), By: f.By}}
	}
	p.Module = firmware.Module{Locking: "os", FindMax: f.Find.Max}
	p.Limits.MaxSessions = f.Sessions.Open
	f.algorithms(p)
	p.Attributes, p.Wrap = f.attributes(), f.wraps()
	f.takeOver(p)
	if p.SM2 == nil && p.ECDSA == nil && p.RSA == nil && p.AES == nil {
		return nil, nil, ErrNothing
	}
	f.cite(p)
	b, err := p.Print()
	if err != nil {
		return nil, nil, err
	}
	text := append([]byte(f.heading()), b...)
	read, err := firmware.Read(text)
	if err != nil {
		return nil, text, fmt.Errorf("the measured profile is not valid: %w", err)
	}
	return read, text, nil
}

// takeOver fills in what no measurement tells.
func (f *Findings) takeOver(p *firmware.Profile) {
	s := f.shipped
	if s == nil {
		return
	}
	p.Login, p.Quirks = s.Login, s.Quirks
	if s.Module.Locking != "" {
		p.Module.Locking = s.Module.Locking
	}
	if p.Module.FindMax == 0 {
		p.Module.FindMax = s.Module.FindMax
	}
	if f.Sessions.Refused == "" { // the bound was the probe's, not the token's
		p.Limits.MaxSessions = s.Limits.MaxSessions
	}
	p.Limits.MaxFrame = s.Limits.MaxFrame
}

func (f *Findings) algorithms(p *firmware.Profile) {
	if e := f.ECDSA; e != nil && e.Works && e.Point != "" {
		p.ECDSA = &firmware.ECDSA{Curves: []string{"P-256"}, ECPoint: firmware.ECPoint{Forms: []string{e.Point}}}
	}
	if e := f.RSA; e != nil && e.Works {
		p.RSA = &firmware.RSA{Bits: []int{e.Bits}}
	}
	if a := f.AES; a != nil && a.Works {
		p.AES = &firmware.AES{Bits: []int{256}, GCM: a.GCM}
	}
	if f.SM2 != nil {
		p.SM2 = f.sm2()
	}
}

// sm2 is nil when no mechanism is understood well enough to sign with.
func (f *Findings) sm2() *firmware.SM2 {
	yes := func(v bool, a, b string) string {
		if v {
			return a
		}
		return b
	}
	m := f.SM2
	s := &firmware.SM2{KeyType: m.KeyType, KeyGen: firmware.KeyGen{Mechanism: m.Mechanism, ECParams: yes(m.ECParams, "oid", "omit"),
		PublicKeyType: yes(m.Typed, "required", "omit"), BitsAttribute: m.Bits}, Sign: map[string]firmware.SignMechanism{},
		ECPoint: firmware.ECPoint{Forms: []string{m.Point.Form}, X: m.Point.X, Y: m.Point.Y}, ValueAttribute: m.Value}
	var use *Sign
	for i := range m.Sign {
		found := &m.Sign[i]
		if found.Input == "" || !slices.Contains(drivable, found.Output) {
			continue
		}
		name := f.nameOf(found, s.Sign)
		s.Sign[name] = firmware.SignMechanism{Mechanism: found.Mechanism, Input: found.Input, Output: found.Output}
		if better(found, use) {
			use, s.Use = found, name
		}
	}
	if use == nil {
		return nil
	}
	return s
}

// nameOf is what the shipped profile calls the number, or what it does.
func (f *Findings) nameOf(s *Sign, taken map[string]firmware.SignMechanism) string {
	if f.shipped != nil && f.shipped.SM2 != nil {
		for name, m := range f.shipped.SM2.Sign {
			if _, dup := taken[name]; m.Mechanism == s.Mechanism && !dup {
				return name
			}
		}
	}
	in := map[string]string{firmware.InputE32: "e", firmware.InputNoZ: "sm3", firmware.InputZDefault: "sm3-default-id", firmware.InputZParam: "sm3-id"}[s.Input]
	out := map[string]string{firmware.OutputRaw64: "raw", firmware.OutputDER: "der", firmware.OutputBroken: "der", firmware.OutputRaw128: "raw128"}[s.Output]
	name := in + "-" + out
	for n := 2; ; n++ {
		if _, dup := taken[name]; !dup {
			return name
		}
		name = fmt.Sprintf("%s-%s-%d", in, out, n)
	}
}

func (f *Findings) attributes() firmware.Attributes {
	var a firmware.Attributes
	add := func(list *[]string, name string) {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	for _, at := range f.Attributes {
		if at.Refused != "" {
			add(&a.Omit, at.Name)
		}
		if at.Read == "unknown" && (at.Expected != "" || at.Name == generator.Name) && !slices.Contains(mandatory, at.Name) {
			add(&a.UnreadableOK, at.Name)
		}
	}
	return a
}

// wraps names for each algorithm the first mechanism that went all the way round, and "none" where all were tried in vain.
func (f *Findings) wraps() map[string]string {
	out := map[string]string{}
	for _, w := range f.Wrapping {
		switch have := out[w.Algorithm]; {
		case w.Works && (have == "" || have == "none"):
			out[w.Algorithm] = w.Name
		case have == "":
			out[w.Algorithm] = "none"
		}
	}
	return out
}

func (f *Findings) match() firmware.Match {
	some := func(s string) []string {
		if s = strings.TrimSpace(s); s == "" {
			return nil
		}
		return []string{s}
	}
	exactly := func(v firmware.Version) string { return v.String() + "-" + v.String() }
	x := f.facts
	return firmware.Match{LibraryManufacturer: some(x.LibraryManufacturer), LibraryDescription: some(x.LibraryDescription), TokenModel: some(x.TokenModel),
		LibraryVersion: exactly(x.LibraryVersion), Firmware: exactly(x.Firmware)}
}

var notID = regexp.MustCompile(`[^a-z0-9.]+`)

// id is a name for the profile, from the token's model.
func (f *Findings) id() string {
	id := "measured-" + notID.ReplaceAllString(strings.ToLower(f.Token.Model), "-")
	return strings.TrimRight(id[:min(len(id), 48)], "-.")
}

// cite names the source of every number.
func (f *Findings) cite(p *firmware.Profile) {
	s := firmware.Source{Level: p.Evidence.Level, Source: fmt.Sprintf("sealctl token probe, %s, on %s firmware %s", f.Time.Format(time.DateOnly), f.Token.Model, f.Token.Firmware)}
	p.Sources = map[string]firmware.Source{}
	if p.Login.UserType != 0 { // taken over, not measured
		p.Sources["login.user_type"] = f.shipped.Sources["login.user_type"]
	}
	if p.SM2 == nil {
		return
	}
	for path, n := range map[string]firmware.Number{"sm2.key_type": p.SM2.KeyType, "sm2.keygen.mechanism": p.SM2.KeyGen.Mechanism,
		"sm2.keygen.bits_attribute": p.SM2.KeyGen.BitsAttribute, "sm2.ecpoint.x": p.SM2.ECPoint.X, "sm2.ecpoint.y": p.SM2.ECPoint.Y, "sm2.value_attribute": p.SM2.ValueAttribute} {
		if n != 0 {
			p.Sources[path] = s
		}
	}
	for name := range p.SM2.Sign {
		p.Sources["sm2.sign."+name+".mechanism"] = s
	}
}

// heading is the comment above the profile: what was measured how often, and what was not.
func (f *Findings) heading() string {
	var b strings.Builder
	line := func(format string, a ...any) {
		b.WriteString("# " + strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", " ") + "\n")
	}
	line("Measured by sealctl token probe on %s, through %s.", f.Time.Format(time.RFC3339), f.Library)
	if f.SM2 != nil {
		for _, s := range f.SM2.Sign {
			line("%s: %s in, %s out, %d signatures. %s", s.Mechanism, orUnknown(s.Input), orUnknown(s.Output), s.Signatures, s.Note)
		}
	}
	if f.shipped != nil {
		line("Not measured, but taken over from %s: module.locking, login, quirks, limits.max_frame.", f.shipped.ID)
	}
	return b.String()
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
