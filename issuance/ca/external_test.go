package ca

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
)

func TestSigningRequest(t *testing.T) {
	key := newKey(t)
	r := testRequest(t)
	r.PublicKey = key.Public()
	ctx := context.Background()
	der, err := SigningRequest(ctx, key, DefaultSubjectTemplate(), r)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := gm.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if got := csr.Subject.String(); got != "SERIALNUMBER=41030000000001,CN="+testName64+",O="+testName64+",C=CN" {
		t.Errorf("subject %s", got)
	}
	found := false
	for _, e := range csr.Extensions {
		found = found || e.Id.Equal(oidHolder)
	}
	if !found {
		t.Error("no holder extension requested")
	}
	tampered := append([]byte(nil), der...)
	tampered[len(tampered)-1] ^= 1
	if _, err := gm.ParseCertificateRequest(tampered); !errors.Is(err, gm.ErrCertificate) {
		t.Errorf("tampered request: %v", err)
	}
	file := filepath.Join(t.TempDir(), "csr.der")
	if err := os.WriteFile(file, der, 0o600); err != nil {
		t.Fatal(err)
	}
	// openssl req -verify exits 0 whatever it found; its text is the verdict.
	if out, _ := openssl(t, "req", "-inform", "DER", "-in", file, "-noout", "-verify", "-vfyopt", distID); !strings.Contains(out, "verify OK") {
		t.Errorf("openssl req -verify: %s", out)
	}
	other := newKey(t)
	if _, err := SigningRequest(ctx, other, DefaultSubjectTemplate(), r); !errors.Is(err, ErrPublicKey) {
		t.Errorf("another key: %v", err)
	}
	r.Name = ""
	if _, err := SigningRequest(ctx, key, DefaultSubjectTemplate(), r); !errors.Is(err, ErrSubject) {
		t.Errorf("no name: %v", err)
	}
	key.spoil = func(der []byte) []byte { der[len(der)-1] ^= 1; return der }
	r.Name = testName64
	if der, err := SigningRequest(ctx, key, DefaultSubjectTemplate(), r); err == nil || der != nil {
		t.Error("a spoilt request was released")
	}
}

func TestAccept(t *testing.T) {
	outside, foreign := newHierarchy(t, nil), newHierarchy(t, nil)
	ctx := context.Background()
	r := testRequest(t)
	seal, chain, err := outside.Issue(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	x := External{Anchors: []*gm.Certificate{mustParse(t, outside.rootDER)}}
	at := testNow.Add(time.Hour)
	got, err := x.Accept(r, seal, chain[:1], at)
	if err != nil || len(got) != 2 || string(got[0]) != string(outside.issuingDER) || string(got[1]) != string(outside.rootDER) {
		t.Fatalf("sound answer: chain of %d, %v", len(got), err)
	}
	withTimes := r
	withTimes.NotBefore, withTimes.NotAfter = testNow.Add(time.Minute), testNow.AddDate(2, 0, 0)
	if _, err := x.Accept(withTimes, seal, chain, at); err != nil {
		t.Errorf("covered validity: %v", err)
	}
	longer := r
	longer.NotAfter = testNow.AddDate(3, 0, 1)
	earlier := r
	earlier.NotBefore = testNow.Add(-time.Hour)
	flipped := append([]byte(nil), seal...)
	flipped[len(flipped)-1] ^= 1
	own := r
	own.PublicKey = outside.issuingKey.Public()
	for name, c := range map[string]struct {
		r      Request
		der    []byte
		others [][]byte
		x      External
		at     time.Time
		also   error
	}{
		"another key":         {testRequest(t), seal, chain, x, at, nil},
		"an authority":        {own, outside.issuingDER, chain, x, at, nil},
		"not DER":             {r, []byte("x"), chain, x, at, nil},
		"flipped bit":         {r, flipped, chain, x, at, nil},
		"no intermediate":     {r, seal, nil, x, at, nil},
		"broken intermediate": {r, seal, [][]byte{{0x30}}, x, at, nil},
		"foreign anchor":      {r, seal, chain, External{Anchors: []*gm.Certificate{mustParse(t, foreign.rootDER)}}, at, nil},
		"no anchor":           {r, seal, chain, External{}, at, nil},
		"expired":             {r, seal, chain, x, testNow.AddDate(4, 0, 0), nil},
		"ends too early":      {longer, seal, chain, x, at, ErrValidity},
		"begins too late":     {earlier, seal, chain, x, at, ErrValidity},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.x.Accept(c.r, c.der, c.others, c.at)
			if !errors.Is(err, ErrAnswer) || c.also != nil && !errors.Is(err, c.also) || got != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}
