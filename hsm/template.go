package hsm

import (
	"github.com/miekg/pkcs11"
)

// fieldBits is what a vendor's attribute for the length of an SM2 key holds.
const fieldBits = 256

// flag is a yes-or-no attribute of a template together with what must read back.
type flag struct {
	name   string
	kind   uint
	value  bool
	report reading
}

// reading says how strictly an attribute is judged when it is read back.
type reading int

const (
	must    reading = iota // equal; unknown fails unless the profile expects silence (never for the five that the profile must not excuse)
	unless                 // equal or unknown: an old token may not know the attribute
	only                   // recorded, not judged
	readOut                // not in templates: the token's own word, judged like must
	told                   // not in templates: the token's own word, recorded, not judged
)

// privateFlags is the explicit template of a signing key. Defaults are not trusted: SoftHSM's leave DECRYPT, SIGN_RECOVER and UNWRAP on.
var privateFlags = []flag{
	{"CKA_TOKEN", pkcs11.CKA_TOKEN, true, must},
	{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true, must},
	{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true, must},
	{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false, must},
	{"CKA_SIGN", pkcs11.CKA_SIGN, true, must},
	{"CKA_DECRYPT", pkcs11.CKA_DECRYPT, false, unless},
	{"CKA_UNWRAP", pkcs11.CKA_UNWRAP, false, unless},
	{"CKA_DERIVE", pkcs11.CKA_DERIVE, false, unless},
	{"CKA_SIGN_RECOVER", pkcs11.CKA_SIGN_RECOVER, false, unless},
	{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false, only},
	{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false, only},
	{"CKA_ALWAYS_SENSITIVE", pkcs11.CKA_ALWAYS_SENSITIVE, true, readOut},
	{"CKA_NEVER_EXTRACTABLE", pkcs11.CKA_NEVER_EXTRACTABLE, true, readOut},
	{"CKA_LOCAL", pkcs11.CKA_LOCAL, true, readOut},
}

// secretFlags is the template of a key that encrypts data keys and does nothing else. A key that could also unwrap would turn
// a wrapped blob into clear text.
var secretFlags = []flag{
	{"CKA_TOKEN", pkcs11.CKA_TOKEN, true, must},
	{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true, must},
	{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true, must},
	{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false, must},
	{"CKA_ENCRYPT", pkcs11.CKA_ENCRYPT, true, must},
	{"CKA_DECRYPT", pkcs11.CKA_DECRYPT, true, must},
	{"CKA_WRAP", pkcs11.CKA_WRAP, false, must},
	{"CKA_UNWRAP", pkcs11.CKA_UNWRAP, false, must},
	{"CKA_SIGN", pkcs11.CKA_SIGN, false, unless},
	{"CKA_VERIFY", pkcs11.CKA_VERIFY, false, unless},
	{"CKA_DERIVE", pkcs11.CKA_DERIVE, false, unless},
	{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false, only},
	{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false, only},
	{"CKA_ALWAYS_SENSITIVE", pkcs11.CKA_ALWAYS_SENSITIVE, true, readOut},
	{"CKA_NEVER_EXTRACTABLE", pkcs11.CKA_NEVER_EXTRACTABLE, true, readOut},
	{"CKA_LOCAL", pkcs11.CKA_LOCAL, true, readOut},
}

// publicFlags is the public half of a signing pair.
var publicFlags = []flag{
	{"CKA_TOKEN", pkcs11.CKA_TOKEN, true, must},
	{"CKA_VERIFY", pkcs11.CKA_VERIFY, true, unless},
	{"CKA_ENCRYPT", pkcs11.CKA_ENCRYPT, false, unless},
	{"CKA_WRAP", pkcs11.CKA_WRAP, false, unless},
	{"CKA_VERIFY_RECOVER", pkcs11.CKA_VERIFY_RECOVER, false, unless},
}

