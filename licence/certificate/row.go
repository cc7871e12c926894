package certificate

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sealkeeper/internal/gm"
)

// Act says what a row states.
type Act string

// The acts.
const (
	Issued    Act = "issued"    // the first row of a certificate
	Reissued  Act = "reissued"  // the same certificate under its identifier's next version
	Restated  Act = "status"    // its status changed
	Confirmed Act = "confirmed" // it still holds although the licence changed
)

// Row is what a department stated of a certificate at one time. A certificate is its rows; none is ever changed.
type Row struct {
	Certificate string            `json:"certificate"` // the series: type, issuer and serial
	Number      int               `json:"number"`      // from 1, without gaps
	Act         Act               `json:"act"`
	Identifier  string            `json:"identifier"`
	Type        string            `json:"type"`
	Title       string            `json:"title"` // of the type, when the row was recorded
	USCC        string            `json:"uscc"`
	Name        string            `json:"name"` // of the holder, as the certificate says it
	Status      Status            `json:"status"`
	ValidFrom   string            `json:"valid_from"`         // YYYY-MM-DD
	ValidTo     string            `json:"valid_to,omitempty"` // the last day; empty means without end (长期)
	Attributes  map[string]string `json:"attributes,omitempty"`
	FileSM3     string            `json:"file_sm3,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Licence     int               `json:"licence"`      // the version of the holder's licence that it was checked against
	EffectiveAt time.Time         `json:"effective_at"` // since when it holds
	RecordedAt  time.Time         `json:"recorded_at"`  // since when this library knows
	Client      string            `json:"client"`       // who stated it
	Request     string            `json:"request"`      // under which Idempotency-Key
}

// Draft is a certificate as its department puts it.
type Draft struct {
	Identifier  string            `json:"identifier" maxLength:"128" doc:"GB/T 36904, with its check character"`
	USCC        string            `json:"uscc" maxLength:"18" doc:"credit code of the holder"`
	Name        string            `json:"name" maxLength:"100" doc:"of the holder, as the certificate says it"`
	ValidFrom   string            `json:"valid_from" maxLength:"10" doc:"YYYY-MM-DD"`
	ValidTo     string            `json:"valid_to,omitempty" maxLength:"10" doc:"the last day; without end when left out"`
	Attributes  map[string]string `json:"attributes,omitempty" doc:"names as the catalogue lists them"`
	EffectiveAt time.Time         `json:"effective_at,omitzero" required:"false" doc:"since when it holds; now when left out"`
	File        []byte            `json:"file,omitempty" doc:"OFD or PDF, at most 2 MiB"`
	FileSM3     string            `json:"file_sm3,omitempty" maxLength:"64" doc:"SM3 of the file; a file that differs is refused"`
}

// Bounds of a certificate.
const (
	MaxFile      = 2 << 20
	maxValue     = 2000 // characters of an attribute
	maxRows      = 1000 // of one certificate
	maxOfHolder  = 500  // certificates of one enterprise
	maxReason    = 200
	clockSkew    = 2 * time.Minute
	earliestYear = 1949
)

// Why a certificate is not taken. An identifier's fault is ErrIdentifier.
var (
	// ErrForm: a value is out of form.
	ErrForm = errors.New("certificate is out of form")
	// ErrType: the catalogue has no such attribute, issuer or file for the type.
	ErrType = errors.New("the catalogue does not provide for this")
	// ErrFile: the file is none of OFD and PDF, too large, lacking, or not the one stated.
	ErrFile = errors.New("certificate file is not acceptable")
	// ErrHolder: the holder has no licence here, or never had that name.
	ErrHolder = errors.New("the certificate's holder is not the licence's")
	// ErrFull: the holder has as many certificates as the library keeps of one.
	ErrFull = errors.New("no more certificates of this holder")
	// ErrSequence: the identifier's version does not follow.
	ErrSequence = errors.New("the identifier's version does not follow")
	// ErrTransition: the status does not follow the present one, or the act lies before the last one.
	ErrTransition = errors.New("this does not follow the certificate's state")
	// ErrLicenceMoved: the licence has another version than the one confirmed.
	ErrLicenceMoved = errors.New("the licence has changed again")
	// ErrUnknown: no such certificate, or none at that time.
	ErrUnknown = errors.New("no such certificate")
)

func (d Draft) check(t Type, now time.Time) error {
	from, err := day(d.ValidFrom)
	if err != nil {
		return fmt.Errorf("valid_from: %w", err)
	}
	if d.ValidTo != "" {
		if to, err := day(d.ValidTo); err != nil || to.Before(from) {
			return fmt.Errorf("valid_to %.12q is no day from valid_from on: %w", d.ValidTo, ErrForm)
		}
	}
	if !cleanText(d.Name, 100) {
		return fmt.Errorf("name is no text of at most 100 characters: %w", ErrForm)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Attributes)) {
		if !slices.Contains(t.Attributes, name) {
			return fmt.Errorf("attribute %.40q of type %s: %w", name, t.Type, ErrType)
		}
		if !cleanText(d.Attributes[name], maxValue) {
			return fmt.Errorf("attribute %s is no text of at most %d characters: %w", name, maxValue, ErrForm)
		}
	}
	if err := timely(d.EffectiveAt, now); err != nil {
		return err
	}
	return d.checkFile(t)
}

func timely(at, now time.Time) error {
	if at.Year() < earliestYear || at.After(now.Add(clockSkew)) {
		return fmt.Errorf("effective_at %s lies in the future, or too far back: %w", at.UTC().Format(time.RFC3339), ErrForm)
	}
	return nil
}

func day(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < earliestYear {
		return t, fmt.Errorf("%.12q is no day (YYYY-MM-DD): %w", s, ErrForm)
	}
	return t, nil
}

// checkFile looks at the file's size, digest and first bytes.
func (d Draft) checkFile(t Type) error {
	switch sum := gm.SM3(d.File); {
	case t.NoFile && len(d.File) == 0 && d.FileSM3 == "":
		return nil
	case t.NoFile:
		return fmt.Errorf("type %s comes without a file: %w", t.Type, ErrType)
	case len(d.File) == 0:
		return fmt.Errorf("there is none, and type %s wants one: %w", t.Type, ErrFile)
	case len(d.File) > MaxFile:
		return fmt.Errorf("%d bytes, at most %d: %w", len(d.File), MaxFile, ErrFile)
	case string(d.File[:min(5, len(d.File))]) != "%PDF-" && string(d.File[:min(4, len(d.File))]) != "PK\x03\x04":
		return fmt.Errorf("neither OFD nor PDF: %w", ErrFile)
	case d.FileSM3 != "" && d.FileSM3 != hex.EncodeToString(sum[:]):
		return fmt.Errorf("its SM3 is %x, %.64q is stated: %w", sum, d.FileSM3, ErrFile)
	}
	return nil
}

// state is the status at a time, with what the certificate's own dates make of it. Days are those of Beijing.
func (r Row) state(at time.Time) Status {
	if r.Status != Valid {
		return r.Status
	}
	switch today := at.In(beijing).Format(time.DateOnly); {
	case today < r.ValidFrom:
		return NotYetValid
	case r.ValidTo != "" && today > r.ValidTo:
		return Expired
	}
	return Valid
}

var beijing = time.FixedZone("CST", 8*3600)
