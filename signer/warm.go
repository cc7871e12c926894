package signer

import (
	"bytes"
	"container/list"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/seal"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/pdf"
)

// ready is a seal prepared for signing: checked once, its prefix of TBS_Sign hashed once per length of propertyInfo. Immutable but for
// the prefixes; safe for concurrent use.
type ready struct {
	version   store.Version // of the register's record
	esl       []byte        // SESeal, DER
	eslSM3    string
	cert      []byte // DER
	from, to  time.Time
	chain     [][]byte // DER, above cert
	signing   *seal.Signing
	picture   []byte // of the seal, an image file
	image     func() (*pdf.Image, error)
	key       *keystore.Key
	own       signatory  // the seal's own key
	companion *signatory // P-256 document key, nil for none

	mu       sync.Mutex
	prefixes map[int]*gm.Message // by length of propertyInfo; guarded by mu, the messages are never written again
}

// signatory is a key with what SignedData says about it.
type signatory struct {
	key      *keystore.Key
	cert     []byte // DER
	chain    [][]byte
	from, to time.Time
	cms      func() (*cms.Signatory, error) // the same as SignedData wants it, read once
}

func newSignatory(a cms.Algorithm, key *keystore.Key, cert []byte, chain [][]byte, from, to time.Time) signatory {
	return signatory{key, cert, chain, from, to, sync.OnceValues(func() (*cms.Signatory, error) { return cms.NewSignatory(a, cert, chain) })}
}

// certificates is how many bytes of certificates SignedData by one of the two keys carries.
func (r *ready) certificates(companion bool) int {
	s := r.own
	if companion {
		s = *r.companion
	}
	n := len(s.cert)
	for _, c := range s.chain {
		n += len(c)
	}
	return n
}

// maxPrefixes bounds the prefixes of one seal; paths of OFD signatures come in two or three lengths.
const maxPrefixes = 16

// message returns a message that has absorbed Z and the prefix.
func (r *ready) message(prefix []byte, propertyLen int) (*gm.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.prefixes[propertyLen]
	if !ok {
		var err error
		if m, err = r.key.Begin(); err != nil {
			return nil, err
		}
		m.Write(prefix)
		if len(r.prefixes) < maxPrefixes {
			r.prefixes[propertyLen] = m
		}
	}
	return m.Clone(), nil
}

// prepared returns the seal from memory, or reads and checks it. The register's version decides whether memory still counts.
func (s *Signer) prepared(ctx context.Context, rec register.Seal, version store.Version) (*ready, error) {
	if r := s.warm.get(rec.ESID, version); r != nil {
		return r, nil
	}
	r, err := s.load(ctx, rec)
	if err != nil {
		return nil, fmt.Errorf("preparing seal %s: %w", rec.ESID, err)
	}
	r.version = version
	s.warm.put(rec.ESID, r)
	return r, nil
}

func (s *Signer) load(ctx context.Context, rec register.Seal) (*ready, error) {
	r := &ready{prefixes: map[int]*gm.Message{}}
	var err error
	if r.esl, err = s.cfg.Seals.ESL(ctx, rec.ESID); err != nil {
		return nil, err
	}
	if r.cert, err = s.cfg.Seals.Certificate(ctx, rec.ESID); err != nil {
		return nil, err
	}
	if r.chain, err = s.cfg.Seals.Chain(ctx, rec.ESID); err != nil {
		return nil, err
	}
	if r.key, err = s.cfg.Keys.Key(ctx, rec.Key); err != nil {
		return nil, err
	}
	if err = s.loadCompanion(ctx, rec, r); err != nil {
		return nil, err
	}
	if r.signing, err = seal.NewSigning(r.esl); err != nil {
		return nil, err
	}
	sm3 := gm.SM3(r.esl)
	r.eslSM3 = hex.EncodeToString(sm3[:])
	return r, r.fits(rec)
}

