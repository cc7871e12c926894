package main

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify/trust"
)

// publisher signs trust lists and revocation lists in software.
type publisher struct {
	key  *softkey.Key
	der  []byte
	cert *gm.Certificate
}

func newPublisher(t *testing.T) publisher {
	t.Helper()
	key, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &gm.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例市场监督管理局"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: gm.KeyUsageDigitalSignature | gm.KeyUsageCRLSign, SignatureAlgorithm: gm.SM2WithSM3, SubjectKeyId: []byte{1}}
	p := publisher{key: key}
	if p.der, err = gm.CreateCertificate(template, template, key.Public().ECDSA(), key.Signer()); err != nil {
		t.Fatal(err)
	}
	if p.cert, err = gm.ParseCertificate(p.der); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p publisher) list(t *testing.T, version uint64) []byte {
	t.Helper()
	content, err := json.Marshal(trust.Draft{Format: trust.Format, Region: "4101", Name: "示例", Version: version, Issued: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		Entries: []trust.Item{{Kind: trust.Maker, Name: "演示", Certificate: p.der}}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := cms.Prepare(cms.Request{Form: cms.GM, Algorithm: cms.SM2, Certificate: p.der, Digest: gm.SM3(content), Content: content, SigningTime: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	value, err := p.key.Sign(d.Attributes())
	if err != nil {
		t.Fatal(err)
	}
	der, err := d.Assemble(value, nil)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (p publisher) crl(t *testing.T, number int64) []byte {
	t.Helper()
	der, err := gm.CreateRevocationList(&gm.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		SignatureAlgorithm: gm.SM2WithSM3}, p.cert, p.key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestJudgingFollowsItsFiles: lists count as soon as they change; what cannot be read, is a stranger's or older leaves everything as it was.
func TestJudgingFollowsItsFiles(t *testing.T) {
	p, stranger := newPublisher(t), newPublisher(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	tick := time.Now().Add(-time.Hour)
	put := func(name string, b []byte) {
		t.Helper()
		tick = tick.Add(time.Second) // two writes within the clock's grain are two states all the same
		if err := os.WriteFile(at(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(at(name), tick, tick); err != nil {
			t.Fatal(err)
		}
	}
	put("list.p7", p.list(t, 4))
	put("publisher.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.der}))
	put("issuing.crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: p.crl(t, 1)}))
	var log bytes.Buffer
	j := &judging{cfg: VerificationConfig{TrustLists: []string{at("list.p7")}, TrustSigners: []string{at("publisher.pem")}, RevocationLists: []string{at("issuing.crl")},
		TimestampRoots: []string{at("publisher.pem")}}, log: slog.New(slog.NewTextHandler(&log, nil))}
	check := func(what string, version uint64, number int64, said string) {
		t.Helper()
		o := j.options()
		l, err := gm.ParseRevocationList(o.CRLs[0])
		if err != nil || o.TrustLists[0].Version != version || l.Number.Int64() != number || len(o.TimestampRoots) != 1 {
			t.Errorf("%s: version %d, list %v, %v", what, o.TrustLists[0].Version, l, err)
		}
		if !strings.Contains(log.String(), said) || said == "" && log.Len() > 0 {
			t.Errorf("%s: the log says %s", what, log.String())
		}
		log.Reset()
	}
	check("as it was", 4, 1, "read again")
	check("unchanged", 4, 1, "")
	put("issuing.crl", p.crl(t, 2))
	check("a new revocation list in DER", 4, 2, "read again")
	put("list.p7", p.list(t, 5))
	check("a new trust list", 5, 2, "read again")
	put("list.p7", p.list(t, 3))
	check("an older trust list", 5, 2, "version 3 is older than version 5")
	put("list.p7", stranger.list(t, 9))
	check("a stranger's trust list", 5, 2, "not signed by a publisher")
	put("list.p7", p.list(t, 6))
	put("issuing.crl", []byte("x"))
	check("a revocation list that is none", 5, 2, "reading revocation list")
	put("issuing.crl", p.crl(t, 3))
	check("mended", 6, 3, "read again")
	put("publisher.pem", []byte("x"))
	check("certificates that are none", 6, 3, "holds no PEM certificate")
	if err := os.Remove(at("list.p7")); err != nil {
		t.Fatal(err)
	}
	put("publisher.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.der}))
	check("the list is gone", 6, 3, "reading trust list")
}
