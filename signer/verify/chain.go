package verify

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
)

// Numbers of the certificate library for "any extended key usage", and for the key usages (RFC 5280 §4.2.1.3) that allow signing.
const (
	anyUsage          = 0
	digitalSignature  = 1 << 0
	contentCommitment = 1 << 1
)

// chain judges a certificate at a moment: whether it may sign, and whether it leads to a trust anchor.
func (v *verifier) chain(c *seal.Certificate, at time.Time) (Result, string) {
	if c.Defect != nil {
		return Indeterminate, fmt.Sprintf("certificate %s is defective and has no chain: %v", c.Serial, c.Defect)
	}
	if u := c.X509.KeyUsage; u != 0 && u&(digitalSignature|contentCommitment) == 0 {
		return Fail, fmt.Sprintf("key usage of certificate %s does not allow signing", c.Serial)
	}
	roots := gm.NewCertPool()
	anchors := v.anchors(at)
	if len(anchors) == 0 {
		return Indeterminate, "no trust anchor is configured"
	}
	for _, a := range anchors {
		roots.AddCert(a)
	}
	opts := gm.VerifyOptions{Roots: roots, Intermediates: v.others, CurrentTime: at}
	opts.KeyUsages = append(opts.KeyUsages, anyUsage)
	chains, err := c.X509.Verify(opts)
	switch {
	case !c.ValidAt(at):
		return Fail, fmt.Sprintf("certificate %s was not valid at %s", c.Serial, stamp(at))
	case err != nil:
		return Indeterminate, fmt.Sprintf("certificate %s leads to no trust anchor: %v", c.Serial, err)
	}
	anchor := chains[0][len(chains[0])-1]
	return Pass, fmt.Sprintf("certificate %s leads to %s", c.Serial, anchor.Subject)
}

// services are the purposes of those that sign stamps and status, never documents. TLS is not among them: seal certificates in service name it.
var services = []gm.ExtKeyUsage{gm.ExtKeyUsageTimeStamping, gm.ExtKeyUsageOCSPSigning}

var oidDocumentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36} // RFC 9336

// signatory judges the certificate of who signed a document: as chain, and its purposes.
func (v *verifier) signatory(c *seal.Certificate, at time.Time) (Result, string) {
	if c.X509 == nil {
		return v.chain(c, at)
	}
	known, others := c.X509.ExtKeyUsage, c.X509.UnknownExtKeyUsage
	if len(known) > 0 && len(others) == 0 && !slices.ContainsFunc(known, func(u gm.ExtKeyUsage) bool { return !slices.Contains(services, u) }) {
		return Fail, fmt.Sprintf("extended key usage of certificate %s is not for documents", c.Serial)
	}
	if len(v.opts.DocumentRoots) > 0 && slices.ContainsFunc(others, oidDocumentSigning.Equal) {
		all := *v
		all.opts.Roots = slices.Concat(v.opts.Roots, v.opts.DocumentRoots)
		v = &all
	}
	return v.chain(c, at)
}

// makerCertificate judges the seal maker's certificate at the moment the seal was made. That it had run out by the time the seal signed
// is reported by name: the standard of 2020 lets such a seal no longer be used, that of 2025 does.
func (v *verifier) makerCertificate(out *Signature, e *seal.Seal, used time.Time, clause string) {
	maker, err := e.Maker()
	if err != nil {
		out.add(CodeMakerCertificate, Fail, clause, "%v", err)
		return
	}
	made := e.Info.CreateDate
	if !maker.ValidAt(made) {
		out.add(CodeMakerCertificate, Fail, clause, "certificate %s (%s to %s) was not valid when the seal was made, %s",
			maker.Serial, stamp(maker.NotBefore), stamp(maker.NotAfter), stamp(made))
		return
	}
	if result, why := v.mayMake(maker, e); result != Pass {
		out.add(CodeMakerCertificate, result, clause, "certificate %s %s", maker.Serial, why)
		return
	}
	result, detail := v.signatory(maker, made)
	if result == Pass && !maker.ValidAt(used) {
		result, detail = Note, fmt.Sprintf("%s; it ended %s, before the seal was used", detail, stamp(maker.NotAfter))
	}
	out.add(CodeMakerCertificate, result, clause, "%s", detail)
}

// holderExtension is where certificates of enterprises carry their code (GM/T 0015 family).
const holderExtension = "1.2.156.10260.4.1.4"

// unpinned judges a maker by what its certificate looks like, where nobody said whom to trust.
func unpinned(maker *seal.Certificate, e *seal.Seal) (Result, string) {
	if e.Lists(maker.Raw) {
		return Indeterminate, "is also in the seal's own list of signers: nobody makes a seal for himself"
	}
	if maker.X509 != nil {
		for _, x := range maker.X509.Extensions {
			if x.Id.String() == holderExtension {
				return Indeterminate, "names an enterprise as its holder, as a signer's does; pin the seal makers you trust"
			}
		}
	}
	return Pass, ""
}

func (v *verifier) pinned(c *seal.Certificate) bool {
	for _, m := range v.opts.Makers {
		if bytes.Equal(m.Raw, c.Raw) {
			return true
		}
	}
	return false
}

// nameOf gives the subject of a certificate for people.
func nameOf(c *seal.Certificate) string {
	if c.X509 != nil {
		return c.X509.Subject.String()
	}
	if c.CommonName != "" {
		return "CN=" + c.CommonName
	}
	return "certificate " + c.Serial.String()
}
