package verify

import (
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/verify/trust"
)

// readLists keeps the lists that count and says of the others why not.
func (v *verifier) readLists() {
	newest, older := trust.Newest(v.opts.TrustLists)
	for _, l := range older {
		v.find("trust-list", Note, "the %s does not count: a newer version is at hand", l)
	}
	for _, l := range newest {
		if !l.Current(v.opts.Now) {
			v.find("trust-list", Note, "the %s ran out %s", l, stamp(l.NextUpdate))
		}
	}
	v.lists = newest
}

// of returns a verifier for a seal of this number: anchors of the lists count for their own region's seals alone.
func (v *verifier) of(esid string) *verifier {
	out := *v
	out.esid = esid
	return &out
}

// anchors returns the roots that count at a moment.
func (v *verifier) anchors(at time.Time) []*gm.Certificate {
	roots := slices.Clone(v.opts.Roots)
	for _, l := range v.lists {
		if l.Current(v.opts.Now) {
			roots = append(roots, l.Anchors(v.esid, at)...)
		}
	}
	return roots
}

// stampAnchors returns the roots of time-stamp authorities at a moment.
func (v *verifier) stampAnchors(at time.Time) []*gm.Certificate {
	roots := slices.Clone(v.opts.TimestampRoots)
	if len(roots) == 0 {
		roots = slices.Clone(v.opts.Roots)
	}
	for _, l := range v.lists {
		if l.Current(v.opts.Now) {
			roots = append(roots, l.Stampers(at)...)
		}
	}
	return roots
}

// mayMake says whether a certificate may be a seal maker's at all. Chains do not tell: makers and holders have the same issuer.
func (v *verifier) mayMake(maker *seal.Certificate, e *seal.Seal) (Result, string) {
	if v.pinned(maker) {
		return Pass, ""
	}
	pinning := len(v.opts.Makers) > 0
	var refused error
	for _, l := range v.lists {
		pinning = pinning || l.HasMakers()
		switch named, err := l.Vouches(maker.Raw, e.Info.ESID, e.Info.CreateDate); {
		case !named:
		case err != nil:
			refused = err
		case !l.Current(v.opts.Now):
			return Indeterminate, "is named by a trust list that ran out: " + l.String()
		default:
			return Pass, ""
		}
	}
	switch {
	case refused != nil:
		return Fail, "is not trusted for this seal: " + refused.Error()
	case pinning:
		return Fail, "is not one of the seal makers trusted here"
	}
	return unpinned(maker, e)
}
