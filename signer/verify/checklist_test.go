package verify_test

import (
	"bytes"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/seal"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/pdfgen"
)

var update = flag.Bool("update", false, "write the list of checks into docs/verification.md")

// probe is one line of the executable list of checks: a fixture in which everything is sound but one thing.
type probe struct {
	code   string
	result verify.Result
	what   string // is wrong
	also   []string
	edit   func(t *testing.T, f *fixture)
}

func at(d time.Duration) func(*gm.Certificate) {
	return func(c *gm.Certificate) { c.NotAfter = made.Add(d) }
}

func changed(name, from, to string) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		f.after = func(files map[string][]byte) {
			if !bytes.Contains(files[name], []byte(from)) {
				t.Fatalf("%s does not hold %s", name, from)
			}
			files[name] = bytes.Replace(files[name], []byte(from), []byte(to), 1)
		}
	}
}

func unprotected(names ...string) func(*testing.T, *fixture) {
	return func(_ *testing.T, f *fixture) { f.protect = func(n string) bool { return !slices.Contains(names, n) } }
}

func onValue(change func(t *testing.T, f *fixture, good []byte) []byte) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) { f.value = func(_, good []byte) []byte { return change(t, f, good) } }
}

// alone makes the fixture a bare seal.
func alone(edit func(*testing.T, *fixture)) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		f.name = "x.esl"
		f.build = func(t testing.TB) []byte { return f.seal(t) }
		edit(t, f)
	}
}

// signs makes the fixture a file of SignedData.
func signs(edit func(*testing.T, *fixture)) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		f.signedData(t)
		edit(t, f)
	}
}

func revoked(serial int64, d time.Duration) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		f.opts.CRLs = [][]byte{list(t, f.root, now.Add(-time.Hour), now.Add(time.Hour), map[int64]time.Time{serial: f.at.Add(d)})}
	}
}

// otherValue replaces the last signature value in a structure by one of the same length that another key made.
func otherValue(t *testing.T, value, der []byte) []byte {
	t.Helper()
	key, err := softkey.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for {
		other, err := key.Sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if len(other) == len(value) {
			return swap(t, der, value, other)
		}
	}
}

// inPDF makes the fixture a PDF of profile pades, tampered with after it was signed.
func inPDF(certify int, tamper func(t *testing.T, b []byte) []byte) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		f.name = "x.pdf"
		f.build = func(t2 testing.TB) []byte {
			p := newPaper(t2)
			p.fixture, p.t = f, t2
			p.key, p.cert = ecdsaParty(t2, f, 12)
			b := p.pades(pdfgen.Document("contract", 2), certify)
			if tamper != nil {
				b = tamper(t, b)
			}
			return b
		}
	}
}

