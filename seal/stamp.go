package seal

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ErrTimestamp says that a seal cannot take a time stamp: it is not of v5 or has one, or the stamp is not one element of DER.
var ErrTimestamp = errors.New("time stamp does not go into this seal")

// Timestamped returns a v5 seal with a time stamp over its maker's signature value appended (GM/T 0031-2025: timeStamp [0] EXPLICIT BIT
// STRING). The maker's signature stays valid: it covers SES_SealInfo alone. The token itself is the caller's to check. Errors:
// ErrStructure, ErrTimestamp.
func Timestamped(sealDER, token []byte) ([]byte, error) {
	s, err := Parse(sealDER)
	if err != nil {
		return nil, fmt.Errorf("stamping a seal: %w", err)
	}
	if s.Info.Version != 5 || s.Timestamp != nil {
		return nil, fmt.Errorf("seal %s, version %d: %w", s.Info.ESID, s.Info.Version, ErrTimestamp)
	}
	if err := oneSequence(token); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTimestamp, err)
	}
	whole := cryptobyte.String(sealDER)
	var inside cryptobyte.String
	if !whole.ReadASN1(&inside, asn1.SEQUENCE) {
		return nil, fmt.Errorf("stamping a seal: %w", ErrStructure)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(sealDER)+len(token)+32))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(inside)
		b.AddASN1(tagExplicit0, func(b *cryptobyte.Builder) { b.AddASN1BitString(token) })
	})
	return b.Bytes()
}
