package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

func TestBareSeal(t *testing.T) {
	w := newWorld(t)
	der := w.seal(t)
	later := w.options()
	later.Now = w.info.ValidEnd.Add(time.Second)
	cases := []struct {
		name    string
		b       []byte
		opts    verify.Options
		code    string
		result  verify.Result
		verdict verify.Verdict
	}{
		{"sound", der, w.options(), verify.CodeSealSignature, verify.Pass, verify.Valid},
		{"without anchors", der, verify.Options{Now: now}, verify.CodeMakerCertificate, verify.Indeterminate, verify.IndeterminateResult},
		{"expired", der, later, verify.CodeSealValidity, verify.Fail, verify.Invalid},
		{"changed", slices.Concat(der[:60], []byte{der[60] ^ 1}, der[61:]), w.options(), verify.CodeSealSignature, verify.Fail, verify.Invalid},
		{"cut", der[:len(der)-1], w.options(), verify.CodeStructure, verify.Fail, verify.Invalid},
		{"empty", nil, w.options(), verify.CodeStructure, verify.Fail, verify.Invalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := verify.Document(t.Context(), "a.esl", c.b, c.opts)
			if got, _ := resultOf(r, c.code); got != c.result || r.Verdict != c.verdict || r.Kind != verify.KindSeal {
				t.Errorf("%s", r.Text(verify.English))
			}
		})
	}
}

func TestBareSignature(t *testing.T) {
	w := newWorld(t)
	original := []byte("<Signature/>")
	der := w.sign(t, w.seal(t), original)
	opts := w.options()
	for name, c := range map[string]struct {
		original []byte
		result   verify.Result
		verdict  verify.Verdict
	}{
		"with its original": {original, verify.Pass, verify.Valid},
		"with another":      {[]byte("<Other/>"), verify.Fail, verify.Invalid},
		"alone":             {nil, verify.NotChecked, verify.IndeterminateResult},
	} {
		opts.SignatureXML = c.original
		r := verify.Document(t.Context(), "SignedValue.dat", der, opts)
		if got, _ := resultOf(r, verify.CodeDocumentDigest); got != c.result || r.Verdict != c.verdict || r.Kind != verify.KindSESSignature {
			t.Errorf("%s: %s", name, r.Text(verify.English))
		}
	}
}

func TestSealStatus(t *testing.T) {
	w := newWorld(t)
	der := w.build(t)
	asked := ""
	for name, c := range map[string]struct {
		state      verify.SealState
		err        error
		status     verify.Result
		revocation verify.Result
		verdict    verify.Verdict
	}{
		"active":           {verify.SealState{State: "active", Since: made}, nil, verify.Pass, verify.Pass, verify.Valid},
		"cancelled since":  {verify.SealState{State: "cancelled", Since: w.at.Add(time.Second)}, nil, verify.Note, verify.Pass, verify.Valid},
		"cancelled before": {verify.SealState{State: "cancelled", Since: w.at}, nil, verify.Fail, verify.Fail, verify.Invalid},
		"no answer":        {verify.SealState{}, errors.New("unreachable"), verify.NotChecked, verify.NotChecked, verify.Valid},
	} {
		opts := w.options()
		opts.SealStatus = func(_ context.Context, esid string) (verify.SealState, error) { asked = esid; return c.state, c.err }
		r := verify.Document(t.Context(), "x.ofd", der, opts)
		status, _ := resultOf(r, verify.CodeSealStatus)
		revocation, _ := resultOf(r, verify.CodeRevocation)
		if status != c.status || revocation != c.revocation || r.Verdict != c.verdict || asked != w.info.ESID {
			t.Errorf("%s: %s", name, r.Text(verify.English))
		}
	}
}

func TestChainOverAnIntermediate(t *testing.T) {
	w := newWorld(t)
	issuing := newParty(t, "演示签发", 4, usageCA, true, &w.root)
	w.signer = newParty(t, "41030000000001", 5, usageSign, false, &issuing)
	w.info.Certs = [][]byte{w.signer.der}
	der := w.build(t)
	opts := w.options()
	if r := verify.Document(t.Context(), "x.ofd", der, opts); r.Verdict != verify.IndeterminateResult {
		t.Errorf("without the intermediate: %s", r.Text(verify.English))
	}
	opts.Intermediates = []*gm.Certificate{issuing.cert}
	if r := verify.Document(t.Context(), "x.ofd", der, opts); r.Verdict != verify.Valid {
		t.Errorf("with the intermediate: %s", r.Text(verify.English))
	}
}

