package seal

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
)

// MaxPropertyInfo bounds propertyInfo in bytes when signing.
const MaxPropertyInfo = 1024

var (
	// ErrPropertyInfo says that propertyInfo is not printable ASCII of at most MaxPropertyInfo bytes.
	ErrPropertyInfo = errors.New("propertyInfo must be printable ASCII of at most 1024 bytes")
	// ErrSigningTime says that a signing time lies outside the years 2000 to 9999.
	ErrSigningTime = errors.New("signing time must lie in the years 2000 to 9999")
)

// TBS is TBS_Sign of v4 and v5, what the seal's key signs. Version 0 stands for the seal's header version.
type TBS struct {
	Version      int
	SealDER      []byte    // the complete SESeal, embedded unchanged
	Time         time.Time // timeInfo; cut to whole seconds, UTC
	DataHash     [32]byte  // SM3 of the original
	PropertyInfo string    // for OFD the absolute package path of Signature.xml
	Ext          []Extension
}

// Marshal returns TBS_Sign in DER. Errors: ErrStructure, ErrUnsupportedGeneration, ErrPropertyInfo, ErrSigningTime, ErrExtension.
func (t TBS) Marshal() ([]byte, error) {
	g, err := NewSigning(t.SealDER)
	if err != nil {
		return nil, err
	}
	if t.Version != 0 {
		g.version = t.Version
	}
	tail, err := tail(t.Time, t.DataHash, t.PropertyInfo)
	if err != nil {
		return nil, err
	}
	if len(t.Ext) > 0 {
		b := cryptobyte.NewBuilder(tail)
		b.AddASN1(tagExplicit0, func(b *cryptobyte.Builder) { addExtensions(b, t.Ext) })
		if tail, err = b.Bytes(); err != nil {
			return nil, fmt.Errorf("building TBS_Sign: %w", err)
		}
	}
	return append(g.build(len(tail)), tail...), nil
}

// Signing prepares signatures with one seal. Everything of TBS_Sign before timeInfo (SEQUENCE header, version, seal) depends only on
// the seal and the length of propertyInfo, so it is built once per length; a caller may hash it once and keep the SM3 state.
// Safe for concurrent use.
type Signing struct {
	sealDER []byte
	version int

	mu       sync.Mutex
	prefixes map[int][]byte // by length of propertyInfo; guarded by mu
}

// NewSigning takes a complete seal of v4 or v5. It checks the structure; whether the seal may be used is for the caller. Errors:
// ErrStructure, ErrUnsupportedGeneration.
func NewSigning(sealDER []byte) (*Signing, error) {
	s, err := Parse(sealDER)
	if err != nil {
		return nil, fmt.Errorf("preparing to sign: %w", err)
	}
	if s.Generation == V1 {
		return nil, fmt.Errorf("preparing to sign with a seal of %s: %w", s.Generation, ErrUnsupportedGeneration)
	}
	return &Signing{sealDER: s.Raw, version: s.Info.Version, prefixes: map[int][]byte{}}, nil
}

// TBS returns TBS_Sign as two parts: prefix‖variable is its complete DER. prefix is shared between calls with the same length of
// propertyInfo and must not be modified; variable is fresh. Errors: ErrPropertyInfo, ErrSigningTime.
func (g *Signing) TBS(t time.Time, dataHash [32]byte, propertyInfo string) (prefix, variable []byte, err error) {
	end, err := tail(t, dataHash, propertyInfo)
	if err != nil {
		return nil, nil, err
	}
	return g.prefix(len(propertyInfo), len(end)), end, nil
}

// maxPrefixes bounds what one Signing remembers; paths of OFD signatures come in two or three lengths.
const maxPrefixes = 16

func (g *Signing) prefix(propertyLen, tailLen int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p, ok := g.prefixes[propertyLen]; ok {
		return p
	}
	p := g.build(tailLen)
	if len(g.prefixes) < maxPrefixes {
		g.prefixes[propertyLen] = p
	}
	return p
}

