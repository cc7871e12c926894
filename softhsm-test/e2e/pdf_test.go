package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/client"
	"sealkeeper/softhsm-test/pdfgen"
)

// tools skips aloud where a program that judges is not installed.
func tools(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED, nothing was tested: %v (make deps installs it)", err)
		}
	}
}

// TestSealedPDF: two seals, a riding seam over five pages and time stamps; pdfsig and qpdf accept the result, and a changed byte is seen.
func TestSealedPDF(t *testing.T) {
	tools(t, "pdfsig", "qpdf")
	s := shared(t)
	e := granted(t, s)
	s.equipped(t, e.seals["01"])
	s.equipped(t, e.seals["05"])
	first := s.asked(t, e, client.SignatureRequest{Kind: "pdf", Profile: "pades", Seal: e.seals["01"], Stamps: []client.Stamp{{Page: 5, X: 120, Y: 200, W: 40, H: 40}},
		Riding: []client.Riding{{Edge: "right", W: 40, H: 40}}, Timestamp: true, QR: true, Reason: "演示数据", Location: "Luoyang"}, pdfgen.Document("contract", 5))
	second := s.asked(t, e, client.SignatureRequest{Kind: "pdf", Profile: "pades", Seal: e.seals["05"], Stamps: []client.Stamp{{Page: 5, X: 60, Y: 210, W: 20, H: 20}}, Timestamp: true}, first.bytes)
	dir := t.TempDir()
	sealed := filepath.Join(dir, "sealed.pdf")
	write(t, sealed, second.bytes)
	out, err := tool(t, "pdfsig", "-nocert", sealed)
	if err != nil || strings.Count(out, "Signature is Valid") != 2 || strings.Count(out, "ETSI.CAdES.detached") != 2 {
		t.Errorf("pdfsig: %v\n%s", err, out)
	}
	if out, err := tool(t, "qpdf", "--check", sealed); err != nil || strings.Contains(out, "WARNING") {
		t.Errorf("qpdf: %v\n%s", err, out)
	}
	if r := verified(t, s, sealed, 0); r.Verdict != "valid" || len(r.Signatures) != 2 || result(r.Signatures[0], "timestamp") != "pass" || result(r.Signatures[1], "coverage") != "pass" {
		t.Errorf("we say of it %+v", r)
	}
	if r, err := s.as(t, "department").Verify(t.Context(), "sealed.pdf", second.bytes); err != nil || r.Verdict != "valid" || r.Signatures[0].Conclusion.Zh == "" {
		t.Errorf("the appliance says of it %+v, %v", r, err)
	}
	bad := filepath.Join(dir, "bad.pdf")
	changed := []byte(strings.Replace(string(second.bytes), "page 1 of 5", "page 7 of 5", 1))
	write(t, bad, changed)
	if out, err := tool(t, "pdfsig", "-nocert", bad); strings.Contains(out, "Signature is Valid") || !strings.Contains(out, "Digest Mismatch") {
		t.Errorf("pdfsig on a changed file: %v\n%s", err, out)
	}
	if r := verified(t, s, bad, 3); r.Verdict != "invalid" || result(r.Signatures[1], "document-digest") != "fail" {
		t.Errorf("we say of the changed file %+v", r)
	}
	if first.receipt.Timestamp != "granted" || !strings.HasPrefix(first.receipt.Page, "https://seal.example/v/") {
		t.Errorf("receipt %+v", first.receipt)
	}
}

// TestPreparedPDF: the PDF stays on the machine, its digest is signed with the document key or the SM2 key, and the signature goes into it here.
func TestPreparedPDF(t *testing.T) {
	tools(t, "pdfsig")
	s := shared(t)
	e := granted(t, s)
	s.equipped(t, e.seals["01"])
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("plain.pdf"), pdfgen.Document("contract", 2))
	write(t, at("esl"), mustOf(s.as(t, "system").ESL(t.Context(), e.seals["01"]))(t))
	ctl := func(args ...string) ([]byte, error) { return s.As(t.Context(), "department", args...).CombinedOutput() }
	for _, profile := range []string{"pades", "gm"} {
		out, err := ctl("pdf", "prepare", "--document", at("plain.pdf"), "--esl", at("esl"), "--profile", profile, "--stamp", "2,140,200,40,40", "--out", at(profile+".prepared"), "--output", "json")
		if err != nil {
			t.Fatalf("prepare: %v\n%s", err, out)
		}
		var prepared struct{ Digest string }
		if err := json.Unmarshal(out, &prepared); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got := s.asked(t, e, client.SignatureRequest{Kind: "cms", Profile: profile, Seal: e.seals["01"], Digest: prepared.Digest, Timestamp: profile == "pades"}, nil)
		write(t, at(profile+".signature"), got.bytes)
		if out, err := ctl("pdf", "embed", "--prepared", at(profile+".prepared"), "--signature", at(profile+".signature"), "--out", at(profile+".pdf")); err != nil {
			t.Fatalf("embed: %v\n%s", err, out)
		}
	}
	if out, err := tool(t, "pdfsig", "-nocert", at("pades.pdf")); err != nil || !strings.Contains(out, "Signature is Valid") {
		t.Errorf("pdfsig: %v\n%s", err, out)
	}
	if out, err := ctl("pdf", "embed", "--prepared", at("pades.prepared"), "--signature", at("gm.signature"), "--out", at("never")); err == nil || !strings.Contains(string(out), "something else") {
		t.Errorf("another signature: %v\n%s", err, out)
	}
	if out, err := ctl("pdf", "embed", "--prepared", at("plain.pdf"), "--signature", at("gm.signature"), "--out", at("never")); err == nil || !strings.Contains(string(out), "not prepared") {
		t.Errorf("a PDF that was not prepared: %v\n%s", err, out)
	}
}
