package signer

import (
	"fmt"

	"github.com/skip2/go-qrcode"

	"sealkeeper/signer/pdf"
	"sealkeeper/signer/placement"
)

// pdfDocument is a PDF as received.
type pdfDocument struct {
	req     Request
	profile profile
	digest  [32]byte
	lim     pdf.Limits
}

func (d *pdfDocument) Digest() [32]byte    { return d.digest }
func (d *pdfDocument) Placement() [32]byte { return placed(d.req.Plan) }

func (d *pdfDocument) Lay(l Layout) (Laid, error) {
	p, err := pdf.Open(d.req.Document, d.lim)
	if err != nil {
		return Laid{}, fmt.Errorf("opening: %w: %w", ErrDocument, err)
	}
	stamps := l.Stamps
	if stamps == nil {
		if stamps, err = d.req.Plan.Resolve(p.Pages(), p.Find); err != nil {
			return Laid{}, fmt.Errorf("placing: %w: %w", ErrDocument, err)
		}
	}
	o := l.Options
	extra, err := qr(o.URL, stamps, p.Pages())
	if err != nil {
		return Laid{}, err
	}
	image, err := l.Image()
	if err != nil {
		return Laid{}, err
	}
	draft, err := p.Prepare(pdf.Request{Stamps: stamps, Image: image, Time: l.Time, Name: o.Name, Reason: o.Reason, Location: o.Location,
		Filter: o.Filter, SubFilter: o.SubFilter, Reserve: o.Reserve, Extra: extra})
	if err != nil {
		return Laid{}, fmt.Errorf("laying out: %w: %w", ErrDocument, err)
	}
	covered := draft.Covered()
	return Laid{DataHash: d.profile.digest(covered[0], covered[1]), Stamps: stamps, Embed: draft.Embed}, nil
}

const (
	qrMM  = 20.0 // side of the QR code, its quiet zone included
	qrGap = 2.0  // between stamp and code
)

// qr lays the QR code of a public page beside the first stamp, part of the signature's own appearance: on its right, or on its left where the
// page ends. The code is drawn from its squares; no picture of a seal is touched (law 5).
func qr(url string, stamps []placement.Stamp, pages []placement.Page) ([]pdf.Mark, error) {
	if url == "" {
		return nil, nil
	}
	code, err := qrcode.New(url, qrcode.Medium)
	if err != nil {
		return nil, fmt.Errorf("encoding %q as QR code: %w", url, err)
	}
	s := stamps[0]
	if s.Page < 1 || s.Page > len(pages) {
		return nil, fmt.Errorf("page %d of %d: %w: %w", s.Page, len(pages), ErrDocument, placement.ErrPage)
	}
	seen, page := placement.Rect{X: s.X, Y: s.Y, W: s.W, H: s.H}, pages[s.Page-1]
	if c := s.Clip; c != nil { // the strip of a seam
		seen = placement.Rect{X: s.X + c.X, Y: s.Y + c.Y, W: c.W, H: c.H}
	}
	x, y := seen.X+seen.W+qrGap, seen.Y+(seen.H-qrMM)/2
	if x+qrMM > page.WidthMM {
		x = seen.X - qrGap - qrMM
	}
	return []pdf.Mark{{Page: s.Page, X: max(x, 0), Y: min(max(y, 0), page.HeightMM-qrMM), W: qrMM, H: qrMM, Squares: code.Bitmap()}}, nil
}
