package signeddata_test

import (
	"crypto/elliptic"
	"testing"

	"sealkeeper/signer/verify/signeddata"
)

// BenchmarkJudge reads a detached signature with attributes and checks its value; nearly all of it is the public-key operation.
func BenchmarkJudge(b *testing.B) {
	for name, k := range map[string]*key{"SM2": sm2Key(), "P-256": ecKey(elliptic.P256(), signeddata.OIDECDSASHA256, signeddata.OIDSHA256)} {
		der := k.forge(nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := signeddata.Parse(der)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Signer().VerifyContent(content); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
