package signer_test

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/big"
	"testing"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/seal"
)

// certify makes the bureau's maker certificate under a root.
func (w *world) certify(t testing.TB) {
	t.Helper()
	template := w.template("示例根", w.clock.now().AddDate(-1, 0, 0), w.clock.now().AddDate(20, 0, 0))
	template.IsCA, template.BasicConstraintsValid = true, true
	w.rootCert = w.certificate(t, template, template, w.root.Public())
	w.makerCert = w.certificate(t, w.template("示例制章人", w.clock.now().AddDate(-1, 0, 0), w.clock.now().AddDate(10, 0, 0)), w.rootCert, w.maker.Public())
}

func (w *world) template(cn string, from, to time.Time) *gm.Certificate {
	w.serial++
	c := &gm.Certificate{SerialNumber: big.NewInt(w.serial), NotBefore: from, NotAfter: to, SignatureAlgorithm: gm.SM2WithSM3}
	c.Subject.CommonName = cn
	return c
}

func (w *world) certificate(t testing.TB, template, parent *gm.Certificate, pub *gm.PublicKey) *gm.Certificate {
	t.Helper()
	der, err := gm.CreateCertificate(template, parent, pub.ECDSA(), w.root.Signer())
	if err != nil {
		t.Fatal(err)
	}
	c, err := gm.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// makeSeal has a key made in the token, a certificate and a seal made around it, and the seal collected.
func (w *world) makeSeal(t testing.TB, esid, kind string, from, to time.Time) {
	t.Helper()
	w.enter(t, register.Seal{ESID: esid, USCC: uscc, Enterprise: "洛阳老城示例商贸有限公司", Type: kind, Name: "示例章", LicenceVersion: 1}, from, to)
	w.change(t, esid, func(s register.Seal, v store.Version) (register.Draft, error) {
		_, d, err := s.Activate(v, w.collected())
		return d, err
	})
}

// enter makes key, certificate and seal.
func (w *world) enter(t testing.TB, s register.Seal, from, to time.Time) {
	t.Helper()
	key, err := w.keys.Create(t.Context(), audit.Actor{Role: "appliance", ID: "test"},
		keystore.Want{Purpose: keystore.PurposeSeal, Label: "seal-" + s.ESID, Algorithm: hsm.SM2})
	if err != nil {
		t.Fatal(err)
	}
	w.enterOf(t, s, key, from, to)
}

// enterOf makes certificate and seal of a key.
func (w *world) enterOf(t testing.TB, s register.Seal, key *keystore.Key, from, to time.Time) {
	t.Helper()
	esid := s.ESID
	cert := w.certificate(t, w.template("示例企业", from, to), w.rootCert, key.Public())
	s.Key, s.NotBefore, s.NotAfter, s.MadeAt = key.ID(), from, to, w.clock.now()
	n := register.NewSeal{ESL: w.esl(t, esid, cert.Raw, from, to), Certificate: cert.Raw, Chain: [][]byte{w.rootCert.Raw}, Filing: "filing-" + esid, Seal: s}
	_, d, err := n.Enter()
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, d.Mutation(nil))
}

func (w *world) collected() register.Change {
	return register.Change{Actor: audit.Actor{Role: "owner", ID: "owner"}, Reason: register.ReasonCollected, Evidence: "assertion", Time: w.clock.now()}
}

func (w *world) esl(t testing.TB, esid string, cert []byte, from, to time.Time) []byte {
	t.Helper()
	info, err := seal.Info{Vid: "SEALKEEPER", ESID: esid, Type: 1, Name: "示例章", Certs: [][]byte{cert}, CreateDate: from, ValidStart: from, ValidEnd: to,
		Picture: seal.Picture{Type: "PNG", Data: picture(t), WidthMM: 40, HeightMM: 40}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := w.maker.Sign(info)
	if err != nil {
		t.Fatal(err)
	}
	esl, err := seal.Assemble(info, w.makerCert.Raw, sig)
	if err != nil {
		t.Fatal(err)
	}
	return esl
}

// picture is about 20 kB of PNG.
func picture(t testing.TB) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 142, 142))
	rand.Read(img.Pix)
	img.SetGray(0, 0, color.Gray{})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	rootXML = `<?xml version="1.0" encoding="UTF-8"?>
<ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016" DocType="OFD" Version="1.1"><ofd:DocBody><ofd:DocInfo><ofd:DocID>1</ofd:DocID></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>`
	documentXML = `<ofd:Document xmlns:ofd="http://www.ofdspec.org/2016"><ofd:CommonData><ofd:PageArea><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:PageArea></ofd:CommonData>` +
		`<ofd:Pages><ofd:Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/><ofd:Page ID="7" BaseLoc="Pages/Page_1/Content.xml"/></ofd:Pages></ofd:Document>`
	pageXML = `<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Content/></ofd:Page>`
)

// document is an OFD of two A4 pages.
func document(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{{"OFD.xml", rootXML}, {"Doc_0/Document.xml", documentXML}, {"Doc_0/Pages/Page_0/Content.xml", pageXML},
		{"Doc_0/Pages/Page_1/Content.xml", pageXML}} {
		e, err := z.Create(f[0])
		if err == nil {
			_, err = io.WriteString(e, f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
