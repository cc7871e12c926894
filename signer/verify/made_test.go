package verify_test

import (
	"archive/zip"
	"bytes"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/seal"
	"sealkeeper/signer/verify"
)

var (
	made = time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	now  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

// party is a software key with a certificate.
type party struct {
	key  *softkey.Key
	der  []byte
	cert *gm.Certificate
}

// world is a root, a seal maker and a signatory, with everything a test may want to be wrong before it is made.
type world struct {
	root, maker, signer party
	info                seal.Info
	at                  time.Time
	dataHash            *[32]byte // instead of SM3 of Signature.xml
	timestamp           []byte
	stamp               func(value []byte) []byte // the time stamp over a signature value
	signWith            *party                    // other key and certificate than the listed one
	made                func(sealDER []byte) []byte
	value               func(original, good []byte) []byte // SignedValue.dat instead
	files               map[string]string                  // of the package, by name
	order               []string
	protect             func(name string) bool
	checkMethod         string // attribute as written
	copied              func(sealDER []byte) []byte
	signatureXML        func(string) string // last change before it is digested
	after               func(files map[string][]byte)
}

const (
	usageSign = 1           // digitalSignature
	usageCA   = 1<<5 | 1<<6 // keyCertSign, cRLSign
)

func newParty(t testing.TB, name string, serial int64, usage int, ca bool, issuer *party) party {
	t.Helper()
	return newPartyWith(t, name, serial, usage, ca, issuer, nil)
}

// newPartyWith lets a test change the certificate before it is signed.
func newPartyWith(t testing.TB, name string, serial int64, usage int, ca bool, issuer *party, change func(*gm.Certificate)) party {
	t.Helper()
	scalar := make([]byte, 32) // the same key in every process: fuzzing workers share inputs
	scalar[0], scalar[31] = 1, byte(serial)
	key, err := softkey.FromScalar(scalar)
	if err != nil {
		t.Fatal(err)
	}
	template := &gm.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Country: []string{"CN"}},
		NotBefore: made.AddDate(-1, 0, 0), NotAfter: made.AddDate(10, 0, 0),
		BasicConstraintsValid: true, IsCA: ca, SignatureAlgorithm: gm.SM2WithSM3,
		SubjectKeyId: []byte{byte(serial)},
	}
	for bit := 0; bit < 9; bit++ {
		if usage&(1<<bit) != 0 {
			template.KeyUsage |= 1 << bit
		}
	}
	if change != nil {
		change(template)
	}
	p := party{key: key}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	if p.der, err = gm.CreateCertificate(template, parent, key.Public().ECDSA(), signer.Signer()); err != nil {
		t.Fatal(err)
	}
	if p.cert, err = gm.ParseCertificate(p.der); err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	ofdXML = `<?xml version="1.0" encoding="UTF-8"?><ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016" DocType="OFD" Version="1.1"><ofd:DocBody>` +
		`<ofd:DocInfo><ofd:DocID>1</ofd:DocID></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot>` +
		`<ofd:Signatures>/Doc_0/Signs/Signatures.xml</ofd:Signatures></ofd:DocBody></ofd:OFD>`
	documentXML = `<ofd:Document xmlns:ofd="http://www.ofdspec.org/2016"><ofd:CommonData><ofd:PageArea><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox>` +
		`</ofd:PageArea><ofd:PublicRes>PublicRes.xml</ofd:PublicRes></ofd:CommonData><ofd:Pages><ofd:Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/>` +
		`</ofd:Pages></ofd:Document>`
	resXML = `<ofd:Res xmlns:ofd="http://www.ofdspec.org/2016" BaseLoc="Res"><ofd:MultiMedias><ofd:MultiMedia ID="9" Type="Image">` +
		`<ofd:MediaFile>image.png</ofd:MediaFile></ofd:MultiMedia></ofd:MultiMedias></ofd:Res>`
	pageXML = `<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Content><ofd:Layer ID="2"/></ofd:Content></ofd:Page>`
	listXML = `<ofd:Signatures xmlns:ofd="http://www.ofdspec.org/2016"><ofd:MaxSignId>1</ofd:MaxSignId>` +
		`<ofd:Signature ID="s001" Type="Seal" BaseLoc="Sign_0/Signature.xml"/></ofd:Signatures>`

	pageFile = "Doc_0/Pages/Page_0/Content.xml"
	signDir  = "Doc_0/Signs/Sign_0/"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{at: made.AddDate(0, 1, 0), checkMethod: ` CheckMethod="SM3"`, protect: func(string) bool { return true }}
	w.root = newParty(t, "演示根", 1, usageCA, true, nil)
	w.maker = newParty(t, "演示制章系统", 2, usageSign, false, &w.root)
	w.signer = newParty(t, "41030000000001", 3, usageSign, false, &w.root)
	w.info = seal.Info{
		Vid: "test", ESID: "41030000000001", Type: 1, Name: "洛阳示例有限公司", Certs: [][]byte{w.signer.der},
		CreateDate: made, ValidStart: made, ValidEnd: made.AddDate(3, 0, 0),
		Picture: seal.Picture{Type: "PNG", Data: []byte("\x89PNG\r\n\x1a\n"), WidthMM: 40, HeightMM: 40},
	}
	w.files = map[string]string{
		"OFD.xml": ofdXML, "Doc_0/Document.xml": documentXML, "Doc_0/PublicRes.xml": resXML, pageFile: pageXML,
		"Doc_0/Res/image.png": "not really", "Doc_0/Signs/Signatures.xml": listXML,
	}
	w.order = []string{"OFD.xml", "Doc_0/Document.xml", "Doc_0/PublicRes.xml", pageFile, "Doc_0/Res/image.png", "Doc_0/Signs/Signatures.xml"}
	return w
}

