// Package ofd puts a seal signature into an OFD package (GB/T 33190): it reads the package, says what is to be signed and embeds the
// signed value.
//
// Its one promise is that Embed is a pure function of the document, the request and the signed value, and that every entry it does not
// have to change leaves it byte for byte, local header and compressed data included:
//
//	Open ─► Package.Pages, Package.Find, Package.Prepare ─► Draft.DataHash ─(signature, made elsewhere)─► Draft.Embed
//
// Where the signature comes later, Draft.Prepared is the package without it, and Embed of this package puts it in, to the same bytes.
//
// The reader expects hostile input. It accepts one reading of a package or none: whatever two readers could understand differently
// (duplicate or case-variant names, bytes outside every entry, a local header unlike its directory record, document type
// definitions, several roots) is refused by a named error, in memory bounded by the token limit of Limits and time linear in the
// expanded size.
//
// Limits: no keys, no clock, no I/O; the seal and the signed value are opaque bytes. It judges no signature value: that is
// signer/verify, which shares no parser with this package (law 6).
package ofd

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// The named refusals of Open. Each wraps into an error that says where.
var (
	// ErrNotZip: there is no end-of-central-directory record.
	ErrNotZip = errors.New("not a ZIP package")
	// ErrZipStructure: directory, local headers and data do not form one contiguous archive, or it uses ZIP64 or several disks.
	ErrZipStructure = errors.New("ZIP structure admits more than one reading")
	// ErrEntryData: an entry's data do not fit its declared size or CRC-32, or cannot be inflated.
	ErrEntryData = errors.New("entry data are damaged")
	// ErrEntryName: an entry name is absolute, climbs, or holds backslashes, control or formatting characters.
	ErrEntryName = errors.New("entry name is not acceptable")
	// ErrEntryKind: an entry is neither a regular file nor a directory (a symbolic link, a device).
	ErrEntryKind = errors.New("entry is neither file nor directory")
	// ErrDuplicate: two names are equal, equal but for case, or one is both file and directory; or two pages or signatures share an ID.
	ErrDuplicate = errors.New("name or identifier occurs twice")
	// ErrEncrypted: an entry is encrypted, or the package is under GM/T 0099 encryption.
	ErrEncrypted = errors.New("package is encrypted")
	// ErrMethod: an entry is neither stored nor deflated.
	ErrMethod = errors.New("compression method is neither stored nor deflate")
	// ErrBomb: the expanded size is out of proportion.
	ErrBomb = errors.New("package expands out of proportion")
	// ErrTooManyEntries: more entries than Limits.Entries, more signatures than Limits.Signatures, or a description of them all beyond
	// Limits.PartBytes.
	ErrTooManyEntries = errors.New("too many entries")
	// ErrXML: an XML part is not well-formed UTF-8 XML with one root, or leaves a single-valued element ambiguous.
	ErrXML = errors.New("XML part is not acceptable")
	// ErrEntity: an XML part carries a document type definition.
	ErrEntity = errors.New("XML part carries a document type definition")
	// ErrDepth: XML elements nest deeper than Limits.Depth.
	ErrDepth = errors.New("XML nests too deeply")
	// ErrPath: a location inside an XML part is empty, malformed or leaves the package.
	ErrPath = errors.New("location leaves the package")
	// ErrDocRoot: DocBody does not lead to exactly one Document.xml.
	ErrDocRoot = errors.New("DocRoot does not lead to a document")
	// ErrMissingPart: a part that another part names is absent.
	ErrMissingPart = errors.New("part is missing")
	// ErrPageBox: a page has no usable PhysicalBox.
	ErrPageBox = errors.New("page size is not usable")
	// ErrTooManyPages: more pages than Limits.Pages.
	ErrTooManyPages = errors.New("too many pages")
	// ErrSeveralDocuments: two DocBody share a Document.xml or a list of signatures, so it is open which one is signed.
	ErrSeveralDocuments = errors.New("package holds several documents that cannot be told apart")
	// ErrIntegrityList: the package carries a GM/T 0099 integrity list, which any added file would break.
	ErrIntegrityList = errors.New("package is under an integrity list")
	// ErrEarlierSignature: a signature already in the package is incomplete, or a file it protects has changed.
	ErrEarlierSignature = errors.New("an earlier signature is already broken")
)

// The named refusals of Prepare, OpenPrepared and Embed.
var (
	// ErrRequest: seal, time, provider, mode or signed value is missing or cannot be written.
	ErrRequest = errors.New("signing request is not usable")
	// ErrStamp: no stamp, or a stamp that is not finite, not positive, or clipped outside itself.
	ErrStamp = errors.New("stamp is not usable")
	// ErrPage: a stamp names a page that the document does not have.
	ErrPage = errors.New("no such page")
	// ErrStampOutside: the visible part of a stamp leaves its page.
	ErrStampOutside = errors.New("stamp leaves the page")
	// ErrWholeDocument: an earlier signature protects a file that signing must change (whole-document mode protects Signatures.xml), so
	// another signature would break it.
	ErrWholeDocument = errors.New("an earlier signature protects the whole document")
	// ErrPrepared: the package is not one that Draft.Prepared gave: no signature waits for its value, or several do.
	ErrPrepared = errors.New("not a package prepared for its signature")
)