var probes = []probe{
	{verify.CodeStructure, verify.Fail, "PDF: Contents holds no SignedData", nil, inPDF(0, func(t *testing.T, b []byte) []byte {
		i := bytes.Index(b, []byte("/Contents <30"))
		if i < 0 {
			t.Fatal("no Contents")
		}
		copy(b[i:], "/Contents <31")
		return b
	})},
	{verify.CodeReferences, verify.Fail, "PDF: a page's content was written anew by a later revision", nil, inPDF(0, func(_ *testing.T, b []byte) []byte {
		return revise(b, map[int]string{contentObject: stream("BT ET")})
	})},
	{verify.CodeReferences, verify.Fail, "PDF: ByteRange leaves out more than Contents", nil, inPDF(0, func(t *testing.T, b []byte) []byte {
		i := bytes.Index(b, []byte("/ByteRange [0 "))
		if i < 0 {
			t.Fatal("no ByteRange")
		}
		b[i+len("/ByteRange [0 ")] ^= 1
		return b
	})},
	{verify.CodeReferences, verify.Fail, "PDF: the catalog was changed although the signature allows no change", nil, inPDF(1, func(t *testing.T, b []byte) []byte {
		return revise(b, map[int]string{catalogObject: with(t, object(t, b, catalogObject), "/Lang (zh)")})
	})},
	{verify.CodeReferences, verify.Fail, "PDF: a page names another parent, from which it takes more than it says", nil, inPDF(0, func(t *testing.T, b []byte) []byte {
		page := strings.Replace(object(t, b, pageObject), "/Parent 2 0 R", "/Parent 90 0 R", 1)
		return revise(b, map[int]string{pageObject: page, 90: "<< /Type /Pages /Count 1 /Kids [4 0 R] /Rotate 180 >>"})
	})},
	{verify.CodeCoverage, verify.Indeterminate, "PDF: a signature field that signs nothing is shown over the page", nil, inPDF(0, func(t *testing.T, b []byte) []byte {
		return revise(b, map[int]string{catalogObject: put(t, b, catalogObject, "Fields", "90 0 R"), pageObject: put(t, b, pageObject, "Annots", "91 0 R"), 92: over,
			90: "<< /FT /Sig /T (x) /Kids [91 0 R] >>", 91: "<< /Type /Annot /Subtype /Widget /Parent 90 0 R /F 4 /Rect [0 0 600 800] /AP << /N 92 0 R >> >>"})
	})},
	{verify.CodeCoverage, verify.Indeterminate, "PDF: a text was laid over the page by a later revision", nil, inPDF(0, func(t *testing.T, b []byte) []byte {
		page := strings.Replace(object(t, b, pageObject), "/Annots [", "/Annots [90 0 R ", 1)
		return revise(b, map[int]string{pageObject: page, 90: "<< /Type /Annot /Subtype /FreeText /Rect [0 0 500 500] /Contents (other) >>"})
	})},
	{verify.CodeDocumentDigest, verify.Fail, "PDF: a word was changed", nil, inPDF(0, func(_ *testing.T, b []byte) []byte {
		return bytes.Replace(b, []byte("page 1 of 2"), []byte("page 7 of 2"), 1)
	})},
	{verify.CodeStructure, verify.Fail, "bytes behind SES_Signature", nil, onValue(func(_ *testing.T, _ *fixture, b []byte) []byte { return append(b, 0) })},
	{verify.CodeStructure, verify.Fail, "SES_Signature is cut", nil, onValue(func(_ *testing.T, _ *fixture, b []byte) []byte { return b[:len(b)-1] })},
	{verify.CodeStructure, verify.Fail, "SES_Signature in BER with indefinite length", nil, onValue(func(_ *testing.T, _ *fixture, b []byte) []byte {
		return append(append([]byte{0x30, 0x80}, b[4:]...), 0, 0)
	})},
	{verify.CodeStructure, verify.Fail, "bytes behind SESeal", nil, alone(func(_ *testing.T, f *fixture) { f.made = func(b []byte) []byte { return append(b, 0) } })},
	{verify.CodeStructure, verify.Fail, "Signature.xml says what is protected twice", nil, func(_ *testing.T, f *fixture) {
		f.signatureXML = func(s string) string {
			return strings.Replace(s, "</ofd:SignedInfo>", "<ofd:References/></ofd:SignedInfo>", 1)
		}
	}},
	{verify.CodeStructure, verify.Fail, "bytes behind SignedData", nil, signs(func(_ *testing.T, f *fixture) { f.spoil = func(b []byte) []byte { return append(b, 0) } })},
	{verify.CodeStructure, verify.Fail, "SignedData is cut", nil, signs(func(_ *testing.T, f *fixture) { f.spoil = func(b []byte) []byte { return b[:len(b)-1] } })},
	{verify.CodeReferences, verify.Fail, "a page was changed", nil, changed(pageFile, "Layer", "layer")},
	{verify.CodeReferences, verify.Fail, "a resource was changed", nil, changed("Doc_0/Res/image.png", "not", "now")},
	{verify.CodeReferences, verify.Fail, "a resource is missing", nil, func(_ *testing.T, f *fixture) {
		f.after = func(m map[string][]byte) { delete(m, "Doc_0/Res/image.png") }
	}},
	{verify.CodeReferences, verify.Fail, "CheckMethod is missing, which means MD5", nil, func(_ *testing.T, f *fixture) { f.checkMethod = "" }},
	{verify.CodeCoverage, verify.Fail, "a page is not protected", []string{"uncovered-content"}, unprotected(pageFile)},
	{verify.CodeCoverage, verify.Indeterminate, "a resource is not protected", []string{"uncovered-resource"}, unprotected("Doc_0/Res/image.png")},
	{verify.CodeDocumentDigest, verify.Fail, "Signature.xml was changed: the stamp is elsewhere", nil, changed(signDir+"Signature.xml", "10 10 40 40", "20 10 40 40")},
	{verify.CodeDocumentDigest, verify.Fail, "dataHash is of another original", nil, func(_ *testing.T, f *fixture) { f.dataHash = new([32]byte) }},
	{verify.CodeDocumentDigest, verify.Fail, "SignedData of another original", nil, signs(func(_ *testing.T, f *fixture) { f.opts.Content = []byte("演示原件") })},
	{verify.CodeSignatureValue, verify.Fail, "the value is by another key", nil, func(t *testing.T, f *fixture) {
		other := newParty(t, "示例他人", 9, usageSign, false, &f.root)
		f.signWith = &party{key: other.key, der: f.signer.der}
	}},
	{verify.CodeSignatureValue, verify.Fail, "the time in TBS_Sign was changed after it was signed", nil, onValue(func(t *testing.T, f *fixture, b []byte) []byte {
		return swap(t, b, []byte(f.at.Format("20060102150405Z")), []byte(f.at.Add(time.Second).Format("20060102150405Z")))
	})},
	{verify.CodeSignatureValue, verify.Fail, "SignedData: the signing time was changed after it was signed", nil, signs(func(t *testing.T, f *fixture) {
		f.spoil = func(b []byte) []byte {
			return swap(t, b, []byte(f.at.Format("060102150405Z")), []byte(f.at.Add(time.Second).Format("060102150405Z")))
		}
	})},
	{verify.CodeSealSignature, verify.Fail, "the seal's name was changed", nil, func(t *testing.T, f *fixture) {
		f.made = func(b []byte) []byte {
			return swap(t, b, []byte("洛阳示例有限公司"), []byte("洛阳示例有限公子"))
		}
	}},
	{verify.CodeSealSignature, verify.Fail, "the seal's picture was changed", nil, func(t *testing.T, f *fixture) {
		f.made = func(b []byte) []byte { return swap(t, b, []byte("\x89PNG\r\n\x1a\n"), []byte("\x89PNG\r\n\x1a\x0b")) }
	}},
	{verify.CodeSealSignature, verify.Fail, "a seal alone, signed by another key", nil, alone(func(t *testing.T, f *fixture) {
		f.made = func(b []byte) []byte {
			s, err := seal.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			return otherValue(t, bytes.Clone(s.Signature), b)
		}
	})},
	{verify.CodeSealCopy, verify.Fail, "Seal.esl is another seal", nil, func(_ *testing.T, f *fixture) {
		f.copied = func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	}},
	{verify.CodeSignerInList, verify.Fail, "the signer is not in the list", nil, func(t *testing.T, f *fixture) {
		other := newParty(t, "示例他人", 9, usageSign, false, &f.root)
		f.signWith = &other
	}},
	{verify.CodeSignerInList, verify.Fail, "the signer has a renewed certificate of the same key", nil, func(t *testing.T, f *fixture) {
		renewed := newPartyWith(t, "41030000000001", 3, usageSign, false, &f.root, at(365*24*time.Hour))
		f.signWith = &renewed
	}},
	{verify.CodeSignerInList, verify.Fail, "the list (certListType 2) holds another certificate's digest", nil, func(t *testing.T, f *fixture) {
		f.made = func(b []byte) []byte { return digestList(t, f, b, gm.SM3([]byte("x"))) }
	}},
	{verify.CodeSignerCertificate, verify.Indeterminate, "the signer's authority is unknown", nil, func(t *testing.T, f *fixture) {
		f.signer = newParty(t, "41030000000001", 9, usageSign, false, nil)
		f.info.Certs = [][]byte{f.signer.der}
	}},
	{verify.CodeSignerCertificate, verify.Fail, "the signer's certificate may not sign", nil, func(t *testing.T, f *fixture) {
		f.signer = newParty(t, "41030000000001", 9, 1<<2, false, &f.root)
		f.info.Certs = [][]byte{f.signer.der}
	}},
	{verify.CodeSignerCertificate, verify.Indeterminate, "SignedData: the signer's authority is unknown", nil, signs(func(t *testing.T, f *fixture) {
		f.signer = newParty(t, "41030000000001", 9, usageSign, false, nil)
		f.request.Certificate = f.signer.der
	})},
	{verify.CodeSignerCertificate, verify.Indeterminate, "SignedData by a caller's certificate under an anchor for documents alone", nil, signs(func(t *testing.T, f *fixture) {
		f.opts.Roots, f.opts.DocumentRoots, f.opts.TimestampRoots = nil, f.opts.Roots, f.opts.Roots
	})},
	{verify.CodeSignerCertificate, verify.Fail, "SignedData by a time-stamp authority", nil, signs(func(_ *testing.T, f *fixture) { f.signer, f.request.Certificate = f.tsa, f.tsa.der })},
	{verify.CodeMakerCertificate, verify.Fail, "the maker is not one of those trusted", nil, func(t *testing.T, f *fixture) {
		f.maker = newParty(t, "示例他人", 9, usageSign, false, &f.root)
	}},
	{verify.CodeMakerCertificate, verify.Indeterminate, "the maker's authority is unknown", nil, func(t *testing.T, f *fixture) {
		f.maker = newParty(t, "演示制章系统", 9, usageSign, false, nil)
		f.opts.Makers = []*gm.Certificate{f.maker.cert}
	}},
	{verify.CodeMakerCertificate, verify.Fail, "the maker's certificate was not valid when the seal was made", nil, func(t *testing.T, f *fixture) {
		f.maker = newPartyWith(t, "演示制章系统", 9, usageSign, false, &f.root, at(-time.Hour))
		f.opts.Makers = []*gm.Certificate{f.maker.cert}
	}},
	{verify.CodeMakerCertificate, verify.Fail, "the maker's certificate may not sign", nil, func(t *testing.T, f *fixture) {
		f.maker = newParty(t, "演示制章系统", 9, 1<<2, false, &f.root)
		f.opts.Makers = []*gm.Certificate{f.maker.cert}
	}},
	{verify.CodeSigningTime, verify.Fail, "signed in the future, without a time stamp", nil, func(_ *testing.T, f *fixture) { f.at, f.stamp = now.Add(time.Hour), nil }},
	{verify.CodeSigningTime, verify.Fail, "signed after the signer's certificate had ended", []string{verify.CodeSignerCertificate}, func(t *testing.T, f *fixture) {
		f.signer = newPartyWith(t, "41030000000001", 9, usageSign, false, &f.root, at(time.Hour))
		f.info.Certs = [][]byte{f.signer.der}
	}},
	{verify.CodeSigningTime, verify.Fail, "SignedData in the future, without a time stamp", nil, signs(func(_ *testing.T, f *fixture) {
		f.at, f.stamp = now.Add(time.Hour), nil
		f.request.SigningTime = f.at
	})},
	{verify.CodeSealValidity, verify.Fail, "a seal alone has run out", nil, alone(func(_ *testing.T, f *fixture) { f.info.ValidEnd = now.Add(-time.Hour) })},
	{verify.CodeSealValidity, verify.Fail, "a seal alone is not valid yet", nil, alone(func(_ *testing.T, f *fixture) { f.info.ValidStart = now.Add(time.Hour) })},
	{verify.CodeSealValidity, verify.Fail, "it signed after the seal had run out", []string{verify.CodeSigningTime}, func(_ *testing.T, f *fixture) { f.info.ValidEnd = made.Add(time.Hour) }},
	{verify.CodeTimestamp, verify.Fail, "the stamp is over another value", nil, func(t *testing.T, f *fixture) {
		f.timestamp, f.stamp = f.stamp([]byte("x")), nil
	}},
	{verify.CodeTimestamp, verify.Fail, "the stamp is no token", nil, func(_ *testing.T, f *fixture) { f.timestamp, f.stamp = []byte{0x30, 0}, nil }},
	{verify.CodeTimestamp, verify.Fail, "stamped before the time that the signer states", nil, func(t *testing.T, f *fixture) { f.stamp = stamper(t, f.tsa, f.at.Add(-time.Hour)) }},
	{verify.CodeTimestamp, verify.Fail, "stamped in the future", nil, func(t *testing.T, f *fixture) { f.stamp = stamper(t, f.tsa, now.Add(time.Hour)) }},
	{verify.CodeTimestamp, verify.Indeterminate, "the stamp's authority is unknown", nil, func(t *testing.T, f *fixture) {
		f.stamp = stamper(t, newPartyWith(t, "示例他人", 9, usageSign, false, nil, purpose), f.at.Add(time.Minute))
	}},
	{verify.CodeTimestamp, verify.Fail, "the authority's certificate was revoked before it stamped", nil, revoked(6, -time.Hour)},
	{verify.CodeTimestamp, verify.Fail, "the stamp was changed", nil, func(t *testing.T, f *fixture) {
		good := f.stamp
		f.stamp = func(value []byte) []byte {
			token, when := good(value), []byte(f.at.Add(time.Minute).Format("20060102150405Z"))
			return swap(t, token, when, []byte(f.at.Add(2*time.Minute).Format("20060102150405Z")))
		}
	}},
	{verify.CodeTimestamp, verify.Fail, "SignedData: the stamp is over another value", nil, signs(func(_ *testing.T, f *fixture) {
		good := f.stamp
		f.stamp = func([]byte) []byte { return good([]byte("x")) }
	})},
	{verify.CodeSealTimestamp, verify.Fail, "the seal's stamp is over another value", nil, func(t *testing.T, f *fixture) {
		good := stamper(t, f.tsa, made.Add(time.Minute))
		f.v5(t, func([]byte) []byte { return good([]byte("x")) })
	}},
	{verify.CodeSealTimestamp, verify.Fail, "the seal was stamped before it says that it was made", nil, func(t *testing.T, f *fixture) { f.v5(t, stamper(t, f.tsa, made.Add(-time.Hour))) }},
	{verify.CodeSealTimestamp, verify.Indeterminate, "the authority of the seal's stamp is unknown", nil, func(t *testing.T, f *fixture) {
		f.v5(t, stamper(t, newPartyWith(t, "示例他人", 9, usageSign, false, nil, purpose), made.Add(time.Minute)))
	}},
	{verify.CodeRevocation, verify.Fail, "the seal had been cancelled before it signed", []string{verify.CodeSealStatus}, func(_ *testing.T, f *fixture) {
		f.state = verify.SealState{State: "cancelled", Since: f.at.Add(-time.Hour)}
	}},
	{verify.CodeRevocation, verify.Fail, "another seal bears this number", []string{verify.CodeSealStatus}, func(_ *testing.T, f *fixture) { f.state.SHA256 = strings.Repeat("0", 64) }},
	{verify.CodeSealStatus, verify.Indeterminate, "a trusted maker's appliance knows no such seal", nil, unknownSeal},
	{verify.CodeCertificateRevocation, verify.Fail, "the signer's certificate was revoked before it signed", nil, revoked(3, -time.Hour)},
	{verify.CodeCertificateRevocation, verify.Fail, "the maker's certificate was revoked before the seal was made", nil, revoked(2, -40*24*time.Hour)},
	{verify.CodeCertificateRevocation, verify.Fail, "SignedData: the signer's certificate was revoked before it signed", nil, signs(revoked(3, -time.Hour))},
}

