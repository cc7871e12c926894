package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sealkeeper/hsm"
)

// do sends one call to the present child. A child that died before it had the call does not count.
func (t *Token) do(ctx context.Context, k kind, body []byte) ([]byte, error) {
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("calling the token: %w", context.Cause(ctx))
		}
		p, err := t.enter(ctx)
		if err != nil {
			return nil, err
		}
		b, err := p.call(ctx, k, body)
		if !errors.Is(err, errDead) {
			return b, err
		}
		<-p.dead // it is being waited for; enter must not take it for living
	}
}

// ask makes a call whose argument and result are JSON.
func ask[R any](ctx context.Context, t *Token, k kind, arg any) (R, error) {
	var result R
	body, err := json.Marshal(arg)
	if err != nil {
		return result, fmt.Errorf("encoding a call: %w", err)
	}
	b, err := t.do(ctx, k, body)
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(b, &result); err != nil {
		return result, fmt.Errorf("reading the worker's answer: %w: %w", hsm.ErrTokenGone, errFrame)
	}
	return result, nil
}

// Info describes the token; it asks the device.
func (t *Token) Info(ctx context.Context) (hsm.TokenInfo, error) {
	info, err := ask[hsm.TokenInfo](ctx, t, kindInfo, nil)
	info.Epoch += t.past().Epoch
	return info, err
}

// Generate makes a key and returns the evidence of its birth.
func (t *Token) Generate(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error) {
	b, err := ask[hsm.Birth](ctx, t, kindGenerate, r)
	b.Token.Epoch += t.past().Epoch
	if err != nil {
		return hsm.Birth{}, err
	}
	return b, nil
}

// Sign returns r‖s (64 bytes) for SM2 and ECDSA, the signature block for RSA. It does not verify.
func (t *Token) Sign(ctx context.Context, r hsm.SignRequest) ([]byte, error) {
	if r.Wrapped != nil {
		return ask[[]byte](ctx, t, kindSignWrapped, r)
	}
	return t.do(ctx, kindSign, signBody(r))
}

// GenerateWrapped makes a key that the token does not keep.
func (t *Token) GenerateWrapped(ctx context.Context, r hsm.WrapRequest) (hsm.WrappedBirth, error) {
	b, err := ask[hsm.WrappedBirth](ctx, t, kindGenerateWrapped, r)
	b.Birth.Token.Epoch += t.past().Epoch
	if err != nil {
		return hsm.WrappedBirth{}, err
	}
	return b, nil
}

// Rewrap moves a wrapped key from under one KEK to another.
func (t *Token) Rewrap(ctx context.Context, r hsm.RewrapRequest) (hsm.Wrapped, error) {
	return ask[hsm.Wrapped](ctx, t, kindRewrap, r)
}

// Export wraps a portable key to another token's transport key.
func (t *Token) Export(ctx context.Context, r hsm.ExportRequest) ([]byte, error) {
	return ask[[]byte](ctx, t, kindExport, r)
}

// Import takes over a key that Export wrapped.
func (t *Token) Import(ctx context.Context, r hsm.ImportRequest) (hsm.Birth, error) {
	return ask[hsm.Birth](ctx, t, kindImport, r)
}

// Lock ends a portable key's time.
func (t *Token) Lock(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error) {
	return ask[hsm.Birth](ctx, t, kindLock, r)
}

// Encrypt runs AES-256-GCM in the token.
func (t *Token) Encrypt(ctx context.Context, r hsm.CipherRequest) ([]byte, error) {
	return ask[[]byte](ctx, t, kindEncrypt, r)
}

// Decrypt reverses Encrypt.
func (t *Token) Decrypt(ctx context.Context, r hsm.CipherRequest) ([]byte, error) {
	return ask[[]byte](ctx, t, kindDecrypt, r)
}

// Attributes reads a key's attributes again.
func (t *Token) Attributes(ctx context.Context, id hsm.ObjectID) ([]hsm.Attribute, error) {
	return ask[[]hsm.Attribute](ctx, t, kindAttributes, id)
}

// Destroy removes every object with that identifier.
func (t *Token) Destroy(ctx context.Context, id hsm.ObjectID) error {
	_, err := ask[struct{}](ctx, t, kindDestroy, id)
	return err
}

// Objects lists what is in the token.
func (t *Token) Objects(ctx context.Context) ([]hsm.Object, error) {
	return ask[[]hsm.Object](ctx, t, kindObjects, nil)
}

// SetData keeps a small named public data object.
func (t *Token) SetData(ctx context.Context, label string, value []byte) error {
	_, err := ask[struct{}](ctx, t, kindSetData, dataBody{label, value})
	return err
}

// Data returns the value last written.
func (t *Token) Data(ctx context.Context, label string) ([]byte, error) {
	return ask[[]byte](ctx, t, kindData, dataBody{Label: label})
}

// Random returns n bytes of the token's generator.
func (t *Token) Random(ctx context.Context, n int) ([]byte, error) {
	return ask[[]byte](ctx, t, kindRandom, n)
}

// Stats returns counters since start, those of children that died included up to their last answer. A new child's login counts as one restored.
func (t *Token) Stats() hsm.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s hsm.Stats
	if t.cur != nil {
		s = t.cur.counters()
	}
	return sum(t.before, s)
}

func (t *Token) past() hsm.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.before
}
