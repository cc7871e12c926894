package register

import (
	"errors"
	"fmt"

	"sealkeeper/keystore/audit"
)

// ErrPurpose: no purpose from the list was named, or not in the way it must be named.
var ErrPurpose = errors.New("an impression is opened for a listed purpose only")

// Purpose is why an impression is opened (企业印模不用于其他用途). The list is closed: values come from this package alone, and the zero
// value opens nothing.
type Purpose struct {
	name      string
	reference string
	second    audit.Actor
}

// String names the purpose as it stands in the log.
func (p Purpose) String() string { return p.name }

// The purposes without conditions: making a seal, making it again after expiry, comparing it with a filing.
var (
	Make             = Purpose{name: "make"}
	Remake           = Purpose{name: "remake"}
	CompareForFiling = Purpose{name: "compare_for_filing"}
)

const inquiry = "authority_inquiry"

// AuthorityInquiry is an inquiry by an authority under its reference. Two operators answer for it: the one who opens and the second
// named here.
func AuthorityInquiry(reference string, second audit.Actor) Purpose {
	return Purpose{inquiry, reference, second}
}

func (p Purpose) check(first audit.Actor) error {
	switch {
	case p.name == "":
		return ErrPurpose
	case p.name != inquiry:
		return nil
	case !cleanText(p.reference, 128):
		return fmt.Errorf("inquiry without the authority's reference: %w", ErrPurpose)
	case !isOfficer(first) || !isOfficer(p.second) || first.ID == p.second.ID:
		return fmt.Errorf("inquiry needs two operators: %w", ErrPurpose)
	}
	return nil
}

func isOfficer(a audit.Actor) bool {
	return a.ID != "" && (a.Role == RoleSystem || a.Role == RoleSecurity || a.Role == "operator-audit")
}
