package verify

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/verify/signeddata"
)

// Clauses of SignedData.
const (
	clauseGM  = "GB/T 35275-2017 8"
	clauseRFC = "RFC 5652 5"
)

// original is what a signature without a seal may be over. The zero value is an original that is not at hand.
type original struct {
	content []byte                           // in one piece, where it is
	digest  func(oid string) ([]byte, error) // under an algorithm; nil when the original is not at hand
	apart   bool                             // the structure must not enclose anything, as a PDF signature must not
	claimed time.Time                        // the signer's time, stated in what is signed and not in the structure; zero without
}

// whole is an original in one piece.
func whole(b []byte) original {
	return original{content: b, digest: func(oid string) ([]byte, error) { return signeddata.Digest(oid, b) }}
}

// elsewhere is an original of which the caller gave digests alone.
func (v *verifier) elsewhere() original {
	if len(v.opts.Digests) == 0 {
		return original{}
	}
	return original{digest: func(oid string) ([]byte, error) {
		if d, ok := v.opts.Digests[oid]; ok {
			return d, nil
		}
		return nil, fmt.Errorf("the signature is over %s of the original, which was not given: %w", signeddata.Name(oid), signeddata.ErrContent)
	}}
}

// judgeCMSFile judges a file that is SignedData: what it encloses, or Options.Content where it encloses nothing.
func (v *verifier) judgeCMSFile(b []byte) {
	out := Signature{Type: "sign", Generation: "cms", Checks: []Check{}}
	if signed := out.parseCMS(b, signeddata.Options{BER: true}, ""); signed != nil {
		o := original{}
		switch {
		case v.opts.Content != nil:
			o = whole(v.opts.Content)
		case signed.Content != nil:
			o = whole(signed.Content)
		default:
			o = v.elsewhere()
		}
		v.judgeCMS(&out, signed, o)
	}
	v.report.Signatures = append(v.report.Signatures, out)
}

// parseCMS reads SignedData, or says as the check of structure why it cannot.
func (s *Signature) parseCMS(b []byte, o signeddata.Options, clause string) *signeddata.SignedData {
	signed, err := signeddata.ParseWith(b, o)
	switch {
	case errors.Is(err, signeddata.ErrAlgorithm):
		s.add(CodeStructure, Indeterminate, clause, "%v", err)
	case err != nil:
		s.add(CodeStructure, Fail, clause, "%v", err)
	default:
		return signed
	}
	return nil
}

// judgeCMS adds the checks of one SignedData over an original: structure, document-digest, signature-value, signer-certificate,
// signing-time, timestamp, certificate-revocation.
func (v *verifier) judgeCMS(out *Signature, signed *signeddata.SignedData, o original) {
	clause := clauseRFC
	if signed.GM {
		clause = clauseGM
	}
	out.cmsStructure(signed, o, clause)
	out.cmsDigest(signed, o, clause)
	out.cmsValue(signed, o, clause)
	i := signed.Signer()
	claimed := moment(i.SigningTime, o.claimed)
	if !claimed.IsZero() {
		out.SignedAt = stamp(claimed)
	}
	stamped := v.judgeStamp(out, i.Timestamp, over(i.Value), claimed, "RFC 3161 2.4.2")
	v.cmsSigner(out, signed, claimed, stamped, clause)
}

func (s *Signature) cmsStructure(signed *signeddata.SignedData, o original, clause string) {
	var text []string
	for _, n := range signed.AllNotes() {
		if o.apart && n.Code == signeddata.NotePadding {
			continue // the place in a PDF is filled up with zeros
		}
		text = append(text, n.Code+": "+n.Detail)
	}
	if len(text) == 0 {
		s.add(CodeStructure, Pass, clause, "SignedData")
		return
	}
	s.add(CodeStructure, Note, clause, "SignedData; tolerated: %s", strings.Join(text, "; "))
}

func (s *Signature) cmsDigest(signed *signeddata.SignedData, o original, clause string) {
	if o.digest == nil {
		s.add(CodeDocumentDigest, NotChecked, clause, "the signed original is not at hand")
		return
	}
	if o.apart && signed.Content != nil {
		s.add(CodeDocumentDigest, Indeterminate, clause, "the structure encloses %d bytes although it must be detached", len(signed.Content))
		return
	}
	oid := signed.Signer().DigestOID
	d, err := o.digest(oid)
	if err == nil {
		var form signeddata.Form
		if form, err = signed.CoversDigest(d, o.content != nil && signed.Content != nil && string(o.content) == string(signed.Content)); err == nil {
			s.add(CodeDocumentDigest, Pass, clause, "%s of the original is %x (%s)", signeddata.Name(oid), d, form)
			return
		}
	}
	s.cmsError(CodeDocumentDigest, clause, err)
}

// cmsError turns an error of the reader into a result: what this machine cannot do proves nothing.
func (s *Signature) cmsError(code, clause string, err error) {
	result := Fail
	if errors.Is(err, signeddata.ErrAlgorithm) || errors.Is(err, signeddata.ErrCertificate) || errors.Is(err, signeddata.ErrContent) {
		result = Indeterminate
	}
	s.add(code, result, clause, "%v", err)
}

