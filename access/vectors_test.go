package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/big"
	"os"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
)

var update = flag.Bool("update", false, "renew testdata")

const vectorFile = "testdata/approval-vectors.json"

// vectors is the published file: everything a phone's author needs to check an implementation.
type vectors struct {
	Note string `json:"note"`
	Keys []struct {
		Alg     string `json:"alg"`
		Private string `json:"private"` // 32-byte scalar, for tests alone
		Public  string `json:"public"`  // uncompressed point
		KeyID   string `json:"key_id"`
	} `json:"keys"`
	Approvals []struct {
		Name      string                `json:"name"`
		Canonical string                `json:"canonical"`
		SHA256    string                `json:"canonical_sha256"`
		Signed    access.SignedApproval `json:"signed"`
		Result    string                `json:"result"` // ok or altered
	} `json:"approvals"`
	Delegations []struct {
		Name      string                  `json:"name"`
		Canonical string                  `json:"canonical"`
		Signed    access.SignedDelegation `json:"signed"`
		Result    string                  `json:"result"`
	} `json:"delegations"`
}

func loadVectors(t *testing.T) vectors {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestApprovalVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	v := loadVectors(t)
	points := map[string][]byte{}
	for _, k := range v.Keys {
		points[k.Alg] = unhex(t, k.Public)
		if got := hex.EncodeToString(deviceOf(t, k.Alg, k.Private).point); got != k.Public {
			t.Errorf("%s public key %s, want %s", k.Alg, got, k.Public)
		}
		if got := access.DeviceKeyID(points[k.Alg]); got != k.KeyID {
			t.Errorf("%s key id %s, want %s", k.Alg, got, k.KeyID)
		}
	}
	for _, c := range v.Approvals {
		t.Run(c.Name, func(t *testing.T) {
			a, err := c.Signed.Approval()
			if err != nil {
				t.Fatal(err)
			}
			msg, err := a.Canonical()
			if err != nil || string(msg) != c.Canonical {
				t.Fatalf("canonical form %q (%v), want %q", msg, err, c.Canonical)
			}
			if d := sha256.Sum256(msg); hex.EncodeToString(d[:]) != c.SHA256 {
				t.Errorf("SHA-256 of the canonical form is %x, want %s", d, c.SHA256)
			}
			wantResult(t, access.VerifyDevice(c.Signed.Alg, points[c.Signed.Alg], msg, c.Signed.Signature), c.Result)
		})
	}
	for _, c := range v.Delegations {
		t.Run(c.Name, func(t *testing.T) {
			d, err := c.Signed.Delegation()
			if err != nil {
				t.Fatal(err)
			}
			msg, err := d.Canonical()
			if err != nil || string(msg) != c.Canonical {
				t.Fatalf("canonical form %q (%v), want %q", msg, err, c.Canonical)
			}
			wantResult(t, access.VerifyDevice(c.Signed.Alg, points[c.Signed.Alg], msg, c.Signed.Signature), c.Result)
		})
	}
}

func wantResult(t *testing.T, err error, want string) {
	t.Helper()
	if want == "ok" && err != nil || want == "altered" && !errors.Is(err, access.ErrApprovalAltered) {
		t.Errorf("verified as %v, want %s", err, want)
	}
}

// TestCanonicalBytes spells the example of docs/approval.md line by line.
func TestCanonicalBytes(t *testing.T) {
	a := sampleApproval()
	got, err := a.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	want := "sealkeeper-approval-v1\n" + // domain: no other signature of the device can be taken for an approval
		"request:demo-0001\n" + // Idempotency-Key
		"seal:41031100000001\n" + // esID, 14 digits
		"document:66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0\n" + // SM3("abc")
		"placement:0000000000000000000000000000000000000000000000000000000000000000\n" + // no stamps: kind digest
		"purpose:示例用途\n" + // UTF-8 as it is
		"client:1111111111111111111111111111111111111111111111111111111111111111\n" + // SHA-256 of the client's key
		"count:1\n" +
		"expires:2030-01-02T03:04:05Z\n" + // UTC, whole seconds
		"nonce:000102030405060708090a0b0c0d0e0f\n"
	if string(got) != want {
		t.Errorf("canonical form\n%s\nwant\n%s", got, want)
	}
	doc, err := os.ReadFile("../docs/approval.md")
	if err != nil {
		t.Fatal(err)
	}
	if !contains(doc, got) {
		t.Error("docs/approval.md does not show these bytes")
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*access.Approval)
	}{
		{"empty request", func(a *access.Approval) { a.Request = "" }},
		{"long request", func(a *access.Approval) { a.Request = string(make([]byte, 129)) }},
		{"line feed in purpose", func(a *access.Approval) { a.Purpose = "a\nclient:2" }},
		{"carriage return", func(a *access.Approval) { a.Purpose = "a\rb" }},
		{"line separator", func(a *access.Approval) { a.Purpose = "a\u2028b" }},
		{"outer blank", func(a *access.Approval) { a.Purpose = " a" }},
		{"broken UTF-8", func(a *access.Approval) { a.Purpose = "\xff" }},
		{"long purpose", func(a *access.Approval) {
			a.Purpose = "一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五"
		}},
		{"empty seal", func(a *access.Approval) { a.Seal = "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := sampleApproval()
			c.change(&a)
			if _, err := a.Canonical(); !errors.Is(err, access.ErrApprovalForm) {
				t.Errorf("got %v, want ErrApprovalForm", err)
			}
		})
	}
}