// loadCompanion reads the document key and checks that record, certificate and key are one.
func (s *Signer) loadCompanion(ctx context.Context, rec register.Seal, r *ready) error {
	if rec.Document == nil {
		return nil
	}
	der, chain, _, err := s.cfg.Seals.DocumentCertificate(ctx, rec.ESID)
	if err != nil {
		return err
	}
	key, err := s.cfg.Keys.Key(ctx, rec.Document.Key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("document key: %w: %w", ErrCertificate, err)
	}
	pub, ok := cert.PublicKey.(*ecdsa.PublicKey)
	sum := sha256.Sum256(der)
	switch {
	case hex.EncodeToString(sum[:]) != rec.Document.CertSHA256:
		return fmt.Errorf("document certificate is not the registered one: %w", ErrCertificate)
	case key.Purpose() != keystore.PurposeDocument:
		return fmt.Errorf("key %s is for %s: %w", key.ID(), key.Purpose(), ErrCertificate)
	case !ok || key.Standard() == nil || !pub.Equal(key.Standard()):
		return fmt.Errorf("document certificate is for another key: %w", ErrCertificate)
	}
	c := newSignatory(cms.ECDSAP256, key, der, chain, cert.NotBefore.UTC(), cert.NotAfter.UTC())
	r.companion = &c
	return nil
}

// fits checks that record, seal, certificate and key are one, and sets the time in which all of them are valid.
func (r *ready) fits(rec register.Seal) error {
	es, pub, err := r.read()
	if err != nil {
		return err
	}
	eslSum, certSum := sha256.Sum256(r.esl), sha256.Sum256(r.cert)
	switch {
	case hex.EncodeToString(eslSum[:]) != rec.ESLSHA256, hex.EncodeToString(certSum[:]) != rec.CertSHA256, es.Info.ESID != rec.ESID:
		return fmt.Errorf("seal or certificate is not the registered one: %w", ErrCertificate)
	case !es.Lists(r.cert):
		return fmt.Errorf("certificate is not in the seal's list: %w", ErrCertificate)
	case r.key.Purpose() != keystore.PurposeSeal:
		return fmt.Errorf("key %s is for %s: %w", r.key.ID(), r.key.Purpose(), ErrCertificate)
	case r.key.Public() == nil || !bytes.Equal(pub.Point(), r.key.Public().Point()):
		return fmt.Errorf("certificate is for another key: %w", ErrCertificate)
	}
	return nil
}

// equip fills in what signatures take from seal and certificate.
func (r *ready) equip(es *seal.Seal, cert *gm.Certificate) {
	r.picture = es.Info.Picture.Data
	r.image = sync.OnceValues(func() (*pdf.Image, error) { return pdf.NewImage(r.picture, pdf.Limits{}) })
	r.from, r.to = later(cert.NotBefore, es.Info.ValidStart), earlier(cert.NotAfter, es.Info.ValidEnd)
	r.own = newSignatory(cms.SM2, r.key, r.cert, r.chain, r.from, r.to)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a.UTC()
	}
	return b.UTC()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a.UTC()
	}
	return b.UTC()
}

// warm keeps the seals used last, at most max.
type warm struct {
	max   int
	mu    sync.Mutex
	seals map[string]*list.Element // of *kept, by esID; guarded by mu
	order *list.List               // most recent first; guarded by mu
}

type kept struct {
	esid string
	*ready
}

func newWarm(max int) *warm {
	return &warm{max: max, seals: map[string]*list.Element{}, order: list.New()}
}

func (w *warm) get(esid string, version store.Version) *ready {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.seals[esid]
	if e == nil || e.Value.(*kept).version != version {
		return nil
	}
	w.order.MoveToFront(e)
	return e.Value.(*kept).ready
}

func (w *warm) put(esid string, r *ready) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.seals[esid]; e != nil {
		w.order.Remove(e)
	}
	w.seals[esid] = w.order.PushFront(&kept{esid, r})
	for w.order.Len() > w.max {
		last := w.order.Back()
		w.order.Remove(last)
		delete(w.seals, last.Value.(*kept).esid)
	}
}
