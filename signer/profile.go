package signer

import "sealkeeper/signer/cms"

// Profiles: how a signature may be built. The first of a kind is meant when a request names none.
const (
	ProfileSeal  = "seal"   // ofd: SES_Signature (Type="Seal")
	ProfileSign  = "sign"   // ofd: SignedData of GB/T 35275 (Type="Sign")
	ProfileGM    = "gm"     // pdf, cms: SignedData with the seal's SM2 key, GB/T 35275 (pdf: content types by configuration)
	ProfileGMRFC = "gm-rfc" // cms: the same under the content types of RFC 5652
	ProfileRFC   = "rfc"    // cms: RFC 5652 with the seal's P-256 document key
	ProfilePAdES = "pades"  // pdf, cms for a PDF: ETSI.CAdES.detached with the seal's P-256 document key (ETSI EN 319 142-1)
)

// profile is one line of the table below.
type profile struct {
	kind, name string
	ses        bool     // SES_Signature; otherwise SignedData
	companion  bool     // by the P-256 document key over SHA-256; otherwise by the seal's own SM2 key over SM3
	form       cms.Form // content types of SignedData
	pades      bool     // no signing time inside, a reference to the signing certificate instead
	placed     bool     // needs a place for the seal's picture
}

var profiles = []profile{
	{kind: KindDigest, ses: true},
	{kind: KindOFD, name: ProfileSeal, ses: true, placed: true},
	{kind: KindOFD, name: ProfileSign, form: cms.GM},
	{kind: KindPDF, name: ProfileGM, form: cms.GM, placed: true},
	{kind: KindPDF, name: ProfilePAdES, form: cms.RFC, companion: true, pades: true, placed: true},
	{kind: KindCMS, name: ProfileGM, form: cms.GM},
	{kind: KindCMS, name: ProfileGMRFC, form: cms.RFC},
	{kind: KindCMS, name: ProfileRFC, form: cms.RFC, companion: true},
	{kind: KindCMS, name: ProfilePAdES, form: cms.RFC, companion: true, pades: true},
}

func (r Request) profile() (profile, bool) {
	for _, p := range profiles {
		if p.kind == r.Kind && (r.Profile == "" || r.Profile == p.name) {
			return p, true
		}
	}
	return profile{}, false
}
