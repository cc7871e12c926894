// Package firmware holds the firmware profiles: what a PKCS#11 module build or a device model does in its own way, as data.
//
// Its one promise: a profile it returns was read strictly (an unknown key, attribute, quirk or number form is an error), is resolved
// against what it inherits, and carries for every vendor number the level of evidence and the source behind it. A number that
// nobody documented is not in these files (law 9).
//
// Limits: it reads files and compares strings. Whether a module really behaves as written is found out by package hsm and, on a
// device, by a person who then raises the evidence.
package firmware

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Schema is the version of the file format that this package reads.
const Schema = 1

// Number is a vendor constant (mechanism, key type), decimal or 0x-hexadecimal in the file. Zero means "not set".
type Number uint32

// String returns the hexadecimal form that vendor headers use.
func (n Number) String() string { return fmt.Sprintf("0x%08x", uint32(n)) }

// Level says how a claim is known.
type Level string

// The levels of evidence, weakest first.
const (
	Guessed    Level = "guessed"            // deduced from a relative's numbers; never for production
	Simulated  Level = "simulated"          // true of a software token made for tests
	Documented Level = "documented"         // read in a vendor's or a public header or document
	Verified   Level = "verified-on-device" // measured on the device named beside it
)

// Profile is one firmware profile after inheritance. README.md describes it field by field.
type Profile struct {
	Schema     int               `yaml:"schema" json:"schema"`
	ID         string            `yaml:"id" json:"id"`
	Title      string            `yaml:"title" json:"title"`
	Inherits   string            `yaml:"inherits,omitempty" json:"inherits,omitempty"`
	Abstract   bool              `yaml:"abstract,omitempty" json:"abstract,omitempty"`
	Missing    []string          `yaml:"missing,omitempty" json:"missing,omitempty"` // what must be found out before it can sign
	Evidence   Evidence          `yaml:"evidence" json:"evidence"`
	Sources    map[string]Source `yaml:"sources,omitempty" json:"sources,omitempty"`
	Match      Match             `yaml:"match,omitempty" json:"match"`
	Module     Module            `yaml:"module,omitempty" json:"module"`
	Limits     Limits            `yaml:"limits,omitempty" json:"limits"`
	Login      Login             `yaml:"login,omitempty" json:"login"`
	SM2        *SM2              `yaml:"sm2,omitempty" json:"sm2,omitempty"`
	SM3        *SM3              `yaml:"sm3,omitempty" json:"sm3,omitempty"`
	SM4        *SM4              `yaml:"sm4,omitempty" json:"sm4,omitempty"`
	ECDSA      *ECDSA            `yaml:"ecdsa,omitempty" json:"ecdsa,omitempty"`
	RSA        *RSA              `yaml:"rsa,omitempty" json:"rsa,omitempty"`
	AES        *AES              `yaml:"aes,omitempty" json:"aes,omitempty"`
	Attributes Attributes        `yaml:"attributes,omitempty" json:"attributes"`
	Wrap       map[string]string `yaml:"wrap,omitempty" json:"wrap,omitempty"`
	Quirks     []string          `yaml:"quirks,omitempty" json:"quirks,omitempty"`
}

// Evidence is what the whole profile rests on.
type Evidence struct {
	Level  Level   `yaml:"level" json:"level"`
	Device *Device `yaml:"device,omitempty" json:"device,omitempty"`
}

// Device names the physical thing a profile was verified on.
type Device struct {
	Model    string `yaml:"model" json:"model"`
	Firmware string `yaml:"firmware" json:"firmware"`
	Date     string `yaml:"date" json:"date"` // YYYY-MM-DD
	By       string `yaml:"by" json:"by"`     // who ran the probe
}

// Source says where one vendor number, or one claim of what it does, comes from. Its key in Profile.Sources is the dotted path, for example
// "sm2.keygen.mechanism" or "sm2.sign.e-raw.input".
type Source struct {
	Level  Level  `yaml:"level" json:"level"`
	Source string `yaml:"source" json:"source"`
}

