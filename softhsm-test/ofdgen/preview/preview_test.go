package preview_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/ofdgen/preview"
)

const namespace = `xmlns:ofd="http://www.ofdspec.org/2016"`

// signed adds to a three-page document two signatures: one stamp on page 3 with
// a copy of its seal, and a riding stamp over all pages without one.
func signed(t testing.TB) []byte {
	ids := make([]string, 0, 3)
	return rewrite(t, ofdgen.Document("预览", 3), func(name, content string) string {
		for _, m := range regexp.MustCompile(`<ofd:Page ID="(\d+)"`).FindAllStringSubmatch(content, -1) {
			ids = append(ids, m[1])
		}
		if name == "OFD.xml" {
			return strings.Replace(content, "</ofd:DocBody>", "<ofd:Signatures>/Doc_0/Signs/Signatures.xml</ofd:Signatures></ofd:DocBody>", 1)
		}
		return content
	}, func() map[string]string { return signatures(ids) })
}

// signatures are the files of the two signatures, over pages of these ids.
func signatures(ids []string) map[string]string {
	return map[string]string{
		"Doc_0/Signs/Signatures.xml": `<ofd:Signatures ` + namespace + `><ofd:Signature ID="1" BaseLoc="/Doc_0/Signs/Sign_0/Signature.xml"/>` +
			`<ofd:Signature ID="3" BaseLoc="Sign_1/Signature.xml"/></ofd:Signatures>`,
		"Doc_0/Signs/Sign_0/Signature.xml": `<ofd:Signature ` + namespace + `><ofd:SignedInfo>` +
			`<ofd:StampAnnot ID="2" PageRef="` + ids[2] + `" Boundary="62 218 40 40"/><ofd:Seal><ofd:BaseLoc>Seal.esl</ofd:BaseLoc></ofd:Seal>` +
			`</ofd:SignedInfo><ofd:SignedValue>SignedValue.dat</ofd:SignedValue></ofd:Signature>`,
		"Doc_0/Signs/Sign_0/Seal.esl": "copy of the seal",
		"Doc_0/Signs/Sign_1/Signature.xml": `<ofd:Signature ` + namespace + `><ofd:SignedInfo>` +
			`<ofd:StampAnnot ID="4" PageRef="` + ids[0] + `" Boundary="196.5 100 40 40" Clip="0 0 13.5 40"/>` +
			`<ofd:StampAnnot ID="5" PageRef="` + ids[1] + `" Boundary="183 100 40 40" Clip="13.5 0 13.5 40"/>` +
			`</ofd:SignedInfo><ofd:SignedValue>/Doc_0/Signs/Sign_1/SignedValue.dat</ofd:SignedValue></ofd:Signature>`,
		"Doc_0/Signs/Sign_1/SignedValue.dat": "value with the seal",
	}
}

