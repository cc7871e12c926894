package ofd

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
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
	// WholeDocument protects every list of signatures too and ends the signing: Prepare refuses the next one with ErrWholeDocument.
	WholeDocument
)

// Type says what the value of a signature is.
type Type int

const (
	// Seal is an SES_Signature (GB/T 38540): it shows a seal.
	Seal Type = iota
	// Sign is SignedData (GB/T 35275, GM/T 0099 §7.2.2): it shows nothing and has no seal.
	Sign
)

func (t Type) String() string {
	if t == Sign {
		return "Sign"
	}
	return "Seal"
}

// Request says what one signature shows and states.
type Request struct {
	Type            Type
	Stamps          []Stamp   // none for Sign
	Seal            []byte    // the SESeal, copied to Seal.esl; none for Sign
	SignatureTime   time.Time // written in whole seconds UTC, also as the new entries' time; informative, timeInfo counts
	ProviderName    string    // required
	ProviderVersion string
	ProviderCompany string
	Mode            Mode
	Integrity       bool // write the integrity list of GM/T 0099, which ends the signing too
}

// Draft is a document on the way to being signed. It is immutable; Embed may be called any number of times.
type Draft struct {
	arc          *archive
	kind         Type
	seal         []byte
	replaced     map[*entry][]byte
	added        []newEntry // but the values
	signatureXML []byte
	open         map[string]bool // entry names of the lists of signatures, where this signature leaves them open
	property     string
	valuePart    string
	time         time.Time

	entries   []byte // OFDEntries.xml, nil for none
	entryPart string // where its value goes
	entry     []byte // its value, nil as long as there is none
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
	case r.Type != Seal && r.Type != Sign:
		return bad("type")
	case r.Type == Sign && len(r.Seal)+len(r.Stamps) > 0:
		return bad("a signature without seal shows none")
	case r.Type == Seal && (len(r.Seal) == 0 || len(r.Seal) > maxSealBytes):
		return bad(fmt.Sprintf("seal of %d bytes", len(r.Seal)))
	case year < 1980 || year > 2107: // what a ZIP entry can date
		return bad("signature time")
	case r.Mode != Continued && r.Mode != WholeDocument:
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
	if err := p.checkStamps(req); err != nil {
		return nil, err
	}
	dir := p.bodies[p.body].dir() + "Signs/"
	sign := fmt.Sprintf("%sSign_%d/", dir, p.nextSign(dir))
	d := &Draft{arc: p.arc, kind: req.Type, seal: append([]byte(nil), req.Seal...), replaced: map[*entry][]byte{}, time: req.SignatureTime.UTC(),
		property: "/" + sign + "Signature.xml", valuePart: sign + "SignedValue.dat"}
	last := p.earl.last + 1 + len(req.Stamps)
	if err := p.layList(d, dir, listed{signID(p.earl.last + 1), req.Type, d.property, signID(last)}, req.Mode); err != nil {
		return nil, err
	}
	if req.Type == Seal {
		d.added = append(d.added, newEntry{sign + "Seal.esl", d.seal})
	}
	if req.Integrity {
		p.layEntries(d, req)
	}
	d.signatureXML = p.describe(d, req, sign)
	d.added = append(d.added, newEntry{sign + "Signature.xml", d.signatureXML})
	if err := p.checkNew(d); err != nil {
		return nil, err
	}
	return d, nil
}

func signID(n int) string { return fmt.Sprintf("s%03d", n) }

// layList creates or extends Signatures.xml and, the first time, enters it in OFD.xml.
func (p *Package) layList(d *Draft, dir string, s listed, m Mode) error {
	list, own := dir+"Signatures.xml", p.lists[p.body]
	if own != nil {
		list = own.part
	}
	if m == Continued {
		d.open = maps.Clone(p.earl.lists)
		d.open[list] = true
	}
	if own != nil {
		return p.replace(d, list, own.addSignature(s))
	}
	d.added = append(d.added, newEntry{list, newList(s)})
	return p.replace(d, rootPart, enterList(p.root, p.bodies[p.body], "/"+list))
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
	if err := p.checkNames(d); err != nil {
		return err
	}
	n, text := len(p.arc.entries)+len(d.added)+len(d.values(nil)), max(len(d.signatureXML), len(d.entries))
	if n > min(p.lim.Entries, 0xFFFE) || p.Signatures() >= p.lim.Signatures || text > p.lim.PartBytes {
		return fmt.Errorf("%d entries, %d signatures before, description of %d bytes: %w", n, p.Signatures(), text, ErrTooManyEntries)
	}
	return nil
}

