package issuance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"sealkeeper/internal/gm"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/seal"
	"sealkeeper/seal/impression"
)

// sheet is one seal in the making.
type sheet struct {
	request  register.Request
	old      register.Seal // in whose place this one comes; zero for none
	imp      register.Impression
	picture  impression.Derived
	born     *born
	cert     []byte
	waits    error // why there is no certificate yet
	outside  bool  // it is an outside authority's
	chain    [][]byte
	from, to time.Time // validity, within the certificate's
	name     string
	esl      []byte
}

// born is a seal number with its key, which exists for nobody until the release.
type born struct {
	esid  string
	key   *keystore.Key
	draft keystore.Draft
}

// makings keeps one making per order: only one runs at a time, and the keys of a failed attempt serve the next.
type makings struct {
	mu  sync.Mutex
	all map[string]*making
}

type making struct {
	mu      sync.Mutex
	born    map[string]*born // by seal type
	settled bool             // nothing to keep: the order has its seals
}

func (ms *makings) take(order string) (*making, func()) {
	ms.mu.Lock()
	if ms.all == nil {
		ms.all = map[string]*making{}
	}
	m := ms.all[order]
	if m == nil {
		m = &making{born: map[string]*born{}}
		ms.all[order] = m
	}
	ms.mu.Unlock()
	m.mu.Lock()
	return m, func() {
		if m.settled || len(m.born) == 0 {
			ms.mu.Lock()
			if ms.all[order] == m {
				delete(ms.all, order)
			}
			ms.mu.Unlock()
		}
		m.mu.Unlock()
	}
}

