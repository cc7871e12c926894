package hsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

// What a token is given follows from the profile, and never from a message that is not e's.
func TestGiven(t *testing.T) {
	z, m := bytes.Repeat([]byte{7}, 32), []byte("message")
	whole := append(bytes.Clone(z), m...)
	e := gm.SM3(whole)
	for name, c := range map[string]struct {
		input   string
		message []byte
		want    []byte
		param   []byte
	}{
		"e":                       {firmware.InputE32, nil, e[:], nil},
		"e, whatever the message": {firmware.InputE32, m, e[:], nil},
		"SM3 without Z":           {firmware.InputNoZ, whole, whole, nil},
		"SM3 with Z":              {firmware.InputZDefault, whole, m, nil},
		"SM3 with an identity":    {firmware.InputZParam, whole, m, []byte(gm.UserID)},
		"no message":              {firmware.InputNoZ, nil, nil, nil},
		"part of Z":               {firmware.InputZDefault, z[:31], nil, nil},
		"another message":         {firmware.InputZDefault, append(bytes.Clone(z), "massage"...), nil, nil},
		"a message above 1 MiB":   {firmware.InputNoZ, make([]byte, maxMessage+1), nil, nil},
		"an input not driven":     {"hash-sha1", whole, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := &suite{name: SM2, use: 0x80008100, input: c.input}
			got, mech, err := a.given(SignRequest{Digest: e, Message: c.message})
			if !bytes.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Fatalf("got %x, %v", got, err)
			}
			if err == nil && (mech.Mechanism != a.use || !bytes.Equal(mech.Parameter, c.param)) {
				t.Errorf("mechanism %+v", mech)
			}
			if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("unnamed error %v", err)
			}
		})
	}
	a := &suite{name: ECDSAP256, use: pkcs11.CKM_ECDSA}
	if got, _, err := a.given(SignRequest{Digest: e}); err != nil || !bytes.Equal(got, e[:]) {
		t.Errorf("ECDSA: %x, %v", got, err)
	}
}

// TestPublishedVectors: signatures of one firmware, published by others with the key and the message, hold what the profile of that firmware says of
// two of its mechanisms, the encoder's fault included.
func TestPublishedVectors(t *testing.T) {
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile(publishedProfile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gm.NewPublicKey(unhex(t, publishedKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range published {
		t.Run(v.name, func(t *testing.T) {
			m := p.SM2.Sign[v.mechanism]
			raw, err := normalise(unhex(t, v.sig), m.Output)
			if err != nil {
				t.Fatal(err)
			}
			with, without := key.E([]byte(publishedMessage)), gm.SM3([]byte(publishedMessage))
			if m.Input == firmware.InputNoZ {
				with, without = without, with
			}
			if err := key.VerifyE(with, [64]byte(raw)); err != nil {
				t.Errorf("what the profile says of %s is not so: %v", v.mechanism, err)
			}
			if key.VerifyE(without, [64]byte(raw)) == nil {
				t.Error("it verifies with and without Z")
			}
			if _, err := gm.DecodeSignature(unhex(t, v.sig)); (err == nil) != v.strict {
				t.Errorf("read as strict DER: %v", err)
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
