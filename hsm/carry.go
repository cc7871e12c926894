package hsm

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

// Transport names the kind of RSA key pair by which a wrapping key comes into a token: its private half unwraps and does nothing else, since a key
// that could decrypt as well would give the wrapping key away. It is made by Generate and destroyed when the ceremony is over.
const Transport Algorithm = "rsa-2048-transport"

// ExportRequest asks for a portable key, wrapped to another token's transport key.
type ExportRequest struct {
	Key       ObjectID
	Algorithm Algorithm // KEK or AES256
	To        []byte    // DER SubjectPublicKeyInfo
}

// ImportRequest asks a token to take over a key that was exported to its transport key. The copy is never extractable.
type ImportRequest struct {
	GenerateRequest // of the copy: identifier, label and algorithm are those of the original
	Transport       ObjectID
	Blob            []byte
}

// transports are the standard's mechanisms behind a profile's wrap.kek. In OAEP the hash resists nothing that SHA-1 is weak at.
var transports = map[string]func() *pkcs11.Mechanism{
	"rsa-oaep-sha1": func() *pkcs11.Mechanism {
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil))
	},
	"rsa-oaep-sha256": func() *pkcs11.Mechanism {
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil))
	},
	"rsa-pkcs": func() *pkcs11.Mechanism { return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil) },
}

// transportFlags is the private half of a transport key.
var transportFlags = []flag{
	{"CKA_TOKEN", pkcs11.CKA_TOKEN, true, must},
	{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, true, must},
	{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, true, must},
	{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, false, must},
	{"CKA_UNWRAP", pkcs11.CKA_UNWRAP, true, must},
	{"CKA_DECRYPT", pkcs11.CKA_DECRYPT, false, must},
	{"CKA_SIGN", pkcs11.CKA_SIGN, false, must},
	{"CKA_DERIVE", pkcs11.CKA_DERIVE, false, unless},
	{"CKA_SIGN_RECOVER", pkcs11.CKA_SIGN_RECOVER, false, unless},
	{"CKA_ALWAYS_SENSITIVE", pkcs11.CKA_ALWAYS_SENSITIVE, true, readOut},
	{"CKA_NEVER_EXTRACTABLE", pkcs11.CKA_NEVER_EXTRACTABLE, true, readOut},
	{"CKA_LOCAL", pkcs11.CKA_LOCAL, true, readOut},
}

// transportPublicFlags is the public half: as it leaves the token it needs to do nothing in it.
var transportPublicFlags = []flag{
	{"CKA_TOKEN", pkcs11.CKA_TOKEN, true, must},
	{"CKA_WRAP", pkcs11.CKA_WRAP, true, unless},
	{"CKA_ENCRYPT", pkcs11.CKA_ENCRYPT, false, unless},
	{"CKA_VERIFY", pkcs11.CKA_VERIFY, false, unless},
	{"CKA_VERIFY_RECOVER", pkcs11.CKA_VERIFY_RECOVER, false, unless},
}

// checkTransport offers transport keys where the profile names a mechanism, with evidence, and the token lists it both ways.
func (e *epoch) checkTransport(m *Module) {
	p := m.cfg.Profile
	make, known := transports[p.Wrap["kek"]]
	level := p.Evidence.Level
	if s, ok := p.Sources["wrap.kek"]; ok {
		level = s.Level
	}
	if !known || p.RSA == nil || level != firmware.Simulated && level != firmware.Verified {
		return
	}
	number := make().Mechanism
	if !e.offers(need{number, pkcs11.CKF_WRAP}) || !e.offers(need{number, pkcs11.CKF_UNWRAP}) ||
		!e.offers(need{pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKF_GENERATE_KEY_PAIR}) {
		return
	}
	s := &suite{name: Transport, class: pkcs11.CKO_PRIVATE_KEY, keyType: pkcs11.CKK_RSA, typed: true, keyGen: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		secrets: []uint{pkcs11.CKA_PRIVATE_EXPONENT}, working: transportFlags, other: transportPublicFlags}
	s.public = s.publicRSA
	e.suites[Transport] = s
}

