package ofd

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sealkeeper/internal/gm"
)

// checkMethod is SM3 by object identifier. Both spellings occur; the shipped products write the identifier, and the readers that write
// "SM3" look digests up by either name.
const (
	checkMethod     = "1.2.156.10197.1.401"
	signatureMethod = "1.2.156.10197.1.501" // SM2 with SM3
)

// Mode says whether later signatures are possible.
type Mode int

const (
	// Continued leaves Signatures.xml unprotected, so that others may sign after this one.
	Continued Mode = iota
	// WholeDocument would protect Signatures.xml too and end the signing. It is not offered yet: Prepare refuses it with ErrRequest.
	WholeDocument
)

// Request says what one seal signature shows and states.
type Request struct {
	Stamps          []Stamp
	Seal            []byte    // the SESeal, copied to Seal.esl
	SignatureTime   time.Time // written in whole seconds UTC, also as the new entries' time; informative, timeInfo counts
	ProviderName    string    // required
	ProviderVersion string
	ProviderCompany string
	Mode            Mode
}

// Draft is a document on the way to being signed. It is immutable; Embed may be called any number of times.
type Draft struct {
	arc          *archive
	replaced     map[*entry][]byte
	added        []newEntry
	signatureXML []byte
	list         string // entry name of Signatures.xml, which this signature leaves open
	property     string
	valuePart    string
	time         time.Time
}

type newEntry struct {
	name string
	data []byte
}

const maxSealBytes = 16 << 20

func (r Request) check() error {
	bad := func(why string) error { return fmt.Errorf("%s: %w", why, ErrRequest) }
	for what, s := range map[string]string{"provider name": r.ProviderName, "provider version": r.ProviderVersion, "provider company": r.ProviderCompany} {
		if !utf8.ValidString(s) || len(s) > 256 || strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || c == 0xFFFE || c == 0xFFFF }) {
			return bad(what)
		}
	}
	year := r.SignatureTime.UTC().Year()
	switch {
	case r.ProviderName == "":
		return bad("no provider name")
	case len(r.Seal) == 0 || len(r.Seal) > maxSealBytes:
		return bad(fmt.Sprintf("seal of %d bytes", len(r.Seal)))
	case year < 1980 || year > 2107: // what a ZIP entry can date
		return bad("signature time")
	case r.Mode != Continued:
		return bad("mode")
	}
	return nil
}

// Prepare lays the signature out in the order that makes the digests right: folder and list first, then the digests of every file then
// in the package, then the description that is to be signed. Nothing in the Package changes.
func (p *Package) Prepare(req Request) (*Draft, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if err := p.checkStamps(req.Stamps); err != nil {
		return nil, err
	}
	dir := p.bodies[p.body].dir() + "Signs/"
	sign := fmt.Sprintf("%sSign_%d/", dir, p.nextSign(dir))
	d := &Draft{arc: p.arc, replaced: map[*entry][]byte{}, time: req.SignatureTime.UTC(), property: "/" + sign + "Signature.xml", valuePart: sign + "SignedValue.dat"}
	last := p.earl.last + 1 + len(req.Stamps)
	if err := p.layList(d, dir, signID(p.earl.last+1), signID(last)); err != nil {
		return nil, err
	}
	d.added = append(d.added, newEntry{sign + "Seal.esl", append([]byte(nil), req.Seal...)})
	d.signatureXML = p.describe(d, req, sign)
	d.added = append(d.added, newEntry{sign + "Signature.xml", d.signatureXML})
	if err := p.checkNew(d); err != nil {
		return nil, err
	}
	return d, nil
}

func signID(n int) string { return fmt.Sprintf("s%03d", n) }

// layList creates or extends Signatures.xml and, the first time, enters it in OFD.xml.
func (p *Package) layList(d *Draft, dir, id, maxID string) error {
	if l := p.lists[p.body]; l != nil {
		d.list = l.part
		return p.replace(d, l.part, l.addSignature(id, d.property, maxID))
	}
	d.list = dir + "Signatures.xml"
	d.added = append(d.added, newEntry{d.list, newList(id, d.property, maxID)})
	return p.replace(d, rootPart, enterList(p.root, p.bodies[p.body], "/"+d.list))
}

// replace gives a part new content, unless an earlier signature protects it.
func (p *Package) replace(d *Draft, part string, data []byte) error {
	if p.earl.covered[part] {
		return fmt.Errorf("part %s must change: %w", part, ErrWholeDocument)
	}
	e, err := p.arc.file(part)
	if err != nil {
		return err
	}
	d.replaced[e] = data
	return nil
}

