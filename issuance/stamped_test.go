package issuance_test

import (
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
	"sealkeeper/seal"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify/signeddata"
)

// authorityKey signs time stamps in software.
type authorityKey struct{ *softkey.Key }

func (k authorityKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	return k.Key.Sign(message)
}

type serials struct{ n uint64 }

func (s *serials) Next(context.Context) (uint64, error) { s.n++; return s.n, nil }

func newAuthority(t *testing.T, now func() time.Time) *timestamp.Authority {
	t.Helper()
	key := newKey(t)
	template := &gm.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "演示时间戳"}, NotBefore: now().Add(-time.Hour), NotAfter: now().AddDate(1, 0, 0),
		KeyUsage: gm.KeyUsageDigitalSignature, SignatureAlgorithm: gm.SM2WithSM3, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true,
			Value: []byte("\x30\x0A\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x08")}}}
	der := must(gm.CreateCertificate(template, template, key.Public().ECDSA(), key.Signer()))(t)
	return must(timestamp.NewAuthority(timestamp.AuthorityConfig{Key: authorityKey{key}, Certificate: der, Serials: &serials{}, Policy: "1.2.3.4", Now: now}))(t)
}

// TestStampedSeals: seals of GM/T 0031-2025 carry a time stamp over the maker's signature; while there is none to be had, the order waits and
// nothing is made.
func TestStampedSeals(t *testing.T) {
	down := errors.New("the authority is down")
	var a *timestamp.Authority
	w := newWorld(t, func(c *issuance.Config) {
		c.HeaderVersion = 5
		c.Timestamp = func(ctx context.Context, sm3 []byte) ([]byte, error) {
			if a == nil {
				return nil, down
			}
			return a.Stamp(ctx, timestamp.SM3, sm3)
		}
	})
	order := w.complete(uscc)
	if n, err := w.iss.Finish(w.ctx); n != 0 || !errors.Is(err, down) {
		t.Fatalf("%d orders made: %v", n, err)
	}
	if all := must(w.seals.SealsOf(w.ctx, uscc))(t); len(all) != 0 || w.order(order).State == register.OrderMade {
		t.Fatalf("%d seals, order %s", len(all), w.order(order).State)
	}
	a = newAuthority(t, w.clock.now)
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatalf("%d orders made: %v", n, err)
	}
	for _, s := range must(w.seals.SealsOf(w.ctx, uscc))(t) {
		e := must(seal.Parse(must(w.seals.ESL(w.ctx, s.ESID))(t)))(t)
		if err := e.VerifySignature(); err != nil || e.Generation != seal.V5 || len(e.Notes) != 0 {
			t.Errorf("seal %s: %v, %s, %v", s.ESID, err, e.Generation, e.Notes)
		}
		token := must(signeddata.ParseToken(e.Timestamp))(t)
		if err := errors.Join(token.Verify(), token.Covers(e.Signature)); err != nil || token.GenTime.Before(e.Info.CreateDate.Add(-time.Second)) {
			t.Errorf("seal %s: stamp of %s: %v", s.ESID, token.GenTime, err)
		}
	}
}
