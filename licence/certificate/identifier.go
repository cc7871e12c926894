package certificate

import (
	"errors"
	"fmt"
	"strings"
)

// ErrIdentifier: text is not an e-certificate identifier. Match *IdentifierError for the part and the reason.
var ErrIdentifier = errors.New("not an e-certificate identifier")

// IdentifierError says which part of an identifier (电子证照标识, GB/T 36904) is wrong.
type IdentifierError struct {
	Part   string // root, type, issuer, serial, version or check
	Reason string // for people
}

// Error names the part and the reason.
func (e *IdentifierError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrIdentifier, e.Part, e.Reason)
}

// Is makes errors.Is(err, ErrIdentifier) true.
func (e *IdentifierError) Is(target error) bool { return target == ErrIdentifier }

// root begins every identifier; the check character leaves it out.
const root = "1.2.156.3005.2."

const (
	typeLength = 21 // credit code of the authority that defined the type, three digits
	maxIssuer  = 18 // a credit code; some issuers put a division code here
	maxSerial  = 32
)

// Identifier is an e-certificate identifier, taken apart.
type Identifier struct {
	Type    string // 21 characters: who defined the type, and its number there
	Issuer  string
	Serial  string
	Version int // 1..999
}

// Series names a certificate through all its versions: type, issuer and serial.
func (i Identifier) Series() string { return i.Type + "." + i.Issuer + "." + i.Serial }

// String is the identifier with its check character.
func (i Identifier) String() string {
	version := fmt.Sprintf("%03d", i.Version)
	return root + i.Series() + "." + version + "." + string(checkCharacter(i.Type+i.Issuer+i.Serial+version))
}

// Next is the identifier under which the same certificate is issued anew.
func (i Identifier) Next() Identifier {
	i.Version++
	return i
}

// ParseIdentifier reads an identifier and recomputes its check character. Any fault is an *IdentifierError.
func ParseIdentifier(s string) (Identifier, error) {
	rest, ok := strings.CutPrefix(s, root)
	if !ok {
		return Identifier{}, &IdentifierError{"root", "does not begin with " + root}
	}
	if len(rest) > typeLength+maxIssuer+maxSerial+8 {
		return Identifier{}, &IdentifierError{"serial", "too long"}
	}
	parts := strings.Split(rest, ".")
	if len(parts) != 5 {
		return Identifier{}, &IdentifierError{"root", fmt.Sprintf("%d parts behind it, want type, issuer, serial, version and check", len(parts))}
	}
	id, err := fromParts(parts)
	if err != nil {
		return Identifier{}, err
	}
	if want := checkCharacter(strings.Join(parts[:4], "")); parts[4] != string(want) {
		return Identifier{}, &IdentifierError{"check", fmt.Sprintf("character is %.4q, want %q", parts[4], want)}
	}
	return id, nil
}

// ParseSeries reads the name of a certificate without version and check character, or takes them off a whole identifier.
func ParseSeries(s string) (string, error) {
	if strings.HasPrefix(s, root) {
		id, err := ParseIdentifier(s)
		return id.Series(), err
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return "", &IdentifierError{"type", fmt.Sprintf("%d parts, want type, issuer and serial, or a whole identifier", len(parts))}
	}
	id, err := fromParts(append(parts, "001"))
	return id.Series(), err
}

func fromParts(parts []string) (Identifier, error) {
	for n, p := range []struct {
		name     string
		min, max int
	}{{"type", typeLength, typeLength}, {"issuer", 1, maxIssuer}, {"serial", 1, maxSerial}, {"version", 3, 3}} {
		if l := len(parts[n]); l < p.min || l > p.max {
			return Identifier{}, &IdentifierError{p.name, fmt.Sprintf("%d characters, want %d to %d", l, p.min, p.max)}
		}
		if strings.Trim(parts[n], checkAlphabet) != "" {
			return Identifier{}, &IdentifierError{p.name, "holds other characters than digits and capital letters"}
		}
	}
	if strings.Trim(parts[0][18:], digits) != "" {
		return Identifier{}, &IdentifierError{"type", "does not end in three digits"}
	}
	id := Identifier{Type: parts[0], Issuer: parts[1], Serial: parts[2]}
	for _, c := range parts[3] {
		if c < '0' || c > '9' {
			return Identifier{}, &IdentifierError{"version", "is not three digits"}
		}
		id.Version = id.Version*10 + int(c-'0')
	}
	if id.Version == 0 {
		return Identifier{}, &IdentifierError{"version", "begins at 001"}
	}
	return id, nil
}

const (
	digits = "0123456789"
	// checkAlphabet gives a character its value by its place.
	checkAlphabet = digits + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// checkCharacter is ISO/IEC 7064 MOD 37,36.
func checkCharacter(s string) byte {
	p := 36
	for i := range len(s) {
		sum := (p + strings.IndexByte(checkAlphabet, s[i])) % 36
		if sum == 0 {
			sum = 36
		}
		p = 2 * sum % 37
	}
	return checkAlphabet[(37-p)%36]
}