func (p *Package) checkNames(d *Draft) error {
	names := newNameSet()
	for _, e := range p.arc.entries {
		if err := names.add(e.name); err != nil {
			return err
		}
	}
	for _, n := range append(d.added[:len(d.added):len(d.added)], d.values(nil)...) {
		if err := names.add(n.name); err != nil {
			return err
		}
		if len(n.name) > p.lim.NameBytes {
			return fmt.Errorf("entry %.80q: %w", n.name, ErrEntryName)
		}
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
	if req.Type == Seal {
		b.WriteString("<ofd:Seal><ofd:BaseLoc>/" + escape(sign) + "Seal.esl</ofd:BaseLoc></ofd:Seal>")
	}
	b.WriteString("</ofd:SignedInfo><ofd:SignedValue>/" + escape(d.valuePart) + "</ofd:SignedValue></ofd:Signature>")
	return []byte(b.String())
}

// references lists every file then in the package; in continued mode all but the lists of signatures. What is still to come, the values and
// this description, no signature can protect by a digest.
func (p *Package) references(b *strings.Builder, d *Draft) {
	reference := func(name string, digest [32]byte) {
		b.WriteString(`<ofd:Reference FileRef="/` + escape(name) + `"><ofd:CheckValue>` + base64.StdEncoding.EncodeToString(digest[:]) +
			"</ofd:CheckValue></ofd:Reference>")
	}
	for _, e := range p.arc.entries {
		switch data, changed := d.replaced[e]; {
		case e.dir() || d.open[e.name]:
		case changed:
			reference(e.name, gm.SM3(data))
		default:
			reference(e.name, e.digest)
		}
	}
	for _, n := range d.added {
		if !d.open[n.name] {
			reference(n.name, gm.SM3(n.data))
		}
	}
}

// SignatureXML returns the exact bytes of Signature.xml, which must not be modified.
func (d *Draft) SignatureXML() []byte { return d.signatureXML }

// Type says what Embed takes.
func (d *Draft) Type() Type { return d.kind }

// SealDER returns the seal of the request, nil for Sign; it must not be modified.
func (d *Draft) SealDER() []byte { return d.seal }

// DataHash returns SM3 of SignatureXML without Z: the dataHash of TBS_Sign (GB/T 38540), or for Sign the messageDigest of SignedData.
func (d *Draft) DataHash() [32]byte { return gm.SM3(d.signatureXML) }

// PropertyInfo returns the absolute package path of Signature.xml: the propertyInfo of TBS_Sign.
func (d *Draft) PropertyInfo() string { return d.property }

// Embed returns the sealed package with signedValue as SignedValue.dat. Same document, request and value: same bytes, also with a later
// version of the compressor, since new entries are stored.
func (d *Draft) Embed(signedValue []byte) ([]byte, error) {
	if len(signedValue) == 0 || len(signedValue) > 2*maxSealBytes {
		return nil, fmt.Errorf("signed value of %d bytes: %w", len(signedValue), ErrRequest)
	}
	if d.entries != nil && d.entry == nil {
		return nil, fmt.Errorf("no value of the integrity list: %w", ErrRequest)
	}
	return d.arc.rewrite(d.replaced, append(d.added[:len(d.added):len(d.added)], d.values(signedValue)...), d.time)
}

// values are the entries that come last.
func (d *Draft) values(signedValue []byte) []newEntry {
	v := []newEntry{{d.valuePart, signedValue}}
	if d.entries != nil {
		v = slices.Insert(v, 0, newEntry{d.entryPart, d.entry})
	}
	return v
}
