package synthetic_test

import (
	"testing"

	"sealkeeper/licence"
	"sealkeeper/softhsm-test/synthetic"
)

// TestLicenceAgrees holds this package's arithmetic against the product's own
// checker, which shares no code with it.
func TestLicenceAgrees(t *testing.T) {
	for n := range 500 {
		e := synthetic.New("licence", n)
		warnings, err := licence.CheckUSCC(e.USCC)
		if err != nil || len(warnings) != 0 {
			t.Errorf("enterprise %d, code %s: warnings %v, error %v", n, e.USCC, warnings, err)
		}
		if !licence.IsSynthetic(e.USCC) {
			t.Errorf("enterprise %d: %s is not seen as synthetic", n, e.USCC)
		}
	}
}