// TestCanonicalIsInjective: changing any one field changes the bytes.
func TestCanonicalIsInjective(t *testing.T) {
	base, err := sampleApproval().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{string(base): "base"}
	for name, change := range map[string]func(*access.Approval){
		"request": func(a *access.Approval) { a.Request = "x" }, "seal": func(a *access.Approval) { a.Seal = "41031100000002" },
		"document": func(a *access.Approval) { a.Document[31]++ }, "placement": func(a *access.Approval) { a.Placement[0]++ },
		"purpose": func(a *access.Approval) { a.Purpose = "x" }, "client": func(a *access.Approval) { a.Client = "2" + a.Client[1:] },
		"count": func(a *access.Approval) { a.Count = 2 }, "expires": func(a *access.Approval) { a.Expires = a.Expires.Add(time.Second) },
		"nonce": func(a *access.Approval) { a.Nonce[15]++ },
	} {
		a := sampleApproval()
		change(&a)
		b, err := a.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		if other, dup := seen[string(b)]; dup {
			t.Errorf("%s and %s have the same bytes", name, other)
		}
		seen[string(b)] = name
	}
}

func TestWireFormRefuses(t *testing.T) {
	dev := deviceOf(t, access.AlgP256, p256Scalar)
	for _, c := range []struct {
		name   string
		change func(*access.SignedApproval)
	}{
		{"capital hexadecimal", func(s *access.SignedApproval) { s.Document = "AA" + s.Document[2:] }},
		{"short nonce", func(s *access.SignedApproval) { s.Nonce = s.Nonce[2:] }},
		{"placement not hexadecimal", func(s *access.SignedApproval) { s.Placement = "z" + s.Placement[1:] }},
		{"client not hexadecimal", func(s *access.SignedApproval) { s.Client = "bank" }},
		{"fraction of a second", func(s *access.SignedApproval) { s.Expires = s.Expires.Add(time.Millisecond) }},
		{"no expiry", func(s *access.SignedApproval) { s.Expires = time.Time{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dev.approve(t, sampleApproval())
			c.change(&s)
			if _, err := s.Approval(); !errors.Is(err, access.ErrApprovalForm) {
				t.Errorf("got %v, want ErrApprovalForm", err)
			}
		})
	}
}

func FuzzSignedApproval(f *testing.F) {
	f.Add([]byte(`{"request":"r","seal":"41031100000001","document":"00","expires":"2030-01-02T03:04:05Z"}`))
	if b, err := os.ReadFile(vectorFile); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s access.SignedApproval
		if json.Unmarshal(b, &s) != nil {
			return
		}
		a, err := s.Approval()
		if err != nil {
			return
		}
		one, err := a.Canonical()
		if err != nil {
			return
		}
		back, err := a.Sign(s.Alg, s.Device, func([]byte) ([]byte, error) { return s.Signature, nil })
		if err != nil {
			t.Fatal(err)
		}
		again, err := back.Approval()
		if err != nil {
			t.Fatal(err)
		}
		if two, err := again.Canonical(); err != nil || string(two) != string(one) {
			t.Fatalf("%q became %q (%v)", one, two, err)
		}
	})
}

// The device keys of the published vectors: scalars that say openly what they are.
const (
	p256Scalar = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
	sm2Scalar  = "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40"
)

// device is a phone in software.
type device struct {
	alg   string
	point []byte
	sign  func(message []byte) ([]byte, error) // DER
}

func deviceOf(t testing.TB, alg, scalar string) device {
	t.Helper()
	d := unhex(t, scalar)
	if alg == access.AlgSM2 {
		k, err := softkey.FromScalar(d)
		if err != nil {
			t.Fatal(err)
		}
		return device{alg, k.Public().Point(), k.Sign}
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return device{alg, point, func(m []byte) ([]byte, error) {
		h := sha256.Sum256(m)
		return ecdsa.SignASN1(nil, k, h[:]) // without a source of randomness: deterministic, RFC 6979
	}}
}

func (d device) approve(t testing.TB, a access.Approval) access.SignedApproval {
	t.Helper()
	s, err := a.Sign(d.alg, access.DeviceKeyID(d.point), d.sign)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d device) delegate(t testing.TB, a access.Delegation) access.SignedDelegation {
	t.Helper()
	s, err := a.Sign(d.alg, d.sign)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sampleApproval() access.Approval {
	return access.Approval{
		Request: "demo-0001", Seal: "41031100000001", Document: gm.SM3([]byte("abc")), Purpose: "示例用途",
		Client: "1111111111111111111111111111111111111111111111111111111111111111", Count: 1,
		Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Nonce: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	}
}

func sampleDelegation() access.Delegation {
	a := sampleApproval()
	return access.Delegation{
		ID: "delegation-0001", Seal: a.Seal, Client: a.Client, Purposes: []string{"另一用途", "示例用途"}, Kinds: []string{"digest", "ofd"},
		NotBefore: time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC), Expires: a.Expires, Count: 1000, Nonce: a.Nonce,
	}
}

// rawOf turns DER into r‖s.
func rawOf(t testing.TB, der []byte) []byte {
	t.Helper()
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		t.Fatal(err)
	}
	return append(v.R.FillBytes(make([]byte, 32)), v.S.FillBytes(make([]byte, 32))...)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
