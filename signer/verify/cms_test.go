package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify"
)

// TestSignedDataFiles: SignedData of both families, attached and detached, SM2 and P-256, is judged with the original beside it or inside.
func TestSignedDataFiles(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(*testing.T, *fixture)
		code    string
		result  verify.Result
		verdict verify.Verdict
	}{
		"GM detached":                     {func(*testing.T, *fixture) {}, verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"GM attached":                     {attached, verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"RFC detached":                    {func(_ *testing.T, f *fixture) { f.request.Form = cms.RFC }, verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"RFC attached":                    {func(t *testing.T, f *fixture) { attached(t, f); f.request.Form = cms.RFC }, verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"detached, original not at hand":  {func(_ *testing.T, f *fixture) { f.opts.Content = nil }, verify.CodeDocumentDigest, verify.NotChecked, verify.IndeterminateResult},
		"attached, another original":      {func(t *testing.T, f *fixture) { attached(t, f); f.opts.Content = []byte("x") }, verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		"attached, content changed":       {func(t *testing.T, f *fixture) { attached(t, f); f.spoil = spoilt("演示原文", "演示原件") }, verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		"without a signing time":          {func(_ *testing.T, f *fixture) { f.request.SigningTime = time.Time{} }, verify.CodeSigningTime, verify.Pass, verify.Valid},
		"without time and stamp":          {func(_ *testing.T, f *fixture) { f.request.SigningTime, f.stamp = time.Time{}, nil }, verify.CodeSigningTime, verify.NotChecked, verify.Valid},
		"without certificates":            {func(_ *testing.T, f *fixture) { f.request.WithoutCertificates = true }, verify.CodeSignerCertificate, verify.Indeterminate, verify.IndeterminateResult},
		"in BER with indefinite length":   {func(_ *testing.T, f *fixture) { f.spoil = indefinite }, verify.CodeStructure, verify.Note, verify.Valid},
		"signer's certificate gone since": {revoked(3, time.Hour), verify.CodeCertificateRevocation, verify.Note, verify.Valid},
		"the list ran out": {func(t *testing.T, f *fixture) {
			f.opts.CRLs = [][]byte{list(t, f.root, now.AddDate(0, -2, 0), now.AddDate(0, -1, 0), nil)}
		}, verify.CodeCertificateRevocation, verify.NotChecked, verify.Valid},
		"a digest in its place": {func(_ *testing.T, f *fixture) { inPlace(f, "1.2.156.10197.1.401", f.content) }, verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"a digest of another":   {func(_ *testing.T, f *fixture) { inPlace(f, "1.2.156.10197.1.401", []byte("x")) }, verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		"a digest by another algorithm": {func(_ *testing.T, f *fixture) { inPlace(f, "2.16.840.1.101.3.4.2.1", f.content) }, verify.CodeDocumentDigest, verify.Indeterminate,
			verify.IndeterminateResult},
		"the list is a stranger's": {func(t *testing.T, f *fixture) {
			f.opts.CRLs = [][]byte{list(t, newParty(t, "演示根", 8, usageCA, true, nil), now, now.Add(time.Hour), map[int64]time.Time{3: made})}
		}, verify.CodeCertificateRevocation, verify.NotChecked, verify.Valid},
		"the list cannot be read": {func(_ *testing.T, f *fixture) { f.opts.CRLs = [][]byte{[]byte("x")} }, "crl", verify.Indeterminate, verify.IndeterminateResult},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.signedData(t)
			c.edit(t, f)
			r := f.judge(t)
			if got, _ := resultOf(r, c.code); got != c.result || r.Verdict != c.verdict || r.Kind != verify.KindCMS {
				t.Errorf("%s is %s, want %s, %s\n%s", c.code, got, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}

func attached(_ *testing.T, f *fixture) { f.request.Content, f.opts.Content = f.content, nil }

func spoilt(from, to string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(from), []byte(to), 1) }
}

// indefinite writes the outermost SEQUENCE with indefinite length.
func indefinite(der []byte) []byte {
	return append(append([]byte{0x30, 0x80}, der[4:]...), 0, 0)
}

// TestP256SignedData: a P-256 document key under the SM2 root, and SHA-256 over the original.
func TestP256SignedData(t *testing.T) {
	f := newFixture(t)
	f.signedData(t)
	key, cert := ecdsaParty(t, f, 12)
	d, err := cms.Prepare(cms.Request{Form: cms.RFC, Algorithm: cms.ECDSAP256, Certificate: cert, Digest: sha256.Sum256(f.content), SigningTime: f.at})
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(d.Attributes())
	value, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := d.Assemble(value, f.stamp(value))
	if err != nil {
		t.Fatal(err)
	}
	r := verify.Document(t.Context(), "x.p7s", der, f.opts)
	if r.Verdict != verify.Valid || r.Signatures[0].Generation != "cms" || r.Signatures[0].Signer != "CN=演示文件签名" {
		t.Error(r.Text(verify.English))
	}
	f.opts.Roots, f.opts.DocumentRoots, f.opts.TimestampRoots = nil, f.opts.Roots, f.opts.Roots
	if r := verify.Document(t.Context(), "x.p7s", der, f.opts); r.Verdict != verify.Valid {
		t.Errorf("under an anchor for documents alone: %s", r.Text(verify.English))
	}
	f.opts.Content = []byte("x")
	if r := verify.Document(t.Context(), "x.p7s", der, f.opts); r.Verdict != verify.Invalid {
		t.Error(r.Text(verify.English))
	}
}

// TestSignaturesWithoutSeal: the three forms of Type="Sign" seen in service.
func TestSignaturesWithoutSeal(t *testing.T) {
	digestInside := func(t *testing.T, f *fixture) func([]byte) []byte {
		return func(xml []byte) []byte {
			return f.enclose(t, xml, func(r *cms.Request) { r.DigestContent = true })
		}
	}
	detached := func(t *testing.T, f *fixture) func([]byte) []byte {
		return func(xml []byte) []byte { return f.enclose(t, xml, nil) }
	}
	bare := func(t *testing.T, f *fixture) func([]byte) []byte {
		return func(xml []byte) []byte {
			value, err := f.signer.key.Sign(xml)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	pinned := func(f *fixture) { f.opts.Signers = []*gm.Certificate{f.maker.cert, f.signer.cert} }
	wrong := func(form func(*testing.T, *fixture) func([]byte) []byte) func(*testing.T, *fixture) func([]byte) []byte {
		return func(t *testing.T, f *fixture) func([]byte) []byte {
			make := form(t, f)
			return func(xml []byte) []byte { return make(append(bytes.Clone(xml), ' ')) }
		}
	}
	for name, c := range map[string]struct {
		form       func(*testing.T, *fixture) func([]byte) []byte
		edit       func(*fixture)
		generation string
		code       string
		result     verify.Result
		verdict    verify.Verdict
	}{
		"the digest inside":                      {digestInside, nil, "cms", verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"the digest of another inside":           {wrong(digestInside), nil, "cms", verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		"detached with attributes":               {detached, nil, "cms", verify.CodeDocumentDigest, verify.Pass, verify.Valid},
		"detached over another":                  {wrong(detached), nil, "cms", verify.CodeDocumentDigest, verify.Fail, verify.Invalid},
		"a bare value, its certificate at hand":  {bare, pinned, "bare", verify.CodeSignatureValue, verify.Pass, verify.Valid},
		"a bare value, no certificate":           {bare, nil, "bare", verify.CodeSignatureValue, verify.NotChecked, verify.IndeterminateResult},
		"a bare value over another":              {wrong(bare), pinned, "bare", verify.CodeSignatureValue, verify.NotChecked, verify.IndeterminateResult},
		"a value that is neither":                {func(*testing.T, *fixture) func([]byte) []byte { return func([]byte) []byte { return []byte{5, 0} } }, nil, "cms", verify.CodeStructure, verify.Fail, verify.Invalid},
		"a page changed under a sound value":     {detached, func(f *fixture) { addAfter(f, pageFile, "<changed/>") }, "cms", verify.CodeReferences, verify.Fail, verify.Invalid},
		"the issuer's revoked signer":            {detached, nil, "cms", verify.CodeCertificateRevocation, verify.Fail, verify.Invalid},
		"a bare value's signer has been revoked": {bare, pinned, "bare", verify.CodeCertificateRevocation, verify.Fail, verify.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if strings.Contains(name, "revoked") {
				revoked(3, -time.Hour)(t, f)
			}
			f.asSign(c.form(t, f))
			if c.edit != nil {
				c.edit(f)
			}
			r := f.judge(t)
			got, _ := resultOf(r, c.code)
			if s := r.Signatures[0]; got != c.result || r.Verdict != c.verdict || s.Generation != c.generation || s.Type != "sign" ||
				s.Verdicts.SealOffline != verify.NotApplicable || s.Verdicts.SealStatus != verify.NotApplicable {
				t.Errorf("%s is %s, want %s, %s\n%s", c.code, got, c.result, c.verdict, r.Text(verify.English))
			}
		})
	}
}

func addAfter(f *fixture, name, content string) {
	before := f.after
	f.after = func(files map[string][]byte) {
		before(files)
		files[name] = []byte(content)
	}
}

// TestStampsDecideTheTime: a stamp takes the place of the signer's own clock. A signature that was stamped while its certificate was good stays
// good after the certificate ended or was revoked; without a stamp the signer's word alone says so.
func TestStampsDecideTheTime(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*testing.T, *fixture)
		code   string
		result verify.Result
	}{
		"stamped before it was revoked":    {revoked(3, 2*time.Minute), verify.CodeCertificateRevocation, verify.Note},
		"stamped after it was revoked":     {revoked(3, 30*time.Second), verify.CodeCertificateRevocation, verify.Fail},
		"the stamp of v5":                  {func(t *testing.T, f *fixture) { f.v5(t, stamper(t, f.tsa, made.Add(time.Minute))) }, verify.CodeSealTimestamp, verify.Pass},
		"no stamp":                         {func(_ *testing.T, f *fixture) { f.stamp = nil }, verify.CodeTimestamp, verify.NotChecked},
		"an authority of another root":     {otherRoot, verify.CodeTimestamp, verify.Pass},
		"maker of v4 revoked before use":   {revoked(2, -time.Hour), verify.CodeCertificateRevocation, verify.Fail},
		"maker of v5 revoked after making": {func(t *testing.T, f *fixture) { f.info.Version = 5; revoked(2, -time.Hour)(t, f) }, verify.CodeCertificateRevocation, verify.Note},
		"a list of digests": {func(t *testing.T, f *fixture) {
			f.made = func(b []byte) []byte { return digestList(t, f, b, gm.SM3(f.signer.der)) }
		}, verify.CodeSignerInList, verify.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c.edit(t, f)
			r := f.judge(t)
			want := verify.Valid
			if c.result == verify.Fail {
				want = verify.Invalid
			}
			if got, _ := resultOf(r, c.code); got != c.result || r.Verdict != want {
				t.Errorf("%s is %s, want %s\n%s", c.code, got, c.result, r.Text(verify.English))
			}
		})
	}
}

// otherRoot gives the time stamps a trust anchor of their own.
func otherRoot(t *testing.T, f *fixture) {
	root := newParty(t, "演示时间戳根", 8, usageCA, true, nil)
	f.stamp = stamper(t, newPartyWith(t, "演示时间戳", 9, usageSign, false, &root, purpose), f.at.Add(time.Minute))
	f.opts.TimestampRoots = []*gm.Certificate{root.cert}
}

const entriesXML = `<ofd:DocEntries xmlns:ofd="http://www.ofdspec.org/2016" ID="1" CreatorName="x" Version="1"><ofd:SignedValueLoc>/signedvalue.dat</ofd:SignedValueLoc>` +
	`<ofd:FileList>FILES</ofd:FileList></ofd:DocEntries>`

// TestIntegrityList: OFDEntries.xml is a signature over the set of files.
func TestIntegrityList(t *testing.T) {
	whole := func(files map[string][]byte) map[string]string {
		out := map[string]string{}
		for name := range files {
			out[name] = "/" + name
		}
		return out
	}
	for name, c := range map[string]struct {
		edit   func(files map[string][]byte, listed map[string]string)
		value  func(f *fixture, xml []byte) []byte
		code   string
		result verify.Result
	}{
		"sound":                  {nil, nil, verify.CodeReferences, verify.Pass},
		"a file smuggled in":     {func(files map[string][]byte, _ map[string]string) { files["Doc_0/x.bin"] = []byte("x") }, nil, verify.CodeReferences, verify.Fail},
		"a file taken out":       {func(_ map[string][]byte, l map[string]string) { l["Doc_0/x.bin"] = "/Doc_0/x.bin" }, nil, verify.CodeReferences, verify.Fail},
		"a path out of it":       {func(_ map[string][]byte, l map[string]string) { l["x"] = "/../x" }, nil, verify.CodeStructure, verify.Fail},
		"the value over another": {nil, func(f *fixture, _ []byte) []byte { return f.enclose(t, []byte("x"), nil) }, verify.CodeDocumentDigest, verify.Fail},
		"the value is none":      {nil, func(*fixture, []byte) []byte { return []byte("x") }, verify.CodeStructure, verify.Fail},
		"the value is not there": {nil, func(*fixture, []byte) []byte { return nil }, verify.CodeStructure, verify.Fail},
		"the digest in SignedData": {nil, func(f *fixture, xml []byte) []byte {
			return f.enclose(t, xml, func(r *cms.Request) { r.DigestContent = true })
		}, verify.CodeDocumentDigest, verify.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.after = func(files map[string][]byte) {
				listed := whole(files)
				if c.edit != nil {
					c.edit(files, listed)
				}
				var list strings.Builder
				for _, loc := range listed {
					list.WriteString(`<ofd:File ID="1" FileLoc="` + loc + `"/>`)
				}
				xml := []byte(strings.Replace(entriesXML, "FILES", list.String(), 1))
				files["OFDEntries.xml"], files["signedvalue.dat"] = xml, f.enclose(t, xml, nil)
				if c.value != nil {
					if files["signedvalue.dat"] = c.value(f, xml); files["signedvalue.dat"] == nil {
						delete(files, "signedvalue.dat")
					}
				}
				for name := range files {
					if _, ok := f.files[name]; !ok {
						f.order = append(f.order, name)
					}
				}
			}
			r := f.judge(t)
			var got verify.Result
			for _, s := range r.Signatures {
				for _, check := range s.Checks {
					if s.ID == "OFDEntries.xml" && check.Code == c.code {
						got = check.Result
					}
				}
			}
			want := verify.Valid
			if c.result == verify.Fail {
				want = verify.Invalid
			}
			if got != c.result || r.Verdict != want {
				t.Errorf("%s is %q, want %s, %s\n%s", c.code, got, c.result, want, r.Text(verify.English))
			}
		})
	}
}

// inPlace gives the verifier SM3 of a content and not the content, under the name of an algorithm.
func inPlace(f *fixture, oid string, content []byte) {
	d := gm.SM3(content)
	f.opts.Content, f.opts.Digests = nil, map[string][]byte{oid: d[:]}
}