// build writes the SEQUENCE header for a body that ends in tailLen further bytes, then version and seal.
func (g *Signing) build(tailLen int) []byte {
	var v cryptobyte.Builder
	v.AddASN1Int64(int64(g.version))
	version := v.BytesOrPanic()
	p := appendHeader(make([]byte, 0, 8+len(version)+len(g.sealDER)), asn1.SEQUENCE, len(version)+len(g.sealDER)+tailLen)
	p = append(p, version...)
	p = append(p, g.sealDER...)
	return p[:len(p):len(p)] // an append by a caller must copy
}

// tail is timeInfo, dataHash and propertyInfo: 17 + 35 bytes and the text, whatever the values are.
func tail(t time.Time, dataHash [32]byte, propertyInfo string) ([]byte, error) {
	if !printable(propertyInfo, MaxPropertyInfo) {
		return nil, fmt.Errorf("building TBS_Sign with propertyInfo %.80q: %w", propertyInfo, ErrPropertyInfo)
	}
	if y := t.UTC().Year(); y < 2000 || y > 9999 {
		return nil, fmt.Errorf("building TBS_Sign at %s: %w", t, ErrSigningTime)
	}
	var b cryptobyte.Builder
	b.AddASN1GeneralizedTime(t.UTC())
	b.AddASN1BitString(dataHash[:])
	addText(&b, asn1.IA5String, propertyInfo)
	return b.Bytes()
}

func appendHeader(b []byte, tag asn1.Tag, n int) []byte {
	b = append(b, byte(tag))
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x100:
		return append(b, 0x81, byte(n))
	case n < 0x10000:
		return append(b, 0x82, byte(n>>8), byte(n))
	default: // MaxSize keeps this below 2^24
		return append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
}

// AssembleSignature joins TBS_Sign, the signatory's certificate, the strict DER signature value and, unless nil, the TimeStampToken
// over that value into an SES_Signature. It checks forms; whoever signs has verified the value before (law 4).
func AssembleSignature(tbs, cert, sigDER, timestamp []byte) ([]byte, error) {
	der, _, err := AssembleParts(tbs, nil, cert, sigDER, timestamp)
	return der, err
}

// AssembleParts is AssembleSignature for TBS_Sign in the two parts of Signing.TBS, which are copied once. The prefix stands at der[at:].
func AssembleParts(prefix, variable, cert, sigDER, timestamp []byte) (der []byte, at int, err error) {
	if err := beginsSequence(prefix, len(variable)); err != nil {
		return nil, 0, fmt.Errorf("assembling seal signature from TBS_Sign: %w", err)
	}
	if err := oneSequence(cert); err != nil {
		return nil, 0, fmt.Errorf("assembling seal signature: certificate: %w", err)
	}
	if _, err := gm.DecodeSignature(sigDER); err != nil {
		return nil, 0, fmt.Errorf("assembling seal signature: %w", err)
	}
	if timestamp != nil {
		if err := oneSequence(timestamp); err != nil {
			return nil, 0, fmt.Errorf("assembling seal signature: timestamp: %w", err)
		}
	}
	end := make([]byte, 0, len(cert)+len(sigDER)+len(timestamp)+48)
	end = append(appendHeader(end, asn1.OCTET_STRING, len(cert)), cert...)
	end = append(end, algorithmDER...)
	end = appendBits(end, sigDER)
	if timestamp != nil {
		bits := appendBits(nil, timestamp)
		end = append(appendHeader(end, tagExplicit0, len(bits)), bits...)
	}
	n := len(prefix) + len(variable) + len(end)
	der = appendHeader(make([]byte, 0, n+8), asn1.SEQUENCE, n)
	at = len(der)
	return append(append(append(der, prefix...), variable...), end...), at, nil
}

// algorithmDER is the OBJECT IDENTIFIER of SM2 with SM3.
var algorithmDER = func() []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(sm2WithSM3)
	return b.BytesOrPanic()
}()

// appendBits writes a BIT STRING of whole bytes.
func appendBits(b, v []byte) []byte {
	return append(append(appendHeader(b, asn1.BIT_STRING, len(v)+1), 0), v...)
}
