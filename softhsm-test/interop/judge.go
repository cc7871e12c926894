package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/ofdgen"
)

// provider names us in the documents.
const provider = "Sealkeeper"

// authorityKey signs time stamps; serials counts them.
type authorityKey struct{ p party }

func (k authorityKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	return k.p.key.Sign(message)
}

type serials struct{ n uint64 }

func (s *serials) Next(context.Context) (uint64, error) { s.n++; return s.n, nil }

// token is a time stamp over a message.
func (m *material) token(ctx context.Context, message []byte) ([]byte, error) {
	a, err := timestamp.NewAuthority(timestamp.AuthorityConfig{Key: authorityKey{m.stamper}, Certificate: m.stamper.der, Serials: &serials{}, Policy: "1.2.3.4.1", Now: time.Now})
	if err != nil {
		return nil, err
	}
	d := gm.SM3(message)
	return a.Stamp(ctx, timestamp.SM3, d[:])
}

// p256Key signs time stamps with ECDSA.
type p256Key struct{ *ecdsa.PrivateKey }

func (k p256Key) Sign(_ context.Context, message []byte) ([]byte, error) {
	d := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, k.PrivateKey, d[:])
}

// tokenP256 is a time stamp by a P-256 key, and its certificate. Bouncy Castle knows no SM2 token: it looks for SM2 with SM3 where GB/T 35275 names
// SM2 alone.
func (m *material) tokenP256(ctx context.Context, message []byte) (token, certificate []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &gm.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Interop P-256 Time Stamps"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: gm.KeyUsageDigitalSignature, SignatureAlgorithm: gm.SM2WithSM3, ExtraExtensions: []pkix.Extension{timeStamping}}
	if certificate, err = gm.CreateCertificate(t, m.root.cert, key.Public(), m.root.key.Signer()); err != nil {
		return nil, nil, err
	}
	a, err := timestamp.NewAuthority(timestamp.AuthorityConfig{Key: p256Key{key}, Certificate: certificate, Serials: &serials{}, Policy: "1.2.3.4.1", Now: time.Now})
	if err != nil {
		return nil, nil, err
	}
	d := sha256.Sum256(message)
	token, err = a.Stamp(ctx, timestamp.SHA256, d[:])
	return token, certificate, err
}

// sealed puts a seal on a document at the given places, as the appliance would, with a software key.
func (m *material) sealed(document []byte, r ofd.Request) ([]byte, error) {
	return m.sealedBy(document, r, m.seal, m.signer, nil)
}

func (m *material) sealedBy(document []byte, r ofd.Request, esl []byte, by party, stamp func(value []byte) ([]byte, error)) ([]byte, error) {
	p, err := ofd.Open(document, ofd.Limits{})
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	r.Seal, r.SignatureTime, r.ProviderName = esl, now, provider
	d, err := p.Prepare(r)
	if err != nil {
		return nil, err
	}
	if r.Integrity {
		if d, err = m.listed(d); err != nil {
			return nil, err
		}
	}
	g, err := seal.NewSigning(esl)
	if err != nil {
		return nil, err
	}
	prefix, tail, err := g.TBS(now, d.DataHash(), d.PropertyInfo())
	if err != nil {
		return nil, err
	}
	tbs := append(append([]byte{}, prefix...), tail...)
	sig, err := by.key.Sign(tbs)
	if err != nil {
		return nil, err
	}
	var token []byte
	if stamp != nil {
		if token, err = stamp(sig); err != nil {
			return nil, err
		}
	}
	value, err := seal.AssembleSignature(tbs, by.der, sig, token)
	if err != nil {
		return nil, err
	}
	return d.Embed(value)
}

// signedData is SignedData over a digest.
func (m *material) signedData(r cms.Request) ([]byte, error) {
	r.Algorithm, r.Certificate, r.SigningTime = cms.SM2, m.signer.der, time.Now()
	d, err := cms.Prepare(r)
	if err != nil {
		return nil, err
	}
	value, err := m.signer.key.Sign(d.Attributes())
	if err != nil {
		return nil, err
	}
	return d.Assemble(value, nil)
}

// listed signs the integrity list of a draft.
func (m *material) listed(d *ofd.Draft) (*ofd.Draft, error) {
	value, err := m.signedData(cms.Request{Form: cms.GM, Digest: d.EntriesHash()})
	if err != nil {
		return nil, err
	}
	return d.WithEntriesValue(value)
}

// signed signs a document without a seal.
func (m *material) signed(document []byte) ([]byte, error) {
	p, err := ofd.Open(document, ofd.Limits{})
	if err != nil {
		return nil, err
	}
	d, err := p.Prepare(ofd.Request{Type: ofd.Sign, SignatureTime: time.Now(), ProviderName: provider})
	if err != nil {
		return nil, err
	}
	value, err := m.signedData(cms.Request{Form: cms.GM, Digest: d.DataHash()})
	if err != nil {
		return nil, err
	}
	return d.Embed(value)
}

