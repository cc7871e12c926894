package synthetic

import (
	"fmt"
	"strings"
)

// alphabet is that of GB 32100: no I, O, S, V, Z.
const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"

// Marker begins the body of every made-up code. No real code is known to begin
// so: newer ones begin MA, older ones with digits.
const Marker = "YYY"

// USCC makes a unified social credit code (统一社会信用代码) of 18 characters:
// department and category (two characters, "91" for an enterprise), a division
// of six digits, Marker, the ordinal in five characters to base 31, and the two
// check characters. Ordinals outside 0 to MaxOrdinal wrap round.
func USCC(kind, division string, ordinal int) string {
	ordinal = ((ordinal % (MaxOrdinal + 1)) + MaxOrdinal + 1) % (MaxOrdinal + 1)
	var digits [5]byte
	for i := range digits {
		digits[len(digits)-1-i] = alphabet[ordinal%31]
		ordinal /= 31
	}
	body := Marker + string(digits[:])
	code := kind + division + body + string(bodyCheck(body))
	return code + string(codeCheck(code))
}

// bodyCheck is the check character of an organisation code of eight characters
// (GB 11714). Its letters count from A = 10 to Z = 35 without a gap, unlike
// those of GB 32100.
func bodyCheck(body string) byte {
	weights := [8]int{3, 7, 9, 10, 5, 8, 4, 2}
	sum := 0
	for i, w := range weights {
		value := int(body[i] - '0')
		if body[i] >= 'A' {
			value = int(body[i]-'A') + 10
		}
		sum += value * w
	}
	return "0123456789X"[(11-sum%11)%11]
}

// codeCheck is the last character of a code of 17 characters (GB 32100): each
// place weighs three times the one before it, modulo 31.
func codeCheck(code string) byte {
	sum, weight := 0, 1
	for i := range 17 {
		sum += strings.IndexByte(alphabet, code[i]) * weight
		weight = weight * 3 % 31
	}
	return alphabet[(31-sum%31)%31]
}

// identityNumber makes an identity number (GB 11643) of a division beginning 99,
// which is assigned to nobody, and a birthday in January 1900.
func identityNumber(n int) string {
	day, rest := n%31, n/31
	number := fmt.Sprintf("%06d190001%02d%03d", 990101+rest/999, 1+day, 1+rest%999)
	return number + string(identityCheck(number))
}

// identityCheck is the last character of an identity number of 17 digits; its
// weights are the powers of two modulo 11, counted from the right.
func identityCheck(number string) byte {
	sum, weight := 0, 2
	for i := 16; i >= 0; i-- {
		sum += int(number[i]-'0') * weight
		weight = weight * 2 % 11
	}
	return "10X98765432"[sum%11]
}
