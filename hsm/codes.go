package hsm

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// class is what an error of the token calls for.
type class int

const (
	classNone     class = iota // no CKR code in the chain
	classRefused               // the request: no retry
	classMissing               // mechanism or function: no retry
	classSession               // this session is dead: drop it, once more on a fresh one
	classHandle                // the handle is stale: find again, once more
	classLogin                 // logged out: new epoch, or the operator's business
	classGone                  // the token is away: the epoch is over
	classModule                // the library was finalised: new epoch
	classUnwell                // the device or the library is out of order: once more on a fresh session, then a new epoch
	classDevice                // may be the request, may be the device: ask whether it is still there, then once more
	classCapacity              // no session to be had
	classPIN                   // latch, never retry
)

// classes is the one table from CKR codes to reactions. Codes that are not in it are classRefused; vendor codes are classDevice.
var classes = map[pkcs11.Error]class{
	pkcs11.CKR_SESSION_CLOSED:            classSession,
	pkcs11.CKR_SESSION_HANDLE_INVALID:    classSession,
	pkcs11.CKR_OPERATION_ACTIVE:          classSession,
	pkcs11.CKR_OPERATION_NOT_INITIALIZED: classSession,

	pkcs11.CKR_OBJECT_HANDLE_INVALID:         classHandle, // SoftHSM says this of a dead key, too
	pkcs11.CKR_KEY_HANDLE_INVALID:            classHandle,
	pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID:   classHandle,
	pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID: classHandle,

	pkcs11.CKR_USER_NOT_LOGGED_IN: classLogin,

	pkcs11.CKR_DEVICE_REMOVED:       classGone,
	pkcs11.CKR_TOKEN_NOT_PRESENT:    classGone,
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED: classGone,
	pkcs11.CKR_SLOT_ID_INVALID:      classGone,

	pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED: classModule,

	pkcs11.CKR_DEVICE_ERROR:  classUnwell,
	pkcs11.CKR_DEVICE_MEMORY: classUnwell,
	pkcs11.CKR_HOST_MEMORY:   classUnwell,

	pkcs11.CKR_GENERAL_ERROR:   classDevice, // SoftHSM2 says these two of damaged input as well
	pkcs11.CKR_FUNCTION_FAILED: classDevice,

	pkcs11.CKR_SESSION_COUNT: classCapacity,

	pkcs11.CKR_PIN_INCORRECT: classPIN,
	pkcs11.CKR_PIN_INVALID:   classPIN,
	pkcs11.CKR_PIN_LEN_RANGE: classPIN,
	pkcs11.CKR_PIN_EXPIRED:   classPIN,
	pkcs11.CKR_PIN_LOCKED:    classPIN,

	pkcs11.CKR_MECHANISM_INVALID:      classMissing,
	pkcs11.CKR_FUNCTION_NOT_SUPPORTED: classMissing,
}

// code finds the CKR code in a chain, crypto11's wrappings included.
func code(err error) (pkcs11.Error, bool) {
	var c pkcs11.Error
	ok := errors.As(err, &c)
	return c, ok
}

// classify returns what err calls for.
func classify(err error) class {
	c, ok := code(err)
	switch {
	case !ok:
		return classNone
	case c >= pkcs11.CKR_VENDOR_DEFINED:
		return classDevice
	}
	if k, ok := classes[c]; ok {
		return k
	}
	return classRefused
}

// sentinel wraps err in what callers branch on; the code stays in the chain.
func sentinel(err error) error {
	for c, s := range map[class]error{
		classRefused: ErrRefused, classMissing: ErrUnsupported, classSession: ErrTokenGone, classHandle: ErrNotFound,
		classLogin: ErrLoggedOut, classGone: ErrTokenGone, classModule: ErrTokenGone, classUnwell: ErrTokenGone, classDevice: ErrRefused,
		classCapacity: ErrBusy, classPIN: ErrLoggedOut,
	} {
		if classify(err) == c {
			return fmt.Errorf("%w: %w", s, err)
		}
	}
	return err
}
