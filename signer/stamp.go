package signer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/timestamp"
)

// Stamper gives time stamps: the appliance's own authority or one outside.
type Stamper interface {
	// Stamp returns a TimeStampToken (RFC 3161) over a digest. It has been checked: imprint, signature, certificate and time.
	Stamp(ctx context.Context, alg timestamp.Imprint, digest []byte) (token []byte, err error)
}

var (
	// ErrNoAuthority: a time stamp was asked for, and this appliance has nobody who gives one.
	ErrNoAuthority = errors.New("no time-stamp authority is connected")
	// ErrTimestamp: a time stamp was asked for and could not be had; nothing was released.
	ErrTimestamp = errors.New("no time stamp could be had")
)

// stamp asks for the time stamp over the signature value, before the releasing commit: what it takes longer is covered by the versions that the
// commit expects. When there is none to be had, the policy decides: refuse, or go on and say so in the record.
func (s *Signer) stamp(ctx context.Context, u *use) error {
	if !u.req.Timestamp {
		return nil
	}
	err := s.stampOne(ctx, u.structure, u.signature, &u.token)
	if err == nil && u.entries.structure != nil {
		err = s.stampOne(ctx, u.entries.structure, u.entries.signature, &u.entries.token)
	}
	if err == nil {
		return nil
	}
	if !s.cfg.WithoutStamp || ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrTimestamp, err)
	}
	u.token, u.entries.token, u.noToken = nil, nil, "no time stamp could be had"
	s.cfg.Log.WarnContext(ctx, "signing without the time stamp that was asked for", slog.String("seal", u.seal.ESID), slog.String("error", err.Error()))
	return nil
}

func (s *Signer) stampOne(ctx context.Context, what structure, signature []byte, token *[]byte) (err error) {
	alg := what.imprint()
	digest := gm.SM3(signature)
	if alg == timestamp.SHA256 {
		digest = sha256.Sum256(signature)
	}
	*token, err = s.cfg.Stamper.Stamp(ctx, alg, digest[:])
	return err
}
