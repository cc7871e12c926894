package ofd

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/placement"
)

const placementVector = "6a6b237ddbc565c06c4381d60beb1b09d2cb7e5a2313da48435af5377461589f"

func TestPages(t *testing.T) {
	p, err := Open(fixture(t), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Page{{1, "1", 210, 297}, {2, "7", 100, 50}}
	if got := p.Pages(); !slices.Equal(got, want) {
		t.Errorf("pages %v, want %v", got, want)
	}
}

// TestLayout holds a first signature against the facts of the container: folders, IDs, what is protected and what is not.
func TestLayout(t *testing.T) {
	clip := &Rect{X: 0, Y: 0, W: 8, H: 40}
	sealed, d := seal(t, fixture(t), "value", Stamp{Page: 2, X: 10, Y: 5.25, W: 40, H: 40}, Stamp{Page: 1, X: 202, Y: 100, W: 40, H: 40, Clip: clip})
	u := unpack(t, sealed)
	s := readSigned(t, u)

	if s.listName != "Doc_0/Signs/Signatures.xml" || len(s.list.Signatures) != 1 {
		t.Fatalf("list %s with %d signatures", s.listName, len(s.list.Signatures))
	}
	if e := s.list.Signatures[0]; e.ID != "s001" || e.Type != "Seal" || e.BaseLoc != "/Doc_0/Signs/Sign_0/Signature.xml" {
		t.Errorf("list entry %+v", e)
	}
	if !slices.Equal(s.list.MaxSignID, []string{"s003"}) {
		t.Errorf("MaxSignId %q, want the last of one signature and two annotations", s.list.MaxSignID)
	}
	info := s.sigs[0].SignedInfo
	if info.Provider.Name != "Sealkeeper" || info.Provider.Version != "0.1" || info.Provider.Company != "示例" {
		t.Errorf("provider %+v", info.Provider)
	}
	if info.SignatureMethod != "1.2.156.10197.1.501" || info.SignatureDateTime != "20260304050607Z" || info.References.CheckMethod != "1.2.156.10197.1.401" {
		t.Errorf("method %s, time %s, check method %s", info.SignatureMethod, info.SignatureDateTime, info.References.CheckMethod)
	}
	var annots []string
	for _, a := range info.StampAnnot {
		annots = append(annots, strings.Join([]string{a.ID, a.PageRef, a.Boundary, a.Clip}, "|"))
	}
	if want := []string{"s002|7|10 5.25 40 40|", "s003|1|202 100 40 40|0 0 8 40"}; !slices.Equal(annots, want) {
		t.Errorf("annotations %q, want %q", annots, want)
	}
	if info.Seal.BaseLoc != "/Doc_0/Signs/Sign_0/Seal.esl" || s.sigs[0].SignedValue != "/Doc_0/Signs/Sign_0/SignedValue.dat" {
		t.Errorf("seal at %s, value at %s", info.Seal.BaseLoc, s.sigs[0].SignedValue)
	}
	var refs []string
	for _, r := range info.References.Reference {
		refs = append(refs, r.FileRef)
	}
	if want := []string{"/OFD.xml", "/Doc_0/Document.xml", "/Doc_0/Pages/Page_0/Content.xml", "/Doc_0/Pages/Page_1/Content.xml", "/Doc_0/Signs/Sign_0/Seal.esl"}; !slices.Equal(refs, want) {
		t.Errorf("references %q, want %q", refs, want)
	}
	if s.sigs[0].XMLName.Space != "http://www.ofdspec.org/2016" {
		t.Errorf("namespace %q", s.sigs[0].XMLName.Space)
	}
	checkDraft(t, d, u)
}

func checkDraft(t *testing.T, d *Draft, u unpacked) {
	t.Helper()
	if d.PropertyInfo() != "/Doc_0/Signs/Sign_0/Signature.xml" {
		t.Errorf("property info %s", d.PropertyInfo())
	}
	if !bytes.Equal(d.SignatureXML(), u.data["Doc_0/Signs/Sign_0/Signature.xml"]) || d.DataHash() != gm.SM3(d.SignatureXML()) {
		t.Error("the data hash is not that of the embedded Signature.xml")
	}
	if string(u.data["Doc_0/Signs/Sign_0/SignedValue.dat"]) != "value" || string(u.data["Doc_0/Signs/Sign_0/Seal.esl"]) != string(testRequest().Seal) {
		t.Error("value or seal not embedded as given")
	}
}

func TestTwoInSequence(t *testing.T) {
	doc := fixture(t)
	one, _ := seal(t, doc, "first value", testStamp)
	two, d := seal(t, one, "second value", testStamp, Stamp{Page: 2, X: 1, Y: 1, W: 10, H: 10})
	before, after := unpack(t, one), unpack(t, two)
	s := readSigned(t, after) // also checks the first signature's references in the final package
	if len(s.sigs) != 2 || s.list.Signatures[1].ID != "s003" || !slices.Equal(s.list.MaxSignID, []string{"s005"}) {
		t.Fatalf("signatures %+v, MaxSignId %q", s.list.Signatures, s.list.MaxSignID)
	}
	if d.PropertyInfo() != "/Doc_0/Signs/Sign_1/Signature.xml" {
		t.Errorf("second signature at %s", d.PropertyInfo())
	}
	for name, raw := range before.raw {
		if name != s.listName && !bytes.Equal(raw, after.raw[name]) {
			t.Errorf("%s changed with the second signature", name)
		}
	}
	if got, want := s.uncovered(after, 1), []string{s.listName, s.names[1], "Doc_0/Signs/Sign_1/SignedValue.dat"}; !sameSet(got, want) {
		t.Errorf("second signature leaves %q, want %q", got, want)
	}
	covered := string(after.data[s.names[1]])
	for _, f := range []string{"Seal.esl", "Signature.xml", "SignedValue.dat"} {
		if !strings.Contains(covered, `"/Doc_0/Signs/Sign_0/`+f+`"`) {
			t.Errorf("second signature does not protect the first one's %s", f)
		}
	}
}

func TestEmbedIsPure(t *testing.T) {
	doc := fixture(t, file{"Doc_0/Res/a&b 图.bin", strings.Repeat("x", 5000)})
	kept := bytes.Clone(doc)
	one, d := seal(t, doc, "value", testStamp)
	two, _ := seal(t, bytes.Clone(doc), "value", testStamp)
	again, err := d.Embed([]byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) || !bytes.Equal(one, again) {
		t.Error("same document, request and value gave different bytes")
	}
	if !bytes.Equal(doc, kept) {
		t.Error("the caller's document was changed")
	}
	if got := hexDigest(gm.SM3(d.SignatureXML())); got != hexDigest(d.DataHash()) {
		t.Error("data hash")
	}
	readSigned(t, unpack(t, one))
}

// TestChosenDocument signs the second of two documents; the first is the default.
func TestChosenDocument(t *testing.T) {
	second := strings.Replace(fixtureOFD, "</ofd:OFD>", "<ofd:DocBody><ofd:DocRoot>Doc_1/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>", 1)
	doc := fixture(t, file{"OFD.xml", second}, file{"Doc_1/Document.xml", strings.ReplaceAll(fixtureDocument, "/Doc_0/", "../Doc_0/")},
		file{"Doc_1/Pages/Page_0/Content.xml", fixturePage})
	if p, err := Open(doc, Limits{}); err != nil || p.Documents() != 2 {
		t.Fatalf("no choice: %v", err)
	} else if d, err := p.Prepare(testRequest(testStamp)); err != nil || d.PropertyInfo() != "/Doc_0/Signs/Sign_0/Signature.xml" {
		t.Errorf("no choice is not the first document: %v", err)
	}
	twins := fixture(t, file{"OFD.xml", strings.Replace(second, "Doc_1/", "./Doc_0/", 1)})
	if _, err := Open(twins, Limits{}); !errors.Is(err, ErrSeveralDocuments) {
		t.Errorf("two DocBody of one document: %v", err)
	}
	for _, n := range []int{0, 3} {
		if _, err := OpenDocument(doc, n, Limits{}); !errors.Is(err, ErrDocRoot) {
			t.Errorf("document %d: %v", n, err)
		}
	}
	p, err := OpenDocument(doc, 2, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Prepare(testRequest(testStamp))
	if err != nil {
		t.Fatal(err)
	}
	if d.PropertyInfo() != "/Doc_1/Signs/Sign_0/Signature.xml" {
		t.Errorf("signature at %s", d.PropertyInfo())
	}
	sealed, err := d.Embed([]byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	root := parse[xmlRoot](t, unpack(t, sealed), "OFD.xml")
	if len(root.Bodies[0].Signatures) != 0 || !slices.Equal(root.Bodies[1].Signatures, []string{"/Doc_1/Signs/Signatures.xml"}) {
		t.Errorf("lists %+v", root.Bodies)
	}
	// The first document's list would have to be entered in OFD.xml, which the second one's signature protects.
	if p, err = OpenDocument(sealed, 1, Limits{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(testRequest(testStamp)); !errors.Is(err, ErrWholeDocument) {
		t.Errorf("changing a protected OFD.xml: %v", err)
	}
}

// TestListForms extends the forms of Signatures.xml that occur, touching nothing but what must change.
func TestListForms(t *testing.T) {
	signedBy := func(list string) []file {
		return []file{{"OFD.xml", strings.Replace(fixtureOFD, "</ofd:DocBody>", "<ofd:Signatures>Doc_0/Sigs.xml</ofd:Signatures></ofd:DocBody>", 1)},
			{"Doc_0/Sigs.xml", list}}
	}
	element := `Signature ID="%s" Type="Seal" BaseLoc="/Doc_0/Signs/Sign_0/Signature.xml"/>`
	at := func(id, prefix string) string { return "<" + prefix + strings.Replace(element, "%s", id, 1) }
	for name, c := range map[string]struct{ before, after string }{
		"empty, counter first": {`<o:Signatures xmlns:o="u"><o:MaxSignId>7</o:MaxSignId></o:Signatures>`,
			`<o:Signatures xmlns:o="u"><o:MaxSignId>s009</o:MaxSignId>` + at("s008", "o:") + `</o:Signatures>`},
		"self-closing":      {`<Signatures xmlns="u" />`, `<Signatures xmlns="u" ><MaxSignId>s002</MaxSignId>` + at("s001", "") + `</Signatures>`},
		"no counter":        {"<!-- c --><Signatures>\r\n</Signatures>\r\n", "<!-- c --><Signatures><MaxSignId>s002</MaxSignId>\r\n" + at("s001", "") + "</Signatures>\r\n"},
		"empty counter":     {"\xEF\xBB\xBF<Signatures><MaxSignId/></Signatures>", "\xEF\xBB\xBF<Signatures><MaxSignId>s002</MaxSignId>" + at("s001", "") + "</Signatures>"},
		"counter with text": {"<Signatures><MaxSignId>s041</MaxSignId></Signatures>", "<Signatures><MaxSignId>s043</MaxSignId>" + at("s042", "") + "</Signatures>"},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, _ := seal(t, fixture(t, signedBy(c.before)...), "v", testStamp)
			u := unpack(t, sealed)
			if got := string(u.data["Doc_0/Sigs.xml"]); got != c.after {
				t.Errorf("got  %s\nwant %s", got, c.after)
			}
			readSigned(t, u)
		})
	}
}

// TestRootForms enters the list in the forms of OFD.xml that occur.
func TestRootForms(t *testing.T) {
	const entered = "Signatures>/Doc_0/Signs/Signatures.xml</"
	for name, c := range map[string]struct{ before, after string }{
		"prefix":            {"<o:OFD xmlns:o='u'><o:DocBody><o:DocRoot>Doc_0/Document.xml</o:DocRoot>\n</o:DocBody></o:OFD>", "</o:DocRoot>\n<o:" + entered + "o:Signatures></o:DocBody></o:OFD>"},
		"default namespace": {"<OFD><DocBody ><DocRoot>./Doc_0/Document.xml</DocRoot></DocBody ></OFD>", "</DocRoot><" + entered + "Signatures></DocBody ></OFD>"},
		"empty element":     {"<OFD><DocBody><DocRoot>/Doc_0/Document.xml</DocRoot><Signatures/><!-- k --></DocBody></OFD>", "</DocRoot><" + entered + "Signatures><!-- k --></DocBody></OFD>"},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, _ := seal(t, fixture(t, file{"OFD.xml", c.before}), "v", testStamp)
			u := unpack(t, sealed)
			if got := string(u.data["OFD.xml"]); !strings.HasSuffix(got, c.after) || !strings.HasPrefix(c.before, got[:strings.Index(got, "</")]) {
				t.Errorf("got %s, want the end %s", got, c.after)
			}
			readSigned(t, u)
		})
	}
}

func TestNextFolder(t *testing.T) {
	doc := fixture(t, file{"Doc_0/Signs/Sign_4/leftover.bin", "x"}, file{"Doc_0/Signs/Sign_x/a", ""}, file{"Doc_0/Signs/Sign_10/", ""})
	_, d := seal(t, doc, "v", testStamp)
	if d.PropertyInfo() != "/Doc_0/Signs/Sign_11/Signature.xml" {
		t.Errorf("folder of %s, want one above the highest present", d.PropertyInfo())
	}
}

func TestPlacementDigest(t *testing.T) {
	stamps := []Stamp{{Page: 1, X: 150, Y: 230.5, W: 40, H: 40}, {Page: 2, X: 190, Y: 100, W: 40, H: 40, Clip: &Rect{X: 0, Y: 0, W: 20, H: 40}}}
	if got := hexDigest(PlacementDigest(stamps)); got != placementVector {
		t.Errorf("digest %s, want %s", got, placementVector)
	}
	texts := map[string]string{}
	for name, s := range map[string][]Stamp{
		"none": nil, "one": stamps[:1], "two": stamps, "order": {stamps[1], stamps[0]}, "unclipped": {{Page: 2, X: 190, Y: 100, W: 40, H: 40}},
		"other page": {{Page: 2, X: 150, Y: 230.5, W: 40, H: 40}}, "a micrometre": {{Page: 1, X: 150.001, Y: 230.5, W: 40, H: 40}},
		"not a number": {{Page: 1, X: math.NaN(), Y: 230.5, W: 40, H: 40}}, "infinite": {{Page: 1, X: math.Inf(1), Y: 230.5, W: 40, H: 40}},
	} {
		d := hexDigest(PlacementDigest(s))
		if other, same := texts[d]; same {
			t.Errorf("%s and %s share a digest", name, other)
		}
		texts[d] = name
	}
	below := []Stamp{{Page: 1, X: 150.0004, Y: 230.5, W: 40, H: 40}}
	if PlacementDigest(below) != PlacementDigest(stamps[:1]) {
		t.Error("values that are placed alike have different digests")
	}
}

func TestStampText(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", -0.0004: "0.000", 0.0005: "0.001", -0.0005: "-0.001", -12.3456: "-12.346", 210: "210.000", 1e-300: "0.000"} {
		if got := placement.Fixed(v); got != want {
			t.Errorf("placement.Fixed(%g) = %s, want %s", v, got, want)
		}
	}
	if got := box(0, -10, 20.5, 100.125); got != "0 -10 20.5 100.125" {
		t.Errorf("box = %q", got)
	}
}

