package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm/internal/bare"
	"sealkeeper/internal/gm"
)

var oidSM2 = []byte{0x06, 0x08, 0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D}

// shape is one way of asking for an SM2 pair.
type shape struct {
	number  uint
	keyType uint
	typed   bool
	oid     bool
	bits    uint // a vendor's own attribute for the key's length, which both templates carry
}

// pair is an SM2 key pair of the probe.
type pair struct {
	shape
	pub, priv pkcs11.ObjectHandle
	key       *gm.PublicKey
	form      string
	x, y      uint // attributes of the coordinates, in the form xy
}

// findSM2 tries every shape that a listed mechanism could want, and keeps the pair of the best: the shape that the shipped profile documents when the
// token takes it, otherwise the most explicit.
func (r *run) findSM2(ctx context.Context) error {
	numbers := r.candidates(pkcs11.CKF_GENERATE_KEY_PAIR)
	if len(numbers) == 0 {
		r.f.note("the token lists no mechanism of the vendor range or of a shipped profile that generates key pairs: no SM2")
		return nil
	}
	shapes, tried := r.shapes(numbers), []Template{}
	for i, s := range shapes {
		r.o.Progress("SM2 key generation", i, len(shapes))
		if err := ctx.Err(); err != nil {
			return err
		}
		p, outcome, err := r.trySM2(s)
		if err != nil {
			return err
		}
		tried = append(tried, Template{firmware.Number(s.number), firmware.Number(s.keyType), s.oid, firmware.Number(s.bits), outcome})
		switch {
		case p == nil:
		case r.sm2 == nil:
			r.sm2 = p
		default:
			r.drop(p.pub, p.priv)
		}
	}
	if r.sm2 == nil {
		r.f.SM2 = nil
		r.f.note("none of %d templates made a key on the SM2 curve", len(tried))
		for _, t := range tried {
			r.f.note("key pair by %s, key type %s, curve %v: %s", t.Mechanism, t.KeyType, t.ECParams, t.Outcome)
		}
		return nil
	}
	return r.describeSM2(tried)
}

