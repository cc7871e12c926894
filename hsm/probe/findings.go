package probe

import (
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

// Findings is everything that was measured, as it was measured.
type Findings struct {
	Time       time.Time   `json:"time"`
	Module     string      `json:"module_sha256"`
	Library    string      `json:"library"`
	Token      hsm.Present `json:"token"`
	Simulated  bool        `json:"simulated"` // a software token made for tests
	Shipped    string      `json:"shipped_profile,omitempty"`
	Mechanisms []Listed    `json:"mechanisms"` // of the vendor range and of shipped profiles, as the token lists them
	SM2        *SM2        `json:"sm2,omitempty"`
	ECDSA      *Standard   `json:"ecdsa,omitempty"`
	RSA        *Standard   `json:"rsa,omitempty"`
	AES        *AES        `json:"aes,omitempty"`
	Attributes []Attribute `json:"attributes"`
	Wrapping   []Wrap      `json:"wrapping"`
	Sessions   Sessions    `json:"sessions"`
	Find       Find        `json:"find"`
	Rates      []Rate      `json:"rates"`
	Trials     []Trial     `json:"trials"`
	Notes      []string    `json:"notes"`
	Left       []string    `json:"left"` // objects that could not be destroyed again
	By         string      `json:"by,omitempty"`
	wanted     string      // id of the profile
	facts      firmware.Facts
	shipped    *firmware.Profile
}

// Listed is a mechanism as C_GetMechanismInfo tells of it.
type Listed struct {
	Number firmware.Number `json:"number"`
	Uses   []string        `json:"uses"`            // sign, generate-pair, …
	Known  []string        `json:"known,omitempty"` // profiles that name the number
}

// SM2 is how the token makes and reads SM2 keys, and what each signing mechanism does.
type SM2 struct {
	KeyType   firmware.Number `json:"key_type"`
	Mechanism firmware.Number `json:"mechanism"`
	ECParams  bool            `json:"ec_params"`                 // with the curve's OID in the public template
	Typed     bool            `json:"typed"`                     // with CKA_KEY_TYPE in the templates
	Bits      firmware.Number `json:"bits_attribute,omitempty"`  // a vendor's own attribute for the length, where templates need it
	Value     firmware.Number `json:"value_attribute,omitempty"` // a vendor's own attribute for the private number; it is refused
	Exposed   []string        `json:"exposed,omitempty"`         // attributes that give the private number away
	Templates []Template      `json:"templates"`                 // every one that was tried
	Point     Point           `json:"point"`
	Sign      []Sign          `json:"sign"`
}

// Template is one way of asking for an SM2 pair.
type Template struct {
	Mechanism firmware.Number `json:"mechanism"`
	KeyType   firmware.Number `json:"key_type"` // 0: without
	ECParams  bool            `json:"ec_params"`
	Bits      firmware.Number `json:"bits_attribute,omitempty"`
	Outcome   string          `json:"outcome"` // "SM2 key", or what came instead
}

// Point is how CKA_EC_POINT reads.
type Point struct {
	Form      string          `json:"form"`        // of package firmware
	X         firmware.Number `json:"x,omitempty"` // attributes of the coordinates, in the form xy
	Y         firmware.Number `json:"y,omitempty"`
	OnPrivate bool            `json:"on_private"`
	Params    bool            `json:"ec_params_readable"`
}

// Sign is what one mechanism did. Input and Output are empty where no hypothesis, or more than one, holds.
type Sign struct {
	Mechanism        firmware.Number   `json:"mechanism"`
	Input            string            `json:"input,omitempty"`
	Output           string            `json:"output,omitempty"`
	Signatures       int               `json:"signatures"`
	Forms            map[string]int    `json:"forms"` // how often each form came
	Wrong            int               `json:"wrong"` // signatures that verify under no hypothesis
	Sample           string            `json:"sample,omitempty"`
	Refusals         map[string]string `json:"refusals"` // what was refused, and how
	IgnoresParameter bool              `json:"ignores_parameter"`
	HashesOther      bool              `json:"hashes_other_lengths"` // takes 32 bytes as e and anything else as a message
	StaysActive      bool              `json:"stays_active_after_error"`
	Note             string            `json:"note,omitempty"`
}

// Standard is an algorithm with the standard's own numbers.
type Standard struct {
	Works  bool   `json:"works"`
	Bits   int    `json:"bits"`
	Point  string `json:"point,omitempty"`
	Output string `json:"output,omitempty"`
	Note   string `json:"note,omitempty"`
}

// AES is whether AES-256 keys are made, and GCM works inside the token.
type AES struct {
	Works bool   `json:"works"`
	GCM   bool   `json:"gcm"`
	Note  string `json:"note,omitempty"`
}

// Attribute is what became of an attribute of the appliance's templates.
type Attribute struct {
	Object   string `json:"object"` // private, public, secret
	Name     string `json:"name"`
	Refused  string `json:"refused,omitempty"` // the token does not take it in a template
	Read     string `json:"read"`              // true, false, or unknown
	Expected string `json:"expected,omitempty"`
}

// Wrap is a round trip of one kind of private key through one mechanism: wrapped, unwrapped, signed, verified against the same public key. Of a KEK
// (algorithm kek): wrapped to an RSA key, unwrapped, and wrapping what the first one wraps.
type Wrap struct {
	Algorithm string          `json:"algorithm"`
	Mechanism firmware.Number `json:"mechanism"`
	Name      string          `json:"name"` // of package firmware
	Works     bool            `json:"works"`
	Bytes     int             `json:"bytes,omitempty"`
	Tampered  string          `json:"tampered,omitempty"` // what became of the blob with one bit turned
	Note      string          `json:"note,omitempty"`
}

// Sessions is how many could be open beside each other.
type Sessions struct {
	Open    int    `json:"open"`
	Claimed int    `json:"claimed"` // 0: the token names no limit
	Refused string `json:"refused,omitempty"`
}

// Find is how many handles C_FindObjects gives at once without losing any.
type Find struct {
	Objects int            `json:"objects"`
	Max     int            `json:"max"`
	Found   map[string]int `json:"found"` // for each size of the question, how many were found in all
	Note    string         `json:"note,omitempty"`
}

// Rate is a speed.
type Rate struct {
	What     string  `json:"what"`
	Sessions int     `json:"sessions"`
	PerSec   float64 `json:"per_second"`
}

// Trial is a key made, used and destroyed as the appliance would, under the measured profile.
type Trial struct {
	Algorithm hsm.Algorithm `json:"algorithm"`
	Wrapped   bool          `json:"wrapped"` // the key left the token wrapped
	Outcome   string        `json:"outcome"` // Good, or what went wrong
}
