package signer_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer"
	"sealkeeper/signer/pdf"
	"sealkeeper/signer/placement"
	"sealkeeper/signer/verify/signeddata"
	"sealkeeper/softhsm-test/pdfgen"
)

func (w *world) pdfRequest(t testing.TB, id, profile string, document []byte, change func(*signer.Request)) signer.Request {
	t.Helper()
	r := signer.Request{ID: id, Kind: signer.KindPDF, Profile: profile, Seal: sealName, Purpose: purpose, Document: document, BodyDigest: gm.SM3([]byte("body of " + id)),
		Plan: placement.Plan{Stamps: []placement.Stamp{{Page: 2, X: 140, Y: 200, W: 40, H: 40}}}}
	if change != nil {
		change(&r)
	}
	r.Approval = w.approve(t, r, nil)
	return r
}

var byteRange = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)`)

// lastSignature takes the last signature out of a PDF by its ByteRange, with none of our parsers.
func lastSignature(t *testing.T, doc []byte) (covered, contents []byte) {
	t.Helper()
	all := byteRange.FindAllSubmatch(doc, -1)
	if len(all) == 0 {
		t.Fatal("no ByteRange")
	}
	var n [4]int
	for i, b := range all[len(all)-1][1:] {
		n[i], _ = strconv.Atoi(string(b)) // digits, by the pattern
	}
	if n[0] != 0 || n[2]+n[3] != len(doc) {
		t.Fatalf("ByteRange %v of %d bytes", n, len(doc))
	}
	hexes := bytes.Trim(doc[n[1]:n[2]], "<>")
	contents = make([]byte, len(hexes)/2)
	for i := range contents {
		v, err := strconv.ParseUint(string(hexes[2*i:2*i+2]), 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		contents[i] = byte(v)
	}
	return append(append([]byte{}, doc[:n[1]]...), doc[n[2]:]...), contents
}

// TestSignPDF: one more revision, the original in front of it, SignedData over exactly the ByteRange, the same bytes when it is asked again after a
// restart with other settings.
func TestSignPDF(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	w.equip(t, sealName)
	w.authority(t)
	plain := pdfgen.Document("contract", 2, "text")
	for _, c := range []struct {
		profile, filter string
		stamped         bool
	}{{"", "/adbe.pkcs7.detached", false}, {signer.ProfileGM, "/adbe.pkcs7.detached", true}, {signer.ProfilePAdES, "/ETSI.CAdES.detached", false}, {signer.ProfilePAdES, "/ETSI.CAdES.detached", true}} {
		t.Run(c.profile+strconv.FormatBool(c.stamped), func(t *testing.T) {
			r := w.pdfRequest(t, "pdf-"+c.profile+strconv.FormatBool(c.stamped), c.profile, plain, func(r *signer.Request) { r.Timestamp, r.Reason, r.Location = c.stamped, "演示", "Luoyang" })
			rel := mustSign(t, w, r)
			if !bytes.HasPrefix(rel.Document, plain) || !bytes.Contains(rel.Document[len(plain):], []byte(c.filter)) {
				t.Error("the original is not in front, or the filter is another")
			}
			covered, contents := lastSignature(t, rel.Document)
			sd, err := signeddata.ParseWith(contents, signeddata.Options{Padding: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := sd.Signer().VerifyContent(covered); err != nil || (sd.Signer().Timestamp != nil) != c.stamped {
				t.Errorf("%v, time stamp of %d bytes", err, len(sd.Signer().Timestamp))
			}
			checkProfile(t, sd, c.profile)
			if c.stamped && c.profile == signer.ProfilePAdES {
				checkToken(t, "rfc", sd.Signer().Timestamp, sd.Signer().Value)
			}
			w.clock.passes(3e9)
			w.cfg.PDF = signer.PDF{Filter: "Other.Filter", SubFilter: "other", OIDs: "rfc"}
			w.restart(t)
			if again := mustSign(t, w, r); !again.Duplicate || !bytes.Equal(again.Document, rel.Document) {
				t.Error("asked again it is something else")
			}
			w.cfg.PDF = signer.PDF{}
			w.restart(t)
		})
	}
}

// TestPDFNames: the names of SM2 signatures are the configuration's.
func TestPDFNames(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	w.cfg.PDF = signer.PDF{Filter: "Demo.Filter", SubFilter: "demo.sm2", OIDs: "rfc"}
	w.restart(t)
	rel := mustSign(t, w, w.pdfRequest(t, "pdf", signer.ProfileGM, pdfgen.Document("contract", 2), nil))
	_, contents := lastSignature(t, rel.Document)
	sd, err := signeddata.ParseWith(contents, signeddata.Options{Padding: true})
	if err != nil || sd.GM || !bytes.Contains(rel.Document, []byte("/Demo.Filter")) || !bytes.Contains(rel.Document, []byte("/demo.sm2")) {
		t.Errorf("content types of GB/T 35275 %v (%v)", sd.GM, err)
	}
}

// TestPDFTools: pdfsig and qpdf accept two signatures by two seals on one document.
func TestPDFTools(t *testing.T) {
	for _, program := range []string{"pdfsig", "qpdf"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED, nothing was tested: %v (make deps installs it)", err)
		}
	}
	w := newWorld(t)
	w.grantAll(t)
	w.equip(t, sealName)
	w.equip(t, sealRep)
	w.cfg.Pages = "https://seal.example"
	w.restart(t)
	first := mustSign(t, w, w.pdfRequest(t, "first", signer.ProfilePAdES, pdfgen.Document("contract", 5), func(r *signer.Request) {
		r.Page, r.Plan.Riding = true, []placement.Riding{{Edge: placement.Right, W: 40, H: 40}}
	}))
	second := mustSign(t, w, w.pdfRequest(t, "second", signer.ProfilePAdES, first.Document, func(r *signer.Request) { r.Seal = sealRep }))
	path := filepath.Join(t.TempDir(), "sealed.pdf")
	if err := os.WriteFile(path, second.Document, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "pdfsig", "-nocert", path).CombinedOutput()
	if err != nil || strings.Count(string(out), "Signature is Valid") != 2 || strings.Count(string(out), "Total document signed") != 1 {
		t.Errorf("pdfsig: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "qpdf", "--check", path).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Errorf("qpdf: %v\n%s", err, out)
	}
	if rec := recordOf(t, w, first); len(rec.Stamps) != 6 || rec.Plan == nil || rec.Options.URL == "" || !strings.HasSuffix(rec.Options.URL, rec.Page) {
		t.Errorf("%d stamps, plan %v, options %+v", len(rec.Stamps), rec.Plan, rec.Options)
	}
}

// TestPDFKeyword: the picture stands where the word does, and the record keeps the plan as approved beside what it came to.
func TestPDFKeyword(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	plan := placement.Plan{Keywords: []placement.Keyword{{Text: pdfgen.SealHere, W: 40, H: 40, DY: 5}}}
	r := w.pdfRequest(t, "pdf", "", pdfgen.Document("contract", 3), func(r *signer.Request) { r.Plan = plan })
	rec := recordOf(t, w, mustSign(t, w, r))
	if len(rec.Stamps) != 1 || rec.Stamps[0].Page != 3 || rec.Stamps[0].X < 80 || rec.Plan == nil || rec.Plan.Keywords[0] != plan.Keywords[0] {
		t.Errorf("stamps %+v of plan %+v", rec.Stamps, rec.Plan)
	}
	missing := w.pdfRequest(t, "missing", "", pdfgen.Document("contract", 3), func(r *signer.Request) {
		r.Plan = placement.Plan{Keywords: []placement.Keyword{{Text: "nowhere", W: 40, H: 40}}}
	})
	_, err := w.Sign(t.Context(), w.dept, missing)
	wantErr(t, err, placement.ErrKeywordNotFound)
	wantErr(t, err, signer.ErrDocument)
}

// TestPDFRefusals: a document that cannot be sealed has a name, and nothing is signed.
func TestPDFRefusals(t *testing.T) {
	w := newWorld(t)
	w.grantAll(t)
	plain := pdfgen.Document("contract", 2)
	for name, c := range map[string]struct {
		document []byte
		profile  string
		change   func(*signer.Request)
		want     error
	}{
		"not a PDF":         {[]byte("not a PDF"), "", nil, pdf.ErrNotPDF},
		"no such page":      {plain, "", func(r *signer.Request) { r.Plan.Stamps[0].Page = 3 }, pdf.ErrPage},
		"nothing placed":    {plain, "", func(r *signer.Request) { r.Plan = placement.Plan{} }, signer.ErrRequestForm},
		"whole document":    {plain, "", func(r *signer.Request) { r.WholeDocument = true }, signer.ErrRequestForm},
		"no document key":   {plain, signer.ProfilePAdES, nil, signer.ErrNoDocumentKey},
		"a digest beside":   {plain, "", func(r *signer.Request) { r.Digest = sha256.Sum256(nil) }, signer.ErrRequestForm},
		"another's profile": {plain, signer.ProfileRFC, nil, signer.ErrRequestForm},
	} {
		before := w.token.Stats().Signs
		_, err := w.Sign(t.Context(), w.dept, w.pdfRequest(t, "pdf-"+name, c.profile, c.document, c.change))
		wantErr(t, err, c.want)
		if w.token.Stats().Signs != before {
			t.Errorf("%s: the token signed", name)
		}
	}
}
