package signer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sealkeeper/access"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/signer"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/verify/signeddata"
)

// equip gives a seal a document key under a P-256 root, whose certificate it returns.
func (w *world) equip(t testing.TB, esid string) (root []byte) {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例P-256根"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if root, err = x509.CreateCertificate(rand.Reader, template, template, ca.Public(), ca); err != nil {
		t.Fatal(err)
	}
	key, err := w.keys.Create(t.Context(), audit.Actor{Role: "appliance", ID: "test"}, keystore.Want{Purpose: keystore.PurposeDocument, Label: "document-" + esid, Algorithm: hsm.ECDSAP256})
	if err != nil {
		t.Fatal(err)
	}
	k := register.DocumentKey{Key: key.ID(), NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0), Since: now}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "示例企业"}, NotBefore: k.NotBefore, NotAfter: k.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, template, key.Standard(), ca)
	if err != nil {
		t.Fatal(err)
	}
	w.change(t, esid, func(s register.Seal, v store.Version) (register.Draft, error) {
		_, d, err := s.Equip(v, 0, k, der, [][]byte{root}, w.security.Audit())
		return d, err
	})
	return root
}

// cmsRequest asks for SignedData over content, attached or detached, under a grant of its own.
func (w *world) cmsRequest(t testing.TB, id, profile string, content []byte, attached bool) signer.Request {
	t.Helper()
	r := signer.Request{ID: id, Kind: signer.KindCMS, Profile: profile, Seal: sealName, Purpose: purpose, BodyDigest: gm.SM3([]byte("body of " + id))}
	switch {
	case attached:
		r.Document = content
	case profile == signer.ProfileRFC || profile == signer.ProfilePAdES:
		r.Digest = sha256.Sum256(content)
	default:
		r.Digest = gm.SM3(content)
	}
	r.Approval = w.approve(t, r, nil)
	return r
}

func (w *world) grantAll(t testing.TB) {
	t.Helper()
	w.grant(t, "grant-all", func(g *access.Grant) { g.Kinds = []string{"cms", "digest", "ofd", "pdf"} })
}

// TestSignCMS: SignedData of each profile, detached and attached, verifies to the reader of the judging side, is the same when it is asked for again,
// and its record says how it was made.
func TestSignCMS(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	w.equip(t, sealName)
	content := []byte("示例内容 of a letter")
	for _, profile := range []string{"", signer.ProfileGM, signer.ProfileGMRFC, signer.ProfileRFC, signer.ProfilePAdES} {
		for name, attached := range map[string]bool{"detached": false, "attached": true} {
			t.Run(profile+" "+name, func(t *testing.T) {
				r := w.cmsRequest(t, "cms-"+profile+"-"+name, profile, content, attached)
				rel := mustSign(t, w, r)
				sd := parseCMS(t, rel.Document)
				if attached != bytes.Equal(sd.Content, content) {
					t.Errorf("content %q", sd.Content)
				}
				if err := sd.Signer().VerifyContent(content); err != nil {
					t.Errorf("signature: %v", err)
				}
				if sd.Signer().VerifyContent([]byte("another")) == nil {
					t.Error("verifies over something else")
				}
				checkProfile(t, sd, profile)
				if rec := recordOf(t, w, rel); rec.Unseen == attached || rec.Kind != "cms" || rec.Profile == "" {
					t.Errorf("record %+v", rec)
				}
				w.clock.passes(3e9)
				w.restart(t)
				if again := mustSign(t, w, r); !again.Duplicate || !bytes.Equal(again.Document, rel.Document) {
					t.Error("asked again it is something else")
				}
			})
		}
	}
}

func parseCMS(t *testing.T, der []byte) *signeddata.SignedData {
	t.Helper()
	sd, err := signeddata.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if notes := sd.AllNotes(); len(notes) > 0 {
		t.Errorf("notes %v", notes)
	}
	return sd
}

func checkProfile(t *testing.T, sd *signeddata.SignedData, profile string) {
	t.Helper()
	s := sd.Signer()
	gmOIDs, standard, pades := profile == "" || profile == signer.ProfileGM, profile == signer.ProfileRFC || profile == signer.ProfilePAdES, profile == signer.ProfilePAdES
	if sd.GM != gmOIDs || (s.DigestOID == "2.16.840.1.101.3.4.2.1") != standard || s.SigningTime.IsZero() != pades || (s.CertID != nil) != pades {
		t.Errorf("GM %v, digest %s, time %s, certificate reference %v", sd.GM, s.DigestOID, s.SigningTime, s.CertID)
	}
	if pades {
		if err := s.MatchCertificate(); err != nil {
			t.Error(err)
		}
	}
}

