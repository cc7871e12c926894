// Package draw makes the picture of a physical seal's impression (印模) as the
// simulator of public security files it.
//
// Its one promise: the same Spec gives the same pixels on every machine and
// architecture, and the same bytes under one Go release. Geometry is rounded to
// 1/256 pixel before anything is rasterised, the rasteriser works in integers,
// and no clock, locale or map order takes part.
//
// The picture is exactly as large as the seal, without a margin: a 40 mm seal
// at 600 dpi is 945 pixels wide, so placing the picture in a box of its own
// millimetres shows the seal at its true size.
//
// Limits: it imitates the four kinds of an enterprise's set and nothing else.
// It draws for the simulator and for tests; no signing program links it, since
// the platform never draws an impression itself.
package draw

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Seal types, as exchanged with public security.
const (
	TypeName    = "01" // 法定名称章, circle of 40 mm with a star
	TypeFinance = "02" // 财务专用章, circle of 38 mm
	TypeInvoice = "03" // 发票专用章, oval of 40 × 30 mm
	TypePerson  = "05" // 法定代表人章, square of 20 mm
)

// Errors of a Spec that cannot be drawn. Each is returned wrapped with the
// offending value.
var (
	// ErrType means the seal type is none of 01, 02, 03, 05.
	ErrType = errors.New("unknown seal type")
	// ErrText means a text is empty, too long or of the wrong form.
	ErrText = errors.New("text does not fit the seal")
	// ErrGlyph means the font subset has no glyph for a character. A seal is
	// never drawn with an empty box in the place of a character.
	ErrGlyph = errors.New("no glyph for character")
	// ErrDPI means a resolution outside 150 to 1200.
	ErrDPI = errors.New("resolution out of range")
)

// DefaultDPI is the resolution of a Spec that names none.
const DefaultDPI = 600

// Spec says what to draw. Name serves types 01, 02 and 03, TaxNumber type 03
// and Person type 05; what a type does not use is ignored.
type Spec struct {
	Type      string // TypeName, TypeFinance, TypeInvoice or TypePerson
	Name      string // enterprise name, 2 to 40 characters
	TaxNumber string // 15 to 20 digits and capital letters
	Person    string // name of the legal representative, 1 to 12 characters
	// Code is the 13-digit seal code printed on the bottom arc, or empty for a
	// seal without one. A square name seal has no room for it and shows none.
	Code string
	DPI  int // 150 to 1200; zero is DefaultDPI
	// Transparent leaves the background clear. Public security files pictures
	// on white, the default.
	Transparent bool
	Defect      Defect // what is wrong with the picture; zero is nothing
}

// Seal draws spec and returns the file with the seal's size in millimetres.
// The file is a PNG of four colours with its resolution recorded, unless
// spec.Defect asks for another format. A defect that changes the size returns
// the changed size.
func Seal(spec Spec) (file []byte, widthMM, heightMM int, err error) {
	if spec.DPI == 0 {
		spec.DPI = DefaultDPI
	}
	form, err := formOf(spec)
	if err != nil {
		return nil, 0, 0, err
	}
	w, h := form.widthMM, form.heightMM
	if spec.Defect == DefectSize {
		w, h = w+oversizeMM, h+oversizeMM
	}
	cv := newCanvas(pixels(w, spec.DPI), pixels(h, spec.DPI))
	pen := newPen(cv, w, h, spec.DPI)
	if spec.Defect == DefectSize {
		pen.base = scaled(float64(w)/float64(form.widthMM), float64(h)/float64(form.heightMM)).then(pen.base)
	}
	if spec.Defect == DefectRotated {
		pen.base = rotated(rotationDefect).then(pen.base)
	}
	if err := form.draw(pen, spec); err != nil {
		return nil, 0, 0, fmt.Errorf("drawing seal of type %s: %w", spec.Type, err)
	}
	file, err = encode(cv, spec)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("encoding seal of type %s: %w", spec.Type, err)
	}
	return file, w, h, nil
}

// form is a seal template: its size and how it is drawn about its centre.
type form struct {
	widthMM, heightMM int
	draw              func(*pen, Spec) error
}

// formOf chooses the template and checks every text of spec before any work.
func formOf(spec Spec) (form, error) {
	if spec.DPI < 150 || spec.DPI > 1200 {
		return form{}, fmt.Errorf("%w: %d dpi", ErrDPI, spec.DPI)
	}
	if spec.Code != "" && !only(spec.Code, 13, 13, isDigit) {
		return form{}, fmt.Errorf("%w: seal code %q is not 13 digits", ErrText, spec.Code)
	}
	switch spec.Type {
	case TypeName:
		return form{40, 40, drawName}, checkLength("name", spec.Name, 2, 40)
	case TypeFinance:
		return form{38, 38, drawFinance}, checkLength("name", spec.Name, 2, 40)
	case TypeInvoice:
		if !only(spec.TaxNumber, 15, 20, isTaxCharacter) {
			return form{}, fmt.Errorf("%w: tax number %q", ErrText, spec.TaxNumber)
		}
		return form{40, 30, drawInvoice}, checkLength("name", spec.Name, 2, 40)
	case TypePerson:
		return form{20, 20, drawPerson}, checkLength("person", spec.Person, 1, 12)
	}
	return form{}, fmt.Errorf("%w: %q", ErrType, spec.Type)
}

func checkLength(what, text string, least, most int) error {
	if n := len([]rune(text)); n < least || n > most {
		return fmt.Errorf("%w: %s has %d characters, %d to %d allowed", ErrText, what, n, least, most)
	}
	if strings.TrimSpace(text) != text {
		return fmt.Errorf("%w: %s %q begins or ends with a space", ErrText, what, text)
	}
	return nil
}

// only reports whether text has between least and most bytes, all accepted.
func only(text string, least, most int, accept func(byte) bool) bool {
	if len(text) < least || len(text) > most {
		return false
	}
	for i := range len(text) {
		if !accept(text[i]) {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isTaxCharacter(b byte) bool { return isDigit(b) || b >= 'A' && b <= 'Z' }

// pixels converts millimetres to whole pixels.
func pixels(mm, dpi int) int { return int(math.Round(float64(mm) / mmPerInch * float64(dpi))) }

const mmPerInch = 25.4