// each runs a step for every sheet at once.
func (s *set) each(ctx context.Context, step func(ctx context.Context, h *sheet) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, h := range s.sheets {
		g.Go(func() error {
			if err := step(ctx, h); err != nil {
				return fmt.Errorf("seal of type %s: %w", h.request.Type, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// prepare bears the keys and, as soon as the intents for them are durable, derives the pictures beside it: neither knows of the other, and the processor
// derives while the token works. Both run to their end, so that no key is left in the middle of its birth because a picture was no good. Where an authority
// outside may let a set wait for days, no impression is opened before it has answered.
func (i *Issuance) prepare(ctx context.Context, m *making, s *set) error {
	var drawn chan error
	err := i.bear(ctx, m, s, func() {
		if drawn == nil && !i.cfg.Outside { // numbers that the token knew bring more intents
			drawn = make(chan error, 1)
			go func() { drawn <- i.pictures(ctx, s) }()
		}
	})
	if drawn == nil && err == nil {
		return i.pictures(ctx, s)
	}
	if drawn == nil {
		return err
	}
	if picture := <-drawn; err == nil {
		return picture
	}
	return err
}

// pictures opens the impressions, which writes their reading records first, and derives the seals' pictures.
func (i *Issuance) pictures(ctx context.Context, s *set) error {
	for _, h := range s.sheets {
		var err error
		if h.imp, _, err = i.Register.Impression(ctx, h.request.Impression); err != nil {
			return err
		}
	}
	image, err := i.open(ctx, s.sheets)
	if err != nil {
		return err
	}
	return s.each(ctx, func(_ context.Context, h *sheet) (err error) {
		h.picture, _, err = i.derive(h.imp.Type, h.imp.Format, h.imp.WidthMM, h.imp.HeightMM, image[h])
		return err
	})
}

// number gives every sheet its seal number: the one of an earlier attempt with the key that was born for it, or a new one.
func (i *Issuance) number(ctx context.Context, m *making, s *set) error {
	for _, h := range s.sheets {
		if h.born = m.born[h.request.Type]; h.born.suits(h.request) {
			_, _, err := i.Register.Seal(ctx, h.born.esid)
			if errors.Is(err, register.ErrUnknown) {
				continue
			}
			delete(m.born, h.request.Type) // another seal took the number; its key is left to the next start
			if err != nil {
				return err
			}
		}
		esid, err := i.Register.Number(ctx, division(s.licence))
		if err != nil {
			return err
		}
		h.born = &born{esid: esid}
	}
	return nil
}

// division is where the entity is registered today.
func division(l licence.Licence) string {
	code := l.Division
	if code == "" {
		code = l.USCC[2:8]
	}
	if d, ok := licence.LookupDivision(code); ok && d.Present != "" {
		return d.Present
	}
	return code
}

// maxRounds bounds how often new numbers are tried for keys whose numbers the token has seen before.
const maxRounds = 100

// bear has the token make the missing keys and the issuer their certificates. The label carries the seal's number: a token that holds a
// key of that number, from a life that this store does not remember, refuses to make another, and the seal gets the next number. It calls intended
// whenever the intents are on record.
func (i *Issuance) bear(ctx context.Context, m *making, s *set, intended func()) error {
	refused := false
	for round := 1; ; round++ {
		err := i.bearMissing(ctx, s, intended)
		for _, h := range s.sheets {
			if h.born.key != nil {
				m.born[h.request.Type] = h.born
			}
		}
		switch {
		case errors.Is(err, keystore.ErrKeyExists) && round < maxRounds:
			if err := i.number(ctx, m, s); err != nil {
				return err
			}
		case errors.Is(err, keystore.ErrTokenRefused) && !refused:
			refused = true // SoftHSM2 refuses a pair in some hundreds while another session searches; once more, as Run would
		default:
			return err
		}
	}
}

// bearMissing writes the intents of the missing keys in one commit, generates them, and certifies each as soon as it is there.
func (i *Issuance) bearMissing(ctx context.Context, s *set, intended func()) error {
	if err := i.offered(ctx, s); err != nil {
		return err
	}
	var missing []*sheet
	var wants []keystore.Want
	for _, h := range s.sheets {
		if h.born.key == nil {
			missing = append(missing, h)
			wants = append(wants, keystore.Want{Purpose: keystore.PurposeSeal, Label: labelPrefix + h.born.esid, Algorithm: keyAlgorithm})
		}
	}
	intent := make(map[*sheet]keystore.Intent, len(missing))
	if len(missing) > 0 {
		intents, err := i.Keys.Intend(ctx, nil, appliance, s.ref(), wants...)
		if err != nil {
			return err
		}
		for n, h := range missing {
			intent[h] = intents[n]
		}
	}
	intended()
	err := s.each(ctx, func(ctx context.Context, h *sheet) (err error) {
		if h.born.key == nil {
			if h.born.key, h.born.draft, err = i.Keys.Generate(ctx, intent[h]); err != nil {
				return err
			}
		}
		return i.certify(ctx, s, h)
	})
	if err != nil {
		return err
	}
	return s.certified()
}

// certified demands that every sheet has its certificate.
func (s *set) certified() error {
	var waits []error
	for _, h := range s.sheets {
		if h.cert == nil {
			waits = append(waits, h.waits)
		}
	}
	return errors.Join(waits...)
}

const (
	labelPrefix  = "seal-"
	keyAlgorithm = "sm2" // as package keystore names it
)

// NoteLabels keeps seal numbers from being given again that the token knows and the store does not: after a store was restored, the
// labels of orphaned keys (keystore.Reconciliation) still name the numbers of seals that are out in the world.
func (i *Issuance) NoteLabels(labels ...string) {
	for _, l := range labels {
		if esid, ok := strings.CutPrefix(l, labelPrefix); ok {
			i.Register.SkipNumber(esid)
		}
	}
}

// certify has the issuer make a certificate. That both implementations accept it (law 4) is the issuer's promise; that it is for this
// key and this time is looked at here.
func (i *Issuance) certify(ctx context.Context, s *set, h *sheet) error {
	if h.cert != nil {
		return nil
	}
	cert, chain, err := i.Issuer.Issue(ctx, ca.Request{PublicKey: h.born.key.Public(), ESID: h.born.esid, Name: s.licence.Name,
		USCC: s.licence.USCC, NotBefore: s.from, NotAfter: s.to, Key: h.born.key})
	if err != nil {
		err = fmt.Errorf("certificate of seal %s: %w", h.born.esid, err)
	}
	if errors.Is(err, ErrCertificatePending) || errors.Is(err, ErrCertificateRefused) || errors.Is(err, ErrCertificateWrong) {
		h.waits = err // the others of the set are asked for all the same
		return nil
	}
	if err != nil {
		return err
	}
	h.cert, h.chain, h.outside = cert, chain, i.cfg.Outside
	return h.checkCertificate(s)
}

func (h *sheet) checkCertificate(s *set) error {
	wrong := func(what string) error { return fmt.Errorf("seal %s: %s: %w", h.born.esid, what, ErrCertificateWrong) }
	c, err := gm.ParseCertificate(h.cert)
	if err != nil {
		return wrong(err.Error())
	}
	if k, err := gm.CertificateKey(c); err != nil || !k.Equal(h.born.key.Public()) {
		return wrong("another key")
	}
	// An outside authority may give less time than asked; the seal lives within its certificate.
	h.from, h.to = later(s.from, c.NotBefore.UTC()), earlier(s.to, c.NotAfter.UTC())
	if !h.from.Before(h.to) {
		return wrong("not valid when asked for")
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// seal has the maker sign the seals. seal.Make satisfies two verifiers before it returns.
func (i *Issuance) seal(ctx context.Context, _ *making, s *set) error {
	return s.each(ctx, func(ctx context.Context, h *sheet) error {
		if h.from.Before(i.maker.NotBefore) || h.to.After(i.maker.NotAfter) {
			return fmt.Errorf("seal %s until %s, maker until %s: %w", h.born.esid, h.to.Format(time.DateOnly),
				i.maker.NotAfter.Format(time.DateOnly), ErrMakerExpired)
		}
		t := i.cfg.Types[h.request.Type]
		h.name = t.sealName(s.licence.Name, s.licence.LegalRep)
		info := seal.Info{Version: i.cfg.HeaderVersion, Vid: i.cfg.Vid, ESID: h.born.esid, Type: t.Number, Name: h.name, CertListType: 1,
			Certs: [][]byte{h.cert}, CreateDate: s.from, ValidStart: h.from, ValidEnd: h.to,
			Picture: seal.Picture{Type: impression.PNG, Data: h.picture.PNG, WidthMM: h.picture.WidthMM, HeightMM: h.picture.HeightMM}}
		var err error
		h.esl, err = seal.Make(info, i.Maker.Certificate, func(m []byte) ([]byte, error) { return i.Maker.Key.Sign(ctx, m) })
		if err != nil || i.cfg.Timestamp == nil || info.Version < 5 {
			return err
		}
		h.esl, err = i.stamped(ctx, h.esl)
		return err
	})
}

// stamped adds the time stamp over the maker's signature value.
func (i *Issuance) stamped(ctx context.Context, esl []byte) ([]byte, error) {
	s, err := seal.Parse(esl)
	if err != nil {
		return nil, err
	}
	digest := gm.SM3(s.Signature)
	token, err := i.cfg.Timestamp(ctx, digest[:])
	if err != nil {
		return nil, fmt.Errorf("stamping seal %s: %w", s.Info.ESID, err)
	}
	if token == nil {
		return esl, nil
	}
	return seal.Timestamped(esl, token)
}

// maxSealName is what seal.Info takes, in bytes.
const maxSealName = 300

// sealName fills in the template; a name too long for a seal loses its last characters, the certificate has it whole.
func (t SealType) sealName(name, person string) string {
	for {
		s := strings.NewReplacer("{name}", name, "{person}", person).Replace(t.Name)
		if len(s) <= maxSealName || name == "" {
			return s
		}
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
}

// enter drafts the finished seal with its key.
func (h *sheet) enter(s *set) (register.Seal, register.Draft, error) {
	n := register.NewSeal{ESL: h.esl, Certificate: h.cert, Chain: h.chain, Filing: h.imp.Filing, Seal: register.Seal{
		ESID: h.born.esid, USCC: s.order.USCC, Enterprise: s.licence.Name, Type: h.request.Type, Name: h.name, Key: h.born.key.ID(),
		Order: s.order.ID, Edition: 1 + h.old.Edition, Replaces: h.old.ESID, Holds: h.old.Inherited(), Institutional: s.institutional, Outside: h.outside, LicenceVersion: s.licence.Version, Impression: h.imp.ID, Overlap: h.picture.IoU, NotBefore: h.from, NotAfter: h.to, MadeAt: s.from}}
	made, d, err := n.Enter()
	k := h.born.draft
	d.Add(register.Draft{Put: k.Put, Expect: k.Expect, Spend: k.Spend, Audit: k.Audit})
	return made, d, err
}
