package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/verify/signeddata"
)

// clauses of the standard that a generation follows; v5 has the chapters of v4.
type clauses struct{ seal, signature string }

func clausesOf(g seal.Generation) clauses {
	switch g {
	case seal.V1:
		return clauses{"GM/T 0031-2014 6.1.2", "GM/T 0031-2014 6.2.3"}
	case seal.V5:
		return clauses{"GM/T 0031-2025", "GM/T 0031-2025"}
	}
	return clauses{"GB/T 38540-2020 6.3", "GB/T 38540-2020 7.3"}
}

func (s *Signature) add(code string, result Result, clause, format string, args ...any) {
	s.Checks = append(s.Checks, Check{code, result, clean(fmt.Sprintf(format, args...)), clause})
}

func (v *verifier) judgeBareSeal(b []byte) {
	out := Signature{Type: "seal", Checks: []Check{}}
	s, err := seal.Parse(b)
	if err != nil {
		out.add(CodeStructure, Fail, "", "%v", err)
		v.report.Signatures = append(v.report.Signatures, out)
		return
	}
	out.describeSeal(s)
	v = v.of(s.Info.ESID)
	c := clausesOf(s.Generation)
	out.structure(s.Generation, s.Notes, c.seal)
	out.sealSignature(s, c.seal)
	v.makerCertificate(&out, s, v.opts.Now, c.seal)
	if s.ValidAt(v.opts.Now) {
		out.add(CodeSealValidity, Pass, c.seal, "valid from %s to %s", stamp(s.Info.ValidStart), stamp(s.Info.ValidEnd))
	} else {
		out.add(CodeSealValidity, Fail, c.seal, "valid from %s to %s, now is %s", stamp(s.Info.ValidStart), stamp(s.Info.ValidEnd), stamp(v.opts.Now))
	}
	v.sealStamp(&out, s, c.seal)
	if maker, err := s.Maker(); err == nil {
		v.revocation(&out, nil, used{maker, makerMoment(s, v.opts.Now)})
	}
	v.sealStatus(&out, s, v.opts.Now, c.seal)
	v.report.Signatures = append(v.report.Signatures, out)
}

func (v *verifier) judgeBareSignature(b []byte) {
	out := Signature{Type: "seal", Checks: []Check{}}
	o := v.elsewhere()
	if v.opts.SignatureXML != nil {
		o = whole(v.opts.SignatureXML)
	}
	v.judgeSES(&out, b, o, "")
	v.report.Signatures = append(v.report.Signatures, out)
}

// judgeSES judges an SES_Signature over an original (Signature.xml), which may not be at hand; file is its name in its package.
func (v *verifier) judgeSES(out *Signature, value []byte, o original, file string) {
	sig, err := seal.ParseSignature(value)
	if err != nil {
		out.add(CodeStructure, Fail, "", "%v", err)
		return
	}
	out.describeSeal(sig.Seal)
	v = v.of(sig.Seal.Info.ESID)
	if !sig.Time.IsZero() {
		out.SignedAt = stamp(sig.Time)
	}
	c := clausesOf(sig.Generation)
	out.structure(sig.Generation, slices.Concat(sig.Notes, sig.Seal.Notes), c.signature)
	out.signatureValue(sig, c.signature)
	out.documentDigest(sig, o, c.signature)
	if file != "" {
		out.propertyInfo(sig, file)
	}
	out.sealSignature(sig.Seal, c.seal)
	if sig.SignatoryListed() {
		out.add(CodeSignerInList, Pass, c.signature, "the signer's certificate is in the seal's list")
	} else {
		out.add(CodeSignerInList, Fail, c.signature, "the signer's certificate is not in the seal's list")
	}
	stamped := v.judgeStamp(out, sig.Timestamp, subject(sig), sig.Time, c.signature)
	v.sealStamp(out, sig.Seal, c.seal)
	at := moment(stamped, sig.Time, v.opts.Now)
	v.signerTimes(out, sig, at, stamped, c.signature)
	v.makerCertificate(out, sig.Seal, at, c.seal)
	v.certificatesOf(out, sig, at)
	v.sealStatus(out, sig.Seal, at, c.seal)
}

