package verify

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/signer/verify/pdf"
	"sealkeeper/signer/verify/signeddata"
)

// Clauses of PDF.
const (
	clauseRange   = "ISO 32000-2 12.8.1"
	clauseChanges = "ISO 32000-2 12.8.2.2"
	clauseXRef    = "ISO 32000-2 7.5"
)

// judgePDF judges every signature field of a document, and what stands in the file beside what is shown.
func (v *verifier) judgePDF(b []byte) {
	d, err := pdf.Open(v.ctx, b)
	if err != nil {
		v.unreadable(err)
		return
	}
	signatures, err := d.Signatures()
	if err != nil {
		v.unreadable(err)
		return
	}
	if len(signatures) > maxFields {
		v.find("pdf-limits", Indeterminate, "%d signatures, limit %d", len(signatures), maxFields)
		return
	}
	v.layout(d)
	stamps := 0
	for _, s := range signatures {
		if v.ctx.Err() != nil {
			v.find("interrupted", Indeterminate, "%v", v.ctx.Err())
			return
		}
		out := v.judgeField(d, s, signatures)
		if out.Type == "timestamp" {
			stamps++
		}
		v.report.Signatures = append(v.report.Signatures, out)
	}
	if len(signatures) == stamps {
		v.find("unsigned", Indeterminate, "the document holds no signature")
	}
}

// maxFields bounds the work for one document: each is hashed over it.
const maxFields = 200

// unreadable turns an error of the reader into a finding.
func (v *verifier) unreadable(err error) {
	var r *pdf.Refusal
	switch {
	case !errors.As(err, &r):
		v.find("interrupted", Indeterminate, "%v", err)
	case r.Unsupported:
		v.find(r.Code, Indeterminate, "%s", r.Detail)
	default:
		v.find(r.Code, Fail, "%s", r.Detail)
	}
}

// layout finds bytes that no cross-reference accounts for.
func (v *verifier) layout(d *pdf.Document) {
	gaps, err := d.Layout()
	if err != nil {
		v.unreadable(err)
		return
	}
	for i, g := range gaps {
		if i == maxGaps {
			v.find("pdf-unlisted-bytes", Note, "and %d more", len(gaps)-i)
			return
		}
		what := "no object in them"
		if len(g.Objects) > 0 {
			what = fmt.Sprintf("objects %d in them", g.Objects)
		}
		if g.Listed {
			v.find("pdf-two-objects", Indeterminate, "bytes %d to %d: %s stand elsewhere too; readers that rebuild damaged files would take these", g.Start, g.End, what)
			continue
		}
		v.find("pdf-unlisted-bytes", Note, "bytes %d to %d belong to nothing that is shown; %s", g.Start, g.End, what)
	}
}

const maxGaps = 20

// judgeField judges one signature field.
func (v *verifier) judgeField(d *pdf.Document, s *pdf.Signature, all []*pdf.Signature) Signature {
	out := Signature{ID: clean(s.Field), Type: "sign", Generation: "pdf", Checks: []Check{}}
	if s.Problem != nil {
		out.add(CodeReferences, Fail, clauseRange, "%s: %s", s.Problem.Code, s.Problem.Detail)
		return out
	}
	v.judgeContents(&out, d, s)
	v.judgeChanges(&out, d, s, all)
	return out
}

// judgeContents judges the value of a signature over the ranges it covers.
func (v *verifier) judgeContents(out *Signature, d *pdf.Document, s *pdf.Signature) {
	o := original{apart: true, claimed: pdfTime(s.Text("M")), digest: func(oid string) ([]byte, error) {
		h, err := signeddata.NewHash(oid)
		if err != nil {
			return nil, err
		}
		for _, part := range d.Ranges(s) {
			h.Write(part)
		}
		return h.Sum(nil), nil
	}}
	if s.SubFilter() == "ETSI.RFC3161" {
		v.judgeDocumentStamp(out, s, o)
		return
	}
	if sealed := firstElement(s.Contents); kindOfDER(sealed) == KindSESSignature {
		out.Type = "seal"
		v.judgeSES(out, sealed, o, "")
		return
	}
	if signed := out.parseCMS(s.Contents, signeddata.Options{BER: true, Padding: true, Signers: maxSigners}, clauseRange); signed != nil {
		if n := len(signed.Signers); n > 1 {
			out.add(CodeStructure, Indeterminate, "ISO 32000-2 12.8.3.3.1", "%d signers in one value, where one is allowed", n)
		}
		v.judgeCMS(out, signed, o)
	}
	switch s.SubFilter() {
	case "adbe.pkcs7.sha1", "adbe.x509.rsa_sha1":
		out.add(CodeDocumentDigest, Indeterminate, clauseRange, "/SubFilter %s is over a SHA-1 digest, which proves little", s.SubFilter())
	}
}

