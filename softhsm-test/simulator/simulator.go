// Package simulator makes throw-away tokens whose module behaves as a firmware profile says a device does.
//
// Its one promise: New(t, profile) gives a real token behind a real PKCS#11 module that has the profile's numbers, takes and returns what the
// profile says, shows keys as it says, and refuses the rest. The module in the folder c reads no YAML: Lines writes the profile out as a file
// of lines, which stands beside the copy of the library that it governs. The library calls itself simulated, so evidence taken through it
// reads so and production refuses it, whatever the profile rests on.
//
// A profile lists what it accepts, a device has one way: of several forms of CKA_EC_POINT the simulator has the first.
package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	softhsmtest "sealkeeper/softhsm-test"
)

// ErrLines: the profile cannot be written out for the simulator.
var ErrLines = errors.New("the simulator cannot be this device")

// New makes a throw-away token of that device and removes it when the test ends. The further lines come behind the profile's, so a test can have
// a device that is not as its profile says.
func New(t testing.TB, p *firmware.Profile, more ...string) *softhsmtest.Token {
	t.Helper()
	k := softhsmtest.New(t)
	dir, err := os.MkdirTemp(k.Dir, "simulator-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if k.Module, err = Module(t.Context(), dir, k.Module, p, more...); err != nil {
		t.Fatalf("preparing the simulator: %v", err)
	}
	return k
}

// Module puts the library, under a name that the profile matches, and its file of lines into dir. behind is the SM2 test module.
func Module(ctx context.Context, dir, behind string, p *firmware.Profile, more ...string) (string, error) {
	lines, err := Lines(p, behind)
	if err != nil {
		return "", err
	}
	library, err := softhsmtest.Simulator(ctx)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(library)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fileName(p))
	if err := os.WriteFile(path+".profile", []byte(strings.Join(append(lines, more...), "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, b, 0o700)
}

func fileName(p *firmware.Profile) string {
	for _, s := range p.Match.LibraryFile {
		return "lib" + s + "-simulated.so"
	}
	return "libsimulated-" + p.ID + ".so"
}

// Lines writes a usable profile out. softhsm-test/simulator/c/lines.c describes the lines.
func Lines(p *firmware.Profile, behind string) ([]string, error) {
	if err := p.Refusal(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLines, err)
	}
	out := []string{"sealkeeper-simulator 1", "behind " + behind}
	names, err := names(p)
	if err != nil {
		return nil, err
	}
	out = append(append(out, names...), versions(p)...)
	if p.SM2 != nil {
		out = append(out, sm2Lines(p.SM2)...)
	}
	for _, n := range standard(p) {
		out = append(out, "standard "+n.String())
	}
	for _, n := range idle(p) {
		out = append(out, "listed "+n.String())
	}
	attributes, err := attributeLines(p)
	return append(out, attributes...), err
}

const mark = " simulated"

// names are texts that the profile's rules hold for, with the mark in at least one of the library's.
func names(p *firmware.Profile) ([]string, error) {
	m := p.Match
	marked := false
	sign := func(list []string, otherwise string, room int) string {
		text := otherwise
		if len(list) > 0 {
			text = list[0]
		}
		if len(text)+len(mark) <= room {
			marked = true
			return text + mark
		}
		return text
	}
	out := []string{
		"library_manufacturer " + sign(m.LibraryManufacturer, "Sealkeeper", 32),
		"library_description " + sign(m.LibraryDescription, "Device", 32),
	}
	if !marked {
		return nil, fmt.Errorf("neither name of library %q has room to say that it is simulated: %w", p.ID, ErrLines)
	}
	return append(out, "token_manufacturer "+sign(m.TokenManufacturer, "Sealkeeper", 32), "token_model "+sign(m.TokenModel, "Sim", 16)), nil
}

func versions(p *firmware.Profile) []string {
	first := func(bounds string) string {
		low, _, _ := strings.Cut(cmp.Or(bounds, "1.0-"), "-")
		return strings.Replace(low, ".", " ", 1)
	}
	return []string{"library_version " + first(p.Match.LibraryVersion), "firmware " + first(p.Match.Firmware),
		"user_type " + cmp.Or(p.Login.UserType, 1).String(), fmt.Sprint("max_sessions ", p.Limits.MaxSessions),
		fmt.Sprint("max_frame ", p.Limits.MaxFrame)}
}

func sm2Lines(s *firmware.SM2) []string {
	out := []string{
		fmt.Sprintf("sm2_keygen %v %v %s %s", s.KeyType, s.KeyGen.Mechanism, s.KeyGen.ECParams, s.KeyGen.PublicKeyType),
		fmt.Sprintf("sm2_attributes %v %v %v %v", s.KeyGen.BitsAttribute, s.ValueAttribute, s.ECPoint.X, s.ECPoint.Y),
		"ecpoint " + s.ECPoint.Forms[0],
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sign)) {
		m := s.Sign[name]
		if m.Input == "" {
			out = append(out, "listed "+m.Mechanism.String()) // what it does is not known, so it does nothing
			continue
		}
		out = append(out, fmt.Sprintf("sm2_sign %v %s %s", m.Mechanism, m.Input, m.Output))
	}
	return out
}