// portable is the suite of a key that is born to be carried: extractable by wrapping until it is locked, never readable.
func (s *suite) portable() (*suite, error) {
	if s.name != KEK && s.name != AES256 {
		return nil, fmt.Errorf("a portable %s key: %w", s.name, ErrUnsupported)
	}
	p := *s
	p.working = changed(s.flags(), map[string]flag{
		"CKA_EXTRACTABLE":       {value: true, report: must},
		"CKA_MODIFIABLE":        {value: true, report: only},
		"CKA_NEVER_EXTRACTABLE": {value: false, report: told},
	})
	return &p, nil
}

// carried is the suite of a key that was portable once, or came from elsewhere: what it was before is told, not judged. SoftHSM2 takes no object
// that is neither modifiable nor copyable from an unwrapping; whether it can be copied does not make it readable.
func (s *suite) carried() *suite {
	c := *s
	c.working = changed(s.flags(), map[string]flag{
		"CKA_ALWAYS_SENSITIVE":  {report: told},
		"CKA_NEVER_EXTRACTABLE": {report: told},
		"CKA_LOCAL":             {report: told},
		"CKA_MODIFIABLE":        {report: told},
		"CKA_COPYABLE":          {report: told},
	})
	return &c
}

func changed(flags []flag, to map[string]flag) []flag {
	all := append([]flag{}, flags...)
	for i, f := range all {
		if c, ok := to[f.name]; ok {
			all[i].value, all[i].report = c.value, c.report
		}
	}
	return all
}

// Export wraps a portable key to a transport key of another token: ErrRefused when the key is not portable, ErrUnsupported when profile and token
// have no mechanism for it.
func (m *Module) Export(ctx context.Context, r ExportRequest) ([]byte, error) {
	to, err := x509.ParsePKIXPublicKey(r.To)
	public, ok := to.(*rsa.PublicKey)
	if err != nil || !ok || public.N.BitLen() != rsaBits {
		return nil, fmt.Errorf("exporting key %s: the transport key is not RSA of %d bits: %w", r.Key, rsaBits, ErrRefused)
	}
	var blob []byte
	err = m.call(ctx, fmt.Sprintf("exporting key %s", r.Key), func(s *session) error {
		a := s.e.suites[r.Algorithm]
		if a == nil || s.e.suites[Transport] == nil {
			return ErrUnsupported
		}
		if _, err := a.portable(); err != nil {
			return err
		}
		h, err := s.key(r.Key, a)
		if err != nil {
			return err
		}
		blob, err = s.wrapTo(public, h)
		return err
	})
	return blob, err
}

func (s *session) wrapTo(public *rsa.PublicKey, key pkcs11.ObjectHandle) (blob []byte, err error) {
	to, err := s.e.raw.CreateObject(s.h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, public.N.Bytes()),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(public.E)).Bytes()),
	})
	if err != nil {
		return nil, fmt.Errorf("taking the transport key: %w", err)
	}
	defer func() { err = s.destroy(err, to) }()
	if blob, err = s.e.raw.WrapKey(s.h, s.transport(), to, key); err != nil {
		return nil, fmt.Errorf("wrapping: %w", err)
	}
	return blob, nil
}

func (s *session) transport() []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{transports[s.m.cfg.Profile.Wrap["kek"]]()}
}

// Import takes over a key that Export wrapped, as a token object that is never extractable, and returns what the token says of it. On any
// mismatch the copy is destroyed. ErrExists when identifier or label are taken.
func (m *Module) Import(ctx context.Context, r ImportRequest) (Birth, error) {
	if err := r.check(); err != nil {
		return Birth{}, err
	}
	var b Birth
	err := m.call(ctx, fmt.Sprintf("importing %s key %s", r.Algorithm, r.ID), func(s *session) (err error) {
		defer m.writeAlone()()
		b, err = s.receive(r)
		return err
	})
	if err != nil {
		return Birth{}, err
	}
	return b, nil
}

