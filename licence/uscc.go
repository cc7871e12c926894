package licence

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUSCC: text is not a unified social credit code. Match *USCCError for the place and the reason.
var ErrUSCC = errors.New("not a unified social credit code")

// USCCError says where a unified social credit code (统一社会信用代码, GB 32100-2015) is wrong.
type USCCError struct {
	Position int    // 1..18; 0 when it is the length
	Reason   string // for people
}

// Error names the place and the reason.
func (e *USCCError) Error() string {
	if e.Position == 0 {
		return fmt.Sprintf("%v: %s", ErrUSCC, e.Reason)
	}
	return fmt.Sprintf("%v: position %d: %s", ErrUSCC, e.Position, e.Reason)
}

// Is makes errors.Is(err, ErrUSCC) true.
func (e *USCCError) Is(target error) bool { return target == ErrUSCC }

const (
	usccLength = 18
	// usccAlphabet holds the 31 characters of GB 32100 §4; the value of a character is its index. I, O, S, V and Z do not occur.
	usccAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	// usccDepartments are the registering departments of position 1.
	usccDepartments = "123456789ANY"
	// syntheticBody begins the organisation code of made-up enterprises; no real body is known to begin so.
	syntheticBody = "YYY"
)

// The weights are 3^(i-1) mod 31 (GB 32100, annex) and the ones of GB 11714 for the eight characters of the organisation code.
var (
	usccWeights = [17]int{1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28}
	bodyWeights = [8]int{3, 7, 9, 10, 5, 8, 4, 2}
)

// CheckUSCC checks form, registering department, division and the check character of position 18 (GB 32100): any fault is a
// *USCCError. The inherited check of position 17 (GB 11714) and an enterprise category never seen are warnings only.
func CheckUSCC(s string) (warnings []string, err error) {
	if len(s) != usccLength {
		return nil, &USCCError{0, fmt.Sprintf("%d bytes, want %d characters", len(s), usccLength)}
	}
	if err := checkAlphabet(s); err != nil {
		return nil, err
	}
	if strings.IndexByte(usccDepartments, s[0]) < 0 {
		return nil, &USCCError{1, fmt.Sprintf("%q is no registering department", s[0])}
	}
	if reason := checkDivision(s[2:8]); reason != "" {
		return nil, &USCCError{3, reason}
	}
	if want := usccCheck(s); s[17] != want {
		return nil, &USCCError{18, fmt.Sprintf("check character is %q, want %q", s[17], want)}
	}
	if s[0] == '9' && strings.IndexByte("123", s[1]) < 0 {
		warnings = append(warnings, fmt.Sprintf("position 2: category %q of a market entity is not known", s[1]))
	}
	if want := bodyCheck(s[8:16]); s[16] != want {
		warnings = append(warnings, fmt.Sprintf("position 17: check character of the organisation code is %q, want %q", s[16], want))
	}
	return warnings, nil
}

// IsSynthetic reports whether the organisation code carries the reserved mark of made-up enterprises (示例).
func IsSynthetic(uscc string) bool {
	return len(uscc) == usccLength && strings.HasPrefix(uscc[8:], syntheticBody)
}

func checkAlphabet(s string) error {
	for i := range len(s) {
		digitsOnly := i >= 2 && i < 8
		switch {
		case strings.IndexByte(usccAlphabet, s[i]) < 0:
			return &USCCError{i + 1, fmt.Sprintf("%q is not in the alphabet", s[i])}
		case digitsOnly && (s[i] < '0' || s[i] > '9'):
			return &USCCError{i + 1, fmt.Sprintf("%q in the division code, want a digit", s[i])}
		}
	}
	return nil
}

func usccCheck(s string) byte {
	sum := 0
	for i, w := range usccWeights {
		sum += strings.IndexByte(usccAlphabet, s[i]) * w
	}
	return usccAlphabet[(31-sum%31)%31]
}

// bodyCheck counts letters A=10 … Z=35 without a gap: another alphabet than that of position 18.
func bodyCheck(body string) byte {
	sum := 0
	for i, w := range bodyWeights {
		v := int(body[i] - '0')
		if body[i] >= 'A' {
			v = int(body[i]-'A') + 10
		}
		sum += v * w
	}
	switch c := 11 - sum%11; c {
	case 10:
		return 'X'
	case 11:
		return '0'
	default:
		return byte('0' + c)
	}
}
