package signer

type pdfLimits struct{}

type pdfDocument struct {
	req     Request
	profile profile
	digest  [32]byte
	lim     pdfLimits
}

func (d *pdfDocument) Digest() [32]byte           { return d.digest }
func (d *pdfDocument) Placement() [32]byte        { return placed(d.req.Plan) }
func (d *pdfDocument) Lay(l Layout) (Laid, error) { return Laid{}, ErrDocument }
