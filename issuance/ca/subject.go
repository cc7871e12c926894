package ca

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sealkeeper/internal/gm"
)

const (
	maxNameChars  = 64  // ub-common-name, ub-organization-name (RFC 5280 appendix A.1)
	maxWholeChars = 512 // of the enterprise's name as the extension carries it
)

var (
	// oidHolder is the organisation-code extension of the Chinese authorities (1.2.156.10260.4.1.4), today the unified social credit code.
	oidHolder = asn1.ObjectIdentifier{1, 2, 156, 10260, 4, 1, 4}

	// attributeTypes are the attributes a template may name, X.520 short names.
	attributeTypes = map[string]asn1.ObjectIdentifier{
		"C": {2, 5, 4, 6}, "ST": {2, 5, 4, 8}, "L": {2, 5, 4, 7}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "CN": {2, 5, 4, 3}, "serialNumber": {2, 5, 4, 5},
	}

	placeholder = regexp.MustCompile(`\{[^{}]*\}`)
	usccForm    = regexp.MustCompile(`^[0-9A-HJ-NP-RTUW-Y]{18}$`) // GB 32100 alphabet; its check character is the caller's business
	countryForm = regexp.MustCompile(`^[A-Z]{2}$`)
)

// SubjectTemplate says how a seal certificate's subject is formed, one attribute after the other.
type SubjectTemplate struct{ lines []templateLine }

type templateLine struct{ attribute, value string }

// DefaultSubjectTemplate is C=CN, O and CN the enterprise's name, serialNumber the esID.
func DefaultSubjectTemplate() SubjectTemplate {
	return SubjectTemplate{[]templateLine{{"C", "CN"}, {"O", "{name}"}, {"CN", "{name}"}, {"serialNumber", "{esid}"}}}
}

// ParseSubjectTemplate reads lines such as "O={uscc}{name}" in the order of the subject. Attributes: C, ST, L, O, OU, CN, serialNumber;
// placeholders: {name}, {esid}, {uscc}. Values are cut to 64 characters, an identifier is never cut. ErrSubject otherwise.
func ParseSubjectTemplate(lines []string) (SubjectTemplate, error) {
	var t SubjectTemplate
	for _, line := range lines {
		attribute, value, ok := strings.Cut(line, "=")
		if _, known := attributeTypes[attribute]; !ok || !known || value == "" {
			return SubjectTemplate{}, fmt.Errorf("template line %q: %w", line, ErrSubject)
		}
		for _, p := range placeholder.FindAllString(value, -1) {
			if !slices.Contains([]string{"{name}", "{esid}", "{uscc}"}, p) {
				return SubjectTemplate{}, fmt.Errorf("template line %q: unknown %s: %w", line, p, ErrSubject)
			}
		}
		t.lines = append(t.lines, templateLine{attribute, value})
	}
	if !slices.ContainsFunc(t.lines, func(l templateLine) bool { return l.attribute == "CN" }) || len(t.lines) > 16 {
		return SubjectTemplate{}, fmt.Errorf("template of %d lines needs a CN and at most 16: %w", len(t.lines), ErrSubject)
	}
	return t, nil
}

// Lines returns the template in the form that ParseSubjectTemplate reads.
func (t SubjectTemplate) Lines() []string {
	var lines []string
	for _, l := range t.lines {
		lines = append(lines, l.attribute+"="+l.value)
	}
	return lines
}

// name forms the subject of r.
func (t SubjectTemplate) name(r Request) (pkix.Name, error) {
	var n pkix.Name
	fill := strings.NewReplacer("{name}", r.Name, "{esid}", r.ESID, "{uscc}", r.USCC)
	for _, l := range t.lines {
		v := fill.Replace(l.value)
		switch {
		case l.attribute == "C" && !countryForm.MatchString(v):
			return n, fmt.Errorf("country %q: %w", v, ErrSubject)
		case l.attribute == "serialNumber" && utf8.RuneCountInString(v) > maxNameChars:
			return n, fmt.Errorf("serialNumber of more than %d characters: %w", maxNameChars, ErrSubject)
		}
		n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: attributeTypes[l.attribute], Value: cut(v)})
	}
	return n, nil
}

// cut shortens to what a directory attribute holds: 64 characters, not bytes, and no blank at the end.
func cut(s string) string {
	if r := []rune(s); len(r) > maxNameChars {
		s = string(r[:maxNameChars])
	}
	return strings.TrimRight(s, " ")
}

// checkHolder refuses values that could not be read back from a certificate, and a request without a key.
func (r Request) checkHolder() error {
	if err := r.checkNames(); err != nil {
		return err
	}
	if r.PublicKey == nil {
		return fmt.Errorf("seal %s: %w", r.ESID, ErrPublicKey)
	}
	return nil
}

func (r Request) checkNames() error {
	if !clean(r.Name, maxWholeChars) || !clean(r.ESID, maxNameChars) {
		return fmt.Errorf("name %.80q, esID %.80q: %w", r.Name, r.ESID, ErrSubject)
	}
	if !usccForm.MatchString(r.USCC) {
		return fmt.Errorf("unified social credit code %.40q: %w", r.USCC, ErrSubject)
	}
	return nil
}

func clean(s string, limit int) bool {
	n := utf8.RuneCountInString(s)
	return n > 0 && n <= limit && utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unicode.IsControl)
}

// holderExtension carries what the subject may have lost to cutting: UTF8String, the code followed by the whole name, which is also how
// the O of shipped government certificates is composed.
func holderExtension(r Request) (pkix.Extension, error) {
	v, err := asn1.MarshalWithParams(r.USCC+r.Name, "utf8")
	return pkix.Extension{Id: oidHolder, Value: v}, err
}

// Holder reads the extension back: the unified social credit code and the whole name. ok is false when the certificate has none of
// this form.
func Holder(c *gm.Certificate) (uscc, name string, ok bool) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidHolder) {
			continue
		}
		var s string
		if rest, err := asn1.UnmarshalWithParams(e.Value, &s, "utf8"); err != nil || len(rest) > 0 || len(s) <= 18 || !usccForm.MatchString(s[:18]) {
			return "", "", false
		}
		return s[:18], s[18:], true
	}
	return "", "", false
}

// checkName holds the name of an authority or a TLS end to the bounds of its attributes.
func checkName(n pkix.Name) error {
	values := slices.Concat([]string{n.CommonName}, n.Country, n.Organization, n.OrganizationalUnit, n.Locality, n.Province)
	for _, v := range values {
		if !clean(v, maxNameChars) {
			return fmt.Errorf("name %q: %.80q: %w", n.CommonName, v, ErrSubject)
		}
	}
	return nil
}
