package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/pkcs11"
)

// ErrBirth: a new key did not read back as it was asked for. It was destroyed again.
var ErrBirth = errors.New("the new key is not what was asked for")

const maxLabel = 64

// Generate makes a key inside the token and returns the evidence of its birth: what the token reports of it now, one attribute at a
// time, and a challenge it signed. On any mismatch everything made is destroyed and ErrBirth returned.
func (m *Module) Generate(ctx context.Context, r GenerateRequest) (Birth, error) {
	if err := r.check(); err != nil {
		return Birth{}, err
	}
	var b Birth
	err := m.call(ctx, fmt.Sprintf("generating %s key %s", r.Algorithm, r.ID), func(s *session) error {
		defer m.writeAlone()()
		made, err := s.generate(r)
		b = made
		return err
	})
	if err != nil {
		return Birth{}, err
	}
	return b, nil
}

func (r GenerateRequest) check() error {
	if r.ID == (ObjectID{}) {
		return fmt.Errorf("generating key without identifier: %w", ErrRefused)
	}
	if r.Label == "" || len(r.Label) > maxLabel {
		return fmt.Errorf("label of %d bytes, want 1 to %d: %w", len(r.Label), maxLabel, ErrRefused)
	}
	for _, c := range []byte(r.Label) {
		if c < 0x20 || c > 0x7e {
			return fmt.Errorf("label %q is not printable ASCII: %w", r.Label, ErrRefused)
		}
	}
	return nil
}

func (s *session) generate(r GenerateRequest) (Birth, error) {
	a := s.e.suites[r.Algorithm]
	if a == nil {
		return Birth{}, fmt.Errorf("algorithm %q: %w", r.Algorithm, ErrUnsupported)
	}
	if r.Portable {
		var err error
		if a, err = a.portable(); err != nil {
			return Birth{}, err
		}
	}
	if err := s.vacant(r); err != nil {
		return Birth{}, err
	}
	if a.name == KEK { // before anything is made
		if _, _, err := s.wrappable(); err != nil {
			return Birth{}, err
		}
	}
	pub, work, err := s.make(a, r)
	s.final = err == nil || mayHaveHappened(err)
	if err != nil {
		return Birth{}, err
	}
	b, err := s.birth(a, r, pub, work)
	if err != nil {
		return Birth{}, s.undo(err, pub, work)
	}
	s.e.keys.note(r.ID, r.Label)
	s.e.keys.put(r.ID, found{handle: work, checked: a.name})
	return b, nil
}

// mayHaveHappened: the device failed in the middle, so a key may be there whose handle nobody got. The call must not be repeated.
func mayHaveHappened(err error) bool {
	switch classify(err) {
	case classGone, classUnwell, classDevice:
		return true
	}
	return false
}

// vacant refuses an identifier or label that is taken. The token is listed once per epoch, not searched per key: a search costs a
// second with 10,000 pairs in SoftHSM. A name on the list is searched for, since its object may be gone.
func (s *session) vacant(r GenerateRequest) error {
	listed, taken := s.e.keys.taken(r.ID, r.Label)
	if !listed {
		if _, err := s.list(); err != nil {
			return err
		}
		_, taken = s.e.keys.taken(r.ID, r.Label)
	}
	if !taken {
		return nil
	}
	for _, a := range []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, r.ID[:]), pkcs11.NewAttribute(pkcs11.CKA_LABEL, r.Label)} {
		if all, err := s.find(a); err != nil {
			return err
		} else if len(all) > 0 {
			return fmt.Errorf("identifier %s or label %q: %w", r.ID, r.Label, ErrExists)
		}
	}
	return nil
}

// make generates; pub is zero for a secret key.
func (s *session) make(a *suite, r GenerateRequest) (pub, work pkcs11.ObjectHandle, err error) {
	mech := []*pkcs11.Mechanism{pkcs11.NewMechanism(a.keyGen, nil)}
	t := s.m.template(a, r, a.class, a.flags())
	if a.class == pkcs11.CKO_SECRET_KEY {
		work, err = s.e.raw.GenerateKey(s.h, mech, append(t, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32)))
	} else {
		pub, work, err = s.e.raw.GenerateKeyPair(s.h, mech, s.m.publicTemplate(a, r), t)
	}
	return pub, work, err
}

