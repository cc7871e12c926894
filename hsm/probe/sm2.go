package probe

import (
	"bytes"
	"context"
	"encoding/binary"
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
}

// pair is an SM2 key pair of the probe.
type pair struct {
	shape
	pub, priv pkcs11.ObjectHandle
	key       *gm.PublicKey
	form      string
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
		tried = append(tried, Template{firmware.Number(s.number), firmware.Number(s.keyType), s.oid, outcome})
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

// shapes orders what is tried: the fitting profile's own, then explicit before implicit.
func (r *run) shapes(numbers []uint) []shape {
	var first, rest []shape
	types := []uint{}
	for _, p := range r.profiles() {
		if t := uint(p.SM2.KeyType); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	for _, n := range numbers {
		for _, oid := range []bool{true, false} {
			for _, t := range types {
				rest = append(rest, shape{n, t, true, oid})
			}
			rest = append(rest, shape{n, 0, false, oid})
		}
	}
	if p := r.f.shipped; p != nil && p.SM2 != nil {
		s := shape{uint(p.SM2.KeyGen.Mechanism), uint(p.SM2.KeyType), p.SM2.KeyGen.PublicKeyType == "required", p.SM2.KeyGen.ECParams == "oid"}
		if !s.typed {
			s.keyType = 0
		}
		if i := slices.Index(rest, s); i >= 0 {
			first, rest = append(first, s), slices.Delete(rest, i, i+1)
		}
	}
	return append(first, rest...)
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

// readPoint finds the public key, wherever the token keeps it.
func (r *run) readPoint(p *pair) error {
	b, err := r.attribute(p.pub, pkcs11.CKA_EC_POINT)
	if err != nil {
		return fmt.Errorf("reading CKA_EC_POINT: %w", err)
	}
	form, point := pointForm(b)
	if form == "" {
		return fmt.Errorf("CKA_EC_POINT of %d bytes has no known form", len(b))
	}
	p.form = form
	p.key, err = gm.NewPublicKey(point)
	return err
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
	r.f.SM2 = &SM2{KeyType: firmware.Number(p.keyType), Mechanism: firmware.Number(p.number), ECParams: p.oid, Typed: p.typed, Templates: tried,
		Point: Point{Form: p.form, OnPrivate: onPrivate == nil, Params: noParams == nil}, Sign: []Sign{}}
	return nil
}
