package keystore

import (
	"context"

	"sealkeeper/hsm"
)

// Token is a PKCS#11 token as custody needs it: messages in, messages out, no handles and no callbacks, so that the module may live
// in this process or in a worker. Errors are the sentinels of package hsm. Every method is safe for concurrent use.
type Token interface {
	// Info describes the token; it asks the device and fails with hsm.ErrTokenGone when it is away.
	Info(ctx context.Context) (hsm.TokenInfo, error)
	// Generate makes a key with the explicit template of its algorithm and returns its birth evidence. On any mismatch between
	// what was asked and what reads back, both objects are destroyed and an error is returned.
	Generate(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error)
	// GenerateWrapped makes a key pair that leaves the token wrapped alone, and returns its birth evidence with the blob.
	GenerateWrapped(ctx context.Context, r hsm.WrapRequest) (hsm.WrappedBirth, error)
	// Rewrap moves a wrapped key from under one KEK to another without its leaving the token in the clear.
	Rewrap(ctx context.Context, r hsm.RewrapRequest) (hsm.Wrapped, error)
	// Export wraps a portable KEK or binding key to another token's transport key; Import takes it over there as a copy that is never
	// extractable; Lock ends the time in which the original is.
	Export(ctx context.Context, r hsm.ExportRequest) ([]byte, error)
	Import(ctx context.Context, r hsm.ImportRequest) (hsm.Birth, error)
	Lock(ctx context.Context, r hsm.GenerateRequest) (hsm.Birth, error)
	// Sign returns r‖s (64 bytes) for SM2 and ECDSA, the signature block for RSA, with a key of the token or a wrapped one. It does not
	// verify.
	Sign(ctx context.Context, r hsm.SignRequest) ([]byte, error)
	// Encrypt and Decrypt run AES-256-GCM inside the token.
	Encrypt(ctx context.Context, r hsm.CipherRequest) ([]byte, error)
	Decrypt(ctx context.Context, r hsm.CipherRequest) ([]byte, error)
	// Attributes reads a key's attributes again.
	Attributes(ctx context.Context, id hsm.ObjectID) ([]hsm.Attribute, error)
	// Destroy removes every object with that identifier, an open wrapped key's too; hsm.ErrNotFound when there is none.
	Destroy(ctx context.Context, id hsm.ObjectID) error
	// Objects lists what is in the token.
	Objects(ctx context.Context) ([]hsm.Object, error)
	// SetData and Data keep a small named public data object (an anchor). Data returns hsm.ErrNotFound when it was never set.
	SetData(ctx context.Context, label string, value []byte) error
	Data(ctx context.Context, label string) ([]byte, error)
	// Random returns n bytes of the token's generator.
	Random(ctx context.Context, n int) ([]byte, error)
	// Stats returns counters since start.
	Stats() hsm.Stats
	// Close ends the epoch. The token's objects stay.
	Close() error
}
