package ofd

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"sealkeeper/internal/gm"
)

var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func testRequest(stamps ...Stamp) Request {
	return Request{Stamps: stamps, Seal: []byte("opaque seal, 示例"), SignatureTime: testTime, ProviderName: "Sealkeeper", ProviderVersion: "0.1", ProviderCompany: "示例"}
}

var testStamp = Stamp{Page: 1, X: 10, Y: 10, W: 30, H: 30}

// sealOnce seals the first page of a document with an opaque value.
func sealOnce(doc []byte) ([]byte, error) {
	p, err := Open(doc, Limits{})
	if err != nil {
		return nil, err
	}
	d, err := p.Prepare(testRequest(testStamp))
	if err != nil {
		return nil, err
	}
	return d.Embed([]byte("opaque signed value"))
}

// file is one entry of a fixture.
type file struct{ name, data string }

const (
	fixtureOFD = `<?xml version="1.0" encoding="UTF-8"?>
<ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016" DocType="OFD" Version="1.1"><ofd:DocBody><ofd:DocInfo><ofd:DocID>1</ofd:DocID></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>`
	fixtureDocument = `<ofd:Document xmlns:ofd="http://www.ofdspec.org/2016"><ofd:CommonData><ofd:PageArea><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:PageArea></ofd:CommonData>` +
		`<ofd:Pages><ofd:Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/><ofd:Page ID="7" BaseLoc="/Doc_0/Pages/Page_1/Content.xml"/></ofd:Pages></ofd:Document>`
	fixturePage  = `<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Content/></ofd:Page>`
	fixtureSmall = `<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Area><ofd:PhysicalBox>10 10 100 50</ofd:PhysicalBox></ofd:Area></ofd:Page>`
)

// fixture is a two-page document, 210×297 mm and 100×50 mm, with files replaced or added.
func fixture(t testing.TB, changes ...file) []byte {
	t.Helper()
	files := []file{{"OFD.xml", fixtureOFD}, {"Doc_0/Document.xml", fixtureDocument}, {"Doc_0/Pages/Page_0/Content.xml", fixturePage},
		{"Doc_0/Pages/Page_1/Content.xml", fixtureSmall}}
	for _, c := range changes {
		found := false
		for i := range files {
			if files[i].name == c.name {
				files[i], found = c, true
			}
		}
		if !found {
			files = append(files, c)
		}
	}
	return packed(t, files...)
}

// packed writes files as a package, deflated, with data descriptors.
func packed(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		e, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(e, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpacked is a package as the standard library sees it, in directory order. It shares no code with the package under test.
type unpacked struct {
	names []string
	data  map[string][]byte // by name as text
	raw   map[string][]byte // compressed bytes
}

func unpack(t testing.TB, b []byte) unpacked {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("the standard library cannot read the package: %v", err)
	}
	u := unpacked{data: map[string][]byte{}, raw: map[string][]byte{}}
	for _, f := range r.File {
		name := f.Name
		if f.NonUTF8 {
			if text, err := simplifiedchinese.GBK.NewDecoder().String(name); err == nil {
				name = text
			}
		}
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc) // also checks the CRC
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rr, err := f.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(rr)
		if err != nil {
			t.Fatal(err)
		}
		u.names, u.data[name], u.raw[name] = append(u.names, f.Name), data, raw
	}
	return u
}

// The parts of a signed package, as encoding/xml maps them.
type (
	xmlRoot struct {
		Bodies []struct {
			DocRoot    string
			Signatures []string
		} `xml:"DocBody"`
	}
	xmlList struct {
		MaxSignID  []string `xml:"MaxSignId"`
		Signatures []struct {
			ID      string `xml:"ID,attr"`
			Type    string `xml:"Type,attr"`
			BaseLoc string `xml:"BaseLoc,attr"`
		} `xml:"Signature"`
	}
	xmlSignature struct {
		XMLName    xml.Name
		SignedInfo struct {
			Provider struct {
				Name    string `xml:"ProviderName,attr"`
				Version string `xml:"Version,attr"`
				Company string `xml:"Company,attr"`
			}
			SignatureMethod   string
			SignatureDateTime string
			References        struct {
				CheckMethod string `xml:"CheckMethod,attr"`
				Reference   []struct {
					FileRef    string `xml:"FileRef,attr"`
					CheckValue string
				}
			}
			StampAnnot []struct {
				ID       string `xml:"ID,attr"`
				PageRef  string `xml:"PageRef,attr"`
				Boundary string `xml:"Boundary,attr"`
				Clip     string `xml:"Clip,attr"`
			}
			Seal struct{ BaseLoc string }
		}
		SignedValue string
	}
)

func parse[T any](t testing.TB, u unpacked, name string) T {
	t.Helper()
	var v T
	b, ok := u.data[name]
	if !ok {
		t.Fatalf("no %s in the package", name)
	}
	if err := xml.Unmarshal(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")), &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// at resolves a location the way the standard says, independently of the package under test.
func at(by, loc string) string {
	if strings.HasPrefix(loc, "/") {
		return path.Clean(loc)[1:]
	}
	return path.Join(path.Dir(by), loc)
}

// signed lists what a sealed package holds, having checked every Reference of every signature.
type signed struct {
	list     xmlList
	listName string
	names    []string // of the Signature.xml parts
	sigs     []xmlSignature
}

func readSigned(t testing.TB, u unpacked) signed {
	t.Helper()
	root := parse[xmlRoot](t, u, "OFD.xml")
	if len(root.Bodies[0].Signatures) != 1 {
		t.Fatalf("OFD.xml names %d lists", len(root.Bodies[0].Signatures))
	}
	s := signed{listName: at("OFD.xml", root.Bodies[0].Signatures[0])}
	s.list = parse[xmlList](t, u, s.listName)
	for _, e := range s.list.Signatures {
		name := at(s.listName, e.BaseLoc)
		sig := parse[xmlSignature](t, u, name)
		for _, r := range sig.SignedInfo.References.Reference {
			data, ok := u.data[at(name, r.FileRef)]
			digest := gm.SM3(data)
			if !ok || base64.StdEncoding.EncodeToString(digest[:]) != r.CheckValue {
				t.Errorf("%s: reference %s does not hold", name, r.FileRef)
			}
		}
		s.names, s.sigs = append(s.names, name), append(s.sigs, sig)
	}
	return s
}

// uncovered lists the files that signature i does not protect.
func (s signed) uncovered(u unpacked, i int) []string {
	covered := map[string]bool{}
	for _, r := range s.sigs[i].SignedInfo.References.Reference {
		covered[at(s.names[i], r.FileRef)] = true
	}
	var out []string
	for name := range u.data {
		if !covered[name] && !strings.HasSuffix(name, "/") {
			out = append(out, name)
		}
	}
	return out
}

// seal is open, prepare and embed with an own value.
func seal(t testing.TB, doc []byte, value string, stamps ...Stamp) ([]byte, *Draft) {
	t.Helper()
	p, err := Open(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Prepare(testRequest(stamps...))
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Embed([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return out, d
}

func hexDigest(d [32]byte) string { return fmt.Sprintf("%x", d) }
