package conformance_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/conformance"
	"sealkeeper/softhsm-test/simulator"
)

// TestEveryProfile: every profile that ships and can be used passes the one body on a module that behaves as it says, evidence simulated; what
// it does not declare is refused by name, and one that is not complete does not open at all.
func TestEveryProfile(t *testing.T) {
	set := profiles(t)
	for _, id := range set.IDs() {
		p, err := set.Lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Abstract || p.Evidence.Level == firmware.Simulated: // TestSM2Module, TestPlainSoftHSM2
		case len(p.Missing) > 0:
			t.Run(id, func(t *testing.T) { incomplete(t, p) })
		default:
			t.Run(id, func(t *testing.T) { simulated(t, p) })
		}
	}
}

func incomplete(t *testing.T, p *firmware.Profile) {
	k := softhsmtest.New(t)
	cfg := config(t, k)
	cfg.Profile = p
	m, err := hsm.Open(t.Context(), cfg)
	if !errors.Is(err, hsm.ErrConfig) || !errors.Is(err, firmware.ErrIncomplete) {
		t.Errorf("opened: %v, %v", m, err)
	}
}

func simulated(t *testing.T, p *firmware.Profile) {
	m := opened(t, p)
	info, err := m.Info(t.Context())
	if err != nil || info.Evidence != hsm.Simulated {
		t.Errorf("evidence %q of a simulated device, %v", info.Evidence, err)
	}
	declared := offers(p)
	conformance.Run(t, m, declared...)
	t.Run("undeclared", func(t *testing.T) {
		for _, a := range conformance.All {
			if slices.Contains(declared, a) {
				continue
			}
			var id hsm.ObjectID
			rand.Read(id[:])
			if _, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "undeclared:" + id.String(), Algorithm: a}); !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("%s: %v", a, err)
			}
		}
	})
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for name, s := range p.SM2.Sign {
		if s.Input != "" && name != p.SM2.Use {
			t.Run("by "+name, func(t *testing.T) { otherMechanism(t, p, name) })
		}
	}
}

// offers lists the algorithms of a profile.
func offers(p *firmware.Profile) []hsm.Algorithm {
	var all []hsm.Algorithm
	for a, there := range map[hsm.Algorithm]bool{hsm.SM2: p.SM2 != nil, hsm.ECDSAP256: p.ECDSA != nil, hsm.RSA2048: p.RSA != nil, hsm.AES256: p.AES != nil} {
		if there {
			all = append(all, a)
		}
	}
	return all
}

// otherMechanism signs by a mechanism that the profile declares and the appliance does not prefer.
func otherMechanism(t *testing.T, p *firmware.Profile, name string) {
	q, err := p.Using(name)
	if err != nil {
		t.Fatal(err)
	}
	m := opened(t, q)
	signMany(t, m, 40)
}