// checkNew refuses new entries whose names collide with what is there.
func (p *Package) checkNew(d *Draft) error {
	names := newNameSet()
	for _, e := range p.arc.entries {
		if err := names.add(e.name); err != nil {
			return err
		}
	}
	for _, n := range append(d.added[:len(d.added):len(d.added)], newEntry{name: d.valuePart}) {
		if err := names.add(n.name); err != nil {
			return err
		}
		if len(n.name) > p.lim.NameBytes {
			return fmt.Errorf("entry %.80q: %w", n.name, ErrEntryName)
		}
	}
	if n := len(p.arc.entries) + len(d.added) + 1; n > min(p.lim.Entries, 0xFFFE) || p.Signatures() >= p.lim.Signatures || len(d.signatureXML) > p.lim.PartBytes {
		return fmt.Errorf("%d entries, %d signatures before, description of %d bytes: %w", n, p.Signatures(), len(d.signatureXML), ErrTooManyEntries)
	}
	return nil
}

// describe writes Signature.xml. The order of children is the schema's.
func (p *Package) describe(d *Draft, req Request, sign string) []byte {
	var b strings.Builder
	b.WriteString(xmlHead + `<ofd:Signature xmlns:ofd="` + namespace + `"><ofd:SignedInfo><ofd:Provider ProviderName="` + escape(req.ProviderName) + `"`)
	if req.ProviderVersion != "" {
		b.WriteString(` Version="` + escape(req.ProviderVersion) + `"`)
	}
	if req.ProviderCompany != "" {
		b.WriteString(` Company="` + escape(req.ProviderCompany) + `"`)
	}
	b.WriteString("/><ofd:SignatureMethod>" + signatureMethod + "</ofd:SignatureMethod><ofd:SignatureDateTime>" +
		d.time.Format("20060102150405Z") + `</ofd:SignatureDateTime><ofd:References CheckMethod="` + checkMethod + `">`)
	p.references(&b, d)
	b.WriteString("</ofd:References>")
	for i, s := range req.Stamps {
		fmt.Fprintf(&b, `<ofd:StampAnnot ID="%s" PageRef="%s" Boundary="%s"`, signID(p.earl.last+2+i), escape(p.pages[s.Page-1].ID), box(s.X, s.Y, s.W, s.H))
		if c := s.Clip; c != nil {
			b.WriteString(` Clip="` + box(c.X, c.Y, c.W, c.H) + `"`)
		}
		b.WriteString("/>")
	}
	b.WriteString("<ofd:Seal><ofd:BaseLoc>/" + escape(sign) + "Seal.esl</ofd:BaseLoc></ofd:Seal></ofd:SignedInfo><ofd:SignedValue>/" +
		escape(d.valuePart) + "</ofd:SignedValue></ofd:Signature>")
	return []byte(b.String())
}

// references lists every file then in the package but the lists of signatures: continued mode.
func (p *Package) references(b *strings.Builder, d *Draft) {
	reference := func(name string, digest [32]byte) {
		b.WriteString(`<ofd:Reference FileRef="/` + escape(name) + `"><ofd:CheckValue>` + base64.StdEncoding.EncodeToString(digest[:]) +
			"</ofd:CheckValue></ofd:Reference>")
	}
	for _, e := range p.arc.entries {
		switch data, changed := d.replaced[e]; {
		case e.dir() || p.earl.lists[e.name]:
		case changed:
			reference(e.name, gm.SM3(data))
		default:
			reference(e.name, e.digest)
		}
	}
	for _, n := range d.added {
		if n.name != d.list {
			reference(n.name, gm.SM3(n.data))
		}
	}
}

// SignatureXML returns the exact bytes of Signature.xml, which must not be modified.
func (d *Draft) SignatureXML() []byte { return d.signatureXML }

// DataHash returns SM3 of SignatureXML without Z: the dataHash of TBS_Sign (GB/T 38540).
func (d *Draft) DataHash() [32]byte { return gm.SM3(d.signatureXML) }

// PropertyInfo returns the absolute package path of Signature.xml: the propertyInfo of TBS_Sign.
func (d *Draft) PropertyInfo() string { return d.property }

// Embed returns the sealed package with signedValue as SignedValue.dat. Same document, request and value: same bytes, also with a later
// version of the compressor, since new entries are stored.
func (d *Draft) Embed(signedValue []byte) ([]byte, error) {
	if len(signedValue) == 0 || len(signedValue) > 2*maxSealBytes {
		return nil, fmt.Errorf("signed value of %d bytes: %w", len(signedValue), ErrRequest)
	}
	return d.arc.rewrite(d.replaced, append(d.added[:len(d.added):len(d.added)], newEntry{d.valuePart, signedValue}), d.time)
}