// Match holds the rules that tie a profile to a module build. All fields that are set must hold (AND); inside a list one entry is
// enough (OR). Entries match when they are contained in the reported text, without regard to case. Ranges are "1.0-9.255".
type Match struct {
	LibraryManufacturer []string `yaml:"library_manufacturer,omitempty" json:"library_manufacturer,omitempty"`
	LibraryDescription  []string `yaml:"library_description,omitempty" json:"library_description,omitempty"`
	LibraryFile         []string `yaml:"library_file,omitempty" json:"library_file,omitempty"`
	LibraryVersion      string   `yaml:"library_version,omitempty" json:"library_version,omitempty"`
	TokenManufacturer   []string `yaml:"token_manufacturer,omitempty" json:"token_manufacturer,omitempty"`
	TokenModel          []string `yaml:"token_model,omitempty" json:"token_model,omitempty"`
	Firmware            string   `yaml:"firmware,omitempty" json:"firmware,omitempty"`
	// Mechanisms are dotted paths of this profile's numbers, for example "sm4.keygen". The token must list every one of them.
	Mechanisms []string `yaml:"mechanisms,omitempty" json:"mechanisms,omitempty"`
}

// Module is how the library wants to be driven.
type Module struct {
	Locking string `yaml:"locking,omitempty" json:"locking,omitempty"`   // os | none-serialise | dedicated-thread
	FindMax int    `yaml:"find_max,omitempty" json:"find_max,omitempty"` // handles asked of one C_FindObjects call, 1..1000
}

// Limits are hard caps below what the token claims. Zero means no cap of the profile's own.
type Limits struct {
	MaxSessions int `yaml:"max_sessions,omitempty" json:"max_sessions,omitempty"`
	MaxFrame    int `yaml:"max_frame,omitempty" json:"max_frame,omitempty"` // bytes of one call's data
}

// Login is how the user logs in.
type Login struct {
	UserType         Number `yaml:"user_type,omitempty" json:"user_type,omitempty"` // CKU_USER is 1
	PINFlagsReliable bool   `yaml:"pin_flags_reliable,omitempty" json:"pin_flags_reliable,omitempty"`
}

// SM2 is the vendor's SM2. Nothing of it is standard.
type SM2 struct {
	KeyType Number                   `yaml:"key_type,omitempty" json:"key_type,omitempty"`
	KeyGen  KeyGen                   `yaml:"keygen,omitempty" json:"keygen"`
	Sign    map[string]SignMechanism `yaml:"sign,omitempty" json:"sign,omitempty"`
	Use     string                   `yaml:"use,omitempty" json:"use,omitempty"` // the entry of Sign that the appliance signs with
	ECPoint ECPoint                  `yaml:"ecpoint,omitempty" json:"ecpoint"`
	// ValueAttribute is a vendor's own attribute that holds the private number. A birth tries to read it, besides CKA_VALUE.
	ValueAttribute Number `yaml:"value_attribute,omitempty" json:"value_attribute,omitempty"`
}

// KeyGen is SM2 key pair generation.
type KeyGen struct {
	Mechanism     Number `yaml:"mechanism,omitempty" json:"mechanism,omitempty"`
	ECParams      string `yaml:"ec_params,omitempty" json:"ec_params,omitempty"`             // omit | oid
	PublicKeyType string `yaml:"public_key_type,omitempty" json:"public_key_type,omitempty"` // required | omit
	// BitsAttribute is a vendor's own attribute for the key's length, which both templates carry (256).
	BitsAttribute Number `yaml:"bits_attribute,omitempty" json:"bits_attribute,omitempty"`
}

// SignMechanism is one signing mechanism. It is usable only with Input and Output set.
type SignMechanism struct {
	Mechanism Number `yaml:"mechanism,omitempty" json:"mechanism,omitempty"`
	Input     string `yaml:"input,omitempty" json:"input,omitempty"` // e32 | hash-noz | hash-z-default | hash-z-param
	Output    string `yaml:"sig,omitempty" json:"sig,omitempty"`     // raw64 | der | der-lenient | raw128
}

// The input and output forms of SignMechanism. Package hsm drives them all; the host has computed Z and e in every case and checks the
// signature against them.
const (
	InputE32      = "e32"            // the finished e
	InputNoZ      = "hash-noz"       // the token computes SM3 of its input: it is given Z and the message
	InputZDefault = "hash-z-default" // the token computes Z with the default identity: it is given the message
	InputZParam   = "hash-z-param"   // the same, with the identity's bytes as the mechanism's parameter

	OutputRaw64  = "raw64"       // r and s, 32 bytes each
	OutputDER    = "der"         // strict DER
	OutputBroken = "der-lenient" // DER of a firmware that now and then drops a leading zero byte and with it the sign
	OutputRaw128 = "raw128"      // r and s, each right-aligned in 64 bytes
)