// order is that of the list.
var order = []string{verify.CodeStructure, verify.CodeReferences, verify.CodeCoverage, verify.CodeDocumentDigest, verify.CodeSignatureValue, verify.CodeSealSignature,
	verify.CodeSealCopy, verify.CodeSignerInList, verify.CodeSignerCertificate, verify.CodeMakerCertificate, verify.CodeSigningTime, verify.CodeSealValidity,
	verify.CodeTimestamp, verify.CodeSealTimestamp, verify.CodeRevocation, verify.CodeSealStatus, verify.CodeCertificateRevocation}

// TestCheckList runs the list: in every fixture the check named deviates as stated, and no other check or finding but those named does.
func TestCheckList(t *testing.T) {
	sound := map[string]func(*testing.T, *fixture){
		"a package": func(*testing.T, *fixture) {}, "a seal": alone(func(*testing.T, *fixture) {}), "SignedData": signs(func(*testing.T, *fixture) {}),
		"a PDF":                    inPDF(0, nil),
		"a package with a v5 seal": func(t *testing.T, f *fixture) { f.v5(t, stamper(t, f.tsa, made.Add(time.Minute))) },
	}
	met := map[string]bool{}
	for what, edit := range sound {
		f := newFixture(t)
		edit(t, f)
		r := f.judge(t)
		if bad := deviations(r); len(bad) > 0 || r.Verdict != verify.Valid {
			t.Fatalf("%s is not sound: %v\n%s", what, bad, r.Text(verify.English))
		}
		for _, c := range r.Signatures[0].Checks {
			met[c.Code] = met[c.Code] || c.Result == verify.Pass
		}
	}
	var rows strings.Builder
	number, of := 0, ""
	sorted := slices.Clone(probes)
	slices.SortStableFunc(sorted, func(a, b probe) int { return slices.Index(order, a.code) - slices.Index(order, b.code) })
	for i, p := range sorted {
		if p.code != of {
			number, of = 0, p.code
		}
		number++
		f := newFixture(t)
		p.edit(t, f)
		r := f.judge(t)
		name := fmt.Sprintf("%s.%d", p.code, number)
		want := append([]string{p.code}, p.also...)
		slices.Sort(want)
		got := deviations(r)
		if result, _ := resultOf(r, p.code); result != p.result || !slices.Equal(got, want) || r.Verdict == verify.Valid {
			t.Errorf("%d %s (%s): %s, deviating %v, want %s, %v\n%s", i, name, p.what, result, got, p.result, want, r.Text(verify.English))
		}
		delete(met, p.code)
		fmt.Fprintf(&rows, "| %s | `%s` | %s | %s | %s |\n", name, p.code, p.result, p.what, code(p.also))
	}
	for left := range met {
		if left != verify.CodePropertyInfo {
			t.Errorf("no fixture breaks %s", left)
		}
	}
	holdTable(t, checksTable, rows.String())
}

