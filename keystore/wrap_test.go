package keystore_test

import (
	"context"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
)

// stubborn is a real token that goes away just before a destruction.
type stubborn struct{ keystore.Token }

func (stubborn) Destroy(context.Context, hsm.ObjectID) error { return hsm.ErrTokenGone }

// forgetter is a real token that makes the key and goes away before it says so.
type forgetter struct{ keystore.Token }

func (f forgetter) Generate(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error) {
	if _, err := f.Token.Generate(ctx, r); err != nil {
		return hsm.Birth{}, err
	}
	return hsm.Birth{}, hsm.ErrTokenGone
}
