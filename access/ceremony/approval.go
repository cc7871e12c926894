package ceremony

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"sealkeeper/access"
)

// Statement is what an approving officer signs with the key of their client certificate.
type Statement struct {
	Ceremony  string    // Plan.ID
	Appliance string    // as in the plan
	Client    string    // the officer's client identifier
	Expires   time.Time // whole seconds, UTC; at the latest the plan's own
}

// Canonical returns the bytes that are signed, ECDSA P-256 over their SHA-256, in the manner of Plan.Canonical:
//
//	sealkeeper-ceremony-approval-v1
//	ceremony:<64 hexadecimal digits>
//	appliance:<name>
//	client:<64 hexadecimal digits>
//	expires:<YYYY-MM-DDTHH:MM:SSZ>
//
// The same key answers TLS handshakes; what it signs there begins with 64 blanks, so neither can stand for the other.
func (s Statement) Canonical() ([]byte, error) {
	return canonical("sealkeeper-ceremony-approval-v1", []field{{"ceremony", s.Ceremony, 64}, {"appliance", s.Appliance, 64}, {"client", s.Client, 64},
		{"expires", stamp(s.Expires), 20}})
}

// Officer is who took a part in a ceremony.
type Officer struct {
	Client string      `json:"client"`
	Role   access.Role `json:"role"`
	Person string      `json:"person"`
	Name   string      `json:"name"`
}

func officer(c access.Client) Officer { return Officer{c.ID, c.Role, c.Person, c.Name} }

// Approval is an officer's signature over a plan, with all that it takes to check it again.
type Approval struct {
	Officer
	Key       []byte    `json:"key"` // SubjectPublicKeyInfo, whose SHA-256 is Client
	Expires   time.Time `json:"expires"`
	At        time.Time `json:"at"`
	Signature []byte    `json:"signature"` // DER
}

// verify checks the signature alone: ErrApproval, or nil when the key named by Client signed exactly this plan.
func (a Approval) verify(id, appliance string) error {
	if access.ClientID(a.Key) != a.Client {
		return fmt.Errorf("the key is not the client's: %w", ErrApproval)
	}
	pub, err := x509.ParsePKIXPublicKey(a.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrApproval, err)
	}
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return fmt.Errorf("the key is not on P-256: %w", ErrApproval)
	}
	msg, err := Statement{id, appliance, a.Client, a.Expires}.Canonical()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrApproval, err)
	}
	if d := sha256.Sum256(msg); !ecdsa.VerifyASN1(k, d[:], a.Signature) {
		return ErrApproval
	}
	return nil
}

// counts judges a set of approvals by what they say of themselves: that each is signed by its key over this plan, for long enough, by a role that may,
// each by another person, none by the one who asked, and enough of them.
func counts(p Plan, id string, asked Officer, all []Approval, at time.Time) error {
	seen := map[string]bool{asked.Person: true}
	n := 0
	for _, a := range all {
		if err := a.verify(id, p.Appliance); err != nil {
			return fmt.Errorf("approval by %.12s: %w", a.Client, err)
		}
		if err := p.allows(a.Role, MayApprove); err != nil {
			return err
		}
		if !seen[a.Person] && !at.After(a.Expires) {
			seen[a.Person], n = true, n+1
		}
	}
	if n < p.Approvals {
		return fmt.Errorf("%d of %d: %w", n, p.Approvals, ErrTooFew)
	}
	return nil
}
