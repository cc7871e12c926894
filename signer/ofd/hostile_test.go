package ofd

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
)

// named lists every error that Open and Prepare may return.
var named = []error{
	ErrNotZip, ErrZipStructure, ErrEntryData, ErrEntryName, ErrEntryKind, ErrDuplicate, ErrEncrypted, ErrMethod, ErrBomb, ErrTooManyEntries,
	ErrXML, ErrEntity, ErrDepth, ErrPath, ErrDocRoot, ErrMissingPart, ErrPageBox, ErrTooManyPages, ErrSeveralDocuments, ErrIntegrityList, ErrPrepared, ErrText,
	ErrEarlierSignature, ErrRequest, ErrStamp, ErrPage, ErrStampOutside, ErrWholeDocument,
}

func isNamed(err error) bool {
	return slices.ContainsFunc(named, func(e error) bool { return errors.Is(err, e) })
}

func refused(t *testing.T, doc []byte, want error) {
	t.Helper()
	out, err := sealOnce(doc)
	if !errors.Is(err, want) || out != nil {
		t.Errorf("got %v, want %v", err, want)
	}
}

// TestHostileParts refuses packages whose ZIP is sound and whose content is not.
func TestHostileParts(t *testing.T) {
	root := func(body string) file { return file{"OFD.xml", "<OFD>" + body + "</OFD>"} }
	document := func(inner string) file { return file{"Doc_0/Document.xml", "<Document>" + inner + "</Document>"} }
	const box = "<CommonData><PageArea><PhysicalBox>0 0 210 297</PhysicalBox></PageArea></CommonData>"
	const onePage = `<Pages><Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/></Pages>`
	const body = "<DocBody><DocRoot>Doc_0/Document.xml</DocRoot>"
	page := func(s string) file { return file{"Doc_0/Pages/Page_0/Content.xml", s} }
	for name, c := range map[string]struct {
		change file
		want   error
	}{
		"OFD.xml empty":              {file{"OFD.xml", ""}, ErrXML},
		"OFD.xml not XML":            {file{"OFD.xml", "PK"}, ErrXML},
		"OFD.xml unclosed":           {file{"OFD.xml", "<OFD>" + body}, ErrXML},
		"OFD.xml crossed tags":       {file{"OFD.xml", "<OFD><DocBody></OFD></DocBody>"}, ErrXML},
		"OFD.xml in UTF-16":          {file{"OFD.xml", "\xff\xfe<\x00O\x00"}, ErrXML},
		"OFD.xml declared GBK":       {file{"OFD.xml", `<?xml version="1.0" encoding="GBK"?><OFD/>`}, ErrXML},
		"OFD.xml not UTF-8":          {root(body + "<x>\xd5\xe2</x></DocBody>"), ErrXML},
		"OFD.xml too large":          {root(body + strings.Repeat("<!-- -->", 1<<20) + "</DocBody>"), ErrXML},
		"text behind the root":       {file{"OFD.xml", "<OFD>" + body + "</DocBody></OFD>x"}, ErrXML},
		"DTD behind the root":        {file{"OFD.xml", "<OFD>" + body + "</DocBody></OFD><!DOCTYPE x>"}, ErrEntity},
		"undeclared entity":          {root("<DocBody><DocRoot>&x;</DocRoot></DocBody>"), ErrXML},
		"other root":                 {file{"OFD.xml", "<DFO/>"}, ErrXML},
		"no DocBody":                 {root(""), ErrDocRoot},
		"no DocRoot":                 {root("<DocBody/>"), ErrDocRoot},
		"DocRoot absent":             {root("<DocBody><DocRoot>Doc_9/Document.xml</DocRoot></DocBody>"), ErrDocRoot},
		"DocRoot in other case":      {root("<DocBody><DocRoot>Doc_0/document.xml</DocRoot></DocBody>"), ErrDocRoot},
		"DocRoot with backslash":     {root(`<DocBody><DocRoot>Doc_0\Document.xml</DocRoot></DocBody>`), ErrDocRoot},
		"DocRoot is the root":        {root("<DocBody><DocRoot>/</DocRoot></DocBody>"), ErrDocRoot},
		"DocRoot of a megabyte":      {root("<DocBody><DocRoot>" + strings.Repeat("a/", 1<<19) + "</DocRoot></DocBody>"), ErrXML},
		"list absent":                {root(body + "<Signatures>Doc_0/S.xml</Signatures></DocBody>"), ErrMissingPart},
		"list is OFD.xml":            {root(body + "<Signatures>OFD.xml</Signatures></DocBody>"), ErrXML},
		"list leaves the package":    {root(body + "<Signatures>../S.xml</Signatures></DocBody>"), ErrPath},
		"duplicate attribute":        {document(box + `<Pages><Page ID="1" ID="2" BaseLoc="Pages/Page_0/Content.xml"/></Pages>`), ErrXML},
		"no pages":                   {document(box), ErrMissingPart},
		"page without ID":            {document(box + `<Pages><Page BaseLoc="Pages/Page_0/Content.xml"/></Pages>`), ErrXML},
		"page without location":      {document(box + `<Pages><Page ID="1"/></Pages>`), ErrPath},
		"page part absent":           {document(box + `<Pages><Page ID="1" BaseLoc="nothing.xml"/></Pages>`), ErrMissingPart},
		"two pages with one ID":      {document(box + `<Pages><Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/><Page ID="1" BaseLoc="Pages/Page_1/Content.xml"/></Pages>`), ErrDuplicate},
		"two page lists":             {document(box + onePage + onePage), ErrXML},
		"two sizes":                  {document(box + box + onePage), ErrXML},
		"no size":                    {document(onePage), ErrPageBox},
		"size of three numbers":      {document(strings.Replace(box, "0 0 ", "0 ", 1) + onePage), ErrPageBox},
		"size in hexadecimal":        {document(strings.Replace(box, "210", "0x1p8", 1) + onePage), ErrPageBox},
		"size infinite":              {document(strings.Replace(box, "210", "1e999", 1) + onePage), ErrPageBox},
		"size of a city":             {document(strings.Replace(box, "210", "99999999", 1) + onePage), ErrPageBox},
		"corner not a number":        {document(strings.Replace(box, "0 0", "0 nan", 1) + onePage), ErrPageBox},
		"page is another part":       {page("<Document/>"), ErrXML},
		"page cut":                   {page("<Page><Content>"), ErrXML},
		"page with two areas":        {page("<Page><Area/><Area/></Page>"), ErrXML},
		"page too deep":              {page(strings.Repeat("<Page>", 300)), ErrDepth},
		"page with a huge token":     {page("<Page>" + strings.Repeat("x", 5<<20) + "</Page>"), ErrXML},
		"page with a huge attribute": {page(`<Page a="` + strings.Repeat("x", 5<<20) + `"/>`), ErrXML},
		"page in another encoding":   {page(`<?xml version="1.0" encoding="gb2312"?><Page/>`), ErrXML},
		"page resource leaves":       {page("<Page><PageRes>/../x</PageRes></Page>"), ErrPath},
		"resource leaves":            {document(strings.Replace(box, "</C", "<PublicRes>../../x</PublicRes></C", 1) + onePage), ErrPath},
		"resource absent":            {document(strings.Replace(box, "</C", "<PublicRes>PublicRes.xml</PublicRes></C", 1) + onePage), nil},
		"template leaves":            {document(strings.Replace(box, "</C", `<TemplatePage BaseLoc="../../x"/></C`, 1) + onePage), ErrPath},
		"page with entities":         {page(`<!DOCTYPE a [<!ENTITY b "c">]><Page>&b;</Page>`), ErrEntity},
		"file and folder":            {file{"OFD.xml/x", ""}, ErrDuplicate},
		"folder in two cases":        {file{"doc_0/x", ""}, ErrDuplicate},
		"trailing dot":               {file{"OFD.xml.", ""}, ErrDuplicate},
		"Kelvin sign":                {file{"Doc_0/\u212a.xml", ""}, nil},
		"drive letter":               {file{"C:x", ""}, ErrEntryName},
		"zero width joiner":          {file{"Doc_0/a\u200db", ""}, ErrEntryName},
		"not a character":            {file{"Doc_0/a\uffff", ""}, ErrEntryName},
		"encrypted by GM/T 0099":     {file{"Encryptions.xml", ""}, ErrEncrypted},
		"list in the way":            {file{"Doc_0/Signs/Signatures.xml", "<Signatures/>"}, ErrDuplicate},
		"folder in the way":          {file{"Doc_0/Signs", ""}, ErrDuplicate},
		"folder in another case":     {file{"Doc_0/signs/x", ""}, ErrDuplicate},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want != nil {
				refused(t, fixture(t, c.change), c.want)
			} else if _, err := sealOnce(fixture(t, c.change)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("Kelvin sign twice", func(t *testing.T) {
		refused(t, fixture(t, file{"Doc_0/\u212a.xml", ""}, file{"Doc_0/k.xml", ""}), ErrDuplicate)
	})
	t.Run("composed and decomposed", func(t *testing.T) {
		refused(t, fixture(t, file{"Doc_0/\u00e9.xml", ""}, file{"Doc_0/e\u0301.xml", ""}), ErrDuplicate)
	})
	t.Run("OFD.xml absent", func(t *testing.T) { refused(t, packed(t, file{"ofd.xml", fixtureOFD}), ErrMissingPart) })
}

// TestHostileShown holds resources, templates and annotations to the same form as pages; attachments are opaque.
func TestHostileShown(t *testing.T) {
	const dtd, deep = `<!DOCTYPE a [<!ENTITY b "c">]><Res>&b;</Res>`, "<a><a><a>"
	document := strings.Replace(strings.Replace(fixtureDocument, "</ofd:PageArea>",
		`</ofd:PageArea><ofd:PublicRes>Pub.xml</ofd:PublicRes><ofd:DocumentRes>/Doc_0/Res.xml</ofd:DocumentRes><ofd:TemplatePage ID="3" BaseLoc="T.xml"/>`, 1),
		"</ofd:Document>", "<ofd:Annotations>A/A.xml</ofd:Annotations><ofd:Attachments>Att.xml</ofd:Attachments></ofd:Document>", 1)
	page := strings.Replace(fixturePage, "<ofd:Content/>", "<ofd:PageRes>PageRes.xml</ofd:PageRes>", 1)
	annotations := `<Annotations><Page PageID="1"><FileLoc>P.xml</FileLoc></Page></Annotations>`
	for name, c := range map[string]struct {
		part, data string
		want       error
	}{
		"all sound":             {"Doc_0/Pub.xml", "<Res/>", nil},
		"public resource":       {"Doc_0/Pub.xml", dtd, ErrEntity},
		"document resource":     {"Doc_0/Res.xml", dtd, ErrEntity},
		"template":              {"Doc_0/T.xml", dtd, ErrEntity},
		"annotation list":       {"Doc_0/A/A.xml", dtd, ErrEntity},
		"annotation":            {"Doc_0/A/P.xml", dtd, ErrEntity},
		"annotation unclosed":   {"Doc_0/A/P.xml", deep, ErrXML},
		"annotation names self": {"Doc_0/A/A.xml", strings.Replace(annotations, "P.xml", "A.xml", 1), nil},
		"annotation leaves":     {"Doc_0/A/A.xml", strings.Replace(annotations, "P.xml", "../../../x", 1), ErrPath},
		"page resource":         {"Doc_0/Pages/Page_0/PageRes.xml", dtd, ErrEntity},
		"attachment":            {"Doc_0/Att.xml", dtd, nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := []file{{"Doc_0/Document.xml", document}, {"Doc_0/Pages/Page_0/Content.xml", page}, {"Doc_0/A/A.xml", annotations}, {"Doc_0/A/P.xml", "<PageAnnot/>"}}
			doc := fixture(t, append(files, file{c.part, c.data})...)
			if c.want != nil {
				refused(t, doc, c.want)
			} else if _, err := sealOnce(doc); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHostileSignatures refuses broken lists and broken earlier signatures.
func TestHostileSignatures(t *testing.T) {
	digest := gm.SM3([]byte(fixturePage))
	good := base64.StdEncoding.EncodeToString(digest[:])
	const listed = `<Signature ID="s001" BaseLoc="Sign_0/Signature.xml"/>`
	signature := func(method, ref, value, end string) string {
		return `<Signature><SignedInfo><References CheckMethod="` + method + `"><Reference FileRef="` + ref + `"><CheckValue>` + value +
			`</CheckValue></Reference></References></SignedInfo>` + end + `</Signature>`
	}
	const content, value = "/Doc_0/Pages/Page_0/Content.xml", "<SignedValue>v.dat</SignedValue>"
	for name, c := range map[string]struct {
		list, signature string
		want            error
	}{
		"sound":                    {listed, signature("SM3", content, good, value), nil},
		"lower case, spaced":       {listed, signature("sm3", "/"+content, " "+good[:20]+"\n"+good[20:], value), nil},
		"method left to verifiers": {listed, signature("MD5", content, "AAAA", value), nil},
		"changed file":             {listed, signature("1.2.156.10197.1.401", "/OFD.xml", good, value), ErrEarlierSignature},
		"not base64":               {listed, signature("SM3", content, "!!", value), ErrEarlierSignature},
		"path without slash":       {listed, signature("SM3", content[1:], good, value), nil},
		"absent file":              {listed, signature("SM3", "/Doc_0/none", good, value), ErrEarlierSignature},
		"reference leaves":         {listed, signature("SM3", "/../x", good, value), ErrPath},
		"no value":                 {listed, signature("SM3", content, good, ""), ErrEarlierSignature},
		"value absent":             {listed, signature("SM3", content, good, "<SignedValue>none</SignedValue>"), ErrEarlierSignature},
		"two values":               {listed, signature("SM3", content, good, value+value), ErrXML},
		"protects the list":        {listed, signature("SM3", "/Doc_0/Signs/Signatures.xml", "LIST", value), ErrWholeDocument},
		"protects it unchecked":    {listed, signature("MD5", "/Doc_0/Signs/Signatures.xml", "AAAA", value), ErrWholeDocument},
		"no signature file":        {`<Signature ID="1" BaseLoc="none"/>`, "", ErrEarlierSignature},
		"not a signature":          {listed, "<Signatures/>", ErrXML},
		"no ID":                    {`<Signature BaseLoc="Sign_0/Signature.xml"/>`, signature("SM3", content, good, value), ErrXML},
		"same ID":                  {listed + listed, signature("SM3", content, good, value), ErrDuplicate},
		"no location":              {`<Signature ID="1"/>`, "", ErrPath},
		"counter too large":        {"<MaxSignId>s99999999999999999999</MaxSignId>", "", ErrXML},
		"two counters":             {"<MaxSignId/><MaxSignId/>", "", ErrXML},
	} {
		t.Run(name, func(t *testing.T) {
			list := "<Signatures>" + c.list + "</Signatures>"
			own := gm.SM3([]byte(list))
			doc := fixture(t, file{"OFD.xml", strings.Replace(fixtureOFD, "</ofd:DocBody>", "<ofd:Signatures>/Doc_0/Signs/Signatures.xml</ofd:Signatures></ofd:DocBody>", 1)},
				file{"Doc_0/Signs/Signatures.xml", list}, file{"Doc_0/Signs/Sign_0/v.dat", "v"},
				file{"Doc_0/Signs/Sign_0/Signature.xml", strings.Replace(c.signature, "LIST", base64.StdEncoding.EncodeToString(own[:]), 1)})
			if c.want != nil {
				refused(t, doc, c.want)
			} else if _, err := sealOnce(doc); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHostileZip changes single fields of a sound package.
func TestHostileZip(t *testing.T) {
	sound := storedPackage(t)
	if _, err := sealOnce(sound); err != nil {
		t.Fatal(err)
	}
	end := len(sound) - endLen
	dir := int(binary.LittleEndian.Uint32(sound[end+16:]))
	put16 := func(at int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], v); return b }
	}
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"prefix":                  {func(b []byte) []byte { return append([]byte("MZ"), b...) }, ErrZipStructure},
		"suffix":                  {func(b []byte) []byte { return append(b, 0) }, ErrZipStructure},
		"cut":                     {func(b []byte) []byte { return b[:len(b)-1] }, ErrNotZip},
		"no end record":           {func(b []byte) []byte { return b[:end] }, ErrNotZip},
		"another disk":            {put16(end+4, 1), ErrZipStructure},
		"counts differ":           {put16(end+8, 1), ErrZipStructure},
		"one entry too few":       {func(b []byte) []byte { return put16(end+10, 3)(put16(end+8, 3)(b)) }, ErrZipStructure},
		"one entry too many":      {func(b []byte) []byte { return put16(end+10, 5)(put16(end+8, 5)(b)) }, ErrZipStructure},
		"directory elsewhere":     {put32(end+16, 0), ErrZipStructure},
		"ZIP64 marker":            {put32(end+16, 0xFFFFFFFF), ErrZipStructure},
		"directory record broken": {put32(dir, 0), ErrZipStructure},
		"name longer than record": {put16(dir+28, 0xFFFF), ErrZipStructure},
		"other disk of an entry":  {put16(dir+34, 1), ErrZipStructure},
		"unknown flag":            {put16(dir+8, 1<<5), ErrZipStructure},
		"masked header":           {put16(dir+8, 1<<13), ErrEncrypted},
		"entry at another offset": {put32(dir+42, 1), ErrZipStructure},
		"entry far away":          {put32(dir+42, 0x7FFFFFFF), ErrZipStructure},
		"ZIP64 sizes":             {put32(dir+20, 0xFFFFFFFF), ErrZipStructure},
		"stored sizes differ":     {put32(dir+24, 1), ErrEntryData},
		"character device":        {func(b []byte) []byte { return put16(dir+4, 3<<8|20)(put32(dir+38, 0x2000<<16)(b)) }, ErrEntryKind},
		"folder's attributes":     {func(b []byte) []byte { return put16(dir+4, 3<<8|20)(put32(dir+38, 0x4000<<16)(b)) }, ErrEntryKind},
		"link made on FAT":        {put32(dir+38, 0xA000<<16), ErrEntryKind},
		"local header broken":     {put32(0, 0), ErrZipStructure},
		"local flags differ":      {put16(6, flagEncrypted), ErrZipStructure},
		"descriptor promised":     {put16(6, flagDescriptor), ErrZipStructure},
		"local method differs":    {put16(8, methodDeflate), ErrZipStructure},
		"local checksum differs":  {put32(14, 0), ErrZipStructure},
		"local size differs":      {put32(18, 0), ErrZipStructure},
		"local name differs":      {func(b []byte) []byte { b[localLen] = 'o'; return b }, ErrZipStructure},
		"local extra too long":    {put16(28, 0xFFFF), ErrZipStructure},
		"content changed":         {func(b []byte) []byte { b[localLen+len("OFD.xml")+3] ^= 1; return b }, ErrEntryData},
		"not deflate":             {func(b []byte) []byte { return put16(8, methodDeflate)(put16(dir+10, methodDeflate)(b)) }, ErrEntryData},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.change(bytes.Clone(sound)), c.want) })
	}
}

// storedPackage is the fixture without compression or descriptors.
func storedPackage(t testing.TB) []byte {
	t.Helper()
	u := unpack(t, fixture(t))
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range u.names {
		h := &zip.FileHeader{Name: name, CRC32: crc32.ChecksumIEEE(u.data[name]), CompressedSize64: uint64(len(u.data[name])), UncompressedSize64: uint64(len(u.data[name]))}
		e, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(u.data[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileNames covers what only raw headers can carry.
func TestHostileNames(t *testing.T) {
	unicodePath := func(raw, text string) []byte {
		f := binary.LittleEndian.AppendUint16(nil, extraUnicodePath)
		f = binary.LittleEndian.AppendUint16(f, uint16(5+len(text)))
		f = append(f, 1)
		return append(binary.LittleEndian.AppendUint32(f, crc32.ChecksumIEEE([]byte(raw))), text...)
	}
	gbk := "Doc_0/\xb2\xe2\xca\xd4.txt" // 测试
	for name, c := range map[string]struct {
		header zip.FileHeader
		want   error
	}{
		"GBK":                        {zip.FileHeader{Name: gbk, NonUTF8: true}, nil},
		"GBK with its Unicode path":  {zip.FileHeader{Name: gbk, NonUTF8: true, Extra: unicodePath(gbk, "Doc_0/测试.txt")}, nil},
		"GBK with another":           {zip.FileHeader{Name: gbk, NonUTF8: true, Extra: unicodePath(gbk, "Doc_0/Document.xml")}, ErrZipStructure},
		"ASCII with another":         {zip.FileHeader{Name: "Doc_0/a", Extra: unicodePath("Doc_0/a", "Doc_0/b")}, ErrZipStructure},
		"stale Unicode path":         {zip.FileHeader{Name: "Doc_0/a", Extra: unicodePath("Doc_0/c", "Doc_0/c")}, ErrZipStructure},
		"cut Unicode path":           {zip.FileHeader{Name: "Doc_0/a", Extra: []byte{0x75, 0x70, 1, 0, 1}}, ErrZipStructure},
		"ZIP64 field":                {zip.FileHeader{Name: "Doc_0/a", Extra: []byte{1, 0, 0, 0}}, ErrZipStructure},
		"neither UTF-8 nor GB 18030": {zip.FileHeader{Name: "Doc_0/\xff\xff", NonUTF8: true}, ErrEntryName},
		"GBK under the UTF-8 flag":   {zip.FileHeader{Name: gbk, Flags: flagUTF8}, ErrEntryName},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := zip.NewWriter(&b)
			u := unpack(t, fixture(t))
			for _, n := range u.names {
				e, err := w.Create(n)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := e.Write(u.data[n]); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.CreateRaw(&c.header); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if c.want != nil {
				refused(t, b.Bytes(), c.want)
				return
			}
			sealed, err := sealOnce(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			after := unpack(t, sealed)
			readSigned(t, after)
			if !slices.Contains(after.names, c.header.Name) {
				t.Errorf("stored name changed: %q", after.names)
			}
		})
	}
}

// TestBombs refuses by declared sizes before anything is expanded, and holds entries to what they declare.
func TestBombs(t *testing.T) {
	doc := fixture(t, file{"Doc_0/big.bin", strings.Repeat("\x00", 1<<20)})
	for name, c := range map[string]struct {
		lim  Limits
		want error
	}{
		"fine":       {Limits{}, nil},
		"ratio":      {Limits{FreeBytes: 1 << 10, Ratio: 10}, ErrBomb},
		"total":      {Limits{TotalBytes: 1 << 19}, ErrBomb},
		"free":       {Limits{FreeBytes: 2 << 20, Ratio: 1}, nil},
		"entries":    {Limits{Entries: 4}, ErrTooManyEntries},
		"pages":      {Limits{Pages: 1}, ErrTooManyPages},
		"name bytes": {Limits{NameBytes: 10}, ErrEntryName},
		"depth":      {Limits{Depth: 2}, ErrDepth},
		"part bytes": {Limits{PartBytes: 100}, ErrXML},
		"XML bytes":  {Limits{XMLBytes: 200}, ErrBomb},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(doc, c.lim); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestRoomForSignature refuses to make what would then be beyond the limits.
func TestRoomForSignature(t *testing.T) {
	doc := fixture(t)
	one, _ := seal(t, doc, "v", testStamp)
	for name, c := range map[string]struct {
		doc  []byte
		lim  Limits
		want error
	}{
		"room":              {doc, Limits{Entries: 8}, nil},
		"no room":           {doc, Limits{Entries: 7}, ErrTooManyEntries},
		"one signature":     {doc, Limits{Signatures: 1}, nil},
		"second signature":  {one, Limits{Signatures: 1}, ErrTooManyEntries},
		"long description":  {doc, Limits{PartBytes: 600}, ErrTooManyEntries},
		"enough, just read": {one, Limits{PartBytes: 4000}, nil},
	} {
		p, err := Open(c.doc, c.lim)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d, err := p.Prepare(testRequest(testStamp)); !errors.Is(err, c.want) || (d == nil) != (c.want != nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestComment keeps an archive comment; it is no part of any signature.
func TestComment(t *testing.T) {
	doc := fixture(t)
	binary.LittleEndian.PutUint16(doc[len(doc)-2:], 4)
	sealed, err := sealOnce(append(doc, "note"...))
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil || r.Comment != "note" {
		t.Errorf("comment %q, %v", r.Comment, err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add(fixture(f))
	f.Add(storedPackage(f))
	one, _ := seal(f, fixture(f), "v", testStamp)
	f.Add(one)
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := Limits{TotalBytes: 8 << 20, Entries: 1000}
		p, err := Open(b, lim)
		if err != nil {
			if !isNamed(err) {
				t.Fatalf("unnamed refusal: %v", err)
			}
			return
		}
		d, err := p.Prepare(testRequest(Stamp{Page: 1, W: 0.01, H: 0.01}))
		if err != nil {
			if !isNamed(err) {
				t.Fatalf("unnamed refusal: %v", err)
			}
			return
		}
		sealed, err := d.Embed([]byte("v"))
		if err != nil {
			t.Fatalf("embedding: %v", err)
		}
		lim.TotalBytes *= 2
		again, err := OpenDocument(sealed, 1, lim)
		if err != nil {
			t.Fatalf("the sealed package does not open: %v", err)
		}
		if again.Signatures() != p.Signatures()+1 {
			t.Fatalf("%d signatures, want one more than %d", again.Signatures(), p.Signatures())
		}
	})
}

// FuzzXML feeds the part reader alone, which the checksums of a package shield from mutations.
func FuzzXML(f *testing.F) {
	for _, s := range []string{fixtureOFD, fixtureDocument, fixturePage, "<a/>", "<!DOCTYPE a>", "\xEF\xBB\xBF<OFD><DocBody><DocRoot>a</DocRoot><Signatures/></DocBody></OFD>"} {
		f.Add([]byte(s))
	}
	lim := Limits{}.withDefaults()
	f.Fuzz(func(t *testing.T, b []byte) {
		if bodies, err := parseRoot(b, lim); err == nil && len(bodies) > 0 {
			edited := enterList(b, bodies[0], "/Doc_0/Signs/Signatures.xml")
			again, err := parseRoot(edited, lim)
			if bodies[0].signatures == "" && (err != nil || len(again) != len(bodies) || again[0].signatures != "Doc_0/Signs/Signatures.xml") {
				t.Fatalf("edited OFD.xml reads %+v, %v:\n%s", again, err, edited)
			}
		} else if err != nil && !isNamed(err) {
			t.Fatalf("unnamed refusal: %v", err)
		}
		if l, err := parseList("Doc_0/Signs/Signatures.xml", b, lim); err == nil {
			edited := l.addSignature(listed{"s999", Seal, "/Doc_0/Signs/Sign_0/Signature.xml", "s999"})
			again, err := parseList(l.part, edited, lim)
			if !l.ids["s999"] && (err != nil || len(again.parts) != len(l.parts)+1 || again.last < 999) {
				t.Fatalf("edited list reads %+v, %v:\n%s", again, err, edited)
			}
		}
	})
}

func ExamplePlacementDigest() {
	fmt.Printf("%x\n", PlacementDigest([]Stamp{{Page: 1, X: 150, Y: 230.5, W: 40, H: 40}}))
	// Output: f260d8feb125559f633edbfd86bb1ea17b10ecb44bd3ffef2cc72af2e210ae24
}
