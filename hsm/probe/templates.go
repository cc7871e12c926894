package probe

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm/internal/bare"
)

// templates asks for a pair as the appliance would, and when that is refused finds the attributes that stand in the way, one by one. Then it reads
// every attribute back.
func (r *run) templates(ctx context.Context) error {
	r.omit = map[string]bool{}
	if r.sm2 == nil {
		return nil // the standard algorithms are measured with whole templates
	}
	shape := r.sm2.shape
	pub, priv, err := r.generate(shape, asked(r.t.Public), asked(r.t.Private))
	if over(err) {
		return err
	}
	if err != nil {
		r.f.note("the appliance's own template is refused as a whole: %v", err)
		if pub, priv, err = r.withoutRefused(ctx, shape); err != nil {
			return err
		}
	}
	defer r.drop(pub, priv)
	if err := r.readBack("public", pub, r.t.Public); err != nil {
		return err
	}
	return r.readBack("private", priv, append(slices.Clone(r.t.Private), generator))
}

// generator is judged at a key's birth, too, though it is no flag: what matters here is whether it can be read.
var generator = bare.Flag{Name: "CKA_KEY_GEN_MECHANISM", Kind: pkcs11.CKA_KEY_GEN_MECHANISM}

func asked(flags []bare.Flag) []bare.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f bare.Flag) bool { return !f.Asked })
}

// withoutRefused adds one attribute after another to the least template and remembers which are refused.
func (r *run) withoutRefused(ctx context.Context, s shape) (pub, priv pkcs11.ObjectHandle, err error) {
	public, private := r.least(true, false), r.least(false, false)
	for _, half := range []struct {
		name string
		all  []bare.Flag
		has  *[]bare.Flag
	}{{"public", asked(r.t.Public), &public}, {"private", asked(r.t.Private), &private}} {
		for _, f := range half.all {
			if ctx.Err() != nil {
				return 0, 0, ctx.Err()
			}
			if f.Kind == pkcs11.CKA_TOKEN || slices.ContainsFunc(*half.has, func(h bare.Flag) bool { return h.Kind == f.Kind }) {
				continue
			}
			*half.has = append(*half.has, f)
			pub, priv, err := r.generate(s, public, private)
			if over(err) {
				return 0, 0, err
			}
			r.drop(pub, priv)
			if err != nil {
				*half.has = (*half.has)[:len(*half.has)-1]
				r.omit[f.Name] = true
				r.f.Attributes = append(r.f.Attributes, Attribute{Object: half.name, Name: f.Name, Refused: err.Error(), Read: "not asked"})
			}
		}
	}
	return r.generate(s, public, private)
}

// readBack reads the attributes that the appliance judges. What the token does not report is unknown.
func (r *run) readBack(object string, h pkcs11.ObjectHandle, flags []bare.Flag) error {
	for _, f := range flags {
		v, err := r.attribute(h, f.Kind)
		if over(err) {
			return err
		}
		a := Attribute{Object: object, Name: f.Name, Read: "unknown"}
		switch {
		case err == nil && len(v) == 1:
			a.Read = fmt.Sprint(v[0] != 0)
		case err == nil:
			a.Read = "readable"
		}
		if f.Must {
			a.Expected = fmt.Sprint(f.Value)
		}
		if f.Kind == pkcs11.CKA_TOKEN && !r.onToken {
			a.Expected = "false" // of a session object
		}
		if i := slices.IndexFunc(r.f.Attributes, func(b Attribute) bool { return b.Object == object && b.Name == f.Name }); i >= 0 {
			a.Refused = r.f.Attributes[i].Refused
			r.f.Attributes[i] = a
			continue
		}
		r.f.Attributes = append(r.f.Attributes, a)
	}
	return nil
}
