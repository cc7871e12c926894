package signer

import (
	"crypto/sha256"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/pdf"
	"sealkeeper/signer/placement"
)

// Document is a container of a signature: what is to be signed, and where the signature goes. Bytes in, bytes out: no keys, no clock.
type Document interface {
	// Digest is SM3 of the document as received, or the digest that came in its place.
	Digest() [32]byte
	// Placement is the digest of the plan as the owner approved it; zero where nothing is placed.
	Placement() [32]byte
	// Lay lays the signature out. The same document and layout give the same result, whenever it is done.
	Lay(l Layout) (Laid, error)
}

// Layout is what a container writes beside the document.
type Layout struct {
	SealDER  []byte
	Picture  []byte                     // of the seal, an image file
	Image    func() (*pdf.Image, error) // the same as PDF holds it, made once for each seal
	Time     time.Time
	Provider Provider
	Options  Options
	Stamps   []placement.Stamp // what the plan came to before; nil to resolve it
}

// Laid is a document ready for its signature.
type Laid struct {
	DataHash     [32]byte // SES: SM3 of what is protected; SignedData: the messageDigest
	PropertyInfo string
	Stamps       []placement.Stamp                      // what the plan came to
	Content      []byte                                 // to attach to SignedData; nil for a detached one
	Embed        func(signature []byte) ([]byte, error) // signature in, released document out

	EntriesHash [32]byte                         // ofd with an integrity list: the messageDigest of the list's own SignedData
	Entries     func(value []byte) (Laid, error) // the same with that SignedData in it; nil where there is no list
}

// open picks the container of a request.
func (r Request) open(p profile, lim Limits) Document {
	switch {
	case r.unseen():
		return digestDocument{r.Digest, orText(r.PropertyInfo, digestProperty)}
	case r.Kind == KindOFD:
		return &ofdDocument{r, p, gm.SM3(r.Document), lim.OFD}
	case r.Kind == KindPDF:
		return &pdfDocument{r, p, gm.SM3(r.Document), lim.PDF}
	default:
		return contentDocument{r.Document, p.digest(r.Document)}
	}
}

// digest is the hash that the profile signs.
func (p profile) digest(parts ...[]byte) [32]byte {
	if !p.companion {
		return gm.SM3(parts...)
	}
	h := sha256.New()
	for _, b := range parts {
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// placed is the digest of a plan, zero when it is empty.
func placed(p placement.Plan) [32]byte {
	if p.Empty() {
		return [32]byte{}
	}
	return p.Digest()
}

// digestDocument is a document that stays with the client (未见原文).
type digestDocument struct {
	digest   [32]byte
	property string
}

// digestProperty is the propertyInfo of a signature whose client states none.
const digestProperty = "digest"

func (d digestDocument) Digest() [32]byte    { return d.digest }
func (d digestDocument) Placement() [32]byte { return [32]byte{} }

func (d digestDocument) Lay(Layout) (Laid, error) {
	return Laid{DataHash: d.digest, PropertyInfo: d.property, Embed: asItIs}, nil
}

func asItIs(s []byte) ([]byte, error) { return s, nil }

// contentDocument is content that goes into SignedData whole.
type contentDocument struct {
	content []byte
	digest  [32]byte // messageDigest
}

func (d contentDocument) Digest() [32]byte    { return gm.SM3(d.content) }
func (d contentDocument) Placement() [32]byte { return [32]byte{} }

func (d contentDocument) Lay(Layout) (Laid, error) {
	return Laid{DataHash: d.digest, Content: d.content, Embed: asItIs}, nil
}
