package verify_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

// TestLateResource: a document may name a resource that is not there when it is signed. Whoever puts one there afterwards cannot excuse it as
// the seal of a further signature, however sound that signature is.
func TestLateResource(t *testing.T) {
	const late, elsewhere, second = "Doc_0/Res/late.png", "Doc_1/late.png", "Doc_0/Signs/Sign_1/"
	for name, c := range map[string]struct {
		late string // where it is
		seal string // what the further signature says
		root string // further documents of OFD.xml
	}{
		"left alone":                   {late, "", ""},
		"called its seal":              {late, "<Seal><BaseLoc>/" + late + "</BaseLoc></Seal>", ""},
		"in another document's folder": {elsewhere, "", "<ofd:DocBody><ofd:DocRoot>Doc_1/Document.xml</ofd:DocRoot></ofd:DocBody>"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.files["Doc_0/PublicRes.xml"] = strings.Replace(resXML, "image.png", "/"+c.late, 1)
			if r := f.judge(t); r.Verdict != verify.Valid {
				t.Fatalf("without the resource: %s", r.Text(verify.English))
			}
			f = newFixture(t)
			f.files["Doc_0/PublicRes.xml"] = strings.Replace(resXML, "image.png", "/"+c.late, 1)
			f.protect = func(name string) bool { return name != "OFD.xml" && name != "Doc_1/Document.xml" }
			f.files["OFD.xml"] = strings.Replace(ofdXML, "</ofd:OFD>", c.root+"</ofd:OFD>", 1)
			f.add("Doc_1/Document.xml", "<Document><Pages/></Document>")
			f.files["Doc_0/Signs/Signatures.xml"] = strings.Replace(listXML, "</ofd:Signatures>",
				`<ofd:Signature ID="s002" Type="Sign" BaseLoc="Sign_1/Signature.xml"/></ofd:Signatures>`, 1)
			f.after = func(files map[string][]byte) {
				files[c.late] = []byte("another picture")
				var refs strings.Builder
				for name, b := range files {
					if d := gm.SM3(b); name != "Doc_0/Signs/Signatures.xml" {
						fmt.Fprintf(&refs, `<Reference FileRef="/%s"><CheckValue>%s</CheckValue></Reference>`, name, base64.StdEncoding.EncodeToString(d[:]))
					}
				}
				xml := []byte(`<Signature><SignedInfo><References CheckMethod="SM3">` + refs.String() + `</References>` + c.seal +
					`</SignedInfo><SignedValue>SignedValue.dat</SignedValue></Signature>`)
				files[second+"Signature.xml"], files[second+"SignedValue.dat"] = xml, f.enclose(t, xml, nil)
				f.order = append(f.order, c.late, second+"Signature.xml", second+"SignedValue.dat")
			}
			r := f.judge(t)
			if len(r.Signatures) != 2 || r.Signatures[1].Verdicts.Document != verify.IndeterminateResult && r.Signatures[1].Verdicts.Document != verify.Valid {
				t.Fatalf("the further signature: %s", r.Text(verify.English))
			}
			if got, _ := resultOf(r, "uncovered-resource"); got != verify.Indeterminate || r.Verdict != verify.IndeterminateResult {
				t.Errorf("uncovered-resource is %q and the verdict %s\n%s", got, r.Verdict, r.Text(verify.English))
			}
		})
	}
}
