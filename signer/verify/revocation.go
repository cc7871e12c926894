package verify

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
)

const clauseCRL = "RFC 5280 5"

// crlList is a revocation list that can be read.
type crlList struct {
	list *gm.RevocationList
	raw  []byte
}

const maxCRLs = 64

// parseCRLs reads what the caller gave; what cannot be read is a finding, since the caller relies on it.
func (v *verifier) parseCRLs() {
	for i, der := range v.opts.CRLs {
		l, err := gm.ParseRevocationList(der)
		if err != nil {
			v.find("crl", Indeterminate, "revocation list %d: %v", i+1, err)
			continue
		}
		v.crls = append(v.crls, crlList{l, der})
	}
}

// used is a certificate and the moment for which it must have been good.
type used struct {
	certificate *seal.Certificate
	at          time.Time
}

// revocation adds what revocation lists say about certificates at the time they were used. Lists that a structure encloses count beside the
// caller's: their issuer's signature is checked all the same.
func (v *verifier) revocation(out *Signature, enclosed [][]byte, all ...used) {
	lists := v.crls
	for i, der := range enclosed {
		if l, err := gm.ParseRevocationList(der); err == nil && i < maxCRLs {
			lists = append(lists[:len(lists):len(lists)], crlList{l, der})
		}
	}
	if len(lists) == 0 {
		out.add(CodeCertificateRevocation, NotChecked, clauseCRL, "no revocation list is at hand")
		return
	}
	var silent, since []string
	for _, u := range all {
		c, at := u.certificate, u.at
		listed, revoked, why := v.listed(c, lists)
		switch {
		case !revoked.IsZero() && !revoked.After(at):
			out.add(CodeCertificateRevocation, Fail, clauseCRL, "certificate %s was revoked %s, before it was used, %s", c.Serial, stamp(revoked), stamp(at))
			return
		case !revoked.IsZero():
			since = append(since, fmt.Sprintf("certificate %s was good when it was used, %s, and was revoked since, %s", c.Serial, stamp(at), stamp(revoked)))
		case !listed:
			silent = append(silent, fmt.Sprintf("certificate %s: %s", c.Serial, why))
		}
	}
	switch {
	case len(silent) > 0:
		out.add(CodeCertificateRevocation, NotChecked, clauseCRL, "%s", strings.Join(silent, "; "))
	case len(since) > 0:
		out.add(CodeCertificateRevocation, Note, clauseCRL, "%s", strings.Join(since, "; "))
	default:
		out.add(CodeCertificateRevocation, Pass, clauseCRL, "not on the revocation lists of their issuers")
	}
}

// revokedBefore says why a certificate could not be used at a time, or nothing.
func (v *verifier) revokedBefore(c *seal.Certificate, enclosed [][]byte, at time.Time) string {
	probe := Signature{}
	v.revocation(&probe, enclosed, used{c, at})
	if probe.Checks[0].Result == Fail {
		return probe.Checks[0].Detail
	}
	return ""
}

// listed looks a certificate up in the lists of its issuer: whether there is a current one, and since when it is revoked.
func (v *verifier) listed(c *seal.Certificate, lists []crlList) (found bool, revoked time.Time, why string) {
	if c.X509 == nil {
		return false, time.Time{}, "its issuer cannot be read"
	}
	why = "no list of its issuer is at hand"
	for _, l := range lists {
		if !bytes.Equal(l.list.RawIssuer, c.X509.RawIssuer) {
			continue
		}
		if !v.signedByIssuer(l.list) {
			why = "the list of its issuer is not signed by an issuer that is known here"
			continue
		}
		if at := revokedIn(l.list, c); !at.IsZero() {
			return true, at, ""
		}
		if !l.list.NextUpdate.IsZero() && v.opts.Now.After(l.list.NextUpdate.Add(clockSkew)) {
			why = fmt.Sprintf("the list of its issuer ran out %s", stamp(l.list.NextUpdate))
			continue
		}
		found = true
	}
	return found, time.Time{}, why
}

func revokedIn(l *gm.RevocationList, c *seal.Certificate) time.Time {
	for _, e := range l.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.Serial) == 0 {
			return e.RevocationTime.UTC()
		}
	}
	return time.Time{}
}

// signedByIssuer checks a list under every anchor and link of its issuer's name.
func (v *verifier) signedByIssuer(l *gm.RevocationList) bool {
	for _, pool := range [][]*gm.Certificate{v.anchors(v.opts.Now), v.opts.DocumentRoots, v.opts.Intermediates, v.links} {
		for _, c := range pool {
			if bytes.Equal(c.RawSubject, l.RawIssuer) && l.CheckSignatureFrom(c) == nil {
				return true
			}
		}
	}
	return false
}
