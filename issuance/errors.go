package issuance

import (
	"errors"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/register"
	"sealkeeper/seal"
	"sealkeeper/seal/impression"
)

// The named refusals of this package. Nothing was changed, unless the error is also in the list of exceptions below: then the order
// waits for a human.
var (
	// ErrNoOrder: no open order of this entity waits for an impression.
	ErrNoOrder = errors.New("no open order of this entity")
	// ErrOrderException: the order waits for a human decision and takes nothing.
	ErrOrderException = errors.New("the order waits for a human decision")
	// ErrAlreadyFiled: the order has an impression of this type, under another filing number.
	ErrAlreadyFiled = errors.New("the order has an impression of this type already")
	// ErrPayloadSize: the signed payload is too large.
	ErrPayloadSize = errors.New("filing is too large")
	// ErrLicenceInactive: the licence does not allow seals to be made or used.
	ErrLicenceInactive = errors.New("licence is not active")
	// ErrNotComplete: the order waits for something else than its seals.
	ErrNotComplete = errors.New("the order is not complete")
	// ErrNothingToCollect: no seal of the order waits to be collected.
	ErrNothingToCollect = errors.New("no seal of the order waits to be collected")
	// ErrNotResponsible: the person is not the responsible person on the licence.
	ErrNotResponsible = errors.New("not the responsible person on the licence")
	// ErrMakerExpired: a seal would outlive the seal maker's certificate.
	ErrMakerExpired = errors.New("seal would outlive its maker's certificate")
	// ErrCertificateWrong: the issuer's certificate is not what was asked for.
	ErrCertificateWrong = errors.New("issued certificate is not what was asked for")

	// ErrCertificatePending: the outside authority has not answered yet. The order waits and is tried again by itself.
	ErrCertificatePending = errors.New("the certificate authority has not answered yet")
	// ErrCertificateRefused: the outside authority refused to certify the key.
	ErrCertificateRefused = errors.New("the certificate authority refused the request")

	// ErrTypeNotInSet: the order's set has no seal of that type.
	ErrTypeNotInSet = errors.New("seal type is not in the order's set")
	// ErrNameDiffers: the name on the filing is not the name on the licence.
	ErrNameDiffers = errors.New("name on the filing is not the name on the licence")
	// ErrFormatStated: the picture is not in the format that the filing states.
	ErrFormatStated = errors.New("picture is not of the format stated")
)

// exceptions are the failed checks of a filing that make its order wait for a human, with the codes kept in the order. They never
// change.
var exceptions = []struct {
	err  error
	code string
}{
	{ErrLicenceInactive, "licence-inactive"},
	{ErrNameDiffers, "name-differs"},
	{ErrTypeNotInSet, "type-not-in-set"},
	{ErrFormatStated, "image-format-stated"},
	{impression.ErrTooLarge, "image-too-large"},
	{impression.ErrTooManyPixels, "image-too-many-pixels"},
	{impression.ErrTruncated, "image-truncated"},
	{impression.ErrFormat, "image-format"},
	{impression.ErrBlank, "image-blank"},
	{impression.ErrAspect, "image-aspect"},
	{impression.ErrSize, "image-size"},
	{impression.ErrResolution, "image-resolution"},
	{impression.ErrColour, "image-colour"},
	{impression.ErrDerive, "image-derive"},
	{register.ErrImpressionTaken, "image-taken"},
	{register.ErrSealCodeTaken, "seal-code-taken"},
	// Failures of making that no repetition mends.
	{register.ErrImpressionDamaged, "impression-damaged"},
	{ErrMakerExpired, "maker-expired"},
	{ErrCertificateWrong, "certificate-wrong"},
	{ErrCertificateRefused, "certificate-refused"},
	{gm.ErrDisagree, "verifiers-disagree"},
	{seal.ErrName, "seal-name"},
	{seal.ErrPicture, "seal-picture"},
}

// exceptionCode names the failed check, or is empty for an error that changes nothing.
func exceptionCode(err error) string {
	for _, x := range exceptions {
		if errors.Is(err, x.err) {
			return x.code
		}
	}
	return ""
}

// exceptionError is the error that a code stands for.
func exceptionError(code string) error {
	for _, x := range exceptions {
		if x.code == code {
			return x.err
		}
	}
	return ErrOrderException
}