// WantsMessage reports whether the mechanism is given the message and not e.
func (m SignMechanism) WantsMessage() bool { return m.Input != InputE32 }

// ECPoint is how the public key is read.
type ECPoint struct {
	Forms []string `yaml:"forms,omitempty" json:"forms,omitempty"` // der-octet | raw65 | raw64 | der-bit | xy
	X     Number   `yaml:"x,omitempty" json:"x,omitempty"`         // with xy: the vendor's attributes of the coordinates
	Y     Number   `yaml:"y,omitempty" json:"y,omitempty"`
}

// The forms of CKA_EC_POINT for a 256-bit curve.
const (
	PointDEROctet = "der-octet" // 04 41 04 X Y, 67 bytes, the standard
	PointRaw65    = "raw65"     // 04 X Y
	PointRaw64    = "raw64"     // X Y
	PointDERBit   = "der-bit"   // 03 42 00 04 X Y, 68 bytes
	PointXY       = "xy"        // no CKA_EC_POINT: X and Y in two attributes of the vendor's
)

// SM3 is recorded, like SM4, for modules that offer it; the appliance hashes in software.
type SM3 struct {
	Digest Number `yaml:"digest,omitempty" json:"digest,omitempty"`
}

// SM4 lists the vendor's SM4 numbers.
type SM4 struct {
	KeyType Number `yaml:"key_type,omitempty" json:"key_type,omitempty"`
	KeyGen  Number `yaml:"keygen,omitempty" json:"keygen,omitempty"`
	ECB     Number `yaml:"ecb,omitempty" json:"ecb,omitempty"`
	CBC     Number `yaml:"cbc,omitempty" json:"cbc,omitempty"`
}

// ECDSA uses, as RSA and AES do, the standard's own numbers; the section's presence says that it works on this module.
type ECDSA struct {
	Curves  []string `yaml:"curves" json:"curves"` // P-256
	ECPoint ECPoint  `yaml:"ecpoint" json:"ecpoint"`
}

// RSA with PKCS#1 v1.5.
type RSA struct {
	Bits []int `yaml:"bits" json:"bits"` // 2048, 3072, 4096
}

// AES with GCM inside the token.
type AES struct {
	Bits []int `yaml:"bits" json:"bits"` // 256
	GCM  bool  `yaml:"gcm" json:"gcm"`
}

// Attributes are deviations in templates and in reading back, by CKA_ name.
type Attributes struct {
	// Omit lists attributes the token refuses in templates; they are still read back.
	Omit []string `yaml:"omit,omitempty" json:"omit,omitempty"`
	// UnreadableOK lists attributes of the birth check that this token does not report. Everything else unknown fails the birth.
	UnreadableOK []string `yaml:"unreadable_ok,omitempty" json:"unreadable_ok,omitempty"`
}

// Omits reports whether templates leave the attribute out.
func (a Attributes) Omits(name string) bool { return contains(a.Omit, name) }

// MayBeUnknown reports whether the token may stay silent about the attribute.
func (a Attributes) MayBeUnknown(name string) bool { return contains(a.UnreadableOK, name) }

// Using returns a copy that signs SM2 with another of its signing mechanisms: ErrInvalid when input or form of that one are not known.
func (p *Profile) Using(name string) (*Profile, error) {
	if p.SM2 == nil {
		return nil, invalid("profile %q has no sm2", p.ID)
	}
	sm2 := *p.SM2
	sm2.Use = name
	q := *p
	q.SM2 = &sm2
	return &q, q.checkSM2()
}

// Canonical returns the bytes over which the digest of the resolved profile is taken: JSON with the fields in the order of the
// struct and map keys sorted.
func (p *Profile) Canonical() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("firmware profile: " + err.Error()) // strings, numbers and maps with string keys always encode
	}
	return b
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// QuirkWritesAlone: calls that write token objects (generating, destroying, data objects) must not run beside each other in one process.
// SoftHSM2 re-reads every object file when its generation counter moves and now and then answers from a half-read one: a general error
// from C_GenerateKeyPair, or an attribute that reads false.
const QuirkWritesAlone = "writes-alone"

// QuirkUnwrapLeaks: the library keeps memory of every key it unwrapped until it is finalised, about a kilobyte in SoftHSM2.
const QuirkUnwrapLeaks = "unwrap-leaks"

// Has reports whether the profile names a quirk.
func (p *Profile) Has(quirk string) bool { return slices.Contains(p.Quirks, quirk) }
