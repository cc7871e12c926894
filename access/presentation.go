package access

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sealkeeper/keystore/store"
)

// AnyClient stands in a presentation that whichever registered department scans it may redeem.
const AnyClient = "any"

// Bounds of a presentation.
const (
	MaxPresentationSeconds = 120
	maxShownCertificates   = 20
	maxShownAttributes     = 20
	wishLife               = 10 * time.Minute // longest time from now to the wish's expiry
)

// Presentation is the owner's wish to show chosen things of the enterprise to one department, once. The device key signs exactly Canonical. How
// long the code then lives is counted by the appliance's clock, whatever the phone's says (law 8).
type Presentation struct {
	USCC         string
	Client       string    // hexadecimal client identifier, or AnyClient
	Attributes   []string  // fields of the licence, sorted
	Certificates []string  // series of certificates, sorted
	Seconds      uint64    // life of the code, 1..120
	Expires      time.Time // until when the wish may be handed in; whole seconds, UTC
	Nonce        [16]byte  // spent when it is
}

// Canonical returns the bytes that the device key signs, in the manner of Approval.Canonical: the line sealkeeper-presentation-v1 and then uscc,
// client, attributes, certificates (each joined by commas, a hyphen for none), seconds, expires, nonce.
func (p Presentation) Canonical() ([]byte, error) {
	return canonical("sealkeeper-presentation-v1", []field{
		{"uscc", p.USCC, 18}, {"client", p.Client, 64}, {"attributes", joined(p.Attributes), 1024}, {"certificates", joined(p.Certificates), 2048},
		{"seconds", strconv.FormatUint(p.Seconds, 10), 20}, {"expires", stamp(p.Expires), 20}, {"nonce", hex.EncodeToString(p.Nonce[:]), 32},
	})
}

func joined(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}

// SignedPresentation is a presentation as it travels and as it is kept, in the manner of SignedApproval.
type SignedPresentation struct {
	USCC         string    `json:"uscc" maxLength:"18"`
	Client       string    `json:"client" maxLength:"64" doc:"identifier of the department's client that may redeem it, or any"`
	Attributes   []string  `json:"attributes" nullable:"false" maxItems:"20" doc:"sorted"`
	Certificates []string  `json:"certificates" nullable:"false" maxItems:"20" doc:"type, issuer and serial of each, sorted"`
	Seconds      uint64    `json:"seconds" minimum:"1" maximum:"120" doc:"life of the code, counted by the appliance"`
	Expires      time.Time `json:"expires" doc:"until when it may be handed in, at most ten minutes ahead"`
	Nonce        string    `json:"nonce" doc:"32 hexadecimal digits"`
	Alg          string    `json:"alg" doc:"p256 or sm2"`
	Signature    []byte    `json:"signature" doc:"of the bound device, over the canonical bytes"`
}

// Sign makes the wire form of p, as Approval.Sign does.
func (p Presentation) Sign(alg string, sign func(message []byte) ([]byte, error)) (SignedPresentation, error) {
	msg, err := p.Canonical()
	if err != nil {
		return SignedPresentation{}, err
	}
	sig, err := sign(msg)
	if err != nil {
		return SignedPresentation{}, fmt.Errorf("signing presentation: %w", err)
	}
	return SignedPresentation{USCC: p.USCC, Client: p.Client, Attributes: append([]string{}, p.Attributes...), Certificates: append([]string{}, p.Certificates...),
		Seconds: p.Seconds, Expires: p.Expires.UTC().Truncate(time.Second), Nonce: hex.EncodeToString(p.Nonce[:]), Alg: alg, Signature: sig}, nil
}

// Presentation returns what was signed, or ErrApprovalForm.
func (s SignedPresentation) Presentation() (Presentation, error) {
	p := Presentation{USCC: s.USCC, Client: s.Client, Attributes: s.Attributes, Certificates: s.Certificates, Seconds: s.Seconds, Expires: s.Expires}
	fault := ""
	switch {
	case !whole(s.Expires):
		fault = "expires is not a whole second"
	case s.Client != AnyClient && !isHex(s.Client, 32):
		fault = "client is neither any nor 64 lower-case hexadecimal digits"
	case s.Seconds < 1 || s.Seconds > MaxPresentationSeconds:
		fault = fmt.Sprintf("seconds are not 1 to %d", MaxPresentationSeconds)
	case len(s.Attributes) > maxShownAttributes || len(s.Certificates) > maxShownCertificates:
		fault = "more than 20 attributes or certificates"
	case !cleanList(s.Attributes, 40) || !cleanList(s.Certificates, 80) || slices.Contains(s.Attributes, "-") || slices.Contains(s.Certificates, "-"):
		fault = "attributes or certificates are not sorted clean text"
	}
	if fault != "" {
		return Presentation{}, fmt.Errorf("%s: %w", fault, ErrApprovalForm)
	}
	return p, readHex(p.Nonce[:], "nonce", s.Nonce)
}

// CheckPresentation verifies that the enterprise's bound device signed the wish, and returns what the commit that makes the code spends and expects.
// In this order: ErrApprovalForm, ErrNoDevice, ErrApprovalForeign for another device's algorithm, ErrApprovalAltered, ErrApprovalExpired,
// ErrApprovalReplayed.
func (a *Access) CheckPresentation(ctx context.Context, s SignedPresentation) (Presentation, Cleared, error) {
	p, err := s.Presentation()
	if err != nil {
		return p, Cleared{}, err
	}
	msg, err := p.Canonical()
	if err != nil {
		return p, Cleared{}, err
	}
	d, version, err := a.bound(ctx, p.USCC)
	switch {
	case err != nil:
		return p, Cleared{}, err
	case s.Alg != d.Alg:
		return p, Cleared{}, fmt.Errorf("by another device: %w", ErrApprovalForeign)
	case !d.key.verify(msg, s.Signature):
		return p, Cleared{}, ErrApprovalAltered
	}
	switch now := a.now(); {
	case now.After(p.Expires):
		return p, Cleared{}, fmt.Errorf("at %s: %w", stamp(p.Expires), ErrApprovalExpired)
	case p.Expires.Sub(now) > wishLife:
		return p, Cleared{}, fmt.Errorf("expires more than %s ahead: %w", wishLife, ErrApprovalForm)
	}
	nonce := spendNonce(s.Nonce, p.Expires)
	if spent, err := a.st.Counter(ctx, nonce.Counter); err != nil {
		return p, Cleared{}, err
	} else if spent > 0 {
		return p, Cleared{}, ErrApprovalReplayed
	}
	ev, err := json.Marshal(struct {
		Presentation SignedPresentation `json:"presentation"`
		DeviceKey    []byte             `json:"device_key"`
	}{s, d.Key})
	return p, Cleared{Spend: []store.Spend{nonce}, Expect: []store.Expect{{Collection: Devices, Key: []byte(p.USCC), Version: version}}, Evidence: ev}, err
}