// subject is what a time stamp of a seal signature is over: the signature value. In v1 the stamp stands in the place of the time and is itself
// signed, so it cannot be; the standard does not say what it stamps, and no sample shows it. The document's digest is taken, either way.
func subject(sig *seal.Signature) func(*signeddata.Token) error {
	if sig.Generation != seal.V1 {
		return over(sig.Value)
	}
	return func(t *signeddata.Token) error {
		if t.Covers(sig.DataHash[:]) == nil || t.CoversDigest(signeddata.OIDSM3, sig.DataHash[:]) == nil {
			return nil
		}
		return fmt.Errorf("the stamp is not over the document's digest: %w", signeddata.ErrContent)
	}
}

// certificatesOf asks the revocation lists about signer and maker.
func (v *verifier) certificatesOf(out *Signature, sig *seal.Signature, at time.Time) {
	var all []used
	if c, err := sig.Signatory(); err == nil {
		all = append(all, used{c, at})
	}
	if c, err := sig.Seal.Maker(); err == nil {
		all = append(all, used{c, makerMoment(sig.Seal, at)})
	}
	v.revocation(out, nil, all...)
}

// makerMoment is when the maker's certificate must not have been revoked: when a v5 seal was made, but when any other was used, whose date is
// the maker's bare word.
func makerMoment(e *seal.Seal, used time.Time) time.Time {
	if e.Generation == seal.V5 {
		return e.Info.CreateDate
	}
	return used
}

func (s *Signature) describeSeal(e *seal.Seal) {
	s.Generation, s.ESID, s.SealName = string(e.Generation), clean(e.Info.ESID), clean(e.Info.Name)
}

func (s *Signature) structure(g seal.Generation, notes []seal.Note, clause string) {
	if len(notes) == 0 {
		s.add(CodeStructure, Pass, clause, "structure of %s", g)
		return
	}
	var text []string
	for _, n := range notes {
		text = append(text, n.Code+": "+n.Detail)
	}
	s.add(CodeStructure, Note, clause, "structure of %s; tolerated: %s", g, strings.Join(text, "; "))
}

// crypto turns the answer of a signature check into a result: a key or algorithm that this machine cannot use proves nothing.
func (s *Signature) crypto(code, clause, good string, err error) {
	switch {
	case err == nil:
		s.add(code, Pass, clause, "%s", good)
	case errors.Is(err, seal.ErrAlgorithm), errors.Is(err, seal.ErrWeak), errors.Is(err, gm.ErrKey):
		s.add(code, Indeterminate, clause, "%v", err)
	default:
		s.add(code, Fail, clause, "%v", err)
	}
}

func (s *Signature) signatureValue(sig *seal.Signature, clause string) {
	s.crypto(CodeSignatureValue, clause, "the signature value fits TBS_Sign as received", sig.VerifyValue())
}

func (s *Signature) sealSignature(e *seal.Seal, clause string) {
	s.crypto(CodeSealSignature, clause, "the seal maker's signature fits the seal as received", e.VerifySignature())
}

func (s *Signature) documentDigest(sig *seal.Signature, o original, clause string) {
	if o.digest == nil {
		s.add(CodeDocumentDigest, NotChecked, clause, "the signed original is not at hand")
		return
	}
	d, err := o.digest(signeddata.OIDSM3)
	switch {
	case err != nil:
		s.add(CodeDocumentDigest, Indeterminate, clause, "%v", err)
	case bytes.Equal(d, sig.DataHash[:]):
		s.add(CodeDocumentDigest, Pass, clause, "SM3 of the original is %x", sig.DataHash)
	default:
		s.add(CodeDocumentDigest, Fail, clause, "SM3 of the original is %x, signed is %x", d, sig.DataHash)
	}
}

// propertyInfo compares the name that was signed with the file. Products write all kinds of things there, so it decides nothing.
func (s *Signature) propertyInfo(sig *seal.Signature, file string) {
	if name, r := resolve(rootFile, sig.PropertyInfo); r == nil && name == file {
		s.add(CodePropertyInfo, Pass, "", "names %s", file)
		return
	}
	s.add(CodePropertyInfo, Note, "", "is %q, not the path of %s", sig.PropertyInfo, file)
}

// clockSkew is how far a signer's clock may run ahead of ours.
const clockSkew = 5 * time.Minute