// kekFlags is the template of a key that wraps other keys and does nothing else.
var kekFlags = []flag{
	{"CKA_TOKEN", pkcs11.CKA_TOKEN, true, must},
	{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true, must},
	{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true, must},
	{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false, must},
	{"CKA_WRAP", pkcs11.CKA_WRAP, true, must},
	{"CKA_UNWRAP", pkcs11.CKA_UNWRAP, true, must},
	{"CKA_ENCRYPT", pkcs11.CKA_ENCRYPT, false, must},
	{"CKA_DECRYPT", pkcs11.CKA_DECRYPT, false, must},
	{"CKA_SIGN", pkcs11.CKA_SIGN, false, unless},
	{"CKA_VERIFY", pkcs11.CKA_VERIFY, false, unless},
	{"CKA_DERIVE", pkcs11.CKA_DERIVE, false, unless},
	{"CKA_MODIFIABLE", pkcs11.CKA_MODIFIABLE, false, only},
	{"CKA_COPYABLE", pkcs11.CKA_COPYABLE, false, only},
	{"CKA_TRUSTED", pkcs11.CKA_TRUSTED, true, told}, // the security officer's to set
	{"CKA_ALWAYS_SENSITIVE", pkcs11.CKA_ALWAYS_SENSITIVE, true, readOut},
	{"CKA_NEVER_EXTRACTABLE", pkcs11.CKA_NEVER_EXTRACTABLE, true, readOut},
	{"CKA_LOCAL", pkcs11.CKA_LOCAL, true, readOut},
}

// bornFlags is the template of a signing key that lives for one call, to be wrapped: extractable by wrapping, never readable.
func bornFlags(trusted bool) []flag {
	all := append(sessionFlags(true, true), flag{"CKA_ALWAYS_SENSITIVE", pkcs11.CKA_ALWAYS_SENSITIVE, true, readOut},
		flag{"CKA_NEVER_EXTRACTABLE", pkcs11.CKA_NEVER_EXTRACTABLE, false, told}, flag{"CKA_LOCAL", pkcs11.CKA_LOCAL, true, readOut})
	return append(all, withTrusted(trusted))
}

// withTrusted restricts wrapping to trusted keys where the KEK is one.
func withTrusted(trusted bool) flag {
	if trusted {
		return flag{"CKA_WRAP_WITH_TRUSTED", pkcs11.CKA_WRAP_WITH_TRUSTED, true, must}
	}
	return flag{"CKA_WRAP_WITH_TRUSTED", pkcs11.CKA_WRAP_WITH_TRUSTED, false, told}
}

// sessionFlags is what every private key as a session object has: for use it signs, for its way from one KEK to another it does not.
func sessionFlags(extractable, signs bool) []flag {
	return []flag{
		{"CKA_TOKEN", pkcs11.CKA_TOKEN, false, must},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true, must},
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true, must},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, extractable, must},
		{"CKA_SIGN", pkcs11.CKA_SIGN, signs, must},
		{"CKA_DECRYPT", pkcs11.CKA_DECRYPT, false, unless},
		{"CKA_UNWRAP", pkcs11.CKA_UNWRAP, false, unless},
		{"CKA_DERIVE", pkcs11.CKA_DERIVE, false, unless},
		{"CKA_SIGN_RECOVER", pkcs11.CKA_SIGN_RECOVER, false, unless},
	}
}

// passingPublicFlags is the public half of a pair that lives for one call.
var passingPublicFlags = append([]flag{{"CKA_TOKEN", pkcs11.CKA_TOKEN, false, must}}, publicFlags[1:]...)

// flags returns what the working object of a suite is made with and judged by.
func (s *suite) flags() []flag {
	if s.working != nil {
		return s.working
	}
	if s.class == pkcs11.CKO_SECRET_KEY {
		return secretFlags
	}
	return privateFlags
}

// publicFlags returns the same of the public half.
func (s *suite) publicFlags() []flag {
	if s.other != nil {
		return s.other
	}
	return publicFlags
}

// template writes out the flags with identifier and label, leaving out what the profile says the token refuses.
func (m *Module) template(a *suite, r GenerateRequest, class uint, flags []flag) []*pkcs11.Attribute {
	t := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_ID, r.ID[:]),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, r.Label),
	}
	if a.typed && !m.cfg.Profile.Attributes.Omits("CKA_KEY_TYPE") {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, a.keyType))
	}
	if a.bits != 0 {
		t = append(t, pkcs11.NewAttribute(a.bits, uint(fieldBits)))
	}
	for _, f := range flags {
		if f.report != readOut && f.report != told && !m.cfg.Profile.Attributes.Omits(f.name) {
			t = append(t, pkcs11.NewAttribute(f.kind, f.value))
		}
	}
	return t
}

// publicTemplate adds what describes the key to be made.
func (m *Module) publicTemplate(a *suite, r GenerateRequest) []*pkcs11.Attribute {
	t := m.template(a, r, pkcs11.CKO_PUBLIC_KEY, a.publicFlags())
	switch {
	case a.keyType == pkcs11.CKK_RSA:
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, rsaBits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	case a.asked:
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, a.curve))
	}
	return t
}
