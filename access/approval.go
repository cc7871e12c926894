package access

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrApprovalForm says that an approval or a delegation holds a value that has no canonical form.
var ErrApprovalForm = errors.New("approval has no canonical form")

// Approval is the owner's consent to one use of one seal. The device key signs exactly Canonical.
type Approval struct {
	Request   string    `json:"request"` // the signature request's Idempotency-Key
	Seal      string    `json:"seal"`    // esID
	Document  [32]byte  `json:"-"`       // SM3 of the document as received (kind digest: the document digest itself)
	Placement [32]byte  `json:"-"`       // placement.Plan.Digest; zero where nothing is placed
	Purpose   string    `json:"purpose"` // the purpose the client states, 1..64 characters
	Client    string    `json:"client"`  // hexadecimal SHA-256 of the client certificate's SubjectPublicKeyInfo
	Count     uint64    `json:"count"`   // how many signatures it covers; 1 for an approval
	Expires   time.Time `json:"expires"` // whole seconds, UTC
	Nonce     [16]byte  `json:"-"`       // spent in the releasing commit
}

// Canonical returns the bytes that the device key signs: UTF-8 lines, each ended by LF, in this order and no other:
//
//	sealkeeper-approval-v1
//	request:<request>
//	seal:<esID>
//	document:<64 hexadecimal digits>
//	placement:<64 hexadecimal digits>
//	purpose:<purpose>
//	client:<64 hexadecimal digits>
//	count:<decimal>
//	expires:<YYYY-MM-DDTHH:MM:SSZ>
//	nonce:<32 hexadecimal digits>
//
// Digits are lower case. A text value with a control character, a line separator, invalid UTF-8, an outer blank or a wrong length is
// ErrApprovalForm, so no two approvals share a form.
func (a Approval) Canonical() ([]byte, error) {
	return canonical("sealkeeper-approval-v1", []field{
		{"request", a.Request, 128}, {"seal", a.Seal, 64}, {"document", hex.EncodeToString(a.Document[:]), 64},
		{"placement", hex.EncodeToString(a.Placement[:]), 64}, {"purpose", a.Purpose, 64}, {"client", a.Client, 64},
		{"count", strconv.FormatUint(a.Count, 10), 20}, {"expires", stamp(a.Expires), 20}, {"nonce", hex.EncodeToString(a.Nonce[:]), 32},
	})
}

// Delegation is the owner's consent in advance, in bounds: one client, listed purposes and kinds, a window and a number of uses that
// are spent atomically.
type Delegation struct {
	ID        string    `json:"id"`         // chosen by the client that presents it, unique
	Seal      string    `json:"seal"`       // esID; never the legal representative's seal
	Client    string    `json:"client"`     // hexadecimal SHA-256 of the client's SubjectPublicKeyInfo
	Purposes  []string  `json:"purposes"`   // sorted, at least one
	Kinds     []string  `json:"kinds"`      // sorted subset of cms, digest, ofd, pdf
	NotBefore time.Time `json:"not_before"` // whole seconds, UTC
	Expires   time.Time `json:"expires"`
	Count     uint64    `json:"count"` // uses in all, at least 1
	Nonce     [16]byte  `json:"-"`
}

// Canonical returns the bytes that the device key signs, in the manner of Approval.Canonical: the line sealkeeper-delegation-v1 and then
// id, seal, client, purposes (joined by commas), kinds (joined by commas), not-before, expires, count, nonce.
func (d Delegation) Canonical() ([]byte, error) {
	for _, list := range [][]string{d.Purposes, d.Kinds} {
		for i, v := range list {
			if strings.Contains(v, ",") || i > 0 && list[i-1] >= v {
				return nil, fmt.Errorf("list value %q holds a comma or is out of order: %w", v, ErrApprovalForm)
			}
		}
	}
	return canonical("sealkeeper-delegation-v1", []field{
		{"id", d.ID, 128}, {"seal", d.Seal, 64}, {"client", d.Client, 64}, {"purposes", strings.Join(d.Purposes, ","), 1024},
		{"kinds", strings.Join(d.Kinds, ","), 64}, {"not-before", stamp(d.NotBefore), 20}, {"expires", stamp(d.Expires), 20},
		{"count", strconv.FormatUint(d.Count, 10), 20}, {"nonce", hex.EncodeToString(d.Nonce[:]), 32},
	})
}

type field struct {
	name, value string
	max         int // in characters
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

func (f field) check() error {
	n := utf8.RuneCountInString(f.value)
	if n == 0 || n > f.max || !utf8.ValidString(f.value) || strings.TrimSpace(f.value) != f.value {
		return fmt.Errorf("%s is empty, longer than %d characters or not clean text: %w", f.name, f.max, ErrApprovalForm)
	}
	for _, r := range f.value {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%s holds a control character: %w", f.name, ErrApprovalForm)
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format("2006-01-02T15:04:05Z") }
