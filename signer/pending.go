package signer

import (
	"context"
	"errors"

	"sealkeeper/signer/placement"
)

// Stamper gives time stamps over signature values.
type Stamper interface {
	Stamp(ctx context.Context, digest [32]byte) (token []byte, err error)
}

var (
	// ErrNoAuthority: a time stamp was asked for, and this appliance has nobody who gives one.
	ErrNoAuthority = errors.New("no time-stamp authority is connected")
	// ErrTimestamp: a time stamp was asked for and could not be had; nothing was released.
	ErrTimestamp = errors.New("no time stamp could be had")
)

// stamp has nothing to do where check refused every request for a time stamp.
func (s *Signer) stamp(context.Context, *use) error { return nil }

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

var _ placement.Plan
