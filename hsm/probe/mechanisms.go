package probe

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

var uses = []struct {
	bit  uint
	name string
}{{pkcs11.CKF_SIGN, "sign"}, {pkcs11.CKF_VERIFY, "verify"}, {pkcs11.CKF_GENERATE, "generate"}, {pkcs11.CKF_GENERATE_KEY_PAIR, "generate-pair"}, {pkcs11.CKF_WRAP, "wrap"},
	{pkcs11.CKF_UNWRAP, "unwrap"}, {pkcs11.CKF_ENCRYPT, "encrypt"}, {pkcs11.CKF_DECRYPT, "decrypt"}, {pkcs11.CKF_DIGEST, "digest"}, {pkcs11.CKF_DERIVE, "derive"}}

// mechanisms asks what the token lists; nothing else is ever tried.
func (r *run) mechanisms(context.Context) error {
	list, err := r.c.GetMechanismList(r.t.Slot)
	if err != nil {
		return err
	}
	r.flags = map[uint]uint{}
	known := r.known()
	for _, m := range list {
		info, err := r.c.GetMechanismInfo(r.t.Slot, []*pkcs11.Mechanism{m})
		if err != nil {
			r.f.note("mechanism 0x%08x is listed, and C_GetMechanismInfo says %v: not tried", m.Mechanism, err)
			continue
		}
		r.flags[m.Mechanism] = info.Flags
		if m.Mechanism < pkcs11.CKM_VENDOR_DEFINED && known[m.Mechanism] == nil {
			continue
		}
		l := Listed{Number: firmware.Number(m.Mechanism), Uses: []string{}, Known: known[m.Mechanism]}
		for _, u := range uses {
			if info.Flags&u.bit != 0 {
				l.Uses = append(l.Uses, u.name)
			}
		}
		r.f.Mechanisms = append(r.f.Mechanisms, l)
	}
	return nil
}

func (r *run) offers(number, use uint) bool { return r.flags[number]&use != 0 }

// known is which shipped profile uses a number for SM2, and for what.
func (r *run) known() map[uint][]string {
	out := map[uint][]string{}
	for _, p := range r.profiles() {
		if n := uint(p.SM2.KeyGen.Mechanism); n != 0 {
			out[n] = append(out[n], p.ID+": sm2.keygen")
		}
		for name, m := range p.SM2.Sign {
			out[uint(m.Mechanism)] = append(out[uint(m.Mechanism)], fmt.Sprintf("%s: sm2.sign.%s", p.ID, name))
		}
	}
	for _, l := range out {
		slices.Sort(l)
	}
	return out
}

// profiles are the shipped ones with SM2, the one that fits this token first.
func (r *run) profiles() []*firmware.Profile {
	var all []*firmware.Profile
	if p := r.f.shipped; p != nil && p.SM2 != nil {
		all = append(all, p)
	}
	for _, id := range r.o.Set.IDs() {
		if p, err := r.o.Set.Lookup(id); err == nil && p.SM2 != nil && p != r.f.shipped {
			all = append(all, p)
		}
	}
	return all
}

// candidates are the listed numbers with a use that are a vendor's or a shipped profile's, in order.
func (r *run) candidates(use uint) []uint {
	var out []uint
	for _, l := range r.f.Mechanisms {
		if n := uint(l.Number); r.offers(n, use) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
