package signer

import (
	"fmt"

	"sealkeeper/signer/ofd"
	"sealkeeper/signer/placement"
)

// ofdDocument is an OFD package as received; it is parsed only when everything else has been decided.
type ofdDocument struct {
	req     Request
	profile profile
	digest  [32]byte
	lim     ofd.Limits
}

func (d *ofdDocument) Digest() [32]byte    { return d.digest }
func (d *ofdDocument) Placement() [32]byte { return placed(d.req.Plan) }

func (d *ofdDocument) Lay(l Layout) (Laid, error) {
	p, err := ofd.Open(d.req.Document, d.lim)
	if err != nil {
		return Laid{}, fmt.Errorf("opening: %w: %w", ErrDocument, err)
	}
	r := ofd.Request{Type: ofd.Sign, SignatureTime: l.Time, Integrity: l.Options.Integrity,
		ProviderName: l.Provider.Name, ProviderVersion: l.Provider.Version, ProviderCompany: l.Provider.Company}
	if d.profile.ses {
		r.Type, r.Seal, r.Stamps = ofd.Seal, l.SealDER, l.Stamps
		if r.Stamps == nil {
			if r.Stamps, err = d.req.Plan.Resolve(ofdPages(p), p.Find); err != nil {
				return Laid{}, fmt.Errorf("placing: %w: %w", ErrDocument, err)
			}
		}
	}
	if l.Options.WholeDocument {
		r.Mode = ofd.WholeDocument
	}
	draft, err := p.Prepare(r)
	if err != nil {
		return Laid{}, fmt.Errorf("laying out: %w: %w", ErrDocument, err)
	}
	return laidOFD(draft, r.Stamps), nil
}

func laidOFD(d *ofd.Draft, stamps []placement.Stamp) Laid {
	l := Laid{DataHash: d.DataHash(), PropertyInfo: d.PropertyInfo(), Stamps: stamps, Embed: d.Embed}
	if d.Entries() != nil {
		l.EntriesHash = d.EntriesHash()
		l.Entries = func(value []byte) (Laid, error) {
			listed, err := d.WithEntriesValue(value)
			if err != nil {
				return Laid{}, fmt.Errorf("laying out: %w: %w", ErrDocument, err)
			}
			return Laid{DataHash: l.DataHash, PropertyInfo: l.PropertyInfo, Stamps: stamps, Embed: listed.Embed}, nil
		}
	}
	return l
}

func ofdPages(p *ofd.Package) []placement.Page {
	var all []placement.Page
	for _, g := range p.Pages() {
		all = append(all, placement.Page{WidthMM: g.WidthMM, HeightMM: g.HeightMM})
	}
	return all
}