func code(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

// deviations are the codes of checks and findings that fail or are indeterminate.
func deviations(r verify.Report) []string {
	var out []string
	all := slices.Clone(r.Findings)
	for _, s := range r.Signatures {
		all = append(all, s.Checks...)
	}
	for _, c := range all {
		if (c.Result == verify.Fail || c.Result == verify.Indeterminate) && !slices.Contains(out, c.Code) {
			out = append(out, c.Code)
		}
	}
	slices.Sort(out)
	return out
}

// table is a part of docs/verification.md that a test writes.
type table struct{ start, end, head string }

var (
	checksTable = table{"<!-- list of checks: go test ./signer/verify -run TestCheckList -update -->\n", "<!-- end of the list -->\n",
		"| no. | check | result | what is wrong in the fixture | also shown by |\n|---|---|---|---|---|\n"}
	findingsTable = table{"<!-- list of findings: go test ./signer/verify -run TestFindingsOneByOne -update -->\n", "<!-- end of the findings -->\n",
		"| finding | what is wrong in the fixture |\n|---|---|\n"}
)

// holdTable compares a list in docs/verification.md, or writes it.
func holdTable(t *testing.T, of table, rows string) {
	t.Helper()
	page := filepath.Join("..", "..", "docs", "verification.md")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), of.start)
	_, after, end := strings.Cut(rest, of.end)
	if !ok || !end {
		t.Fatalf("docs/verification.md has no place for %s", of.start)
	}
	text := before + of.start + of.head + rows + of.end + after
	switch {
	case text == string(b):
	case *update:
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/verification.md has another list; run go test ./signer/verify -run %s -update", t.Name())
	}
}