// shapes orders what is tried: the fitting profile's own, then explicit before implicit. Vendors' own attributes go with the key types that they are known with.
func (r *run) shapes(numbers []uint) []shape {
	var kinds, rest []shape
	for _, p := range r.profiles() {
		if k := (shape{keyType: uint(p.SM2.KeyType), typed: true, bits: uint(p.SM2.KeyGen.BitsAttribute)}); p.SM2.KeyType != 0 && !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	kinds = append(kinds, shape{})
	for _, n := range numbers {
		for _, oid := range []bool{true, false} {
			for _, k := range kinds {
				k.number, k.oid = n, oid
				rest = append(rest, k)
			}
		}
	}
	p := r.f.shipped
	if p == nil || p.SM2 == nil {
		return rest
	}
	own := shape{uint(p.SM2.KeyGen.Mechanism), uint(p.SM2.KeyType), p.SM2.KeyGen.PublicKeyType == "required", p.SM2.KeyGen.ECParams == "oid", uint(p.SM2.KeyGen.BitsAttribute)}
	if !own.typed {
		own.keyType = 0
	}
	if i := slices.Index(rest, own); i >= 0 {
		rest = slices.Delete(rest, i, i+1)
		return append([]shape{own}, rest...)
	}
	return rest
}

// trySM2 makes a session pair, or a token pair when the token makes no other, with the fewest attributes that still protect it.
func (r *run) trySM2(s shape) (*pair, string, error) {
	pub, priv, err := r.generate(s, r.least(true, false), r.least(false, false))
	if over(err) {
		return nil, "", err
	}
	if err != nil {
		return nil, err.Error(), nil
	}
	p := &pair{shape: s, pub: pub, priv: priv}
	if err := r.readPoint(p); err != nil {
		r.drop(pub, priv)
		if over(err) {
			return nil, "", err
		}
		return nil, "no SM2 key: " + err.Error(), nil
	}
	return p, "SM2 key", nil
}

// generate asks for a session pair first. A token that refuses those gets asked for token objects from then on.
func (r *run) generate(s shape, public, private []bare.Flag) (pub, priv pkcs11.ObjectHandle, err error) {
	pub, priv, err = r.pairOf(s.number, r.publicTemplate(s, public), r.privateTemplate(s, private))
	if err == nil || r.onToken || over(err) || r.sm2 != nil {
		return pub, priv, err
	}
	r.onToken = true
	if pub, priv, again := r.pairOf(s.number, r.publicTemplate(s, public), r.privateTemplate(s, private)); again == nil {
		r.f.note("the token makes no session key pairs (%v): token objects labelled %s were made and destroyed", err, r.tag)
		return pub, priv, nil
	}
	r.onToken = false
	return 0, 0, err
}

func (r *run) publicTemplate(s shape, flags []bare.Flag) []*pkcs11.Attribute {
	t := r.flagged(s, pkcs11.CKO_PUBLIC_KEY, flags)
	if s.oid {
		t = append(t, attr(pkcs11.CKA_EC_PARAMS, oidSM2))
	}
	return t
}

func (r *run) privateTemplate(s shape, flags []bare.Flag) []*pkcs11.Attribute {
	return r.flagged(s, pkcs11.CKO_PRIVATE_KEY, flags)
}

// flagged writes flags out; both halves of a pair get the identifier of the run, which nobody else has.
func (r *run) flagged(s shape, class uint, flags []bare.Flag) []*pkcs11.Attribute {
	t := r.names(class, []byte(r.tag)[:16])
	if s.typed {
		t = append(t, attr(pkcs11.CKA_KEY_TYPE, s.keyType))
	}
	if s.bits != 0 {
		t = append(t, attr(s.bits, uint(256)))
	}
	for _, f := range flags {
		if f.Kind != pkcs11.CKA_TOKEN && !r.omit[f.Name] {
			t = append(t, attr(f.Kind, f.Value))
		}
	}
	return t
}

// mandatory are the attributes that no profile may leave out of its judgement.
var mandatory = []string{"CKA_TOKEN", "CKA_PRIVATE", "CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_SIGN"}

// least is the smallest template of a half that still protects the key; extractable is for wrapping.
func (r *run) least(public, extractable bool) []bare.Flag {
	if public {
		return []bare.Flag{{Name: "CKA_VERIFY", Kind: pkcs11.CKA_VERIFY, Value: true}}
	}
	var out []bare.Flag
	for _, f := range r.t.Private {
		if slices.Contains(mandatory, f.Name) {
			if f.Kind == pkcs11.CKA_EXTRACTABLE {
				f.Value = extractable
			}
			out = append(out, f)
		}
	}
	return out
}

// readPoint finds the public key: in CKA_EC_POINT, or in two attributes that a shipped profile names for the coordinates.
func (r *run) readPoint(p *pair) error {
	b, err := r.attribute(p.pub, pkcs11.CKA_EC_POINT)
	if err != nil {
		err = fmt.Errorf("reading CKA_EC_POINT: %w", err)
		if over(err) || !r.coordinates(p) {
			return err
		}
		return nil
	}
	form, point := pointForm(b)
	if form == "" {
		return fmt.Errorf("CKA_EC_POINT of %d bytes has no known form", len(b))
	}
	p.form = form
	p.key, err = gm.NewPublicKey(point)
	return err
}

// coordinates tries the pairs of attributes that are known; only a point on the curve counts.
func (r *run) coordinates(p *pair) bool {
	for _, known := range r.profiles() {
		x, y := uint(known.SM2.ECPoint.X), uint(known.SM2.ECPoint.Y)
		if x == 0 || y == 0 {
			continue
		}
		xs, noX := r.attribute(p.pub, x)
		ys, noY := r.attribute(p.pub, y)
		if noX != nil || noY != nil || len(xs) == 0 || len(xs) > 32 || len(ys) == 0 || len(ys) > 32 {
			continue
		}
		point := make([]byte, 65)
		point[0] = 4
		copy(point[33-len(xs):33], xs)
		copy(point[65-len(ys):], ys)
		if key, err := gm.NewPublicKey(point); err == nil {
			p.form, p.key, p.x, p.y = firmware.PointXY, key, x, y
			return true
		}
	}
	return false
}

// pointForm tells the forms of a point apart, by exact length and prefix.
func pointForm(b []byte) (form string, point []byte) {
	switch {
	case len(b) == 67 && bytes.HasPrefix(b, []byte{4, 65, 4}):
		return firmware.PointDEROctet, b[2:]
	case len(b) == 65 && b[0] == 4:
		return firmware.PointRaw65, b
	case len(b) == 64:
		return firmware.PointRaw64, append([]byte{4}, b...)
	case len(b) == 68 && bytes.HasPrefix(b, []byte{3, 66, 0, 4}):
		return firmware.PointDERBit, b[3:]
	}
	return "", nil
}

// describeSM2 reads back what was made.
func (r *run) describeSM2(tried []Template) error {
	p := r.sm2
	kind, err := r.attribute(p.priv, pkcs11.CKA_KEY_TYPE)
	switch {
	case over(err):
		return err
	case err == nil && len(kind) == 8:
		p.keyType = uint(binary.NativeEndian.Uint64(kind))
	case !p.typed:
		r.f.note("the key type of SM2 keys cannot be read (%v), and the template named none", err)
	}
	_, onPrivate := r.attribute(p.priv, pkcs11.CKA_EC_POINT)
	params, noParams := r.attribute(p.priv, pkcs11.CKA_EC_PARAMS)
	if noParams == nil && !bytes.Equal(params, oidSM2) {
		r.f.note("CKA_EC_PARAMS of an SM2 key reads %x, not the curve's OID", params)
	}
	r.f.SM2 = &SM2{KeyType: firmware.Number(p.keyType), Mechanism: firmware.Number(p.number), ECParams: p.oid, Typed: p.typed, Bits: firmware.Number(p.bits), Templates: tried,
		Point: Point{Form: p.form, X: firmware.Number(p.x), Y: firmware.Number(p.y), OnPrivate: onPrivate == nil, Params: noParams == nil}, Sign: []Sign{}}
	return r.privateNumber()
}

// privateNumber tries to read what must never be readable, in the standard's attribute and in those that shipped profiles name.
func (r *run) privateNumber() error {
	m := r.f.SM2
	all := []uint{pkcs11.CKA_VALUE}
	for _, p := range r.profiles() {
		if n := uint(p.SM2.ValueAttribute); n != 0 && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	for _, n := range all {
		v, err := r.attribute(r.sm2.priv, n)
		clear(v)
		switch {
		case over(err):
			return err
		case err == nil && len(v) > 0:
			m.Exposed = append(m.Exposed, firmware.Number(n).String())
			r.f.note("THE TOKEN GIVES THE PRIVATE NUMBER AWAY: attribute 0x%08x of a sensitive key can be read", n)
		case n != pkcs11.CKA_VALUE && errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)):
			m.Value = firmware.Number(n) // it knows the attribute, and keeps it
		}
	}
	return nil
}
