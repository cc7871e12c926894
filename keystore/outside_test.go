package keystore_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// abroad is custody with one token, and a second token that is its owner's.
type abroad struct {
	*keystore.Keystore
	st  *store.Bolt
	usb keystore.Token
}

func newAbroad(t *testing.T) *abroad {
	t.Helper()
	p := newPair(t)
	st := openStore(t, filepath.Join(t.TempDir(), "own.db"))
	p.members[0].Admit = func(i hsm.TokenInfo) error {
		if i.Evidence == hsm.Guessed {
			return errors.New("a guess")
		}
		return nil
	}
	k, err := keystore.OpenSeveral(t.Context(), p.members[:1], st, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return &abroad{k, st, p.members[1].Token}
}

// born makes a key in the owner's token with a request for a purpose.
func (a *abroad) born(t *testing.T, ref string) keystore.Enrolment {
	t.Helper()
	var id hsm.ObjectID
	rand.Read(id[:])
	b, err := a.usb.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "seal-" + id.String()[:8], Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	return keystore.Enrolment{Birth: b, Request: a.request(t, b, ref), Ref: ref, Witness: audit.Actor{Role: "operator-system", ID: "示例"}}
}

func (a *abroad) request(t *testing.T, b hsm.Birth, ref string) []byte {
	t.Helper()
	public, err := gm.NewPublicKey(b.Public)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := gm.CreateCertificateRequest(&gm.CertificateRequest{Subject: pkix.Name{CommonName: ref}, SignatureAlgorithm: gm.SM2WithSM3},
		gm.NewSigner(public, func(m []byte) ([]byte, error) { return a.sign(t, b, m), nil }))
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func (a *abroad) sign(t *testing.T, b hsm.Birth, message []byte) []byte {
	t.Helper()
	public, err := gm.NewPublicKey(b.Public)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.usb.Sign(t.Context(), hsm.SignRequest{Key: b.ID, Algorithm: hsm.SM2, Digest: public.E(message)})
	if err != nil {
		t.Fatal(err)
	}
	der, err := gm.EncodeSignature(raw)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *abroad) enrol(t *testing.T, e keystore.Enrolment) (*keystore.Key, error) {
	t.Helper()
	key, d, err := a.Enrol(t.Context(), e)
	if err == nil {
		_, err = a.st.Commit(t.Context(), store.Mutation{Put: d.Put, Expect: d.Expect, Audit: d.Audit})
	}
	return key, err
}

// TestOutsideKey: a key in its owner's token is on record with its birth, takes signatures that verify and no others, signs nothing here, and a start
// neither misses it nor looks for it.
func TestOutsideKey(t *testing.T) {
	a := newAbroad(t)
	e := a.born(t, "order/1/01")
	if _, err := a.enrol(t, e); err != nil {
		t.Fatal(err)
	}
	key := mustKey(t, a.Keystore, e.Birth.ID)
	message := []byte("示例")
	der := a.sign(t, e.Birth, message)
	if !key.Outside() || key.Custody() != keystore.Outside || key.Token() != e.Birth.Token.Serial || key.Accept(message, der) != nil {
		t.Errorf("key %+v", key)
	}
	for name, err := range map[string]error{
		"altered":  key.Accept(message, append(bytes.Clone(der[:len(der)-1]), der[len(der)-1]^1)),
		"of other": key.Accept([]byte("x"), der),
		"longer":   key.Accept(message, append(bytes.Clone(der), 0)),
	} {
		if !errors.Is(err, keystore.ErrSignatureWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := key.Sign(t.Context(), message); !errors.Is(err, keystore.ErrOutside) {
		t.Errorf("signing here: %v", err)
	}
	if err := a.Destroy(t.Context(), key.ID(), system, security, "演示"); !errors.Is(err, keystore.ErrOutside) {
		t.Errorf("destroying here: %v", err)
	}
	if err := a.MoveToWrapped(t.Context(), key.ID()); !errors.Is(err, keystore.ErrOutside) {
		t.Errorf("wrapping here: %v", err)
	}
	own := create(t, a.Keystore, keystore.PurposeSeal, hsm.SM2)
	if err := own.Accept(message, der); !errors.Is(err, keystore.ErrKeyUse) {
		t.Errorf("a signature from outside for a key here: %v", err)
	}
	r, err := a.Reconcile(t.Context(), audit.Appliance("start"))
	if err != nil || slices.Contains(r.Missing, key.ID()) || len(r.Away) > 0 {
		t.Errorf("a start says %+v, %v", r, err)
	}
}

// TestEnrolmentRefused: no record for a key whose evidence or whose own word does not hold.
func TestEnrolmentRefused(t *testing.T) {
	a := newAbroad(t)
	good, other := a.born(t, "order/1/01"), a.born(t, "order/1/01")
	attribute := func(name, value string) func(*keystore.Enrolment) {
		return func(e *keystore.Enrolment) {
			e.Birth.Attributes = slices.Clone(e.Birth.Attributes)
			for i := range e.Birth.Attributes {
				if e.Birth.Attributes[i].Name == name {
					e.Birth.Attributes[i].Value = value
				}
			}
		}
	}
	for name, change := range map[string]func(*keystore.Enrolment){
		"evidence not admitted": func(e *keystore.Enrolment) { e.Birth.Token.Evidence = hsm.Guessed },
		"no identifier":         func(e *keystore.Enrolment) { e.Birth.ID = keystore.ID{} },
		"another algorithm":     func(e *keystore.Enrolment) { e.Birth.Algorithm = hsm.ECDSAP256 },
		"no token":              func(e *keystore.Enrolment) { e.Birth.Token.Serial = "" },
		"the appliance's token": func(e *keystore.Enrolment) {
			e.Birth.Token.Serial = create(t, a.Keystore, keystore.PurposeSeal, hsm.SM2).Token()
		},
		"value was read":        func(e *keystore.Enrolment) { e.Birth.ValueRead = "32 bytes" },
		"extractable":           attribute("CKA_EXTRACTABLE", "true"),
		"sensitive is unknown":  attribute("CKA_SENSITIVE", "unknown"),
		"brought in":            attribute("CKA_LOCAL", "false"),
		"no challenge":          func(e *keystore.Enrolment) { e.Birth.Challenge = nil },
		"another challenge":     func(e *keystore.Enrolment) { e.Birth.Challenge = bytes.Repeat([]byte{1}, 32) },
		"not a point":           func(e *keystore.Enrolment) { e.Birth.Public = []byte{4} },
		"another key's point":   func(e *keystore.Enrolment) { e.Birth.Public = other.Birth.Public },
		"another key's request": func(e *keystore.Enrolment) { e.Request = other.Request },
		"request for other":     func(e *keystore.Enrolment) { e.Ref = "order/2/01" },
		"damaged request": func(e *keystore.Enrolment) {
			e.Request = append(bytes.Clone(e.Request[:len(e.Request)-1]), e.Request[len(e.Request)-1]^1)
		},
		"not a request":          func(e *keystore.Enrolment) { e.Request = []byte("x") },
		"nothing but an ID, SM2": func(e *keystore.Enrolment) { e.Birth = hsm.Birth{ID: e.Birth.ID, Algorithm: hsm.SM2} },
	} {
		e := good
		change(&e)
		if _, err := a.enrol(t, e); !errors.Is(err, keystore.ErrEnrolment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.enrol(t, good); err != nil {
		t.Fatal(err)
	}
	again := good
	rand.Read(again.Birth.ID[:])
	for name, e := range map[string]keystore.Enrolment{"the same": good, "under another identifier": again} {
		if _, err := a.enrol(t, e); !errors.Is(err, keystore.ErrKeyExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
