package main

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/seal"
)

// party is a software key with its certificate.
type party struct {
	key  *softkey.Key
	der  []byte
	cert *gm.Certificate
}

// material is what both sides work with: a root, a seal maker, a signatory and their seal.
type material struct {
	dir                 string
	root, maker, signer party
	person, stamper     party
	seal, personal      []byte // of signer and person
}

// newMaterial makes the keys, the certificates and a seal of this run, and writes what the other side needs.
func newMaterial(dir string) (*material, error) {
	m := &material{dir: dir}
	from := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	for i, p := range []struct {
		who    *party
		name   string
		issuer *party
		stamps bool
	}{{&m.root, "Interop Root", nil, false}, {&m.maker, "Interop Maker", &m.root, false}, {&m.signer, "示例企业（演示数据）", &m.root, false},
		{&m.person, "示例法定代表人（演示数据）", &m.root, false}, {&m.stamper, "Interop Time Stamps", &m.root, true}} {
		var err error
		if *p.who, err = newParty(p.name, int64(i+1), from, p.issuer, p.stamps); err != nil {
			return nil, err
		}
	}
	info := seal.Info{Vid: "Sealkeeper", ESID: "41030200000001", Type: 1, Name: "示例企业（演示数据）", Certs: [][]byte{m.signer.der},
		CreateDate: from, ValidStart: from, ValidEnd: from.AddDate(3, 0, 0), Picture: seal.Picture{Type: "PNG", Data: picture(), WidthMM: 40, HeightMM: 40}}
	var err error
	if m.seal, err = seal.Make(info, m.maker.der, m.maker.key.Sign); err != nil {
		return nil, err
	}
	info.ESID, info.Type, info.Name, info.Certs = "41030200000002", 5, "示例法定代表人（演示数据）", [][]byte{m.person.der}
	if m.personal, err = seal.Make(info, m.maker.der, m.maker.key.Sign); err != nil {
		return nil, err
	}
	if err := m.signer.key.Save(m.path("signer.key")); err != nil {
		return nil, err
	}
	return m, m.write(map[string][]byte{"signer.der": m.signer.der, "seal.esl": m.seal})
}

// timeStamping is the critical extended key usage of a time-stamp authority (RFC 3161 §2.3).
var timeStamping = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte("\x30\x0A\x06\x08\x2B\x06\x01\x05\x05\x07\x03\x08")}

func newParty(name string, serial int64, from time.Time, issuer *party, stamps bool) (party, error) {
	key, err := softkey.Generate(nil)
	if err != nil {
		return party{}, err
	}
	t := &gm.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{Country: []string{"CN"}, CommonName: name}, NotBefore: from,
		NotAfter: from.AddDate(5, 0, 0), KeyUsage: gm.KeyUsageDigitalSignature, SignatureAlgorithm: gm.SM2WithSM3, BasicConstraintsValid: true}
	if stamps {
		t.ExtraExtensions = []pkix.Extension{timeStamping}
	}
	parent, by := t, key
	if issuer == nil {
		t.IsCA, t.KeyUsage = true, gm.KeyUsageCertSign
	} else {
		parent, by = issuer.cert, issuer.key
	}
	der, err := gm.CreateCertificate(t, parent, key.Public().ECDSA(), by.Signer())
	if err != nil {
		return party{}, fmt.Errorf("certificate of %s: %w", name, err)
	}
	cert, err := gm.ParseCertificate(der)
	return party{key, der, cert}, err
}

func (m *material) path(name string) string { return filepath.Join(m.dir, name) }

func (m *material) write(files map[string][]byte) error {
	for name, b := range files {
		if err := os.WriteFile(m.path(name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