// TestCMSWithOpenSSL: openssl accepts profile rfc with nothing of ours.
func TestCMSWithOpenSSL(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	root := w.equip(t, sealName)
	content := []byte("示例内容 of a letter")
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	anchor, file := put("root.der", root), put("content", content)
	pem := filepath.Join(dir, "root.pem")
	if out, err := exec.CommandContext(t.Context(), "openssl", "x509", "-inform", "DER", "-in", anchor, "-out", pem).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	detached := put("detached", mustSign(t, w, w.cmsRequest(t, "detached", signer.ProfileRFC, content, false)).Document)
	attached := put("attached", mustSign(t, w, w.cmsRequest(t, "attached", signer.ProfileRFC, content, true)).Document)
	for name, c := range map[string]struct {
		args []string
		ok   bool
	}{
		"detached":         {[]string{"-in", detached, "-content", file}, true},
		"attached":         {[]string{"-in", attached}, true},
		"another document": {[]string{"-in", detached, "-content", anchor}, false},
	} {
		args := append([]string{"cms", "-verify", "-inform", "DER", "-binary", "-CAfile", pem, "-out", filepath.Join(dir, "out")}, c.args...)
		if out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput(); (err == nil) != c.ok {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestLaw11AttributesAreNeverTaken: whatever a client gives, be it a ready-made SET of attributes, ends as content or as its digest; the keys sign
// attributes that were built here.
func TestLaw11AttributesAreNeverTaken(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	w.equip(t, sealName)
	forged := parseCMS(t, mustSign(t, w, w.cmsRequest(t, "first", signer.ProfileGM, []byte("one"), true)).Document).Signer().Attributes
	for _, profile := range []string{signer.ProfileGM, signer.ProfileGMRFC, signer.ProfileRFC, signer.ProfilePAdES} {
		for name, attached := range map[string]bool{"content": true, "digest": false} {
			r := w.cmsRequest(t, profile+name, profile, forged, attached)
			s := parseCMS(t, mustSign(t, w, r).Document).Signer()
			if err := s.VerifyContent(forged); err != nil {
				t.Fatalf("%s %s: %v", profile, name, err)
			}
			if !bytes.Contains(s.Attributes, s.MessageDigest) || bytes.Equal(s.Attributes, forged) {
				t.Errorf("%s %s: signed attributes are not ours", profile, name)
			}
			signedAs(t, s, forged, r.Digest)
		}
	}
}

// signedAs makes sure that the value is over neither the message nor the digest that came in.
func signedAs(t *testing.T, s *signeddata.Signer, message []byte, digest [32]byte) {
	t.Helper()
	c, err := gm.ParseCertificate(s.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	pub, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("key %T", c.PublicKey)
	}
	if pub.Curve == elliptic.P256() {
		d := sha256.Sum256(message)
		if ecdsa.VerifyASN1(pub, d[:], s.Value) || ecdsa.VerifyASN1(pub, digest[:], s.Value) {
			t.Error("signed what came in")
		}
		return
	}
	key, err := gm.CertificateKey(c)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := gm.DecodeSignature(s.Value)
	if err != nil {
		t.Fatal(err)
	}
	if key.Verify(message, s.Value) == nil || key.VerifyE(digest, raw) == nil || key.VerifyE(gm.SM3(message), raw) == nil {
		t.Error("signed what came in")
	}
}

// TestCMSRefusals: what the new kinds do not take has a name, and the companion key obeys the seal's state.
func TestCMSRefusals(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	both := w.cmsRequest(t, "both", "", []byte("x"), true)
	both.Digest[0] = 1
	placed := w.cmsRequest(t, "placed", "", []byte("x"), true)
	placed.Plan = placement.Plan{Stamps: stamps}
	neither := both
	neither.Document, neither.Digest = nil, [32]byte{}
	property := w.digestRequest(t, "property")
	property.PropertyInfo = "/Doc_0/签名.xml"
	unknown := w.cmsRequest(t, "unknown", "xades", []byte("x"), true)
	rep := w.cmsRequest(t, "rep", "", []byte("x"), false)
	rep.Seal = sealRep
	rep.Approval = w.approve(t, rep, nil)
	stamped, page := w.digestRequest(t, "stamped"), w.digestRequest(t, "page")
	stamped.Timestamp, page.Page = true, true
	for name, c := range map[string]struct {
		req  signer.Request
		want error
	}{
		"content and digest":       {both, signer.ErrRequestForm},
		"content and stamps":       {placed, signer.ErrRequestForm},
		"neither":                  {neither, signer.ErrRequestForm},
		"property not ASCII":       {property, signer.ErrRequestForm},
		"unknown profile":          {unknown, signer.ErrRequestForm},
		"no document key":          {w.cmsRequest(t, "none", signer.ProfileRFC, []byte("x"), true), signer.ErrNoDocumentKey},
		"unseen, representative's": {rep, access.ErrDigestOnly},
		"no time-stamp authority":  {stamped, signer.ErrNoAuthority},
		"no public pages":          {page, signer.ErrNoPages},
	} {
		before := w.token.Stats().Signs
		_, err := w.Sign(t.Context(), w.dept, c.req)
		if !errors.Is(err, c.want) || w.token.Stats().Signs != before {
			t.Errorf("%s: %v after %d signatures, want %v", name, err, w.token.Stats().Signs-before, c.want)
		}
	}
	w.equip(t, sealName)
	mustSign(t, w, w.cmsRequest(t, "equipped", signer.ProfileRFC, []byte("x"), true))
	late := w.cmsRequest(t, "late", signer.ProfileRFC, []byte("x"), true)
	w.suspend(t, sealName)
	_, err := w.Sign(t.Context(), w.dept, late)
	wantErr(t, err, signer.ErrSealInactive)
}

// TestPropertyInfo: what the client states stands in the signature, and in the record.
func TestPropertyInfo(t *testing.T) {
	w := newWorld(t)
	r := w.digestRequest(t, "digest-1")
	r.PropertyInfo = "/Doc_0/Signs/Sign_0/Signature.xml"
	rel := mustSign(t, w, r)
	checkSignature(t, w, rel.Signature, r.Digest, r.PropertyInfo)
	if rec := recordOf(t, w, rel); rec.PropertyInfo != r.PropertyInfo {
		t.Errorf("record %+v", rec)
	}
	if again := mustSign(t, w, r); !bytes.Equal(again.Document, rel.Document) {
		t.Error("asked again it is something else")
	}
}
