package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// A key outside lives in a token that its owner holds, a USB key: the appliance knows its public half, the evidence of its birth as the officer's
// machine read it, and its own signature over a request that names what it is for. It never signs here.

var (
	// ErrOutside: the key is in its owner's token; only there can it sign or be destroyed.
	ErrOutside = errors.New("the key is in its owner's token, not in the appliance's")
	// ErrEnrolment: evidence or request of a key outside do not show what they must.
	ErrEnrolment = errors.New("the key is not enrolled: its evidence or its request does not hold")
)

// Outside says that a key lives in a token of its owner's.
const Outside Custody = "outside"

var (
	outsideKeys = &store.Collection{Name: "key-outside", Codec: 1}
	// outsidePoints keeps one key from being enrolled twice under two identifiers: SM3 of the point to the identifier.
	outsidePoints = &store.Collection{Name: "key-outside-point", Codec: 1}
)

// abroad is what the record of a key outside has beside its birth.
type abroad struct {
	Request []byte      `json:"request"` // PKCS#10, DER: the key's own word for what it is for
	Witness audit.Actor `json:"witness"` // the officer whose machine read the birth
}

// Enrolment offers a key outside.
type Enrolment struct {
	Birth   hsm.Birth
	Request []byte // PKCS#10, DER, signed by the key, for the common name Ref
	Ref     string // what it is for
	Witness audit.Actor
}

// Enrol checks a key outside and drafts its record for the caller's commit. The birth is a statement of the machine that the key was made at, with the
// officer as its witness; that the key exists and is held is proven by two signatures, over the birth's challenge and over a request that names Ref.
// ErrEnrolment, ErrKeyExists.
func (k *Keystore) Enrol(ctx context.Context, e Enrolment) (*Key, Draft, error) {
	if err := k.checkEnrolment(e); err != nil {
		return nil, Draft{}, fmt.Errorf("enrolling key %s of token %.64q: %w", e.Birth.ID, e.Birth.Token.Serial, err)
	}
	r := record{ID: e.Birth.ID, Purpose: PurposeSeal, Label: e.Birth.Label, Algorithm: hsm.SM2, Ref: e.Ref, Birth: e.Birth, Abroad: &abroad{e.Request, e.Witness}}
	point := gm.SM3(r.Birth.Public)
	if err := k.unknown(ctx, r.ID, point); err != nil {
		return nil, Draft{}, err
	}
	key, err := k.key(r)
	if err != nil {
		return nil, Draft{}, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, Draft{}, fmt.Errorf("encoding key record: %w", err)
	}
	body, err := audit.Event{Kind: audit.KindKeyBirth, Actor: e.Witness, Subject: r.ID.String(), Detail: r}.Body()
	if err != nil {
		return nil, Draft{}, err
	}
	return key, Draft{
		Put:    []store.Put{{Collection: outsideKeys, Key: r.ID[:], Value: value}, {Collection: outsidePoints, Key: point[:], Value: r.ID[:]}},
		Expect: []store.Expect{{Collection: outsideKeys, Key: r.ID[:]}, {Collection: outsidePoints, Key: point[:]}},
		Audit:  [][]byte{body}, serial: r.Birth.Token.Serial,
	}, nil
}

// unknown refuses a key that is on record already, in whatever custody.
func (k *Keystore) unknown(ctx context.Context, id ID, point [32]byte) error {
	_, _, err := k.record(ctx, id)
	if err == nil {
		return fmt.Errorf("key %s is on record already: %w", id, ErrKeyExists)
	}
	if !errors.Is(err, ErrKeyNotFound) {
		return err
	}
	_, err = k.st.Get(ctx, outsidePoints, point[:])
	if err == nil {
		return fmt.Errorf("key %s is on record under another identifier: %w", id, ErrKeyExists)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("looking for key %s: %w", id, err)
	}
	return nil
}

func (k *Keystore) checkEnrolment(e Enrolment) error {
	b := e.Birth
	wrong := func(what string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(what, args...), ErrEnrolment)
	}
	switch {
	case b.ID == ID{} || b.Algorithm != hsm.SM2 || len(b.Label) > 64:
		return wrong("want an SM2 key with an identifier and a label of at most 64 bytes")
	case b.Token.Serial == "" || len(b.Token.Serial) > 64:
		return wrong("the birth names no token")
	case k.homes.at(b.Token.Serial) != nil:
		return wrong("that token is the appliance's own")
	case !strings.HasPrefix(b.ValueRead, "refused: "):
		return wrong("reading the private number was not refused: %.64q", b.ValueRead)
	}
	for name, want := range map[string]string{"CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false"} {
		if got := attribute(b, name); got != want {
			return wrong("%s is %.16q", name, got)
		}
	}
	if got := attribute(b, "CKA_LOCAL"); got == "false" {
		return wrong("the key was brought into the token")
	}
	if admit := k.homes[0].Admit; admit != nil {
		if err := admit(b.Token); err != nil {
			return wrong("%v", err)
		}
	}
	return e.possession()
}

func attribute(b hsm.Birth, name string) string {
	for _, a := range b.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// possession checks what only the key's holder can have made: the answer to the birth's challenge, and the request.
func (e Enrolment) possession() error {
	pub, err := gm.NewPublicKey(e.Birth.Public)
	if err != nil {
		return fmt.Errorf("public half: %w: %w", ErrEnrolment, err)
	}
	if len(e.Birth.Challenge) != 32 || len(e.Birth.Response) != 64 {
		return fmt.Errorf("the birth has no challenge and response: %w", ErrEnrolment)
	}
	if err := pub.VerifyE([32]byte(e.Birth.Challenge), [64]byte(e.Birth.Response)); err != nil {
		return fmt.Errorf("response to the birth's challenge: %w: %w", ErrEnrolment, err)
	}
	r, err := gm.ParseCertificateRequest(e.Request)
	if err != nil {
		return fmt.Errorf("certificate request: %w: %w", ErrEnrolment, err)
	}
	of, err := gm.RequestKey(r)
	if err != nil || !of.Equal(pub) {
		return fmt.Errorf("the certificate request is of another key: %w", ErrEnrolment)
	}
	if r.Subject.CommonName != e.Ref {
		return fmt.Errorf("the certificate request is for %.128q, not for %q: %w", r.Subject.CommonName, e.Ref, ErrEnrolment)
	}
	return nil
}

// Outside reports whether the key is in its owner's token.
func (k *Key) Outside() bool { return k.abroad }

// Accept takes a signature that the owner's token made over a message laid out here: strict DER that verifies against the registered key (law 4).
// ErrSignatureWrong; ErrKeyUse for a key that is not outside, which signs here and nowhere else.
func (k *Key) Accept(message, der []byte) error {
	if !k.abroad || k.sm2 == nil {
		return fmt.Errorf("key %s is not outside: %w", k.id, ErrKeyUse)
	}
	if err := k.sm2.Verify(message, der); err != nil {
		return fmt.Errorf("signature by key %s of token %s: %w: %w", k.id, k.home.Serial, ErrSignatureWrong, err)
	}
	return nil
}