func TestKinds(t *testing.T) {
	cases := []struct {
		name, file string
		b          []byte
		kind, code string
		verdict    verify.Verdict
	}{
		{"PDF", "a.pdf", []byte("%PDF-1.7\n"), verify.KindPDF, "pdf-eof", verify.Invalid},
		{"PDF behind some bytes", "a", []byte("\n\n%PDF-1.7\n"), verify.KindPDF, "pdf-header", verify.Invalid},
		{"CMS", "a.p7s", []byte{0x30, 0x03, 0x06, 0x01, 0x2A}, verify.KindCMS, "structure", verify.Invalid},
		{"nothing known", "a.bin", []byte("hello"), "", "unknown-kind", verify.Invalid},
		{"OFD by name alone", "a.OFD", []byte("hello"), verify.KindOFD, "not-a-package", verify.Invalid},
		{"package by its bytes", "a.bin", []byte("PK\x03\x04"), verify.KindOFD, "zip-directory", verify.Invalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := verify.Document(t.Context(), c.file, c.b, verify.Options{Now: now})
			if result, _ := resultOf(r, c.code); r.Kind != c.kind || result == "" || r.Verdict != c.verdict {
				t.Errorf("%s %s", r.Kind, r.Text(verify.English))
			}
		})
	}
}

func TestLimitAndCancellation(t *testing.T) {
	w := newWorld(t)
	der := w.build(t)
	opts := w.options()
	opts.MaxBytes = len(der) - 1
	r := verify.Document(t.Context(), "x.ofd", der, opts)
	if result, _ := resultOf(r, "too-large"); result != verify.Fail || r.Verdict != verify.Invalid {
		t.Errorf("%s", r.Text(verify.English))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = verify.Document(ctx, "x.ofd", der, w.options())
	if result, _ := resultOf(r, "interrupted"); result != verify.Indeterminate || r.Verdict != verify.IndeterminateResult {
		t.Errorf("%s", r.Text(verify.English))
	}
}

func TestExitCode(t *testing.T) {
	of := func(v ...verify.Verdict) []verify.Report {
		var out []verify.Report
		for _, verdict := range v {
			out = append(out, verify.Report{Verdict: verdict})
		}
		return out
	}
	for _, c := range []struct {
		reports []verify.Report
		want    int
	}{
		{of(verify.Valid, verify.Valid), 0},
		{of(verify.Valid, verify.IndeterminateResult), 4},
		{of(verify.IndeterminateResult, verify.Invalid, verify.Valid), 3},
	} {
		if got := verify.ExitCode(c.reports); got != c.want {
			t.Errorf("%v: %d, want %d", c.reports, got, c.want)
		}
	}
}

// TestReportShape pins the names of the JSON that others read.
func TestReportShape(t *testing.T) {
	w := newWorld(t)
	w.protect = func(name string) bool { return name != pageFile }
	b, err := json.Marshal(verify.Document(t.Context(), "x.ofd", w.build(t), w.options()))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	keys := func(m map[string]json.RawMessage) string {
		var out []string
		for k := range m {
			out = append(out, k)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if k := keys(got); k != "file findings kind signatures verdict" {
		t.Errorf("report has %s", k)
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(got["signatures"], &list); err != nil {
		t.Fatal(err)
	}
	if k := keys(list[0]); k != "checks conclusion esid generation id seal_name signed_at signer type verdicts" {
		t.Errorf("signature has %s", k)
	}
	var found []map[string]json.RawMessage
	if err := json.Unmarshal(got["findings"], &found); err != nil {
		t.Fatal(err)
	}
	if k := keys(found[0]); k != "clause code detail result" {
		t.Errorf("finding has %s", k)
	}
	empty, err := json.Marshal(verify.Document(t.Context(), "x.pdf", []byte("%PDF-"), verify.Options{}))
	if err != nil || !strings.Contains(string(empty), `"signatures":[]`) {
		t.Errorf("an empty list is not []: %s", empty)
	}
}

func TestTextIsHarmlessAndBilingual(t *testing.T) {
	w := newWorld(t)
	w.files["Doc_0/Signs/Signatures.xml"] = strings.Replace(listXML, `ID="s001"`, `ID="s&#x202E;001&#x9;"`, 1)
	der := w.build(t)
	r := verify.Document(t.Context(), "evil\x1b[31m\xff.ofd", der, w.options())
	zh, en := r.Text(verify.Chinese), r.Text(verify.English)
	if strings.ContainsAny(zh+en, "\x1b\u202E\t") || !strings.Contains(en, `evil\u001b[31m\xff.ofd`) || !strings.Contains(en, `s\u202e001`) {
		t.Errorf("%q", en)
	}
	if !strings.Contains(zh, "有效") || !strings.Contains(zh, "印章编号: 41030000000001") || !strings.Contains(en, "VALID") || !strings.Contains(en, "seal number: 41030000000001") {
		t.Errorf("%s\n%s", zh, en)
	}
}
