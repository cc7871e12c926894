package keystore

import (
	"sealkeeper/hsm"
	"sealkeeper/keystore/store"
)

// Request names a call for idempotency. It is the store's type under the one name that the HTTP layer, which may not reach the store,
// can say.
type Request = store.Request

// Receipt is where a commit's records stand in the log.
type Receipt = store.Receipt

// The ways a commit can fail, for the HTTP layer's error table.
var (
	ErrConflict       = store.ErrConflict
	ErrRequestReused  = store.ErrRequestReused
	ErrLimit          = store.ErrLimit
	ErrNotFound       = store.ErrNotFound
	ErrUnavailable    = store.ErrUnavailable
	ErrFull           = store.ErrFull
	ErrUnknownOutcome = store.ErrUnknownOutcome
	ErrFenced         = store.ErrFenced
	ErrClock          = store.ErrClock
	ErrReadOnly       = store.ErrReadOnly
	ErrCursor         = store.ErrCursor
)

// Birth and TokenInfo are the token's evidence under names that the HTTP layer may say.
type (
	Birth     = hsm.Birth
	TokenInfo = hsm.TokenInfo
	Attribute = hsm.Attribute
)
