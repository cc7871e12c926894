package signeddata

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxDepth bounds the nesting that a conversion follows. SignedData with a certificate in it nests about twelve deep.
const maxDepth = 32

// indefinite reports whether b begins with a constructed element of indefinite length (X.690 §8.1.3.6).
func indefinite(b []byte) bool {
	return len(b) >= 2 && b[0]&0x20 != 0 && b[0]&0x1F != 0x1F && b[1] == 0x80
}

// element splits the first element, which must be a SEQUENCE with a definite length, from what follows it.
func element(b []byte) (der, rest []byte, err error) {
	if indefinite(b) {
		return nil, nil, fmt.Errorf("reading ContentInfo: %w", ErrBER)
	}
	in, out := cryptobyte.String(b), cryptobyte.String(nil)
	if !in.ReadASN1Element(&out, asn1.SEQUENCE) {
		return nil, nil, fmt.Errorf("reading ContentInfo: %w", ErrStructure)
	}
	return out, in, nil
}

// convert turns the first element of b into definite lengths and joins split OCTET STRINGs. Whatever holds neither is copied byte for
// byte, so certificates and signed attributes keep the bytes that were signed. The output is never longer than the input by more than
// the lengths' own octets.
func convert(b []byte) (der, rest []byte, err error) {
	der, rest, _, err = transcode(b, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("converting BER: %w", err)
	}
	return der, rest, nil
}

// transcode converts one element and reports whether it had to be changed.
func transcode(b []byte, depth int) (der, rest []byte, changed bool, err error) {
	if depth == maxDepth {
		return nil, nil, false, fmt.Errorf("nested deeper than %d: %w", maxDepth, ErrStructure)
	}
	if indefinite(b) {
		content, rest, err := untilEnd(b[2:], b[0] == 0x24, depth)
		if err != nil {
			return nil, nil, false, err
		}
		return wrap(b[0], content), rest, true, nil
	}
	whole, content, rest, ok := split(b)
	if !ok {
		return nil, nil, false, fmt.Errorf("reading a header: %w", ErrStructure)
	}
	if whole[0]&0x20 == 0 {
		return whole, rest, false, nil
	}
	inner, changed, err := children(content, whole[0] == 0x24, depth)
	if err != nil || !changed && whole[0] != 0x24 {
		return whole, rest, false, err
	}
	return wrap(whole[0], inner), rest, true, nil
}

// untilEnd converts the children of an indefinite element up to its end-of-contents octets.
func untilEnd(b []byte, join bool, depth int) (content, rest []byte, err error) {
	for {
		if len(b) < 2 {
			return nil, nil, fmt.Errorf("no end of contents: %w", ErrStructure)
		}
		if b[0] == 0 && b[1] == 0 {
			return content, b[2:], nil
		}
		child, after, _, err := transcode(b, depth+1)
		if err != nil {
			return nil, nil, err
		}
		if child, err = piece(child, join); err != nil {
			return nil, nil, err
		}
		content, b = append(content, child...), after
	}
}

// children converts what a definite constructed element holds.
func children(b []byte, join bool, depth int) (content []byte, changed bool, err error) {
	for len(b) > 0 {
		child, after, c, err := transcode(b, depth+1)
		if err != nil {
			return nil, false, err
		}
		if child, err = piece(child, join); err != nil {
			return nil, false, err
		}
		content, changed, b = append(content, child...), changed || c, after
	}
	return content, changed, nil
}

// piece is one child; of a split OCTET STRING only its octets count.
func piece(child []byte, join bool) ([]byte, error) {
	if !join {
		return child, nil
	}
	_, content, _, ok := split(child)
	if !ok || child[0] != 0x04 {
		return nil, fmt.Errorf("reading a split OCTET STRING: %w", ErrStructure)
	}
	return content, nil
}

// split takes one element of definite length apart. Unlike DER, lengths need not be minimal.
func split(b []byte) (whole, content, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1F == 0x1F {
		return nil, nil, nil, false
	}
	header, n := 2, uint64(b[1])
	if b[1] >= 0x80 {
		octets := int(b[1] & 0x7F)
		if octets == 0 || octets > 8 || len(b) < 2+octets {
			return nil, nil, nil, false
		}
		var wide [8]byte
		copy(wide[8-octets:], b[2:2+octets])
		header, n = 2+octets, binary.BigEndian.Uint64(wide[:])
	}
	if n > uint64(len(b)-header) {
		return nil, nil, nil, false
	}
	end := header + int(n)
	return b[:end:end], b[header:end:end], b[end:], true
}

// wrap gives content the header of tag with a minimal definite length; a split OCTET STRING becomes a plain one.
func wrap(tag byte, content []byte) []byte {
	if tag == 0x24 {
		tag = 0x04
	}
	out := make([]byte, 0, len(content)+6)
	out = append(out, tag)
	switch n := len(content); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, content...)
}