func (w *world) add(name, content string) {
	w.files[name] = content
	w.order = append(w.order, name)
}

func (w *world) seal(t testing.TB) []byte {
	t.Helper()
	der, err := seal.Make(w.info, w.maker.der, w.maker.key.Sign)
	if err != nil {
		t.Fatal(err)
	}
	if w.made != nil {
		der = w.made(der)
	}
	return der
}

// sign returns an SES_Signature over original.
func (w *world) sign(t testing.TB, sealDER, original []byte) []byte {
	t.Helper()
	hash := gm.SM3(original)
	if w.dataHash != nil {
		hash = *w.dataHash
	}
	tbs, err := seal.TBS{SealDER: sealDER, Time: w.at, DataHash: hash, PropertyInfo: "/" + signDir + "Signature.xml"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	by := w.signer
	if w.signWith != nil {
		by = *w.signWith
	}
	sig, err := by.key.Sign(tbs)
	if err != nil {
		t.Fatal(err)
	}
	token := w.timestamp
	if w.stamp != nil {
		token = w.stamp(sig)
	}
	der, err := seal.AssembleSignature(tbs, by.der, sig, token)
	if err != nil {
		t.Fatal(err)
	}
	if w.value != nil {
		der = w.value(original, der)
	}
	return der
}

// build signs the package in the continued mode and returns it.
func (w *world) build(t testing.TB) []byte {
	t.Helper()
	sealDER := w.seal(t)
	copied := sealDER
	if w.copied != nil {
		copied = w.copied(bytes.Clone(sealDER))
	}
	w.add(signDir+"Seal.esl", string(copied))
	var refs strings.Builder
	for _, name := range w.order {
		if name != "Doc_0/Signs/Signatures.xml" && w.protect(name) {
			d := gm.SM3([]byte(w.files[name]))
			fmt.Fprintf(&refs, `<ofd:Reference FileRef="/%s"><ofd:CheckValue>%s</ofd:CheckValue></ofd:Reference>`, name, base64.StdEncoding.EncodeToString(d[:]))
		}
	}
	xml := `<?xml version="1.0" encoding="UTF-8"?><ofd:Signature xmlns:ofd="http://www.ofdspec.org/2016"><ofd:SignedInfo>` +
		`<ofd:Provider ProviderName="test"/><ofd:SignatureMethod>1.2.156.10197.1.501</ofd:SignatureMethod>` +
		`<ofd:References` + w.checkMethod + `>` + refs.String() + `</ofd:References><ofd:StampAnnot ID="1" PageRef="1" Boundary="10 10 40 40"/>` +
		`<ofd:Seal><ofd:BaseLoc>Seal.esl</ofd:BaseLoc></ofd:Seal></ofd:SignedInfo><ofd:SignedValue>SignedValue.dat</ofd:SignedValue></ofd:Signature>`
	if w.signatureXML != nil {
		xml = w.signatureXML(xml)
	}
	w.add(signDir+"Signature.xml", xml)
	w.add(signDir+"SignedValue.dat", string(w.sign(t, sealDER, []byte(xml))))
	files := map[string][]byte{}
	for name, content := range w.files {
		files[name] = []byte(content)
	}
	if w.after != nil {
		w.after(files)
	}
	return pack(t, w.order, files)
}

// listOf is a Signatures.xml of n signatures.
func listOf(n int) string {
	var b strings.Builder
	b.WriteString(`<ofd:Signatures xmlns:ofd="http://www.ofdspec.org/2016"><ofd:MaxSignId>9</ofd:MaxSignId>`)
	for i := range n {
		fmt.Fprintf(&b, `<ofd:Signature ID="s%03d" Type="Seal" BaseLoc="Sign_%d/Signature.xml"/>`, i+1, i)
	}
	return b.String() + `</ofd:Signatures>`
}

// buildMany signs the package n times with one seal, each time over everything but the list.
func (w *world) buildMany(t testing.TB, n int) []byte {
	t.Helper()
	sealDER := w.seal(t)
	for i := range n {
		dir := fmt.Sprintf("Doc_0/Signs/Sign_%d/", i)
		w.add(dir+"Seal.esl", string(sealDER))
		var refs strings.Builder
		for _, name := range w.order {
			if name != "Doc_0/Signs/Signatures.xml" {
				d := gm.SM3([]byte(w.files[name]))
				fmt.Fprintf(&refs, `<ofd:Reference FileRef="/%s"><ofd:CheckValue>%s</ofd:CheckValue></ofd:Reference>`, name, base64.StdEncoding.EncodeToString(d[:]))
			}
		}
		xml := `<?xml version="1.0" encoding="UTF-8"?><ofd:Signature xmlns:ofd="http://www.ofdspec.org/2016"><ofd:SignedInfo>` +
			`<ofd:Provider ProviderName="test"/><ofd:SignatureMethod>1.2.156.10197.1.501</ofd:SignatureMethod><ofd:References CheckMethod="SM3">` + refs.String() +
			`</ofd:References><ofd:StampAnnot ID="1" PageRef="1" Boundary="10 10 40 40"/><ofd:Seal><ofd:BaseLoc>Seal.esl</ofd:BaseLoc></ofd:Seal></ofd:SignedInfo>` +
			`<ofd:SignedValue>SignedValue.dat</ofd:SignedValue></ofd:Signature>`
		w.add(dir+"Signature.xml", xml)
		w.add(dir+"SignedValue.dat", string(w.sign(t, sealDER, []byte(xml))))
	}
	files := map[string][]byte{}
	for name, content := range w.files {
		files[name] = []byte(content)
	}
	return pack(t, w.order, files)
}

func pack(t testing.TB, order []string, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range order {
		content, ok := files[name]
		if !ok {
			continue
		}
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) options() verify.Options {
	return verify.Options{Roots: []*gm.Certificate{w.root.cert}, Now: now}
}

// resultOf finds a check of the first signature, or a finding, by its code.
func resultOf(r verify.Report, code string) (verify.Result, string) {
	for _, s := range r.Signatures {
		for _, c := range s.Checks {
			if c.Code == code {
				return c.Result, c.Detail
			}
		}
	}
	for _, c := range r.Findings {
		if c.Code == code {
			return c.Result, c.Detail
		}
	}
	return "", ""
}

func TestSoundPackageIsValid(t *testing.T) {
	w := newWorld(t)
	r := verify.Document(t.Context(), "合同.ofd", w.build(t), w.options())
	if r.Verdict != verify.Valid || len(r.Findings) != 0 || r.Kind != verify.KindOFD || r.File != "合同.ofd" {
		t.Fatalf("%s", r.Text(verify.English))
	}
	s := r.Signatures[0]
	if s.ID != "s001" || s.Type != "seal" || s.Generation != "v4" || s.ESID != w.info.ESID || s.SealName != w.info.Name ||
		s.Signer != "CN=41030000000001,C=CN" || s.SignedAt != "2026-02-10T00:00:00Z" {
		t.Errorf("%+v", s)
	}
	want := map[string]verify.Result{
		verify.CodeStructure: verify.Pass, verify.CodeReferences: verify.Pass, verify.CodeCoverage: verify.Pass, verify.CodeDocumentDigest: verify.Pass,
		verify.CodeSignatureValue: verify.Pass, verify.CodeSealSignature: verify.Pass, verify.CodeSealCopy: verify.Pass, verify.CodeSignerInList: verify.Pass,
		verify.CodeSignerCertificate: verify.Pass, verify.CodeMakerCertificate: verify.Pass, verify.CodeSigningTime: verify.Pass,
		verify.CodeSealValidity: verify.Pass, verify.CodeTimestamp: verify.NotChecked, verify.CodeRevocation: verify.NotChecked,
		verify.CodeSealStatus: verify.NotChecked, verify.CodePropertyInfo: verify.Pass, verify.CodeCertificateRevocation: verify.NotChecked,
	}
	if len(s.Checks) != len(want) {
		t.Errorf("%d checks, want %d", len(s.Checks), len(want))
	}
	for code, result := range want {
		if got, detail := resultOf(r, code); got != result {
			t.Errorf("%s: %s (%s), want %s", code, got, detail, result)
		}
	}
	if code := verify.ExitCode([]verify.Report{r}); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	without := func(name string) func(string) bool { return func(n string) bool { return n != name } }
	change := func(name, from, to string) func(map[string][]byte) {
		return func(files map[string][]byte) { files[name] = bytes.Replace(files[name], []byte(from), []byte(to), 1) }
	}
	cases := []struct {
		name    string
		edit    func(*testing.T, *world)
		code    string
		result  verify.Result
		verdict verify.Verdict
	}{
		{"page changed", func(_ *testing.T, w *world) { w.after = change(pageFile, "Layer", "layer") }, verify.CodeReferences, verify.Fail, verify.Invalid},
		{"page removed", func(_ *testing.T, w *world) { w.after = func(f map[string][]byte) { delete(f, pageFile) } }, verify.CodeReferences, verify.Fail, verify.Invalid},
		{"page not protected", func(_ *testing.T, w *world) { w.protect = without(pageFile) }, "uncovered-content", verify.Fail, verify.Invalid},
		{"document not protected", func(_ *testing.T, w *world) { w.protect = without("Doc_0/Document.xml") }, verify.CodeCoverage, verify.Fail, verify.Invalid},
		{"image not protected", func(_ *testing.T, w *world) { w.protect = without("Doc_0/Res/image.png") }, "uncovered-resource", verify.Indeterminate, verify.IndeterminateResult},
		{"stray file", func(_ *testing.T, w *world) {
			w.add("Doc_0/stray.bin", "x")
			w.protect = without("Doc_0/stray.bin")
		}, verify.CodeCoverage, verify.Note, verify.Valid},
		{"OFD.xml not protected", func(_ *testing.T, w *world) { w.protect = without("OFD.xml") }, verify.CodeCoverage, verify.Pass, verify.Valid},
		{"no file protected", func(_ *testing.T, w *world) { w.protect = func(string) bool { return false } }, verify.CodeReferences, verify.Fail, verify.Invalid},
		{"page called a seal by another signature", func(_ *testing.T, w *world) {
			w.protect = func(n string) bool { return n != pageFile && n != "Doc_0/Signs/Sign_1/Signature.xml" }
			w.files["Doc_0/Signs/Signatures.xml"] = strings.Replace(listXML, "</ofd:Signatures>", `<ofd:Signature ID="s002" BaseLoc="Sign_1/Signature.xml"/></ofd:Signatures>`, 1)
			w.add("Doc_0/Signs/Sign_1/Signature.xml", `<Signature><SignedInfo><References CheckMethod="SM3"/><Seal><BaseLoc>/`+pageFile+
				`</BaseLoc></Seal></SignedInfo><SignedValue>x</SignedValue></Signature>`)
		}, "uncovered-content", verify.Fail, verify.Invalid},
		{"CheckMethod missing", func(_ *testing.T, w *world) { w.checkMethod = "" }, verify.CodeReferences, verify.Fail, verify.Invalid},
		{"CheckMethod MD5", func(_ *testing.T, w *world) { w.checkMethod = ` CheckMethod="MD5"` }, verify.CodeReferences, verify.Fail, verify.Invalid},
		{"CheckMethod as OID", func(_ *testing.T, w *world) { w.checkMethod = ` CheckMethod="1.2.156.10197.1.401"` }, verify.CodeReferences, verify.Pass, verify.Valid},
		{"description changed", func(_ *testing.T, w *world) { w.after = change(signDir+"Signature.xml", "10 10 40 40", "20 10 40 40") },
			verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		{"other dataHash", func(_ *testing.T, w *world) { w.dataHash = new([32]byte) }, verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		{"seal copy differs", func(_ *testing.T, w *world) { w.copied = func(b []byte) []byte { b[len(b)-1] ^= 1; return b } }, verify.CodeSealCopy, verify.Fail, verify.Invalid},
		{"seal copy missing", func(_ *testing.T, w *world) {
			w.protect = without(signDir + "Seal.esl")
			w.after = func(f map[string][]byte) { delete(f, signDir+"Seal.esl") }
		}, verify.CodeSealCopy, verify.Fail, verify.Invalid},
		{"two References", func(_ *testing.T, w *world) {
			w.signatureXML = func(s string) string {
				return strings.Replace(s, "</ofd:SignedInfo>", "<ofd:References/></ofd:SignedInfo>", 1)
			}
		}, verify.CodeStructure, verify.Fail, verify.Invalid},
		{"reference leaves the package", func(_ *testing.T, w *world) {
			w.signatureXML = func(s string) string { return strings.Replace(s, "/OFD.xml", "/../OFD.xml", 1) }
		}, verify.CodeStructure, verify.Fail, verify.Invalid},
		{"check value is no base64", func(_ *testing.T, w *world) {
			w.signatureXML = func(s string) string {
				return strings.Replace(s, "<ofd:CheckValue>", "<ofd:CheckValue>*", 1)
			}
		}, verify.CodeStructure, verify.Fail, verify.Invalid},
		{"description with a DTD", func(_ *testing.T, w *world) {
			w.signatureXML = func(s string) string { return strings.Replace(s, "?>", `?><!DOCTYPE x>`, 1) }
		}, verify.CodeStructure, verify.Fail, verify.Invalid},
		{"stamp on no page", func(_ *testing.T, w *world) {
			w.signatureXML = func(s string) string { return strings.Replace(s, `PageRef="1"`, `PageRef="7"`, 1) }
		}, "stamp-without-page", verify.Note, verify.Valid},
		{"signer not listed", func(t *testing.T, w *world) {
			p := newParty(t, "other", 9, usageSign, false, &w.root)
			w.signWith = &p
		}, verify.CodeSignerInList, verify.Fail, verify.Invalid},
		{"value by another key", func(t *testing.T, w *world) {
			p := newParty(t, "other", 9, usageSign, false, &w.root)
			w.signWith = &party{key: p.key, der: w.signer.der}
		}, verify.CodeSignatureValue, verify.Fail, verify.Invalid},
		{"signed before the seal", func(_ *testing.T, w *world) { w.at = made.Add(-time.Hour) }, verify.CodeSigningTime, verify.Fail, verify.Invalid},
		{"signed after the seal", func(_ *testing.T, w *world) { w.info.ValidEnd = made.Add(time.Hour) }, verify.CodeSealValidity, verify.Fail, verify.Invalid},
		{"signed in the future", func(_ *testing.T, w *world) { w.at = now.Add(time.Hour) }, verify.CodeSigningTime, verify.Fail, verify.Invalid},
		{"seal ended since", func(_ *testing.T, w *world) { w.info.ValidEnd = made.AddDate(0, 2, 0) }, verify.CodeSealValidity, verify.Note, verify.Valid},
		{"time stamp", func(_ *testing.T, w *world) { w.timestamp = []byte{0x30, 0} }, verify.CodeTimestamp, verify.Fail, verify.Invalid},
		{"signer of an unknown authority", func(t *testing.T, w *world) {
			w.signer = newParty(t, "other", 9, usageSign, false, nil)
			w.info.Certs = [][]byte{w.signer.der}
		}, verify.CodeSignerCertificate, verify.Indeterminate, verify.IndeterminateResult},
		{"signer may not sign", func(t *testing.T, w *world) {
			w.signer = newParty(t, "other", 9, 1<<2, false, &w.root)
			w.info.Certs = [][]byte{w.signer.der}
		}, verify.CodeSignerCertificate, verify.Fail, verify.IndeterminateResult},
		{"maker of an unknown authority", func(t *testing.T, w *world) { w.maker = newParty(t, "other", 9, usageSign, false, nil) },
			verify.CodeMakerCertificate, verify.Indeterminate, verify.IndeterminateResult},
		{"maker not valid when the seal was made", func(_ *testing.T, w *world) { w.info.CreateDate = made.AddDate(-2, 0, 0) },
			verify.CodeMakerCertificate, verify.Fail, verify.IndeterminateResult},
		{"v5", func(_ *testing.T, w *world) { w.info.Version = 5 }, verify.CodeStructure, verify.Pass, verify.Valid},
		{"second document", func(_ *testing.T, w *world) {
			w.files["OFD.xml"] = strings.Replace(ofdXML, "</ofd:OFD>", "<ofd:DocBody><ofd:DocRoot>Doc_1/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>", 1)
			w.add("Doc_1/Document.xml", `<Document><Pages/></Document>`)
		}, "unsigned-document", verify.Indeterminate, verify.IndeterminateResult},
		{"several versions", func(_ *testing.T, w *world) {
			w.files["OFD.xml"] = strings.Replace(ofdXML, "</ofd:DocBody>", `<ofd:Versions><ofd:Version ID="1" Current="true" BaseLoc="x"/></ofd:Versions></ofd:DocBody>`, 1)
		}, "versions", verify.Indeterminate, verify.IndeterminateResult},
		{"relative signature", func(_ *testing.T, w *world) {
			w.files["Doc_0/Signs/Signatures.xml"] = strings.Replace(listXML, "Type=", `Relative="s000" Type=`, 1)
		}, "relative-signature", verify.Indeterminate, verify.IndeterminateResult},
		{"signature listed again from a copied folder", func(_ *testing.T, w *world) {
			w.after = func(files map[string][]byte) {
				for _, n := range []string{"Seal.esl", "Signature.xml", "SignedValue.dat"} {
					files["Doc_0/Signs/Sign_9/"+n] = files[signDir+n]
					w.order = append(w.order, "Doc_0/Signs/Sign_9/"+n)
				}
				change("Doc_0/Signs/Signatures.xml", "</ofd:Signatures>", `<ofd:Signature ID="s002" BaseLoc="Sign_9/Signature.xml"/></ofd:Signatures>`)(files)
			}
		}, "duplicate-signature", verify.Indeterminate, verify.IndeterminateResult},
		{"OFD.xml open, turned to an enclosed draft", func(_ *testing.T, w *world) { encloseDraft(w) }, "another-document", verify.Indeterminate, verify.IndeterminateResult},
		{"DocRoot split by an element", func(_ *testing.T, w *world) {
			w.protect = without("OFD.xml")
			w.after = change("OFD.xml", "Doc_0/Document.xml</", "Doc_0/Document.xml<x>Evil.xml</x></")
		}, "ofd-docroot", verify.Fail, verify.Invalid},
		{"unknown type of signature", func(_ *testing.T, w *world) {
			w.files["Doc_0/Signs/Signatures.xml"] = strings.Replace(listXML, `"Seal"`, `"Stamp"`, 1)
		}, "ofd-signature-type", verify.Fail, verify.Invalid},
		{"page listed but absent", func(_ *testing.T, w *world) {
			w.files["Doc_0/Document.xml"] = strings.Replace(documentXML, "</ofd:Pages>", `<ofd:Page ID="2" BaseLoc="Pages/none.xml"/></ofd:Pages>`, 1)
		}, "page-missing", verify.Indeterminate, verify.IndeterminateResult},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.edit(t, w)
			r := verify.Document(t.Context(), "x.ofd", w.build(t), w.options())
			if got, _ := resultOf(r, c.code); got != c.result || r.Verdict != c.verdict {
				t.Errorf("%s is %q and the verdict %s, want %q and %s\n%s", c.code, got, r.Verdict, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}