func TestPlain(t *testing.T) {
	pages, err := preview.Pages(ofdgen.Document("预览 & <标题>", 2, "第一段", "第二段"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) != 2 {
		t.Fatalf("%d pages, want 2", len(pages))
	}
	for i, p := range pages {
		if p.Number != i+1 || p.WidthMM != 210 || p.HeightMM != 297 {
			t.Errorf("page %d is number %d, %g × %g mm", i+1, p.Number, p.WidthMM, p.HeightMM)
		}
		texts := wellFormed(t, p.SVG)
		for _, want := range []string{"演示数据", fmt.Sprintf("第 %d 页　共 2 页", i+1), []string{"第一段", "第二段"}[i]} {
			if !strings.Contains(texts, want) {
				t.Errorf("page %d does not show %q", i+1, want)
			}
		}
		if strings.Contains(p.SVG, "<image") {
			t.Errorf("page %d shows a stamp", i+1)
		}
	}
	for _, want := range []string{
		`<text font-family="&#39;宋体&#39;,`,                 // by way of PublicRes
		`stroke="rgb(176,32,32)" stroke-width="0.3"`,       // by way of DocumentRes
		`matrix(0.8192 -0.5736 0.5736 0.8192 45 195)`,      // the watermark
		`fill-opacity="0.11"`,                              //
		`x="0 4.211 8.422"`,                                // three characters by DeltaX
		`<g transform="translate(33.421 56)">`,             // the first paragraph, indented
		`<path d="M 0 0.5 L 160 0.5" fill="none" stroke="`, // a rule
	} {
		if !strings.Contains(pages[0].SVG, want) {
			t.Errorf("page 1 lacks %s", want)
		}
	}
}

func TestStamps(t *testing.T) {
	var asked []string
	pages, err := preview.Pages(signed(t), func(name string, data []byte) ([]byte, string) {
		asked = append(asked, name+": "+string(data))
		return []byte("picture of " + name), "image/png"
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/Doc_0/Signs/Sign_0/Seal.esl: copy of the seal", "/Doc_0/Signs/Sign_1/SignedValue.dat: value with the seal"}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	href := func(text string) string {
		return "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte(text))
	}
	for i, want := range []string{
		`<svg x="196.5" y="100" width="13.5" height="40" viewBox="0 0 13.5 40" `,
		`<svg x="196.5" y="100" width="13.5" height="40" viewBox="13.5 0 13.5 40" `,
		`<svg x="62" y="218" width="40" height="40" viewBox="0 0 40 40" `,
	} {
		wellFormed(t, pages[i].SVG)
		if strings.Count(pages[i].SVG, want) != 1 || strings.Count(pages[i].SVG, "<image ") != 1 {
			t.Errorf("page %d lacks %s", i+1, want)
		}
	}
	if !strings.Contains(pages[2].SVG, href("picture of /Doc_0/Signs/Sign_0/Seal.esl")) {
		t.Error("page 3 does not show the picture it was given")
	}
}

// TestNoPicture: a stamp whose picture nobody has is shown as a frame.
func TestNoPicture(t *testing.T) {
	for name, picture := range map[string]preview.Picture{
		"no function": nil,
		"no picture":  func(string, []byte) ([]byte, string) { return nil, "" },
	} {
		t.Run(name, func(t *testing.T) {
			pages, err := preview.Pages(signed(t), picture)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(pages[2].SVG, "stroke-dasharray") || strings.Contains(pages[2].SVG, "<image") {
				t.Error("page 3 shows no frame")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	without := func(missing string) []byte {
		return rewrite(t, signed(t), func(name, content string) string {
			if name == missing {
				return ""
			}
			return content
		}, nil)
	}
	changed := func(part, from, to string) []byte {
		return rewrite(t, signed(t), func(name, content string) string {
			if name == part {
				return strings.Replace(content, from, to, 1)
			}
			return content
		}, nil)
	}
	huge := rewrite(t, signed(t), func(name, content string) string {
		if name == "Doc_0/Document.xml" {
			return content + strings.Repeat(" ", 17<<20)
		}
		return content
	}, nil)
	cases := []struct {
		name string
		ofd  []byte
	}{
		{"nothing", nil},
		{"no zip", []byte("PK but no more")},
		{"no OFD.xml", without("OFD.xml")},
		{"no document", without("Doc_0/Document.xml")},
		{"no page", without("Doc_0/Pages/Page_1/Content.xml")},
		{"broken resources", changed("Doc_0/PublicRes.xml", "</ofd:Fonts>", "")},
		{"no list of signatures", without("Doc_0/Signs/Signatures.xml")},
		{"no signature", without("Doc_0/Signs/Sign_1/Signature.xml")},
		{"no seal", without("Doc_0/Signs/Sign_0/Seal.esl")},
		{"no XML", changed("OFD.xml", "<ofd:OFD", "ofd:OFD")},
		{"no body", changed("OFD.xml", "DocBody", "Body")},
		{"unknown entity", changed("Doc_0/Pages/Page_0/Content.xml", "演示数据", "&bomb;")},
		{"Boundary without height", changed("Doc_0/Signs/Sign_0/Signature.xml", "62 218 40 40", "62 218 40")},
		{"Boundary of no area", changed("Doc_0/Signs/Sign_0/Signature.xml", "62 218 40 40", "62 218 40 0")},
		{"too much content", huge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pages, err := preview.Pages(c.ofd, func(string, []byte) ([]byte, string) { return nil, "" })
			if !errors.Is(err, preview.ErrPackage) || pages != nil {
				t.Errorf("%d pages, error %v", len(pages), err)
			}
		})
	}
}

// TestSamples draws documents of other products as far as they go.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root(t), "../shared/samples/documents/ofd/*.ofd"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no samples: ../shared/samples/documents/ofd is absent")
	}
	drawn := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages, err := preview.Pages(data, nil)
		if err != nil {
			t.Logf("%s: %v", filepath.Base(file), err)
			continue
		}
		drawn++
		for _, p := range pages {
			wellFormed(t, p.SVG)
		}
	}
	if drawn*10 < len(files)*8 {
		t.Errorf("drew %d of %d samples", drawn, len(files))
	}
}

// FuzzPages: whatever is drawn is well-formed, and nothing stops the program.
func FuzzPages(f *testing.F) {
	f.Add("62 218 40 40", "0 0 13.5 40", "1 0 0 1 0 0", "g 3 4.2", "M 0 0 L 5 5 C", "文")
	f.Add("1e300 NaN 1 1", "-1 -1", "x", "g 999999999 1", "A 1 1 0 0 1 5 5", `"/><script>`)
	base := signed(f)
	f.Fuzz(func(t *testing.T, boundary, clip, ctm, delta, path, text string) {
		attr := func(s string) string {
			var out strings.Builder
			if err := xml.EscapeText(&out, []byte(s)); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		ofd := rewrite(t, base, func(name, content string) string {
			switch name {
			case "Doc_0/Pages/Page_0/Content.xml":
				return strings.Replace(content, `</ofd:Content>`, fmt.Sprintf(
					`<ofd:Layer><ofd:TextObject Boundary="0 0 9 9" CTM="%s" Font="1" Size="4"><ofd:TextCode DeltaX="%s">%s</ofd:TextCode></ofd:TextObject>`+
						`<ofd:PathObject Boundary="%s"><ofd:AbbreviatedData>%s</ofd:AbbreviatedData></ofd:PathObject></ofd:Layer></ofd:Content>`,
					attr(ctm), attr(delta), attr(text), attr(boundary), attr(path)), 1)
			case "Doc_0/Signs/Sign_1/Signature.xml":
				content = strings.Replace(content, "196.5 100 40 40", attr(boundary), 1)
				return strings.Replace(content, "0 0 13.5 40", attr(clip), 1)
			case "Doc_0/PublicRes.xml":
				return strings.Replace(content, "宋体", attr(text), 1)
			}
			return content
		}, nil)
		pages, err := preview.Pages(ofd, nil)
		if err != nil {
			return
		}
		for _, p := range pages {
			wellFormed(t, p.SVG)
		}
	})
}

// rewrite copies a package, each part changed by edit (an empty part is left
// out), with more parts behind.
func rewrite(t testing.TB, ofd []byte, edit func(name, content string) string, more func() map[string]string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	add := func(name, content string) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range r.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if content := edit(f.Name, string(data)); content != "" {
			add(f.Name, content)
		}
	}
	if more != nil {
		files := more()
		for _, name := range slices.Sorted(maps.Keys(files)) {
			add(name, files[name])
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// wellFormed reads svg to its end and returns the text in it.
func wellFormed(t *testing.T, svg string) string {
	t.Helper()
	var text strings.Builder
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("SVG: %v in %.200s", err, svg)
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
			text.WriteByte('\n')
		case xml.StartElement:
			if token.Name.Local == "script" {
				t.Fatal("a script element got in")
			}
		}
	}
}

// root is the directory of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}
