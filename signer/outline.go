package signer

import (
	"fmt"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
)

// maxSkew is how far the appliance's signing time may lie from this machine's.
const maxSkew = 5 * time.Minute

// Outline lays a request out on the machine of the key's owner, by the code the appliance used, from the document and the plan as they are here. What it
// returns was built here and is what the key may sign (law 11): the offer contributes no byte of it but the seal with its certificate, which must be of
// the key given, the time, which must be now, and the names that containers carry. ErrOffer says what differs.
func Outline(r Request, o Offer, key *gm.PublicKey, now time.Time, lim Limits) ([][]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	p, _ := r.profile()
	ready, err := o.ready(key)
	if err != nil {
		return nil, err
	}
	if err := o.answers(r, p, now); err != nil {
		return nil, err
	}
	u := &use{req: r, now: o.Time.UTC(), profile: p, options: o.Options, doc: r.open(p, lim), ready: ready}
	if err := u.lay(o.Provider, nil); err != nil {
		return nil, err
	}
	contents := u.contents()
	if len(contents) != len(o.Contents) {
		return nil, fmt.Errorf("%d signatures where %d are due: %w", len(o.Contents), len(contents), ErrOffer)
	}
	for i, c := range contents {
		if gm.SM3(c) != o.Contents[i] {
			return nil, fmt.Errorf("the appliance would have another structure signed than this document, seal and place give: %w", ErrOffer)
		}
	}
	return contents, nil
}

// ready reads the seal as load does, and checks that it is the one asked for and lists a certificate of this key.
func (o Offer) ready(key *gm.PublicKey) (*ready, error) {
	r := &ready{esl: o.ESL, cert: o.Certificate, chain: o.Chain, prefixes: map[int]*gm.Message{}}
	es, pub, err := r.read()
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the seal offered: %w: %w", ErrOffer, err)
	case es.Info.ESID != o.Seal:
		return nil, fmt.Errorf("the seal offered is %.32q: %w", es.Info.ESID, ErrOffer)
	case !pub.Equal(key) || !es.Lists(r.cert):
		return nil, fmt.Errorf("the seal offered is not of the key in your token: %w", ErrOffer)
	}
	r.signing, err = seal.NewSigning(r.esl)
	return r, err
}

// answers compares what the appliance chose with what was asked for.
func (o Offer) answers(r Request, p profile, now time.Time) error {
	off, x := o.Time.Sub(now), o.Options
	switch {
	case o.Seal != r.Seal:
		return fmt.Errorf("offered for seal %.32q: %w", o.Seal, ErrOffer)
	case off > maxSkew || off < -maxSkew:
		return fmt.Errorf("signing time %s is %s off this machine's clock: %w", o.Time.Format(time.RFC3339), off.Round(time.Second), ErrOffer)
	case x.WholeDocument != r.WholeDocument || x.Integrity != r.Integrity || x.Reason != r.Reason || x.Location != r.Location:
		return fmt.Errorf("mode, integrity list, reason or place differ: %w", ErrOffer)
	case x.URL != "" && !r.Page:
		return fmt.Errorf("a public page that was not asked for: %w", ErrOffer)
	case p.companion:
		return fmt.Errorf("profile %s is not signed by the seal's own key: %w", p.name, ErrOffer)
	}
	return nil
}

// read parses seal and certificate and fills in what signatures take from them.
func (r *ready) read() (*seal.Seal, *gm.PublicKey, error) {
	es, err := seal.Parse(r.esl)
	if err != nil {
		return nil, nil, err
	}
	cert, err := gm.ParseCertificate(r.cert)
	if err != nil {
		return nil, nil, err
	}
	pub, err := gm.CertificateKey(cert)
	if err != nil {
		return nil, nil, err
	}
	r.equip(es, cert)
	return es, pub, nil
}