// birth is the procedure after generation. Nothing in it believes the answer of the generating call.
func (s *session) birth(a *suite, r GenerateRequest, pub, work pkcs11.ObjectHandle) (Birth, error) {
	b := Birth{ID: r.ID, Label: r.Label, Algorithm: r.Algorithm, Time: time.Now().UTC()}
	var err error
	if b.Attributes, err = s.judge(a, r, work); err != nil {
		return b, err
	}
	if b.ValueRead, err = s.tryValue(a, work); err != nil {
		return b, err
	}
	switch {
	case a.name == KEK:
		err = s.tryKEK(work)
	case a.name == Transport: // it cannot sign; that it unwraps shows when something is imported by it
		err = s.readPublic(a, &b, pub)
	case a.class == pkcs11.CKO_SECRET_KEY:
		err = s.tryCipher(work)
	default:
		err = s.tryPair(a, &b, pub, work)
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

// judge reads the attributes of the working object back and holds them against the template.
func (s *session) judge(a *suite, r GenerateRequest, h pkcs11.ObjectHandle) ([]Attribute, error) {
	all, err := s.readBack(a.flags(), h)
	if err != nil {
		return all, err
	}
	for i, f := range a.flags() {
		if err := s.m.judgeFlag(f, all[i].Value); err != nil {
			return all, err
		}
	}
	for _, named := range []struct {
		name string
		kind uint
		want []byte
	}{
		{"CKA_ID", pkcs11.CKA_ID, r.ID[:]},
		{"CKA_LABEL", pkcs11.CKA_LABEL, []byte(r.Label)},
		{"CKA_KEY_GEN_MECHANISM", pkcs11.CKA_KEY_GEN_MECHANISM, pkcs11.NewAttribute(pkcs11.CKA_CLASS, a.keyGen).Value},
	} {
		v, err := s.attribute(h, named.kind)
		unknown := err != nil && classify(err) == classRefused
		if err != nil && !unknown {
			return all, fmt.Errorf("reading %s: %w", named.name, err)
		}
		if unknown && !s.m.cfg.Profile.Attributes.MayBeUnknown(named.name) || !unknown && !bytes.Equal(v, named.want) {
			return all, fmt.Errorf("%s reads back as %x, want %x: %w", named.name, v, named.want, ErrBirth)
		}
	}
	return append(all, s.describeKey(h)...), s.checkKind(h, a)
}

// judgeFlag compares one attribute as read with what it must be.
func (m *Module) judgeFlag(f flag, value string) error {
	switch {
	case f.report == only || f.report == told || value == fmt.Sprint(f.value):
		return nil
	case value == unknown && (f.report == unless || m.cfg.Profile.Attributes.MayBeUnknown(f.name)):
		return nil
	}
	return fmt.Errorf("%s reads back as %s, want %v: %w", f.name, value, f.value, ErrBirth)
}

// tryValue tries to read what must never be readable.
func (s *session) tryValue(a *suite, h pkcs11.ObjectHandle) (string, error) {
	var last string
	for _, kind := range a.secrets {
		v, err := s.attribute(h, kind)
		clear(v)
		if err == nil {
			return "", fmt.Errorf("the token gives the private value away (attribute 0x%08x): %w", kind, ErrBirth)
		}
		c, _ := code(err)
		switch c {
		case pkcs11.CKR_ATTRIBUTE_SENSITIVE, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID:
			last = "refused: " + c.Error()
		default:
			return "", fmt.Errorf("reading the private value was not refused but failed: %w: %w", ErrBirth, err)
		}
	}
	return last, nil
}

// tryPair checks the public half and has the private half sign a random challenge: a wrong pairing of objects also yields a valid point.
func (s *session) tryPair(a *suite, b *Birth, pub, work pkcs11.ObjectHandle) error {
	if err := s.readPublic(a, b, pub); err != nil {
		return err
	}
	return s.challenge(a, b, work)
}

func (s *session) readPublic(a *suite, b *Birth, pub pkcs11.ObjectHandle) error {
	all, err := s.readBack(a.publicFlags(), pub)
	if err != nil {
		return err
	}
	for i, f := range a.publicFlags() {
		if err := s.m.judgeFlag(f, all[i].Value); err != nil {
			return fmt.Errorf("public half: %w", err)
		}
	}
	if b.Public, err = a.public(s, pub); err != nil {
		return fmt.Errorf("%w: %w", ErrBirth, err)
	}
	return nil
}

// challenge has a key sign a random request of its own kind.
func (s *session) challenge(a *suite, b *Birth, work pkcs11.ObjectHandle) error {
	r, err := Trial(b.ID, a.name, b.Public)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBirth, err)
	}
	b.Challenge = r.Digest[:]
	if b.Response, err = s.signRaw(a, work, r); err != nil {
		return fmt.Errorf("signing the challenge: %w", err)
	}
	if err := a.check(b.Public, r.Digest, b.Response); err != nil {
		return fmt.Errorf("%w: %w", ErrBirth, err)
	}
	return nil
}