func TestRefusedRequests(t *testing.T) {
	p, err := Open(fixture(t), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	nan, inf := math.NaN(), math.Inf(1)
	on := func(x, y, w, h float64) Request { return testRequest(Stamp{Page: 2, X: x, Y: y, W: w, H: h}) }
	with := func(change func(*Request)) Request {
		r := testRequest(testStamp)
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		req  Request
		want error
	}{
		"inside":                {on(0, 0, 100, 50), nil},
		"within tolerance":      {on(60.009, 10, 40, 40), nil},
		"beyond tolerance":      {on(60.011, 10, 40, 40), ErrStampOutside},
		"right":                 {on(80, 10, 40, 40), ErrStampOutside},
		"below":                 {on(10, 20, 40, 40), ErrStampOutside},
		"left":                  {on(-1, 0, 40, 40), ErrStampOutside},
		"above":                 {on(0, -0.5, 40, 40), ErrStampOutside},
		"far away":              {on(99_999, 0, 40, 40), ErrStampOutside},
		"out of reach":          {on(1e9, 0, 40, 40), ErrStamp},
		"not a number":          {on(nan, 0, 40, 40), ErrStamp},
		"height not a number":   {on(0, 0, 40, nan), ErrStamp},
		"infinite":              {on(0, inf, 40, 40), ErrStamp},
		"no width":              {on(0, 0, 0, 40), ErrStamp},
		"negative height":       {on(0, 40, 40, -40), ErrStamp},
		"width below a µm":      {on(0, 0, 0.0004, 40), ErrStamp},
		"page 0":                {testRequest(Stamp{Page: 0, W: 1, H: 1}), ErrPage},
		"page 3":                {testRequest(Stamp{Page: 3, W: 1, H: 1}), ErrPage},
		"second stamp bad":      {testRequest(testStamp, Stamp{Page: -1, W: 1, H: 1}), ErrPage},
		"no stamp":              {testRequest(), ErrStamp},
		"strip of a riding one": {testRequest(Stamp{Page: 2, X: 92, Y: 5, W: 40, H: 40, Clip: &Rect{X: 0, Y: 0, W: 8, H: 40}}), nil},
		"strip off the page":    {testRequest(Stamp{Page: 2, X: 92, Y: 5, W: 40, H: 40, Clip: &Rect{X: 8, Y: 0, W: 8, H: 40}}), ErrStampOutside},
		"clip off the stamp":    {testRequest(Stamp{Page: 2, X: 10, Y: 5, W: 40, H: 40, Clip: &Rect{X: 35, Y: 0, W: 8, H: 40}}), ErrStamp},
		"clip not a number":     {testRequest(Stamp{Page: 2, X: 10, Y: 5, W: 40, H: 40, Clip: &Rect{X: 0, Y: nan, W: 8, H: 40}}), ErrStamp},
		"no seal":               {with(func(r *Request) { r.Seal = nil }), ErrRequest},
		"no provider":           {with(func(r *Request) { r.ProviderName = "" }), ErrRequest},
		"provider with newline": {with(func(r *Request) { r.ProviderCompany = "a\nb" }), ErrRequest},
		"provider not UTF-8":    {with(func(r *Request) { r.ProviderVersion = "\xff" }), ErrRequest},
		"no time":               {with(func(r *Request) { r.SignatureTime = time.Time{} }), ErrRequest},
		"whole document":        {with(func(r *Request) { r.Mode = WholeDocument }), nil},
		"no such mode":          {with(func(r *Request) { r.Mode = 2 }), ErrRequest},
		"no such type":          {with(func(r *Request) { r.Type = 2 }), ErrRequest},
		"without seal":          {with(func(r *Request) { r.Type, r.Seal, r.Stamps = Sign, nil, nil }), nil},
		"no seal, but a stamp":  {with(func(r *Request) { r.Type, r.Seal = Sign, nil }), ErrRequest},
		"no stamp, but a seal":  {with(func(r *Request) { r.Type, r.Stamps = Sign, nil }), ErrRequest},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := p.Prepare(c.req)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (d == nil) != (err != nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestEmbedRefusesNoValue(t *testing.T) {
	_, d := seal(t, fixture(t), "v", testStamp)
	if out, err := d.Embed(nil); !errors.Is(err, ErrRequest) || out != nil {
		t.Errorf("got %v", err)
	}
}

// TestEscaping carries names and provider text through XML.
func TestEscaping(t *testing.T) {
	doc := fixture(t, file{`Doc_0/Res/a&b <c> "d" 'e' 图.bin`, "x"})
	p, err := Open(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	req := testRequest(testStamp)
	req.ProviderName = `<"A&B">`
	d, err := p.Prepare(req)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := d.Embed([]byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	s := readSigned(t, unpack(t, sealed))
	if got := s.sigs[0].SignedInfo.Provider.Name; got != req.ProviderName {
		t.Errorf("provider %q", got)
	}
	if got := s.sigs[0].SignedInfo.References.Reference[4].FileRef; got != `/Doc_0/Res/a&b <c> "d" 'e' 图.bin` {
		t.Errorf("reference %q", got)
	}
}
