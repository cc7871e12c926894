package hsm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// The sentinels that callers branch on. The CKR code stays in the error chain for logs, never for decisions.
var (
	// ErrNotFound: no object with that identifier, or more than one.
	ErrNotFound = errors.New("object not found in the token")
	// ErrBusy: every session is in use and the caller's deadline came first.
	ErrBusy = errors.New("every session of the token is in use")
	// ErrLoggedOut: the login was lost and could not be restored without a PIN decision by an operator.
	ErrLoggedOut = errors.New("not logged in to the token")
	// ErrTokenGone: the token (by serial) is not present or the module answers with device errors.
	ErrTokenGone = errors.New("token is not present")
	// ErrUnsupported: the profile or the token does not offer what was asked.
	ErrUnsupported = errors.New("not supported by this token and profile")
	// ErrRefused: the token refused the request (attribute, template, key function, range).
	ErrRefused = errors.New("refused by the token")
	// ErrPINLatched: a PIN was wrong once; nothing logs in again until an operator clears the latch (law 7).
	ErrPINLatched = errors.New("PIN is latched after a wrong PIN; an operator must clear it")
	// ErrInterrupted: the process that holds the module ended while the call was in it; whether the call happened is not known. A new process
	// serves the next call.
	ErrInterrupted = errors.New("the token's worker process ended while the call was in it")
	// ErrExists: an object with that identifier or label is already in the token.
	ErrExists = errors.New("object already exists in the token")
)

// ObjectID is the CKA_ID of a key (both halves share it): 16 random bytes made by this appliance.
type ObjectID [16]byte

// String returns 32 lower-case hexadecimal digits.
func (id ObjectID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText encodes as String does.
func (id ObjectID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the 32 hexadecimal digits of String.
func (id *ObjectID) UnmarshalText(b []byte) error {
	p, err := ParseObjectID(string(b))
	if err == nil {
		*id = p
	}
	return err
}

// ParseObjectID reads 32 hexadecimal digits.
func ParseObjectID(s string) (ObjectID, error) {
	var id ObjectID
	if b, err := hex.DecodeString(s); err != nil || len(b) != len(id) {
		return id, fmt.Errorf("object identifier %q is not 32 hexadecimal digits", s)
	} else {
		copy(id[:], b)
	}
	return id, nil
}

// Algorithm names a kind of key.
type Algorithm string

// The algorithms of this appliance.
const (
	SM2       Algorithm = "sm2"        // sm2p256v1, signs e
	ECDSAP256 Algorithm = "ecdsa-p256" // signs a SHA-256 digest
	RSA2048   Algorithm = "rsa-2048"   // PKCS#1 v1.5 over a SHA-256 digest
	AES256    Algorithm = "aes-256"    // secret key, encrypts data keys with GCM and does nothing else
)

// Evidence says how a claim about the token is known.
type Evidence string

// The levels of evidence, weakest first. Production mode refuses Guessed and Simulated.
const (
	Guessed    Evidence = "guessed"
	Simulated  Evidence = "simulated"
	Documented Evidence = "documented"
	Device     Evidence = "device"
)

// TokenInfo describes the open token.
type TokenInfo struct {
	Label        string   `json:"label"`
	Serial       string   `json:"serial"`
	Manufacturer string   `json:"manufacturer"`
	Model        string   `json:"model"`
	Firmware     string   `json:"firmware"`
	Library      string   `json:"library"`       // library description and version
	ModuleSHA256 string   `json:"module_sha256"` // digest of the module file, hexadecimal
	Profile      string   `json:"profile"`       // profile id
	ProfileSM3   string   `json:"profile_sm3"`   // digest of the resolved profile, hexadecimal
	Evidence     Evidence `json:"evidence"`
	Sessions     int      `json:"sessions"` // size of the pool
	Epoch        uint64   `json:"epoch"`    // login, sessions and handles of one epoch live and die together
	PINTriesLow  bool     `json:"pin_tries_low"`
	NeedsMessage bool     `json:"needs_message,omitempty"` // SignRequest.Message must be given for SM2: the token hashes itself
}

// GenerateRequest asks for a key (pair) with the explicit template of its algorithm: token object, private, sensitive, never
// extractable, sign only (or encrypt and decrypt only), fixed identifier and label. ErrExists when either is taken.
type GenerateRequest struct {
	ID        ObjectID
	Label     string // ASCII, at most 64 bytes
	Algorithm Algorithm
	// Portable is for a KEK or its binding key that a ceremony carries into another token: extractable by wrapping until Lock.
	Portable bool `json:",omitempty"`
}

// Attribute is one attribute read back from the private (or secret) object: "true", "false", a hexadecimal value, or "unknown" where
// the token does not report it. Missing is never read as good.
type Attribute struct {
	Name  string `json:"name"` // CKA_ name
	Value string `json:"value"`
}

// Birth is the evidence of a key's generation (law 1): what was asked, what the token reports now, and a challenge it signed.
type Birth struct {
	ID         ObjectID    `json:"id"`
	Label      string      `json:"label"`
	Algorithm  Algorithm   `json:"algorithm"`
	Public     []byte      `json:"public,omitempty"` // SM2: 65-byte point; ECDSA, RSA: DER SubjectPublicKeyInfo; AES: empty
	Attributes []Attribute `json:"attributes"`
	ValueRead  string      `json:"value_read"`          // outcome of trying to read the private value; must be "refused: …"
	Challenge  []byte      `json:"challenge,omitempty"` // 32 random bytes (SM2: e)
	Response   []byte      `json:"response,omitempty"`  // signature over Challenge, verified in software before Birth was returned
	Token      TokenInfo   `json:"token"`
	Time       time.Time   `json:"time"`
}

// SignRequest asks for one signature. Digest is e for SM2 and SHA-256 for ECDSA and RSA.
//
// Message is for SM2 in tokens that hash themselves (TokenInfo.NeedsMessage), and unused otherwise: the bytes that e is the SM3 of, Z in front.
// The host has computed both. A message of another digest is ErrRefused, so giving it widens nothing.
type SignRequest struct {
	Key       ObjectID
	Algorithm Algorithm
	Digest    [32]byte
	Wrapped   *Wrapped // nil for a key that stays in the token
	Message   []byte
}

// CipherRequest asks the token to encrypt or decrypt with an AES256 key, GCM, 12-byte nonce, 16-byte tag behind the text.
type CipherRequest struct {
	Key   ObjectID
	Nonce [12]byte
	AAD   []byte
	Text  []byte // at most 1 KiB: data keys, never documents
}

// Object is one object found in the token.
type Object struct {
	ID    ObjectID `json:"id"`
	RawID string   `json:"raw_id"` // hexadecimal CKA_ID as found; ID is zero when it is not 16 bytes
	Label string   `json:"label"`
	Class string   `json:"class"` // private, public, secret, data
}

// Stats are counters since start, for /metrics and benchmarks.
type Stats struct {
	Signs       uint64 `json:"signs"`
	FindObjects uint64 `json:"find_objects"` // must not grow with signatures
	Evictions   uint64 `json:"evictions"`    // sessions dropped after an error
	Relogins    uint64 `json:"relogins"`
	Epoch       uint64 `json:"epoch"`
	Idle        int    `json:"idle"` // sessions waiting in the pool
	Unwraps     uint64 `json:"unwraps"`
	Unwrapped   int    `json:"unwrapped"` // wrapped keys that are session objects now
}
