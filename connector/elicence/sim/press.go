package sim

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"image"
	"image/png"
	"math/big"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/seal"
	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/ofdgen"
)

// Press makes licence files as a registration authority elsewhere does: an OFD page under that authority's seal.
type Press struct {
	Root, Maker *gm.Certificate
	seal        []byte
	sealer      identity
	root        identity
	serial      int64
	now         time.Time
}

type identity struct {
	key  *softkey.Key
	der  []byte
	cert *gm.Certificate
}

// NewPress makes the authority's hierarchy and seal, valid from a month before a time.
func NewPress(now time.Time) (*Press, error) {
	p := &Press{now: now.UTC().Truncate(time.Second)}
	var err error
	if p.root, err = p.certify("示例他省根 演示数据", nil, true); err != nil {
		return nil, err
	}
	maker, err := p.certify("示例他省制章 演示数据", nil, false)
	if err != nil {
		return nil, err
	}
	if p.sealer, err = p.certify("示例他省登记机关 演示数据", nil, false); err != nil {
		return nil, err
	}
	p.Root, p.Maker = p.root.cert, maker.cert
	p.seal, err = p.makeSeal(maker)
	return p, err
}

func (p *Press) certify(name string, extra []pkix.Extension, ca bool) (id identity, err error) {
	if id.key, err = softkey.Generate(nil); err != nil {
		return id, err
	}
	p.serial++
	t := &gm.Certificate{SerialNumber: big.NewInt(p.serial), Subject: pkix.Name{Country: []string{"CN"}, CommonName: name}, NotBefore: p.now.AddDate(0, -1, 0), NotAfter: p.now.AddDate(10, 0, 0),
		BasicConstraintsValid: true, IsCA: ca, SignatureAlgorithm: gm.SM2WithSM3, KeyUsage: gm.KeyUsageDigitalSignature, ExtraExtensions: extra, SubjectKeyId: []byte{byte(p.serial)}}
	parent, by := t, id.key
	if ca {
		t.KeyUsage = gm.KeyUsageCertSign
	} else {
		parent, by = p.root.cert, p.root.key
	}
	if id.der, err = gm.CreateCertificate(t, parent, id.key.Public().ECDSA(), by.Signer()); err != nil {
		return id, fmt.Errorf("certificate of %s: %w", name, err)
	}
	id.cert, err = gm.ParseCertificate(id.der)
	return id, err
}

func (p *Press) makeSeal(maker identity) ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		return nil, err
	}
	return seal.Make(seal.Info{Vid: "SIM", ESID: "99000000000001", Type: 1, Name: "示例登记机关印章 演示数据", Certs: [][]byte{p.sealer.der},
		CreateDate: p.now.AddDate(0, 0, -7), ValidStart: p.now.AddDate(0, 0, -7), ValidEnd: p.now.AddDate(3, 0, 0),
		Picture: seal.Picture{Type: "PNG", Data: b.Bytes(), WidthMM: 40, HeightMM: 40}}, maker.der, maker.key.Sign)
}

// File makes a sealed licence file.
func (p *Press) File(uscc, name string, version int) ([]byte, error) {
	doc, err := ofd.Open(ofdgen.Document("营业执照 演示数据", 1, "统一社会信用代码 "+uscc, "名称 "+name, fmt.Sprintf("版本 %d", version)), ofd.Limits{})
	if err != nil {
		return nil, err
	}
	draft, err := doc.Prepare(ofd.Request{Stamps: []ofd.Stamp{{Page: 1, X: 120, Y: 200, W: 40, H: 40}}, Seal: p.seal, SignatureTime: p.now, ProviderName: "SIM"})
	if err != nil {
		return nil, err
	}
	hash, property := draft.DataHash(), draft.PropertyInfo()
	tbs, err := seal.TBS{SealDER: p.seal, Time: p.now, DataHash: hash, PropertyInfo: property}.Marshal()
	if err != nil {
		return nil, err
	}
	value, err := p.sealer.key.Sign(tbs)
	if err != nil {
		return nil, err
	}
	signature, err := seal.AssembleSignature(tbs, p.sealer.der, value, nil)
	if err != nil {
		return nil, err
	}
	return draft.Embed(signature)
}

// licenceKey is an enterprise's licence: its key with a certificate that names it as the holder.
func (p *Press) licenceKey(uscc, name string) (identity, error) {
	v, err := asn1.MarshalWithParams(uscc+name, "utf8")
	if err != nil {
		return identity{}, err
	}
	return p.certify("电子营业执照 演示数据", []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 156, 10260, 4, 1, 4}, Value: v}}, false)
}
