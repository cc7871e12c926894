// Package sim plays public security's seal management system (治安印章信息管理系统): it draws the impression of an engraved seal and files it,
// signed, with its filing number and seal code.
//
// It alone draws: the appliance takes the picture as filed (同章同模). The daemon never links this package.
package sim

import (
	"fmt"
	"time"

	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// System is the seal management system with its signing key.
type System struct{ Key *softkey.Key }

// Engrave draws one seal of an enterprise. number makes filing number and seal code; defect spoils the picture for tests.
func (s System) Engrave(f licence.Fields, sealType string, number int, defect draw.Defect, at time.Time) (register.Filing, error) {
	code := fmt.Sprintf("%.6s%07d", f.Division, number)
	image, w, h, err := draw.Seal(draw.Spec{Type: sealType, Name: f.Name, TaxNumber: f.USCC, Person: f.LegalRep, Code: code, Defect: defect})
	if err != nil {
		return register.Filing{}, fmt.Errorf("drawing seal %s of %s: %w", sealType, f.Name, err)
	}
	return register.Filing{FilingNumber: fmt.Sprintf("PS-%s-%s", code, sealType), SealCode: code, SealType: sealType, USCC: f.USCC, Name: f.Name,
		Format: format(image), WidthMM: float64(w), HeightMM: float64(h), Image: image, Engraver: "示例刻章单位", FiledAt: at.UTC().Truncate(time.Second)}, nil
}

func format(image []byte) string {
	if len(image) > 2 && image[0] == 0xff && image[1] == 0xd8 {
		return "JPEG"
	}
	return "PNG"
}

// Notice puts a notice about a seal into its signed envelope.
func (s System) Notice(n register.SealNotice) (envelope.Envelope, error) {
	return envelope.Seal(register.SealNoticeKind, n, s.Key.Sign)
}

// File puts a filing into its signed envelope.
func (s System) File(f register.Filing) (envelope.Envelope, error) {
	return envelope.Seal(register.FilingKind, f, s.Key.Sign)
}