const maxSigners = 8

// firstElement drops the zeros that pad Contents to its place; other bytes behind the first element stay, to be found there.
func firstElement(contents []byte) []byte {
	rest, first := cryptobyte.String(contents), cryptobyte.String(nil)
	if !rest.ReadASN1Element(&first, asn1.SEQUENCE) || strings.Trim(string(rest), "\x00") != "" {
		return contents
	}
	return first
}

// judgeDocumentStamp judges a time stamp over the document itself (ISO 32000-2 12.8.5). It signs nothing.
func (v *verifier) judgeDocumentStamp(out *Signature, s *pdf.Signature, o original) {
	out.Type = "timestamp"
	v.judgeStamp(out, firstElement(s.Contents), func(t *signeddata.Token) error {
		d, err := o.digest(t.DigestOID)
		if err != nil {
			return err
		}
		return t.CoversDigest(t.DigestOID, d)
	}, time.Time{}, "ISO 32000-2 12.8.5")
}

// judgeChanges judges what the signature covers, and what was changed after it.
func (v *verifier) judgeChanges(out *Signature, d *pdf.Document, s *pdf.Signature, all []*pdf.Signature) {
	changes, err := d.Changes(s)
	var r *pdf.Refusal
	switch {
	case errors.As(err, &r):
		result := Fail // a later revision that cannot be read shows something else than what was signed, or nothing
		if r.Unsupported {
			result = Indeterminate
		}
		out.add(CodeReferences, result, clauseChanges, "what was changed since cannot be told: %s: %s", r.Code, r.Detail)
		return
	case err != nil:
		v.find("interrupted", Indeterminate, "%v", err)
		return
	}
	allowed := permission(s, all)
	var forbidden, doubtful, fine []string
	for _, c := range changes {
		switch weigh(c, allowed) {
		case Fail:
			forbidden = append(forbidden, c.Detail)
		case Indeterminate:
			doubtful = append(doubtful, c.Detail)
		default:
			fine = append(fine, c.Detail)
		}
	}
	ranges := fmt.Sprintf("bytes 0 to %d and %d to %d of revision %d", s.Range[1], s.Range[2], s.Range[2]+s.Range[3], s.Revision+1)
	if len(forbidden) > 0 {
		out.add(CodeReferences, Fail, clauseChanges, "%s; changed since: %s", ranges, strings.Join(forbidden, "; "))
	} else {
		out.add(CodeReferences, Pass, clauseRange, "%s, whole but for its own value", ranges)
	}
	switch start, end := d.Uncovered(s); {
	case len(doubtful) > 0:
		out.add(CodeCoverage, Indeterminate, clauseChanges, "added since, in bytes %d to %d, and not covered: %s", start, end, strings.Join(doubtful, "; "))
	case len(fine) > 0:
		out.add(CodeCoverage, Note, clauseChanges, "added since, in bytes %d to %d: %s", start, end, strings.Join(fine, "; "))
	case start < end && s.Revision == len(d.Revisions())-1:
		out.add(CodeCoverage, Indeterminate, clauseRange, "bytes %d to %d stand behind what is covered", start, end)
	case start < end:
		out.add(CodeCoverage, Note, clauseRange, "bytes %d to %d were added since and change nothing that is shown", start, end)
	default:
		out.add(CodeCoverage, Pass, clauseRange, "nothing in the file is left uncovered but the value itself")
	}
}

// permission is what may follow a signature: the strictest that it, or a certification that stands before it, states; 0 without any.
func permission(s *pdf.Signature, all []*pdf.Signature) pdf.Permission {
	out := s.Permission
	for _, o := range all {
		if o.Certifies && o.Problem == nil && o.Revision <= s.Revision && o.Permission > 0 && (out == 0 || o.Permission < out) {
			out = o.Permission
		}
	}
	return out
}

// weigh judges a change under a permission. Without one, further signatures and filled fields are what a document is for; annotations can
// hide what was signed.
func weigh(c pdf.Change, allowed pdf.Permission) Result {
	switch c.Level {
	case pdf.Nothing, pdf.Evidence:
		return Note
	case pdf.Filling:
		if allowed == 1 {
			return Fail
		}
		return Note
	case pdf.Annotating:
		if allowed == 1 || allowed == 2 {
			return Fail
		}
		return Indeterminate
	case pdf.Doubtful:
		if allowed == 1 {
			return Fail
		}
		return Indeterminate
	}
	return Fail
}

// pdfTime reads D:YYYYMMDDHHmmSSOHH'mm (ISO 32000-2 7.9.4); zero for anything else.
func pdfTime(s string) time.Time {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "D:"), "'")
	s = strings.ReplaceAll(s, "'", "")
	for _, layout := range []string{"20060102150405-0700", "20060102150405Z0700", "20060102150405Z", "20060102150405"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