func (s *session) receive(r ImportRequest) (Birth, error) {
	a := s.e.suites[r.Algorithm]
	if a == nil || s.e.suites[Transport] == nil {
		return Birth{}, ErrUnsupported
	}
	if _, err := a.portable(); err != nil {
		return Birth{}, err
	}
	if err := s.vacant(r.GenerateRequest); err != nil {
		return Birth{}, err
	}
	by, err := s.key(r.Transport, s.e.suites[Transport])
	if err != nil {
		return Birth{}, err
	}
	a = a.carried()
	h, err := s.e.raw.UnwrapKey(s.h, s.transport(), by, r.Blob, s.m.template(a, r.GenerateRequest, a.class, a.flags()))
	s.final = err == nil || mayHaveHappened(err)
	if err != nil {
		return Birth{}, fmt.Errorf("unwrapping: %w", err)
	}
	b, err := s.examine(a, r.GenerateRequest, h)
	if err != nil {
		return Birth{}, s.undo(err, h)
	}
	s.e.keys.note(r.ID, r.Label)
	s.e.keys.put(r.ID, found{handle: h, checked: a.name})
	return b, nil
}

// Lock ends a portable key's time: it is never extractable again. It returns what the token says of it afterwards, and may be repeated.
func (m *Module) Lock(ctx context.Context, r GenerateRequest) (Birth, error) {
	var b Birth
	err := m.call(ctx, fmt.Sprintf("locking %s key %s", r.Algorithm, r.ID), func(s *session) error {
		defer m.writeAlone()()
		a := s.e.suites[r.Algorithm]
		if a == nil {
			return ErrUnsupported
		}
		if _, err := a.portable(); err != nil {
			return err
		}
		h, err := s.key(r.ID, a)
		if err != nil {
			return err
		}
		v, err := s.attribute(h, pkcs11.CKA_EXTRACTABLE)
		if err == nil && len(v) == 1 && v[0] != 0 {
			err = s.e.raw.SetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false)})
		}
		if err != nil {
			return fmt.Errorf("setting CKA_EXTRACTABLE: %w", err)
		}
		b, err = s.examine(a.carried(), r, h)
		return err
	})
	if err != nil {
		return Birth{}, err
	}
	return b, nil
}

// examine is the evidence of a key that was not born here, or not as it is now.
func (s *session) examine(a *suite, r GenerateRequest, h pkcs11.ObjectHandle) (Birth, error) {
	b := Birth{ID: r.ID, Label: r.Label, Algorithm: r.Algorithm, Time: time.Now().UTC()}
	var err error
	if b.Attributes, err = s.readBack(a.flags(), h); err != nil {
		return b, err
	}
	for i, f := range a.flags() {
		if err := s.m.judgeFlag(f, b.Attributes[i].Value); err != nil {
			return b, err
		}
	}
	id, err := s.attribute(h, pkcs11.CKA_ID)
	if err != nil {
		return b, fmt.Errorf("reading CKA_ID: %w", err)
	}
	if !bytes.Equal(id, r.ID[:]) {
		return b, fmt.Errorf("CKA_ID reads back as %x, want %s: %w", id, r.ID, ErrBirth)
	}
	b.Attributes = append(b.Attributes, s.describeKey(h)...)
	if err := s.checkKind(h, a); err != nil {
		return b, err
	}
	if b.ValueRead, err = s.tryValue(a, h); err != nil {
		return b, err
	}
	if a.name == KEK {
		err = s.tryKEK(h)
	} else {
		err = s.tryCipher(h)
	}
	if err != nil {
		return b, err
	}
	t, err := s.e.raw.GetTokenInfo(s.e.slot)
	if err != nil {
		return b, fmt.Errorf("asking token: %w", err)
	}
	b.Token = s.m.describe(s.e, t)
	return b, nil
}
