package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/licence"
	"sealkeeper/seal"
	"sealkeeper/signer/verify/signeddata"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// granted is an enterprise whose seals the department may use for every kind of document.
func granted(t *testing.T, s *scene) *enterprise {
	t.Helper()
	e := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) {
		g.Seals, g.Kinds = []string{e.seals["01"], e.seals["05"]}, []string{"cms", "digest", "ofd", "pdf"}
	}); err != nil {
		t.Fatal(err)
	}
	return e
}

// asked has the owner approve a request and the department make it.
func (s *scene) asked(t *testing.T, e *enterprise, r client.SignatureRequest, document []byte) answer {
	t.Helper()
	r.Purpose = purpose
	a := s.approved(t, asking{client.NewKey(), r, document}, e.phone)
	got, err := a.sign(t, s.as(t, "department"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.sign(t, s.as(t, "department"))
	if err != nil || !bytes.Equal(again.bytes, got.bytes) || again.receipt.Index != got.receipt.Index {
		t.Errorf("kind %s, profile %q: asked again it is something else (%v)", r.Kind, r.Profile, err)
	}
	return got
}

// equipped gives a seal its document key, once and again under the same Idempotency-Key.
func (s *scene) equipped(t *testing.T, esid string) client.Seal {
	t.Helper()
	key := client.NewKey()
	first := mustOf(s.as(t, "security").EquipSeal(t.Context(), key, esid))(t)
	again := mustOf(s.as(t, "security").EquipSeal(t.Context(), key, esid))(t)
	if first.Document == nil || again.Document == nil || *first.Document != *again.Document {
		t.Fatalf("document key %+v, asked again %+v", first.Document, again.Document)
	}
	return first
}

// tool runs a program that is not ours and returns what it said.
func tool(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	return string(out), err
}

// TestTimeStampAuthority: openssl asks, curl carries, openssl accepts; and sealctl asks for either hash.
func TestTimeStampAuthority(t *testing.T) {
	s := shared(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("data"), []byte("演示数据"))
	if out, err := tool(t, "openssl", "ts", "-query", "-data", at("data"), "-sha256", "-cert", "-out", at("q.tsq")); err != nil {
		t.Fatalf("openssl ts -query: %v\n%s", err, out)
	}
	if out, err := tool(t, "curl", "-sS", "--fail", "--cacert", s.CA(), "-H", "Content-Type: application/timestamp-query", "--data-binary", "@"+at("q.tsq"), "-o", at("r.tsr"), s.Address+"/tsa"); err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	out, err := tool(t, "openssl", "ts", "-verify", "-queryfile", at("q.tsq"), "-in", at("r.tsr"), "-CAfile", s.CA())
	if err != nil || !strings.Contains(out, "Verification: OK") {
		t.Errorf("openssl ts -verify: %v\n%s", err, out)
	}
	write(t, at("other"), []byte("演示数据。"))
	if out, err := tool(t, "openssl", "ts", "-verify", "-data", at("other"), "-in", at("r.tsr"), "-CAfile", s.CA()); err == nil {
		t.Errorf("openssl ts -verify takes the stamp for another file:\n%s", out)
	}
	serials := map[string]bool{}
	for _, hash := range []string{"sm3", "sha256"} {
		if out, err := s.Command(t.Context(), "sealctl", "timestamp", "--document", at("data"), "--hash", hash, "--out", at(hash)).CombinedOutput(); err != nil {
			t.Fatalf("sealctl timestamp: %v\n%s", err, out)
		}
		token, err := signeddata.ParseToken(mustOf(os.ReadFile(at(hash)))(t))
		if err != nil || serials[token.Serial.String()] {
			t.Errorf("%s: %v, serial %s", hash, err, token.Serial)
		}
		serials[token.Serial.String()] = true
	}
	for name, c := range map[string]struct {
		kind, body, code string
		status           int
	}{
		"another media type": {"application/json", "{}", "unsupported-media-type", 415},
		"too long":           {"application/timestamp-query", strings.Repeat("x", 1<<20), "body-too-large", 413},
		"not a query":        {"application/timestamp-query", "x", "", 200},
	} {
		_, err := mustOf(client.New(client.Config{Address: s.Address, CA: s.CA()}))(t).Do(t.Context(), client.Call{Method: "POST", Path: "/tsa", ContentType: c.kind, Body: []byte(c.body)})
		if client.Code(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

// TestSignedData: SignedData with the document key is openssl's to judge, with the SM2 key the strict reader's; the document never went.
func TestSignedData(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	content := []byte("演示数据 内部文件\n")
	sm3, sha := gm.SM3(content), sha256.Sum256(content)
	r := client.SignatureRequest{Kind: "cms", Profile: "rfc", Seal: e.seals["01"], Digest: hex.EncodeToString(sha[:])}
	a := s.approved(t, asking{client.NewKey(), client.SignatureRequest{Kind: r.Kind, Profile: r.Profile, Seal: r.Seal, Digest: r.Digest, Purpose: purpose}, nil}, e.phone)
	if _, err := a.sign(t, s.as(t, "department")); client.Code(err) != "no-document-key" {
		t.Fatalf("without a document key: %v", err)
	}
	s.equipped(t, e.seals["01"])
	dir := t.TempDir()
	detached, file := filepath.Join(dir, "detached"), filepath.Join(dir, "content")
	write(t, detached, s.asked(t, e, r, nil).bytes)
	write(t, file, content)
	verify := []string{"cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-CAfile", s.CA(), "-out", filepath.Join(dir, "out")}
	if out, err := tool(t, "openssl", append(verify, "-in", detached, "-content", file)...); err != nil {
		t.Errorf("openssl cms -verify: %v\n%s", err, out)
	}
	if out, err := tool(t, "openssl", append(verify, "-in", detached, "-content", detached)...); err == nil {
		t.Errorf("openssl cms -verify takes another document:\n%s", out)
	}
	for _, r := range []client.SignatureRequest{{Profile: "gm", Digest: hex.EncodeToString(sm3[:])}, {Profile: "gm-rfc", Digest: hex.EncodeToString(sm3[:]), Timestamp: true}, {Profile: "gm", Timestamp: true}} {
		r.Kind, r.Seal = "cms", e.seals["01"]
		document := content
		if r.Digest != "" {
			document = nil
		}
		got := s.asked(t, e, r, document)
		sd := mustOf(signeddata.Parse(got.bytes))(t)
		if err := sd.Signer().VerifyContent(content); err != nil || bytes.Equal(sd.Content, content) != (document != nil) {
			t.Errorf("profile %s: content %q, %v", r.Profile, sd.Content, err)
		}
		if (sd.Signer().Timestamp != nil) != r.Timestamp || (got.receipt.Timestamp == "granted") != r.Timestamp {
			t.Errorf("profile %s: time stamp of %d bytes, receipt says %q", r.Profile, len(sd.Signer().Timestamp), got.receipt.Timestamp)
		}
	}
	if _, err := s.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), e.seals["01"], client.Suspend, client.Reason{Reason: "misuse-suspected", Evidence: "演示"}); err != nil {
		t.Fatal(err)
	}
	a = s.approved(t, asking{client.NewKey(), a.request, nil}, e.phone)
	if _, err := a.sign(t, s.as(t, "department")); client.Code(err) != "seal-inactive" {
		t.Errorf("the document key of a suspended seal: %v", err)
	}
}

// TestStampsDown: with the outside authority gone nothing is released under refuse; under sign-without the signature says what it lacks.
func TestStampsDown(t *testing.T) {
	s := own(t, stage.Config{})
	e := granted(t, s)
	s.stopAnd(t, func() {
		s.configure(t, `url: ""`, `url: "http://127.0.0.1:9/tsa"`)
		s.configure(t, `roots: ""`, "roots: "+s.CA())
	})
	d := gm.SM3([]byte("演示数据"))
	r := client.SignatureRequest{Kind: "digest", Seal: e.seals["01"], Purpose: purpose, Digest: hex.EncodeToString(d[:]), Timestamp: true}
	a := s.approved(t, asking{client.NewKey(), r, nil}, e.phone)
	_, err := a.sign(t, s.as(t, "department"))
	var p *client.Problem
	if !errors.As(err, &p) || p.Code != "time-stamp-unavailable" || p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
		t.Fatalf("under refuse: %v", err)
	}
	s.stopAnd(t, func() { s.configure(t, "when_down: refuse", "when_down: sign-without") })
	got, err := a.sign(t, s.as(t, "department"))
	if err != nil {
		t.Fatal(err)
	}
	sig := mustOf(seal.ParseSignature(got.bytes))(t)
	if sig.Timestamp != nil || got.receipt.Timestamp != "absent" {
		t.Errorf("under sign-without: time stamp of %d bytes, receipt says %q", len(sig.Timestamp), got.receipt.Timestamp)
	}
}

// TestPrepareAndEmbed: the document stays on the machine; its digest is signed, and the signature goes into it here, by sealctl.
func TestPrepareAndEmbed(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("plain.ofd"), ofdgen.Document("演示合同", 2))
	write(t, at("esl"), mustOf(s.as(t, "system").ESL(t.Context(), e.seals["01"]))(t))
	ctl := func(args ...string) []byte {
		t.Helper()
		out, err := s.As(t.Context(), "department", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("sealctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	var layout struct {
		Digest       string
		PropertyInfo string `json:"property_info"`
	}
	out := ctl("ofd", "prepare", "--document", at("plain.ofd"), "--esl", at("esl"), "--stamp", "1,100,200,40,40", "--riding", "w=40,h=40,edge=right", "--keyword", "text=申请单位,w=40,h=40", "--out", at("prepared"), "--output", "json")
	if err := json.Unmarshal(out, &layout); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := s.asked(t, e, client.SignatureRequest{Kind: "digest", Seal: e.seals["01"], Digest: layout.Digest, Property: layout.PropertyInfo}, nil)
	write(t, at("signature"), got.bytes)
	ctl("ofd", "embed", "--prepared", at("prepared"), "--signature", at("signature"), "--out", at("sealed.ofd"))
	report := verified(t, s, at("sealed.ofd"), 0)
	if report.Verdict != "valid" || len(report.Signatures) != 1 {
		t.Errorf("report %+v", report)
	}
	other := s.asked(t, e, client.SignatureRequest{Kind: "digest", Seal: e.seals["01"], Digest: layout.Digest}, nil) // without the property
	write(t, at("other"), other.bytes)
	for name, c := range map[string]struct{ prepared, signature, says string }{
		"another document":  {"sealed.ofd", "signature", "not a package prepared"},
		"another signature": {"prepared", "other", "something else"},
	} {
		out, err := s.As(t.Context(), "department", "ofd", "embed", "--prepared", at(c.prepared), "--signature", at(c.signature), "--out", at("never")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestSignaturePage: the page of a published signature tells state then and now with a proof, without a certificate; no other page exists.
func TestSignaturePage(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	got := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["01"], Stamps: []client.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}, QR: true}, ofdgen.Document("演示合同", 1))
	id, known := strings.CutPrefix(got.receipt.Page, "https://seal.example/v/")
	if !known || len(id) != 26 {
		t.Fatalf("page %q", got.receipt.Page)
	}
	nobody := mustOf(client.New(client.Config{Address: s.Address, CA: s.CA()}))(t)
	html := mustOf(nobody.Do(t.Context(), client.Call{Method: "GET", Path: "/v/" + id}))(t)
	for _, want := range []string{"演示数据", e.Name, e.seals["01"], "存续", "有效"} {
		if !bytes.Contains(html.Body, []byte(want)) {
			t.Errorf("the page lacks %q\n%s", want, html.Body)
		}
	}
	if _, err := s.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), e.seals["01"], client.Suspend, client.Reason{Reason: "misuse-suspected", Evidence: "演示"}); err != nil {
		t.Fatal(err)
	}
	page := s.page(t, id)
	if page.SealNow != "suspended" || page.LicenceThen != "active" || page.LicenceNow != "active" {
		t.Errorf("page %+v", page)
	}
	if err := s.tell(t.Context(), e, licence.KindRevoked, 0); err != nil {
		t.Fatal(err)
	}
	page = s.page(t, id)
	if page.SealNow == "active" || page.LicenceThen != "active" || page.LicenceNow != "revoked_open" {
		t.Errorf("after the licence was revoked: page %+v", page)
	}
	proves(t, s.auditKey(t), page.Proof, got.receipt)
	var first string
	for _, bad := range []string{"aaaaaaaaaaaaaaaaaaaaaaaaaa", "x", id[:25] + "%00", "..%2f.."} {
		_, err := nobody.Do(t.Context(), client.Call{Method: "GET", Path: "/v/" + bad})
		var p *client.Problem
		if !errors.As(err, &p) || p.Status != http.StatusNotFound {
			t.Errorf("%s: %v", bad, err)
			continue
		}
		if first == "" {
			first = p.Code + p.Title + p.Detail
		}
		if bad != "..%2f.." && p.Code+p.Title+p.Detail != first { // the router knows no such path
			t.Errorf("%s is told apart: %v", bad, err)
		}
	}
}

// proves checks the proof of a page as anybody can who has the audit key: that the record of the receipt stands under the checkpoint.
func proves(t *testing.T, key *gm.PublicKey, p audit.Proof, r client.Receipt) {
	t.Helper()
	leaf := mustOf(p.Leaf.MarshalText())(t)
	if p.Index != r.Index || string(leaf) != r.Leaf {
		t.Fatalf("the proof is for record %d leaf %s, the receipt says %d %s", p.Index, leaf, r.Index, r.Leaf)
	}
	c := mustOf(audit.OpenCheckpoint([]byte(p.Checkpoint), key))(t)
	path := make([]merkle.Hash, len(p.Hashes))
	for i, h := range p.Hashes {
		path[i] = merkle.Hash(h)
	}
	under := func(index uint64) error {
		return merkle.VerifyInclusion(mustOf(c.Hasher())(t), index, p.Size, merkle.Hash(p.Leaf), path, c.Root)
	}
	if err := under(p.Index); err != nil || c.Size != p.Size {
		t.Errorf("checkpoint of %d, proof of %d: %v", c.Size, p.Size, err)
	}
	if under(p.Index-1) == nil {
		t.Error("the proof holds for another record too")
	}
}

type pageAnswer struct {
	SealNow     string      `json:"seal_now"`
	LicenceThen string      `json:"licence_then"`
	LicenceNow  string      `json:"licence_now"`
	Proof       audit.Proof `json:"proof"`
}

// page asks for the JSON of a page, as a program without a certificate would.
func (s *scene) page(t *testing.T, id string) (p pageAnswer) {
	t.Helper()
	out, err := tool(t, "curl", "-sS", "--fail", "--cacert", s.CA(), "-H", "Accept: application/json", s.Address+"/v/"+id)
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	d := json.NewDecoder(strings.NewReader(out))
	if err := d.Decode(&p); err != nil && err != io.EOF {
		t.Fatalf("%v\n%s", err, out)
	}
	return p
}
