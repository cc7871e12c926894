package cms_test

import (
	"testing"

	"github.com/emmansun/gmsm/pkcs7"
	tjx509 "github.com/tjfoc/gmsm/x509"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify/signeddata"
)

// TestOtherLibraries: two unrelated readers take what we write, each the one signature OID that it knows, and both implementations of SM2
// accept the value over the attributes. Both readers are unfit for foreign input, hence tests alone.
func TestOtherLibraries(t *testing.T) {
	id := newIdentity(t, cms.SM2)
	for _, form := range []cms.Form{cms.GM, cms.RFC} {
		for _, null := range []bool{true, false} {
			for _, with501 := range []bool{true, false} {
				out := build(t, id, cms.Request{Form: form, Digest: gm.SM3(content), Content: content, SigningTime: noon, Null: null, SM2WithSM3: with501})
				s := must(signeddata.Parse(out)).Signer()
				key := must(s.Signatory()).Key
				if err := key.VerifyTwice(s.Attributes, s.Value); err != nil {
					t.Errorf("form %d: %v", form, err)
				}
				var err error
				if with501 {
					err = must(tjx509.ParsePKCS7(out)).Verify()
				} else {
					err = must(pkcs7.Parse(out)).Verify()
				}
				if err != nil {
					t.Errorf("form %d, NULL %v, 501 %v: %v", form, null, with501, err)
				}
			}
		}
	}
}
