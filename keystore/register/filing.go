package register

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sealkeeper/internal/gm"
)

// FilingKind is the envelope kind of a filed impression.
const FilingKind = "impression-filing/1"

// MaxImage bounds the image file of a filing, in bytes.
const MaxImage = 2 << 20

// ErrFilingForm: a field of the filing is missing or out of form.
var ErrFilingForm = errors.New("impression filing is out of form")

// Filing is what public security sends when a physical seal is engraved and filed: payload of FilingKind.
type Filing struct {
	FilingNumber string    `json:"filing_number"`       // public security's, 1..64 characters [A-Za-z0-9._/-]; the mandatory key
	SealCode     string    `json:"seal_code,omitempty"` // 13 or 14 digits as printed on the seal; opaque; old seals have none
	SealType     string    `json:"seal_type"`           // 01..05
	USCC         string    `json:"uscc"`
	Name         string    `json:"name"`   // of the using unit, as public security has it
	Format       string    `json:"format"` // PNG, BMP or JPEG
	WidthMM      float64   `json:"width_mm"`
	HeightMM     float64   `json:"height_mm"`
	Image        []byte    `json:"image"` // the image file, untouched
	Engraver     string    `json:"engraver"`
	FiledAt      time.Time `json:"filed_at"`
}

var (
	filingNumberForm = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,64}$`)
	sealCodeForm     = regexp.MustCompile(`^[0-9]{13,14}$`)
	sealTypeForm     = regexp.MustCompile(`^(0[1-5]|99)$`)
)

// Check judges the form of a filing, never the picture.
func (f Filing) Check(now time.Time) (warnings []string, err error) {
	bad := func(what string) ([]string, error) { return nil, fmt.Errorf("%s: %w", what, ErrFilingForm) }
	switch {
	case !filingNumberForm.MatchString(f.FilingNumber):
		return bad("filing_number")
	case f.SealCode != "" && !sealCodeForm.MatchString(f.SealCode):
		return bad("seal_code")
	case !sealTypeForm.MatchString(f.SealType):
		return bad("seal_type")
	case !cleanText(f.Name, 100) || f.Engraver != "" && !cleanText(f.Engraver, 100):
		return bad("name or engraver")
	case len(f.Image) == 0 || len(f.Image) > MaxImage:
		return bad(fmt.Sprintf("image of %d bytes, at most %d", len(f.Image), MaxImage))
	case !(f.WidthMM > 0 && f.WidthMM <= 100) || !(f.HeightMM > 0 && f.HeightMM <= 100): // NaN fails too
		return bad("width_mm or height_mm")
	case f.FiledAt.IsZero() || f.FiledAt.After(now.Add(2*time.Minute)):
		return bad("filed_at")
	}
	if f.SealCode != "" && !strings.HasPrefix(f.SealCode, "4103") {
		warnings = append(warnings, "seal code does not begin with 4103")
	}
	return warnings, nil
}

// SM3 is the digest of the image file, in hexadecimal.
func (f Filing) SM3() string {
	d := gm.SM3(f.Image)
	return hex.EncodeToString(d[:])
}

func cleanText(s string, limit int) bool {
	n := utf8.RuneCountInString(s)
	return n > 0 && n <= limit && utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unicode.IsControl)
}