// Limits bound what Open and Prepare accept. A zero field means the default; the defaults stay inside what signer/verify reads, so that
// nothing is sealed that the product itself could not judge.
type Limits struct {
	Entries    int     // entries of the package, those of the new signature included; 20,000
	Pages      int     // pages of the document, and stamps of a request; 5,000
	Signatures int     // signatures, the new one included; 256
	FreeBytes  int64   // expanded size that is never a bomb; 60 MiB
	Ratio      int64   // expanded size over package size, beyond FreeBytes; 20
	TotalBytes int64   // expanded size in any case; 1 GiB
	XMLBytes   int64   // XML that is read, in all; 128 MiB
	PartBytes  int     // an XML part that is edited or written (OFD.xml, Signatures.xml, Signature.xml); 4 MiB
	TokenBytes int     // one XML token; 1 MiB
	Depth      int     // nesting of XML elements; 128
	Attributes int     // attributes of one element; 256
	NameBytes  int     // length of an entry name; 512
	PageMM     float64 // width or height of a page in millimetres; 20,000
	Glyphs     int     // characters of one page that Find looks through; 200,000
	TextBytes  int64   // XML that Find reads of one Package, all searches together; 128 MiB
}

func (l Limits) withDefaults() Limits {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt64 := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&l.Entries, 20_000)
	orInt(&l.Pages, 5_000)
	orInt(&l.Signatures, 256)
	orInt64(&l.FreeBytes, 60<<20)
	orInt64(&l.Ratio, 20)
	orInt64(&l.TotalBytes, 1<<30)
	orInt64(&l.XMLBytes, 128<<20)
	orInt(&l.PartBytes, 4<<20)
	orInt(&l.TokenBytes, 1<<20)
	orInt(&l.Depth, 128)
	orInt(&l.Attributes, 256)
	orInt(&l.NameBytes, 512)
	orInt(&l.Glyphs, 200_000)
	orInt64(&l.TextBytes, 128<<20)
	if l.PageMM <= 0 {
		l.PageMM = 20_000
	}
	return l
}

// Page is one page of the document in page order.
type Page struct {
	Index    int     // 1 for the first page, as Stamp.Page counts
	ID       string  // object identifier, as PageRef names it
	WidthMM  float64 // of the page's own PhysicalBox, or else of the document's
	HeightMM float64
}

// Package is an opened OFD package with one document chosen. It is immutable and safe for concurrent use; it keeps the bytes given to
// Open, which must not change.
type Package struct {
	lim    Limits
	arc    *archive
	root   []byte // OFD.xml
	bodies []docBody
	body   int // index of the chosen body
	pages  []Page
	lists  []*signList // one per body that has one, in order; nil otherwise
	earl   earlier
	xml    int64 // bytes of XML read so far, while opening

	prepared bool      // opened by OpenPrepared
	waiting  []waiting // its signatures without value

	parts     []string          // of each page
	templates map[string]string // part by identifier
	searched  atomic.Int64      // bytes of XML that Find has read
}

const rootPart = "OFD.xml" // GB/T 33190 §7.1: the one fixed name

// Open reads a package and chooses its first document, as other products do. The errors are those named above.
func Open(b []byte, lim Limits) (*Package, error) { return OpenDocument(b, 1, lim) }

// OpenDocument reads a package and chooses its n-th document, counted from 1, for packages with several DocBody. A signature protects the
// files of every document; the choice says where it is listed and whose pages are stamped.
func OpenDocument(b []byte, n int, lim Limits) (*Package, error) {
	if n < 1 {
		return nil, fmt.Errorf("document %d: %w", n, ErrDocRoot)
	}
	return open(b, n, lim, false)
}

// open reads a package; a prepared one may have an integrity list, and signatures without their value.
func open(b []byte, n int, lim Limits, prepared bool) (*Package, error) {
	lim = lim.withDefaults()
	arc, err := readArchive(b, lim)
	if err != nil {
		return nil, err
	}
	if err := refuseProtected(arc, prepared); err != nil {
		return nil, err
	}
	p := &Package{lim: lim, arc: arc, prepared: prepared}
	if err := arc.digestAll(); err != nil {
		return nil, err
	}
	if err := p.readRoot(n); err != nil {
		return nil, err
	}
	if err := p.readDocument(); err != nil {
		return nil, err
	}
	if err := p.readSignatures(); err != nil {
		return nil, err
	}
	arc.inflate = nil // nothing is expanded any more
	return p, nil
}

// refuseProtected refuses the two protections of GM/T 0099 that sealing would break or cannot see through.
func refuseProtected(a *archive, prepared bool) error {
	for name, why := range map[string]error{entriesPart: ErrIntegrityList, "Encryptions.xml": ErrEncrypted, "decryptseed.dat": ErrEncrypted} {
		if a.names.file(name) && !(prepared && name == entriesPart) {
			return fmt.Errorf("part %s (GM/T 0099): %w", name, why)
		}
	}
	return nil
}

// Documents returns how many documents (DocBody) the package holds.
func (p *Package) Documents() int { return len(p.bodies) }

// Pages returns the pages of the chosen document in order.
func (p *Package) Pages() []Page { return append([]Page(nil), p.pages...) }

// Signatures returns how many signatures the chosen document already lists.
func (p *Package) Signatures() int {
	if l := p.lists[p.body]; l != nil {
		return len(l.ids)
	}
	return 0
}