func (s *Signature) cmsValue(signed *signeddata.SignedData, o original, clause string) {
	i := signed.Signer()
	var err error
	switch {
	case i.Attributes == nil && signed.Content == nil && o.content == nil && o.digest == nil:
		s.add(CodeSignatureValue, NotChecked, clause, "the value is over the original itself, which is not at hand")
		return
	case i.Attributes == nil && signed.Content == nil && o.content == nil:
		var d []byte
		if d, err = o.digest(i.DigestOID); err == nil {
			err = i.VerifyDigest(d)
		}
	default:
		err = signed.VerifyValue(o.content)
	}
	if err == nil && i.CertID != nil {
		err = i.MatchCertificate()
	}
	weak := i.Weak()
	switch {
	case err != nil:
		s.cmsError(CodeSignatureValue, clause, err)
	case weak != "":
		s.add(CodeSignatureValue, Indeterminate, clause, "the value fits, but proves little: %s", weak)
	default:
		s.add(CodeSignatureValue, Pass, clause, "the signature value fits")
	}
}

// cmsSigner judges the certificate and the signing time. A time stamp that holds takes the place of the signer's own clock. A time outside
// the certificate leaves open when the value was made (ETSI EN 319 102-1 5.2.6), unlike a seal, whose standard calls it invalid.
func (v *verifier) cmsSigner(out *Signature, signed *signeddata.SignedData, claimed, stamped time.Time, clause string) {
	i := signed.Signer()
	c, err := i.Signatory()
	if err != nil {
		out.add(CodeSignerCertificate, Indeterminate, clause, "%v", err)
		return
	}
	out.Signer = clean(nameOf(c.Certificate))
	at := moment(stamped, claimed, v.opts.Now)
	result, detail := v.with(signed.Certificates).signatory(c.Certificate, at)
	out.add(CodeSignerCertificate, result, clause, "%s", detail)
	switch {
	case claimed.IsZero() && stamped.IsZero():
		out.add(CodeSigningTime, NotChecked, clause, "the signature states no time")
	case claimed.After(v.opts.Now.Add(clockSkew)):
		out.add(CodeSigningTime, Fail, clause, "%s lies in the future", stamp(claimed))
	case !c.ValidAt(at):
		out.add(CodeSigningTime, Indeterminate, clause, "%s lies outside the signer's certificate (%s to %s)", stamp(at), stamp(c.NotBefore), stamp(c.NotAfter))
	default:
		out.add(CodeSigningTime, Pass, clause, "%s lies inside the signer's certificate", stamp(at))
	}
	v.revocation(out, signed.CRLs, used{c.Certificate, at})
}

// moment is the first of some times that is known.
func moment(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// with returns a verifier that also knows the certificates a structure encloses, as links of a chain, never as anchors.
func (v *verifier) with(enclosed [][]byte) *verifier {
	out := *v
	out.others = v.others.Clone()
	for n, der := range enclosed {
		if n == maxEnclosed {
			break
		}
		if c, err := gm.ParseCertificate(der); err == nil {
			out.others.AddCert(c)
			out.links = append(out.links, c)
		}
	}
	return &out
}

const maxEnclosed = 32

// over is a time stamp's subject: a message, usually the octets of a signature value.
func over(message []byte) func(*signeddata.Token) error {
	return func(t *signeddata.Token) error { return t.Covers(message) }
}

// judgeStamp judges a time stamp over its subject. It returns the stamped time when everything about the stamp holds,
// zero otherwise. claimed is the signer's own time, zero when there is none.
func (v *verifier) judgeStamp(out *Signature, token []byte, covers func(*signeddata.Token) error, claimed time.Time, clause string) time.Time {
	if token == nil {
		out.add(CodeTimestamp, NotChecked, clause, "no time stamp: the signing time is the signer's own word")
		return time.Time{}
	}
	t, err := signeddata.ParseTokenWith(token, signeddata.Options{BER: true})
	if err == nil {
		err = covers(t)
	}
	if err == nil {
		err = t.Verify()
	}
	if err != nil {
		out.cmsError(CodeTimestamp, clause, err)
		return time.Time{}
	}
	switch {
	case t.GenTime.After(v.opts.Now.Add(clockSkew)):
		out.add(CodeTimestamp, Fail, clause, "stamped %s, which lies in the future", stamp(t.GenTime))
		return time.Time{}
	case claimed.After(t.GenTime.Add(clockSkew)):
		out.add(CodeTimestamp, Fail, clause, "stamped %s, before the time that the signer states, %s", stamp(t.GenTime), stamp(claimed))
		return time.Time{}
	}
	c, err := t.Signed.Signer().Signatory()
	if err != nil {
		out.add(CodeTimestamp, Indeterminate, clause, "%v", err)
		return time.Time{}
	}
	judge := v.with(t.Signed.Certificates)
	judge.opts.Roots, judge.lists = v.stampAnchors(t.GenTime), nil
	result, detail := judge.chain(c.Certificate, t.GenTime)
	if result != Pass {
		out.add(CodeTimestamp, Indeterminate, clause, "stamped %s; %s", stamp(t.GenTime), detail)
		return time.Time{}
	}
	if why := judge.revokedBefore(c.Certificate, t.Signed.CRLs, t.GenTime); why != "" {
		out.add(CodeTimestamp, Fail, clause, "stamped %s; %s", stamp(t.GenTime), why)
		return time.Time{}
	}
	out.add(CodeTimestamp, Pass, clause, "stamped %s by %s; %s", stamp(t.GenTime), nameOf(c.Certificate), detail)
	return t.GenTime
}

// sealStamp judges the stamp of a v5 seal, over the maker's signature value: the seal cannot have been made after it.
func (v *verifier) sealStamp(out *Signature, e *seal.Seal, clause string) {
	if e.Timestamp == nil {
		return
	}
	probe := Signature{}
	v.judgeStamp(&probe, e.Timestamp, over(e.Signature), e.Info.CreateDate, clause)
	c := probe.Checks[0]
	c.Code = CodeSealTimestamp
	out.Checks = append(out.Checks, c)
}
