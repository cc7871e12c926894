package keystore

import "sealkeeper/hsm"

// The token's refusals under the names that higher floors may say.
var (
	// ErrKeyExists: the token holds a key of that identifier or label already.
	ErrKeyExists = hsm.ErrExists
	// ErrTokenRefused: the token refused a request, or was unwell for a moment.
	ErrTokenRefused = hsm.ErrRefused
)