// signerTimes judges the signer's certificate at the signing time, and that time itself.
func (v *verifier) signerTimes(out *Signature, sig *seal.Signature, at, stamped time.Time, clause string) {
	signer, err := sig.Signatory()
	if err != nil {
		out.add(CodeSignerCertificate, Fail, clause, "%v", err)
	} else {
		out.Signer = clean(nameOf(signer))
		result, detail := v.signatory(signer, at)
		out.add(CodeSignerCertificate, result, clause, "%s", detail)
	}
	e, signing := sig.Seal, moment(sig.Time, stamped)
	var wrong []string
	if sig.Time.After(v.opts.Now.Add(clockSkew)) {
		wrong = append(wrong, "lies in the future")
	}
	if signer != nil && !signer.ValidAt(signing) {
		wrong = append(wrong, fmt.Sprintf("lies outside the signer's certificate (%s to %s)", stamp(signer.NotBefore), stamp(signer.NotAfter)))
	}
	if !e.ValidAt(signing) {
		wrong = append(wrong, fmt.Sprintf("lies outside the seal (%s to %s)", stamp(e.Info.ValidStart), stamp(e.Info.ValidEnd)))
	}
	switch {
	case signing.IsZero():
		out.add(CodeSigningTime, Indeterminate, clause, "no readable signing time")
		out.add(CodeSealValidity, Indeterminate, clause, "no readable signing time to hold the seal's validity against")
		return
	case len(wrong) > 0:
		out.add(CodeSigningTime, Fail, clause, "%s %s", stamp(signing), strings.Join(wrong, " and "))
	default:
		out.add(CodeSigningTime, Pass, clause, "%s lies inside the signer's certificate and the seal", stamp(signing))
	}
	out.sealValidity(e, signing, v.opts.Now, clause)
}

// sealValidity judges the seal at the signing time; that it has run out since is worth a remark, not a verdict.
func (s *Signature) sealValidity(e *seal.Seal, at, now time.Time, clause string) {
	from, to := stamp(e.Info.ValidStart), stamp(e.Info.ValidEnd)
	switch {
	case !e.ValidAt(at):
		s.add(CodeSealValidity, Fail, clause, "the seal was valid from %s to %s, not at %s", from, to, stamp(at))
	case !e.ValidAt(now):
		s.add(CodeSealValidity, Note, clause, "the seal was valid when it signed; its validity ended %s", to)
	default:
		s.add(CodeSealValidity, Pass, clause, "valid from %s to %s", from, to)
	}
}

// sealStatus asks the issuing appliance. A seal that had ceased before it signed is a revoked one.
func (v *verifier) sealStatus(out *Signature, e *seal.Seal, at time.Time, clause string) {
	const noSource = "no revocation source was asked"
	if v.opts.SealStatus == nil {
		out.add(CodeRevocation, NotChecked, clause, noSource)
		out.add(CodeSealStatus, NotChecked, "", "the issuing appliance was not asked")
		return
	}
	state, err := v.opts.SealStatus(v.ctx, e.Info.ESID)
	maker, _ := e.Maker()
	switch {
	case errors.Is(err, ErrSealUnknown) && maker != nil && v.pinned(maker):
		out.add(CodeRevocation, NotChecked, clause, noSource)
		out.add(CodeSealStatus, Indeterminate, "", "made by a trusted maker, whose appliance knows no seal of this number")
	case err != nil:
		out.add(CodeRevocation, NotChecked, clause, noSource)
		out.add(CodeSealStatus, NotChecked, "", "the issuing appliance gave no answer: %v", err)
	case state.SHA256 != "" && state.SHA256 != hexSHA256(e.Raw):
		out.add(CodeRevocation, Fail, clause, "another seal bears this number")
		out.add(CodeSealStatus, Fail, "", "the appliance made another seal under this number")
	case state.State == "active":
		out.add(CodeRevocation, Pass, clause, "the issuing appliance knows of no revocation")
		out.add(CodeSealStatus, Pass, "", "active since %s", stamp(state.Since))
	case at.Before(state.Since):
		out.ended, out.endedAt = state.State, stamp(state.Since)
		out.add(CodeRevocation, Pass, clause, "the seal signed before its state changed")
		out.add(CodeSealStatus, Note, "", "%s since %s, after it signed", state.State, stamp(state.Since))
	default:
		out.ended, out.endedAt, out.endedBefore = state.State, stamp(state.Since), true
		out.add(CodeRevocation, Fail, clause, "the seal was %s before it signed", state.State)
		out.add(CodeSealStatus, Fail, "", "%s since %s", state.State, stamp(state.Since))
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func hexSHA256(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}