// tryCipher sends a random text through the token and back.
func (s *session) tryCipher(work pkcs11.ObjectHandle) error {
	var r CipherRequest
	r.Text = make([]byte, 32)
	rand.Read(r.Text)
	rand.Read(r.Nonce[:])
	sealed, err := s.cipher(work, r, true)
	if err != nil {
		return fmt.Errorf("encrypting the challenge: %w", err)
	}
	back, err := s.cipher(work, CipherRequest{Nonce: r.Nonce, Text: sealed}, false)
	if err != nil {
		return fmt.Errorf("decrypting the challenge: %w", err)
	}
	if !bytes.Equal(back, r.Text) || bytes.Contains(sealed, r.Text) {
		return fmt.Errorf("the challenge does not come back: %w", ErrBirth)
	}
	return nil
}

// undo destroys what was made. A key that cannot be destroyed stays an orphan, which reconciliation lists.
func (s *session) undo(cause error, handles ...pkcs11.ObjectHandle) error {
	for _, h := range handles {
		if h == 0 {
			continue
		}
		if err := s.e.raw.DestroyObject(s.h, h); err != nil {
			return fmt.Errorf("%w (and destroying the key again: %w)", cause, err)
		}
	}
	return cause
}

const unknown = "unknown"

// readBack reads flags one by one. What the token does not report is unknown, never good.
func (s *session) readBack(flags []flag, h pkcs11.ObjectHandle) ([]Attribute, error) {
	all := make([]Attribute, 0, len(flags)+4)
	for _, f := range flags {
		v, err := s.attribute(h, f.kind)
		text := unknown
		switch {
		case err == nil && len(v) == 1:
			text = fmt.Sprint(v[0] != 0)
		case err == nil:
			text = hex.EncodeToString(v)
		case classify(err) != classRefused:
			return nil, fmt.Errorf("reading %s: %w", f.name, err)
		}
		all = append(all, Attribute{f.name, text})
	}
	return all, nil
}

// describeKey reads what is recorded without being judged again.
func (s *session) describeKey(h pkcs11.ObjectHandle) []Attribute {
	var all []Attribute
	for _, a := range []struct {
		name string
		kind uint
	}{{"CKA_CLASS", pkcs11.CKA_CLASS}, {"CKA_KEY_TYPE", pkcs11.CKA_KEY_TYPE}, {"CKA_KEY_GEN_MECHANISM", pkcs11.CKA_KEY_GEN_MECHANISM}} {
		text := unknown
		if v, err := s.attribute(h, a.kind); err == nil {
			text = number(v)
		}
		all = append(all, Attribute{a.name, text})
	}
	return all
}

// number prints a CK_ULONG, which stands in the machine's byte order (little-endian on everything this runs on).
func number(v []byte) string {
	var n uint64
	for i := len(v) - 1; i >= 0; i-- {
		n = n<<8 | uint64(v[i])
	}
	return fmt.Sprintf("0x%08x", n)
}