func opened(t *testing.T, p *firmware.Profile, more ...string) *hsm.Module {
	t.Helper()
	cfg := config(t, simulator.New(t, p, more...))
	cfg.Profile = p
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// signMany signs enough for short numbers to come up, and for the fault of der-lenient, which the simulator has every 32nd time.
func signMany(t *testing.T, m *hsm.Module, n int) {
	t.Helper()
	var id hsm.ObjectID
	rand.Read(id[:])
	b, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "device:" + id.String(), Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	key, err := gm.NewPublicKey(b.Public)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		z := key.Z()
		var text [64]byte
		rand.Read(text[:])
		r := hsm.SignRequest{Key: id, Algorithm: hsm.SM2, Message: append(z[:], text[:]...)}
		r.Digest = gm.SM3(r.Message)
		sig, err := m.Sign(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := conformance.Verify(b, r.Digest, sig); err != nil {
			t.Fatalf("signature %x: %v", sig, err)
		}
	}
}

// variant is a usable profile whose SM2 is changed.
func variant(t *testing.T, change func(p *firmware.Profile, s *firmware.SM2)) *firmware.Profile {
	t.Helper()
	base, err := profiles(t).Profile("tass")
	if err != nil {
		t.Fatal(err)
	}
	p, s := *base, *base.SM2
	p.SM2, s.Sign = &s, map[string]firmware.SignMechanism{"e": s.Sign["e"]}
	change(&p, &s)
	return &p
}

// TestEveryForm: every input, signature form and form of the public key that a profile may name is driven, those too that no profile here needs yet.
func TestEveryForm(t *testing.T) {
	sign := func(input, output string) func(*firmware.Profile, *firmware.SM2) {
		return func(_ *firmware.Profile, s *firmware.SM2) {
			s.Sign["e"] = firmware.SignMechanism{Mechanism: 0x80008000, Input: input, Output: output}
		}
	}
	point := func(form string) func(*firmware.Profile, *firmware.SM2) {
		return func(_ *firmware.Profile, s *firmware.SM2) { s.ECPoint.Forms = []string{form} }
	}
	for name, change := range map[string]func(*firmware.Profile, *firmware.SM2){
		"e32 raw64": sign(firmware.InputE32, firmware.OutputRaw64), "hash-noz der": sign(firmware.InputNoZ, firmware.OutputDER),
		"hash-z-default der-lenient": sign(firmware.InputZDefault, firmware.OutputBroken), "hash-z-param raw128": sign(firmware.InputZParam, firmware.OutputRaw128),
		"raw65": point(firmware.PointRaw65), "raw64": point(firmware.PointRaw64), "der-bit": point(firmware.PointDERBit),
		"silent attributes": func(p *firmware.Profile, _ *firmware.SM2) {
			p.Attributes = firmware.Attributes{Omit: []string{"CKA_COPYABLE", "CKA_MODIFIABLE"}, UnreadableOK: []string{"CKA_LOCAL", "CKA_KEY_GEN_MECHANISM"}}
		},
		"another user type":        func(p *firmware.Profile, _ *firmware.SM2) { p.Login.UserType = 0x80000001 },
		"no key type in templates": func(_ *firmware.Profile, s *firmware.SM2) { s.KeyGen.PublicKeyType = "omit" },
		"small frames": func(p *firmware.Profile, s *firmware.SM2) {
			p.Limits.MaxFrame = 50
			sign(firmware.InputNoZ, firmware.OutputRaw64)(p, s)
		},
	} {
		t.Run(name, func(t *testing.T) { signMany(t, opened(t, variant(t, change)), 40) })
	}
}

// TestDeviceIsNotAsItsProfileSays: a profile that is wrong about a device makes no key and no signature.
func TestDeviceIsNotAsItsProfileSays(t *testing.T) {
	plain := func(*firmware.Profile, *firmware.SM2) {}
	var none firmware.SignMechanism
	does := func(input, output string) firmware.SignMechanism {
		return firmware.SignMechanism{Mechanism: 0x80008000, Input: input, Output: output}
	}
	for name, c := range map[string]struct {
		change func(*firmware.Profile, *firmware.SM2)
		is     firmware.SignMechanism // how the device really signs; none = as the profile says
		line   string                 // what else it really is
	}{
		"it is":                       {plain, none, ""}, // the control
		"hashes what is said to be e": {plain, does(firmware.InputNoZ, firmware.OutputDER), ""},
		"raw where DER is said":       {plain, does(firmware.InputE32, firmware.OutputRaw64), ""},
		"Z where none is said": {func(_ *firmware.Profile, s *firmware.SM2) { s.Sign["e"] = does(firmware.InputNoZ, firmware.OutputDER) },
			does(firmware.InputZDefault, firmware.OutputDER), ""},
		"lacks the mechanism":         {plain, firmware.SignMechanism{Mechanism: 0x80009999, Input: firmware.InputE32, Output: firmware.OutputDER}, ""},
		"the point in another form":   {plain, none, "ecpoint raw64"},
		"silent about sensitivity":    {plain, none, "unreadable 0x103"},
		"refuses what a template has": {plain, none, "refused 0x171"},
	} {
		t.Run(name, func(t *testing.T) {
			p := variant(t, c.change)
			m := reality(t, p, c.is, c.line)
			var id hsm.ObjectID
			rand.Read(id[:])
			_, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "device:" + id.String(), Algorithm: hsm.SM2})
			if c.is == none && c.line == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, hsm.ErrBirth) && !errors.Is(err, hsm.ErrRefused) && !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("the birth: %v", err)
			}
			if all, err := m.Objects(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("%d objects stayed behind, %v", len(all), err)
			}
		})
	}
}

// reality opens a device that is not as its profile says.
func reality(t *testing.T, p *firmware.Profile, is firmware.SignMechanism, line string) *hsm.Module {
	t.Helper()
	made, sm2, said := *p, *p.SM2, *p
	made.SM2, made.Match.Mechanisms, said.Match.Mechanisms = &sm2, nil, nil
	if is.Mechanism != 0 {
		sm2.Sign = map[string]firmware.SignMechanism{sm2.Use: is}
	}
	var more []string
	if line != "" {
		more = []string{line}
	}
	cfg := config(t, simulator.New(t, &made, more...))
	cfg.Profile = &said
	m, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
