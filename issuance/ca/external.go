package ca

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	"sealkeeper/internal/gm"
)

// SigningRequest makes the PKCS#10 request that an outside authority certifies: the subject of the template and, as requested
// extension, the holder. key is the seal's own, which thereby proves possession.
func SigningRequest(ctx context.Context, key Key, t SubjectTemplate, r Request) (csrDER []byte, err error) {
	if err := r.checkHolder(); err != nil {
		return nil, err
	}
	if pub := key.Public(); pub == nil || !pub.Equal(r.PublicKey) {
		return nil, fmt.Errorf("seal %s: request for another key: %w", r.ESID, ErrPublicKey)
	}
	subject, err := t.name(r)
	if err != nil {
		return nil, err
	}
	ext, err := holderExtension(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the holder extension: %w", err)
	}
	template := &gm.CertificateRequest{Subject: subject, SignatureAlgorithm: gm.SM2WithSM3}
	template.ExtraExtensions = append(template.ExtraExtensions, ext)
	sign := func(message []byte) ([]byte, error) { return key.Sign(ctx, message) }
	if csrDER, err = gm.CreateCertificateRequest(template, gm.NewSigner(r.PublicKey, sign)); err != nil {
		return nil, fmt.Errorf("signing request of seal %s: %w", r.ESID, err)
	}
	return csrDER, nil
}

// External is an outside, licensed certificate authority, known by the anchors that configuration pins. Subject is the template of the requests.
type External struct {
	Anchors []*gm.Certificate
	Subject SubjectTemplate
}

// Accept judges what the outside authority sent back for r: the seal's own key, the name that was asked for, fit to sign, no authority, covering
// r's validity where r states one, and chained to a pinned anchor with every signature accepted twice (law 4). It returns the chain in order, without
// the certificate itself. ErrAnswer names what is wrong.
func (x External) Accept(r Request, certDER []byte, others [][]byte, at time.Time) (chain [][]byte, err error) {
	c, err := gm.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	pub, err := gm.CertificateKey(c)
	switch {
	case err != nil || r.PublicKey == nil || !pub.Equal(r.PublicKey):
		return nil, fmt.Errorf("another key: %w", ErrAnswer)
	case c.IsCA || c.KeyUsage&usageSign == 0: // what else may be set varies between authorities
		return nil, fmt.Errorf("not a signing certificate: %w", ErrAnswer)
	case !r.NotBefore.IsZero() && c.NotBefore.After(r.NotBefore), !r.NotAfter.IsZero() && c.NotAfter.Before(r.NotAfter):
		return nil, fmt.Errorf("valid %s to %s: %w: %w", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), ErrAnswer, ErrValidity)
	}
	if err := x.named(c, r); err != nil {
		return nil, err
	}
	path, err := x.path(c, others, at)
	if err != nil {
		return nil, err
	}
	for i, parent := range path[1:] {
		key, err := gm.CertificateKey(parent)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if err := gm.CheckCertificateTwice(key, path[i]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		chain = append(chain, parent.Raw)
	}
	return chain, nil
}

// named demands every attribute that was asked for, as it was asked for; an authority may add others. The holder may be left out, never changed.
func (x External) named(c *gm.Certificate, r Request) error {
	want, err := x.Subject.name(r)
	if err != nil {
		return err
	}
	for _, w := range want.ExtraNames {
		if !slices.ContainsFunc(c.Subject.Names, func(n pkix.AttributeTypeAndValue) bool { return n.Type.Equal(w.Type) && n.Value == w.Value }) {
			return fmt.Errorf("the name lacks %s=%.80v: %w", w.Type, w.Value, ErrAnswer)
		}
	}
	for _, n := range c.Subject.Names { // a second value beside the right one names somebody else
		if i := slices.IndexFunc(want.ExtraNames, func(w pkix.AttributeTypeAndValue) bool { return w.Type.Equal(n.Type) }); i >= 0 && want.ExtraNames[i].Value != n.Value {
			return fmt.Errorf("the name says %s=%.80v: %w", n.Type, n.Value, ErrAnswer)
		}
	}
	for _, e := range c.Extensions {
		if holder, err := holderExtension(r); e.Id.Equal(oidHolder) && (err != nil || !bytes.Equal(e.Value, holder.Value)) {
			return fmt.Errorf("another holder: %w", ErrAnswer)
		}
	}
	return nil
}

func (x External) path(c *gm.Certificate, others [][]byte, at time.Time) ([]*gm.Certificate, error) {
	roots, between := gm.NewCertPool(), gm.NewCertPool()
	for _, a := range x.Anchors {
		roots.AddCert(a)
	}
	for _, der := range others {
		o, err := gm.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("chain: %w: %w", ErrAnswer, err)
		}
		between.AddCert(o)
	}
	chains, err := c.Verify(gm.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []gm.ExtKeyUsage{gm.ExtKeyUsageAny}})
	if err != nil || len(chains) == 0 || len(chains[0]) < 2 {
		return nil, fmt.Errorf("no chain to a pinned authority: %w: %v", ErrAnswer, err)
	}
	return chains[0], nil
}
