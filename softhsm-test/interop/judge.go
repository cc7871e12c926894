package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/ofd"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/ofdgen"
)

// provider names us in the documents.
const provider = "Sealkeeper"

// sealed puts the seal on a document at the given places, as the appliance would, with a software key.
func (m *material) sealed(document []byte, r ofd.Request) ([]byte, error) {
	p, err := ofd.Open(document, ofd.Limits{})
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	r.Seal, r.SignatureTime, r.ProviderName = m.seal, now, provider
	d, err := p.Prepare(r)
	if err != nil {
		return nil, err
	}
	g, err := seal.NewSigning(m.seal)
	if err != nil {
		return nil, err
	}
	prefix, tail, err := g.TBS(now, d.DataHash(), d.PropertyInfo())
	if err != nil {
		return nil, err
	}
	tbs := append(append([]byte{}, prefix...), tail...)
	sig, err := m.signer.key.Sign(tbs)
	if err != nil {
		return nil, err
	}
	value, err := seal.AssembleSignature(tbs, m.signer.der, sig, nil)
	if err != nil {
		return nil, err
	}
	return d.Embed(value)
}

// judgeOurs has the other side judge what we make, and counts what it does not accept.
func (m *material) judgeOurs(ctx context.Context, j *java) (int, error) {
	five := ofdgen.Document("互操作（演示数据）", 5)
	one, err := m.sealed(five, ofd.Request{Stamps: []ofd.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}})
	if err != nil {
		return 0, err
	}
	two, err := m.sealed(one, ofd.Request{Stamps: riding(5)})
	if err != nil {
		return 0, err
	}
	if err := m.write(map[string][]byte{"ours-one.ofd": one, "ours-two.ofd": two}); err != nil {
		return 0, err
	}
	all, err := j.run(ctx, "judge-ses", m.path("ours-one.ofd"), m.path("ours-two.ofd"))
	return count("ofdrw judges ours", all), err
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
	options := verify.Options{Roots: []*gm.Certificate{m.root.cert}, Makers: []*gm.Certificate{m.maker.cert}}
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
