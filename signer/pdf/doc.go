// Package pdf puts a signature into a PDF document (ISO 32000): it reads the document, appends one revision with the signature field, the
// seal's appearance and an empty place for the value, says which bytes are to be signed, and fills the place.
//
// Its one promise is that the document as received is an unchanged prefix of what leaves, and that the same document, request and value give
// the same bytes:
//
//	Open ─► Document.Pages, Document.Prepare ─► Draft.Covered ─(signature, made elsewhere)─► Draft.Embed
//
// The reader expects hostile input. It follows the cross-reference sections and nothing else, never repairs, and refuses by a named error what
// readers could understand differently, in memory bounded by Limits. What a new revision would break, or what it may not change (DocMDP), it
// refuses too.
//
// Limits: no keys, no clock, no I/O; the signature value is opaque. Encrypted documents and XFA forms are refused. It judges no signature:
// that is signer/verify, which shares no parser with this package (law 6).
package pdf

import "errors"

// The named refusals of Open. Each wraps into an error that says where.
var (
	// ErrNotPDF: the file does not begin with %PDF-d.d.
	ErrNotPDF = errors.New("not a PDF document")
	// ErrTail: there is no startxref and %%EOF at the end, or more than white space behind it.
	ErrTail = errors.New("document does not end with startxref and %%EOF")
	// ErrXref: a cross-reference section is damaged, loops, or claims what it does not hold.
	ErrXref = errors.New("cross-reference is not usable")
	// ErrObject: an object is missing, damaged, or not where the cross-reference says.
	ErrObject = errors.New("object is not usable")
	// ErrSyntax: a token or structure that PDF does not have.
	ErrSyntax = errors.New("PDF syntax is not acceptable")
	// ErrDepth: arrays, dictionaries or page tree nest deeper than Limits.Depth.
	ErrDepth = errors.New("PDF nests too deeply")
	// ErrLimit: more objects, pages or revisions than Limits, or a stream that expands beyond them.
	ErrLimit = errors.New("PDF is too large")
	// ErrFilter: a stream that must be read has a filter that is not supported, or does not decode.
	ErrFilter = errors.New("stream cannot be decoded")
	// ErrEncrypted: the document is encrypted.
	ErrEncrypted = errors.New("document is encrypted")
	// ErrXFA: the form is an XFA form, whose appearance is not in the pages.
	ErrXFA = errors.New("document is an XFA form")
	// ErrPageTree: the page tree loops, has no pages, or a page is no object of its own.
	ErrPageTree = errors.New("page tree is not usable")
	// ErrPageBox: a page has no usable MediaBox, CropBox, Rotate or UserUnit.
	ErrPageBox = errors.New("page size is not usable")
	// ErrForm: the AcroForm is not usable.
	ErrForm = errors.New("form is not usable")
)

// The named refusals of Prepare and Embed.
var (
	// ErrRequest: a name, time, size or picture of the request is missing or cannot be written.
	ErrRequest = errors.New("signing request is not usable")
	// ErrPage: a stamp names a page that the document does not have, or one that occurs twice.
	ErrPage = errors.New("no such page")
	// ErrStamp: a stamp that is not finite, not positive, or clipped outside itself.
	ErrStamp = errors.New("stamp is not usable")
	// ErrStampOutside: the visible part of a stamp leaves its page.
	ErrStampOutside = errors.New("stamp leaves the page")
	// ErrDocMDP: a certification or a lock of an earlier signature allows no further signature.
	ErrDocMDP = errors.New("an earlier signature allows no further change")
	// ErrCertify: only the first signature of a document may certify it.
	ErrCertify = errors.New("the document has a signature already and cannot be certified")
	// ErrReserve: the value is larger than the place that was reserved for it.
	ErrReserve = errors.New("signature value does not fit its place")
	// ErrPrepared: the document has no empty signature at its end.
	ErrPrepared = errors.New("document is not prepared for a signature")
)

// Limits bound what Open and Prepare accept. A zero field means the default.
type Limits struct {
	Objects   int     // entries of all cross-reference sections together; 1,000,000
	Pages     int     // 5,000
	Revisions int     // cross-reference sections; 512
	Depth     int     // nesting of objects and of the page tree; 64
	Stream    int     // expanded bytes of one stream that is read; 32 MiB
	Expanded  int     // expanded bytes of all streams that are read together; 128 MiB
	PageMM    float64 // width or height of a page in millimetres; 20,000
	Pixels    int     // of the picture; 16,000,000
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		v *int
		d int
	}{{&l.Objects, 1_000_000}, {&l.Pages, 5_000}, {&l.Revisions, 512}, {&l.Depth, 64}, {&l.Stream, 32 << 20}, {&l.Expanded, 128 << 20}, {&l.Pixels, 16_000_000}} {
		if *f.v <= 0 {
			*f.v = f.d
		}
	}
	if l.PageMM <= 0 {
		l.PageMM = 20_000
	}
	return l
}