// judgeOurs has the other side judge what we make, and counts what it does not accept.
func (m *material) judgeOurs(ctx context.Context, j *java) (int, error) {
	made, err := m.makeOurs(ctx)
	if err != nil {
		return 0, err
	}
	if err := m.write(made); err != nil {
		return 0, err
	}
	options := m.options()
	bad := 0
	for _, name := range []string{"ours-one.ofd", "ours-two.ofd", "ours-sign.ofd", "ours-closed.ofd"} {
		if r := verify.Document(ctx, name, made[name], options); r.Verdict != verify.Valid {
			bad++
			fmt.Print(r.Text(verify.English))
		}
	}
	for _, ask := range [][]string{{"judge-ses", m.path("ours-one.ofd"), m.path("ours-two.ofd"), m.path("ours-closed.ofd")}, {"judge-entries", m.path("ours-closed.ofd")}, {"judge-sign", m.path("ours-sign.ofd")},
		{"judge-cms", m.path("ours.p7s"), m.path("plain.ofd")}, {"judge-token", m.path("ours.tst"), m.path("stamper.der")}} {
		all, err := j.run(ctx, ask...)
		if err != nil {
			return 0, err
		}
		bad += count("ofdrw and Bouncy Castle judge ours", all)
	}
	return bad, nil
}

// makeOurs: one seal; two seals with a seam over five pages and time stamps; one over the whole document, under an integrity list; a signature without seal; SignedData; a time stamp.
func (m *material) makeOurs(ctx context.Context) (map[string][]byte, error) {
	stamp := func(value []byte) ([]byte, error) { return m.token(ctx, value) }
	five := ofdgen.Document("互操作（演示数据）", 5)
	one, err := m.sealed(five, ofd.Request{Stamps: []ofd.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}})
	if err != nil {
		return nil, err
	}
	two, err := m.sealedBy(five, ofd.Request{Stamps: append(riding(5), ofd.Stamp{Page: 5, X: 100, Y: 200, W: 40, H: 40})}, m.seal, m.signer, stamp)
	if err == nil {
		two, err = m.sealedBy(two, ofd.Request{Stamps: []ofd.Stamp{{Page: 5, X: 50, Y: 200, W: 20, H: 20}}}, m.personal, m.person, stamp)
	}
	if err != nil {
		return nil, err
	}
	closed, err := m.sealed(five, ofd.Request{Stamps: []ofd.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}, Mode: ofd.WholeDocument, Integrity: true})
	if err != nil {
		return nil, err
	}
	signed, err := m.signed(five)
	if err != nil {
		return nil, err
	}
	data, err := m.signedData(cms.Request{Form: cms.RFC, Digest: gm.SM3(five), SM2WithSM3: true})
	if err != nil {
		return nil, err
	}
	token, stamper, err := m.tokenP256(ctx, five)
	return map[string][]byte{"plain.ofd": five, "ours-one.ofd": one, "ours-two.ofd": two, "ours-sign.ofd": signed, "ours-closed.ofd": closed, "ours.p7s": data, "ours.tst": token, "stamper.der": stamper}, err
}

func (m *material) options() verify.Options {
	return verify.Options{Roots: []*gm.Certificate{m.root.cert}, Makers: []*gm.Certificate{m.maker.cert}}
}

// riding is a seam of 40 mm over n pages on the right edge.
func riding(n int) []ofd.Stamp {
	var all []ofd.Stamp
	w := 40 / float64(n)
	for i := range n {
		all = append(all, ofd.Stamp{Page: i + 1, X: ofdgen.PageWidth - w*float64(i+1), Y: 128, W: 40, H: 40, Clip: &ofd.Rect{X: w * float64(i), W: w, H: 40}})
	}
	return all
}

// judgeTheirs judges what the other side makes; a tampered copy must not pass.
func (m *material) judgeTheirs(ctx context.Context, j *java) (int, error) {
	if err := m.write(map[string][]byte{"plain.ofd": ofdgen.Document("互操作（演示数据）", 5)}); err != nil {
		return 0, err
	}
	made, err := j.run(ctx, "make", m.dir, m.path("plain.ofd"))
	if err != nil {
		return 0, err
	}
	bad := count("made there", made)
	options := m.options()
	options.Content = ofdgen.Document("互操作（演示数据）", 5) // what bc.p7s is over
	for _, v := range made {
		if !v.ok {
			continue
		}
		b, err := os.ReadFile(m.path(v.rest))
		if err != nil {
			return 0, err
		}
		r := verify.Document(ctx, v.rest, b, options)
		if r.Verdict != verify.Valid {
			bad++
			fmt.Print(r.Text(verify.English))
		}
		fmt.Printf("Sealkeeper judges theirs: %-13s %s\n", r.Verdict, v.rest)
	}
	return bad, nil
}

// count prints verdicts and returns how many are bad.
func count(who string, all []verdict) (bad int) {
	for _, v := range all {
		word := "accepted"
		if !v.ok {
			word = "REFUSED"
			bad++
		}
		fmt.Printf("%s: %s %s %s\n", who, word, v.act, v.rest)
	}
	return bad
}
