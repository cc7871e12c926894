package keystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"sealkeeper/hsm"
)

// tokenAway says that the token as a whole does not serve now; another may.
func tokenAway(err error) bool {
	for _, s := range []error{hsm.ErrTokenGone, hsm.ErrPINLatched, hsm.ErrLoggedOut, hsm.ErrInterrupted} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// note keeps what a call says about the token, and names the token in its error.
func (h *home) note(err error) error {
	if err == nil {
		if h.away.Load() != nil && h.away.Swap(nil) != nil {
			h.log.Info("token is there again", slog.String("serial", h.Serial), slog.String("label", h.Label))
		}
		return nil
	}
	err = fmt.Errorf("token %s: %w", h.name(), err)
	if tokenAway(err) && h.away.Swap(&err) == nil {
		h.log.Warn("token is away; its keys do not sign until it is back", slog.String("serial", h.Serial), slog.String("label", h.Label),
			slog.String("error", err.Error()))
	}
	return err
}

func (h *home) name() string {
	if h.Label == "" {
		return h.Serial
	}
	return fmt.Sprintf("%q (serial %s)", h.Label, h.Serial)
}

// admit asks a token who it is before it is used for the first time, which may be long after the start.
func (h *home) admit(ctx context.Context) error {
	info, err := h.Token.Info(ctx)
	if h.note(err) != nil {
		return fmt.Errorf("asking token %s: %w", h.name(), err)
	}
	if info.Serial != h.Serial {
		return fmt.Errorf("the token of serial %s says it is %s: %w", h.Serial, info.Serial, ErrTokens)
	}
	if h.Admit != nil {
		if err := h.Admit(info); err != nil {
			return fmt.Errorf("%w: %w", ErrTokens, err)
		}
	}
	h.hashes.Store(info.NeedsMessage)
	h.in.Store(true)
	h.log.InfoContext(ctx, "token", slog.String("label", info.Label), slog.String("serial", info.Serial),
		slog.String("profile", info.Profile), slog.String("evidence", string(info.Evidence)))
	return nil
}

// call makes one call to the token.
func call[A, R any](ctx context.Context, h *home, f func(Token, context.Context, A) (R, error), a A) (R, error) {
	if h.Token == nil {
		var none R
		return none, fmt.Errorf("token %s is not among the configured ones: %w", h.Serial, hsm.ErrTokenGone)
	}
	if !h.in.Load() {
		if err := h.admit(ctx); err != nil {
			var none R
			return none, err
		}
	}
	r, err := f(h.Token, ctx, a)
	return r, h.note(err)
}

func (h *home) sign(ctx context.Context, r hsm.SignRequest) ([]byte, error) {
	h.busy.Add(1)
	defer h.busy.Add(-1)
	return call(ctx, h, Token.Sign, r)
}

func (h *home) encrypt(ctx context.Context, r hsm.CipherRequest) ([]byte, error) {
	return call(ctx, h, Token.Encrypt, r)
}

func (h *home) decrypt(ctx context.Context, r hsm.CipherRequest) ([]byte, error) {
	return call(ctx, h, Token.Decrypt, r)
}

func (h *home) generate(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error) {
	b, err := call(ctx, h, Token.Generate, r)
	if err == nil {
		h.held.Add(1)
	}
	return b, err
}

func (h *home) generateWrapped(ctx context.Context, r hsm.WrapRequest) (hsm.WrappedBirth, error) {
	return call(ctx, h, Token.GenerateWrapped, r)
}

func (h *home) export(ctx context.Context, r hsm.ExportRequest) ([]byte, error) {
	return call(ctx, h, Token.Export, r)
}

func (h *home) take(ctx context.Context, r hsm.ImportRequest) (hsm.Birth, error) {
	return call(ctx, h, Token.Import, r)
}

func (h *home) lock(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error) {
	return call(ctx, h, Token.Lock, r)
}

func (h *home) rewrap(ctx context.Context, r hsm.RewrapRequest) (hsm.Wrapped, error) {
	return call(ctx, h, Token.Rewrap, r)
}

func (h *home) attributes(ctx context.Context, id ID) ([]hsm.Attribute, error) {
	return call(ctx, h, Token.Attributes, id)
}

func (h *home) destroy(ctx context.Context, id ID) error {
	_, err := call(ctx, h, func(t Token, ctx context.Context, id ID) (struct{}, error) { return struct{}{}, t.Destroy(ctx, id) }, id)
	return err
}

// lose destroys a key that was born.
func (h *home) lose(ctx context.Context, id ID) error {
	err := h.destroy(ctx, id)
	if err == nil {
		h.held.Add(-1)
	}
	return err
}

func (h *home) info(ctx context.Context) (hsm.TokenInfo, error) {
	return call(ctx, h, func(t Token, ctx context.Context, _ struct{}) (hsm.TokenInfo, error) { return t.Info(ctx) }, struct{}{})
}

func (h *home) objects(ctx context.Context) ([]hsm.Object, error) {
	return call(ctx, h, func(t Token, ctx context.Context, _ struct{}) ([]hsm.Object, error) { return t.Objects(ctx) }, struct{}{})
}