// The standard's own mechanisms, as far as a section of a profile stands for them.
var (
	ecdsa    = []firmware.Number{0x1040, 0x1041}
	rsa      = []firmware.Number{0x0000, 0x0001}
	aes      = []firmware.Number{0x1080}
	gcm      = []firmware.Number{0x1087}
	wrapping = map[string][]firmware.Number{"aes-kwp": {0x210a}, "aes-kw": {0x2109}, "rsa-oaep-sha1": {0x0009}, "rsa-oaep-sha256": {0x0009}, "rsa-pkcs": {0x0001}}
)

func standard(p *firmware.Profile) []firmware.Number {
	var out []firmware.Number
	if p.ECDSA != nil {
		out = append(out, ecdsa...)
	}
	if p.RSA != nil {
		out = append(out, rsa...)
	}
	if p.AES != nil {
		out = append(out, aes...)
		if p.AES.GCM {
			out = append(out, gcm...)
		}
	}
	for _, mechanism := range p.Wrap {
		out = append(append(out, aes...), wrapping[mechanism]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// idle are mechanisms that the device lists and the appliance never uses.
func idle(p *firmware.Profile) []firmware.Number {
	var all, out []firmware.Number
	if p.SM3 != nil {
		all = append(all, p.SM3.Digest)
	}
	if p.SM4 != nil {
		all = append(all, p.SM4.KeyGen, p.SM4.ECB, p.SM4.CBC)
	}
	for _, n := range all {
		if n != 0 {
			out = append(out, n)
		}
	}
	return out
}

// attributes are the numbers of the names that a profile may deviate in.
var attributes = map[string]int{"CKA_DECRYPT": 0x105, "CKA_ENCRYPT": 0x104, "CKA_UNWRAP": 0x107, "CKA_WRAP": 0x106, "CKA_DERIVE": 0x10c,
	"CKA_SIGN_RECOVER": 0x109, "CKA_VERIFY_RECOVER": 0x10b, "CKA_VERIFY": 0x10a, "CKA_MODIFIABLE": 0x170, "CKA_COPYABLE": 0x171,
	"CKA_ALWAYS_SENSITIVE": 0x165, "CKA_NEVER_EXTRACTABLE": 0x164, "CKA_LOCAL": 0x163, "CKA_KEY_GEN_MECHANISM": 0x166, "CKA_EC_PARAMS": 0x180,
	"CKA_TOKEN": 0x001, "CKA_PRIVATE": 0x002, "CKA_SENSITIVE": 0x103, "CKA_EXTRACTABLE": 0x162, "CKA_SIGN": 0x108, "CKA_KEY_TYPE": 0x100}

func attributeLines(p *firmware.Profile) ([]string, error) {
	var out []string
	for key, names := range map[string][]string{"refused": p.Attributes.Omit, "unreadable": p.Attributes.UnreadableOK} {
		for _, name := range names {
			n, ok := attributes[name]
			if !ok {
				return nil, fmt.Errorf("attribute %s: %w", name, ErrLines)
			}
			out = append(out, fmt.Sprintf("%s 0x%x", key, n))
		}
	}
	slices.Sort(out)
	return out, nil
}
