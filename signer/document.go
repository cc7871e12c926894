package signer

import (
	"fmt"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/ofd"
)

// Document is a container of a signature: what is to be signed, and where the signature goes. Bytes in, bytes out: no keys, no clock.
type Document interface {
	// Digest is SM3 of the document as received.
	Digest() [32]byte
	// Placement is the digest of the stamps as the owner approved them; zero when there are none.
	Placement() [32]byte
	// Lay lays the signature out. The same document and layout give the same result, whenever it is done.
	Lay(l Layout) (Laid, error)
}

// Layout is what a container writes beside the document.
type Layout struct {
	SealDER  []byte
	Time     time.Time
	Provider Provider
}

// Laid is a document ready for its signature.
type Laid struct {
	DataHash     [32]byte
	PropertyInfo string
	Embed        func(signature []byte) ([]byte, error) // SES_Signature in, released document out
}

// open picks the container of a request.
func (r Request) open(lim ofd.Limits) Document {
	if r.Kind == KindDigest {
		return digestDocument(r.Digest)
	}
	return &ofdDocument{r.Document, r.Stamps, gm.SM3(r.Document), lim}
}

// digestDocument is a document that stays with the client (未见原文).
type digestDocument [32]byte

// digestProperty is the propertyInfo of a signature without a container.
const digestProperty = "digest"

func (d digestDocument) Digest() [32]byte    { return d }
func (d digestDocument) Placement() [32]byte { return [32]byte{} }

func (d digestDocument) Lay(Layout) (Laid, error) {
	return Laid{DataHash: d, PropertyInfo: digestProperty, Embed: func(s []byte) ([]byte, error) { return s, nil }}, nil
}

// ofdDocument is an OFD package as received; it is parsed only when everything else has been decided.
type ofdDocument struct {
	raw    []byte
	stamps []ofd.Stamp
	digest [32]byte
	lim    ofd.Limits
}

func (d *ofdDocument) Digest() [32]byte    { return d.digest }
func (d *ofdDocument) Placement() [32]byte { return ofd.PlacementDigest(d.stamps) }

func (d *ofdDocument) Lay(l Layout) (Laid, error) {
	p, err := ofd.Open(d.raw, d.lim)
	if err != nil {
		return Laid{}, fmt.Errorf("opening: %w: %w", ErrDocument, err)
	}
	draft, err := p.Prepare(ofd.Request{
		Stamps: d.stamps, Seal: l.SealDER, SignatureTime: l.Time, Mode: ofd.Continued,
		ProviderName: l.Provider.Name, ProviderVersion: l.Provider.Version, ProviderCompany: l.Provider.Company,
	})
	if err != nil {
		return Laid{}, fmt.Errorf("laying out: %w: %w", ErrDocument, err)
	}
	return Laid{draft.DataHash(), draft.PropertyInfo(), draft.Embed}, nil
}
