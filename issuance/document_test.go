package issuance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"errors"
	"testing"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
)

// documents is a P-256 authority with software keys.
func (w *world) documents() *ca.TLS {
	w.Helper()
	root, issuing := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(w), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(w)
	life := ca.DefaultLifetimes()
	rootDER := must(ca.TLSRoot(root, pkix.Name{CommonName: "DEMO TLS root"}, w.clock.now(), life.TLSRoot))(w)
	issuingDER := must(ca.TLSIssuing(root, rootDER, issuing.Public(), pkix.Name{CommonName: "DEMO TLS issuing"}, w.clock.now(), life.TLSIssuing))(w)
	return must(ca.NewTLS(issuing, ca.TLSConfig{IssuingDER: issuingDER, RootDER: rootDER, Lifetimes: life, Now: w.clock.now}))(w)
}

// TestDocumentKey: born in the token behind an intent, certified for the seal's holder, entered once; refusals leave nothing in the token.
func TestDocumentKey(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	esid := must(w.seals.SealsOf(w.ctx, uscc))(t)[0].ESID
	objects := func() int { return len(must(w.token.Objects(w.ctx))(t)) }
	before := objects()
	refuse := func(name string, actor access.Actor, id string, want error) {
		t.Helper()
		if _, err := w.iss.DocumentKey(w.ctx, nil, actor, id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if n := objects(); n != before {
			t.Errorf("%s: %d objects in the token, %d before", name, n, before)
		}
	}
	refuse("without an authority", security, esid, issuance.ErrNoDocumentAuthority)
	w.iss.Documents = w.documents()
	refuse("as system", system, esid, access.ErrNotEntitled)
	refuse("unknown seal", security, "41030299999999", register.ErrUnknown)
	must(w.iss.Suspend(w.ctx, nil, security, esid, register.ReasonMisuse, "x"))(t)
	refuse("suspended", security, esid, register.ErrTransition)
	must(w.iss.Resume(w.ctx, nil, security, esid, register.ReasonMisuse, "x"))(t)

	req := &keystore.Request{Client: security.Client, ID: "document-1", Digest: gm.SM3([]byte("document-1"))}
	first := must(w.iss.DocumentKey(w.ctx, req, security, esid))(t)
	again := must(w.iss.DocumentKey(w.ctx, req, security, esid))(t)
	if first.Document == nil || again.Document == nil || *first.Document != *again.Document {
		t.Fatalf("%+v, repeated %+v", first.Document, again.Document)
	}
	w.checkDocumentKey(esid)
	before = objects()
	refuse("a second one", security, esid, register.ErrEquipped)
	if r := w.restart(); len(r.Destroyed)+len(r.Missing)+len(r.Orphans) != 0 {
		t.Errorf("a start finds %+v", r)
	}
}

func (w *world) checkDocumentKey(esid string) {
	w.Helper()
	s, _, err := w.seals.Seal(w.ctx, esid)
	if err != nil {
		w.Fatal(err)
	}
	der, chain, _, err := w.seals.DocumentCertificate(w.ctx, esid)
	if err != nil {
		w.Fatal(err)
	}
	key := must(w.keys.Key(w.ctx, s.Document.Key))(w)
	c := must(gm.ParseCertificate(der))(w)
	if pub, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Standard()) || len(chain) != 2 || key.Purpose() != keystore.PurposeDocument {
		w.Errorf("certificate for %T, chain of %d, key for %s", c.PublicKey, len(chain), key.Purpose())
	}
	if holder, whole, ok := ca.Holder(c); !ok || holder != uscc || whole != name || c.NotAfter.After(s.NotAfter) || c.Subject.SerialNumber != esid {
		w.Errorf("%s %s until %s, seal until %s", holder, whole, c.NotAfter, s.NotAfter)
	}
}

// TestDocumentKeyRefusedCommit: when the releasing commit fails the key is taken back.
func TestDocumentKeyRefusedCommit(t *testing.T) {
	w := newWorld(t)
	w.collected(uscc)
	w.iss.Documents = w.documents()
	esid := must(w.seals.SealsOf(w.ctx, uscc))(t)[0].ESID
	before := len(must(w.token.Objects(w.ctx))(t))
	_, v, err := w.seals.Seal(w.ctx, esid)
	if err != nil {
		t.Fatal(err)
	}
	commits := 0 // the first is the intent's, the second is the release
	w.gate.before(func() {
		if commits++; commits == 2 {
			must(w.iss.Suspend(w.ctx, nil, security, esid, register.ReasonMisuse, "x"))(t)
		}
	})
	if _, err := w.iss.DocumentKey(w.ctx, nil, security, esid); !errors.Is(err, register.ErrTransition) {
		t.Errorf("suspended while it was born: %v", err)
	}
	s, now, err := w.seals.Seal(w.ctx, esid)
	if err != nil || s.Document != nil || now != v+1 {
		t.Errorf("seal %+v, version %d after %d: %v", s.Document, now, v, err)
	}
	if n := len(must(w.token.Objects(w.ctx))(t)); n != before {
		t.Errorf("%d objects in the token, %d before", n, before)
	}
}
