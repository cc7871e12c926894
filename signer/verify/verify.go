// Package verify judges signed documents and seals: a verdict with named findings, and never an error, since a document that cannot
// be read is itself a finding.
//
// Its one promise is that it hashes the bytes it received (law 6): nothing is re-encoded, and OFD packages and PDF
// documents are read by strict readers of this side, not by those that sign. It runs on a machine without a token, store or network.
//
//	bytes ─ kind ─► seal            ─► checks of the seal ┐
//	              ► SES_Signature   ─► checks of both     ├─► verdict
//	              ► SignedData      ─► checks of CMS      │
//	              ► OFD ─ package ─► references, coverage │
//	              ► PDF ─ revisions ► ranges, changes     ┘
//
// Limits: revocation is what the caller's lists and the caller's seal status say. A package may expand to 20 times the input or 64 MiB, whichever is more, and is never held expanded as a whole.
package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify/trust"
)

// Result is the outcome of one check.
type Result string

// The results. Note is a tolerated deviation or a remark; it never changes the verdict.
const (
	Pass          Result = "pass"
	Fail          Result = "fail"
	Note          Result = "note"
	NotChecked    Result = "not-checked"
	Indeterminate Result = "indeterminate"
)

// Verdict is the word on a whole file.
type Verdict string

// The verdicts.
const (
	Valid               Verdict = "valid"
	Invalid             Verdict = "invalid"
	IndeterminateResult Verdict = "indeterminate"
)

// Kinds of input. Unknown input has the empty kind.
const (
	KindOFD          = "ofd"
	KindPDF          = "pdf"
	KindCMS          = "cms"
	KindSeal         = "seal"
	KindSESSignature = "ses-signature"
)

// Codes of checks. They are stable; new ones may be added.
const (
	CodeStructure         = "structure"
	CodeReferences        = "references"
	CodeCoverage          = "coverage"
	CodeDocumentDigest    = "document-digest"
	CodeSignatureValue    = "signature-value"
	CodeSealSignature     = "seal-signature"
	CodeSealCopy          = "seal-copy"
	CodeSignerInList      = "signer-in-list"
	CodeSignerCertificate = "signer-certificate"
	CodeMakerCertificate  = "maker-certificate"
	CodeSigningTime       = "signing-time"
	CodeSealValidity      = "seal-validity"
	CodeTimestamp         = "timestamp"
	CodeRevocation        = "revocation"
	CodeSealStatus        = "seal-status"
	// CodeSealTimestamp is the time stamp of a v5 seal, over its maker's signature.
	CodeSealTimestamp = "seal-timestamp"
	// CodeCertificateRevocation is what revocation lists say about the certificates; CodeRevocation is the appliance's word on the seal.
	CodeCertificateRevocation = "certificate-revocation"

	// The library's word on a licence file: whether it is known, which version it is, the licence's status, and what the national system says.
	CodeLicenceFile    = "licence-file"
	CodeLicenceVersion = "licence-version"
	CodeLicenceStatus  = "licence-status"
	CodeNationalCheck  = "national-check"

	CodePropertyInfo = "property-info" // whether propertyInfo names the signed file; a remark, never more
)

// Check is one check of a signature, or one finding about the whole file.
type Check struct {
	Code   string `json:"code"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Clause string `json:"clause"` // the standard's clause that asks for it, where one does
}

// Signature is the report on one signature, or on a seal by itself.
type Signature struct {
	ID         string  `json:"id"`         // of the OFD signature; empty for a bare structure
	Type       string  `json:"type"`       // seal, sign, licence, or timestamp (of a document, by itself)
	Generation string  `json:"generation"` // v1, v4, v5, cms, pdf, or bare for SEQUENCE{r,s} alone
	ESID       string  `json:"esid"`
	SealName   string  `json:"seal_name"`
	Signer     string  `json:"signer"`
	SignedAt   string  `json:"signed_at"` // RFC 3339, UTC; the signer's own clock
	Checks     []Check `json:"checks"`

	Verdicts   Verdicts   `json:"verdicts"`   // of the seal, of its issuer, of the document
	Conclusion Conclusion `json:"conclusion"` // the verdicts in words, with what has changed since

	ended, endedAt string // what the seal became, and when
	endedBefore    bool   // before it signed
}

// Report is the report on one file (design §5a).
type Report struct {
	File       string      `json:"file"`
	Kind       string      `json:"kind"`
	Verdict    Verdict     `json:"verdict"`
	Signatures []Signature `json:"signatures"`
	Findings   []Check     `json:"findings"`
}

// SealState is what the issuing appliance says about a seal now.
type SealState struct {
	State  string    // "active", or the reason why not: suspended, cancelled, superseded, …
	Since  time.Time // when that state began
	SHA256 string    // of the seal that bears this esID, 64 hexadecimal digits; a seal of other bytes only borrows the number
}

// ErrSealUnknown is SealStatus's answer for an esID that the issuing appliance never gave.
var ErrSealUnknown = errors.New("the appliance knows no seal of that number")

// Options steer Document. The zero value judges without trust anchors.
type Options struct {
	Roots         []*gm.Certificate // trust anchors; without them no chain is judged and no verdict is valid
	Intermediates []*gm.Certificate // certificates that may stand between
	Now           time.Time         // zero: the present
	// Makers are the certificates of the seal makers that are trusted. A chain alone does not make a maker: every holder of a seal
	// certificate has one. Without pins a maker's certificate that looks like a holder's is indeterminate.
	Makers []*gm.Certificate
	// TrustLists say whom other regions trust; their entries count beside Roots, Makers and TimestampRoots, each for its own region's seals.
	TrustLists []*trust.List
	// SealStatus asks the issuing appliance; nil, or an error, leaves seal-status not checked. ErrSealUnknown under a pinned maker is
	// indeterminate: the maker's own appliance must know what it made.
	SealStatus func(ctx context.Context, esid string) (SealState, error)
	// DocumentRoots are anchors that count only for certificates whose purpose is signing documents (RFC 9336): of hierarchies that also
	// certify other things, such as the callers of an appliance.
	DocumentRoots  []*gm.Certificate
	CRLs           [][]byte          // revocation lists, DER; a list counts when an anchor or a link of its issuer's name has signed it
	TimestampRoots []*gm.Certificate // trust anchors of time-stamp authorities; without them Roots count
	Signers        []*gm.Certificate // whose bare signatures (Type="Sign" without a certificate) are tried
	Content        []byte            // for SignedData that encloses nothing: what it is over
	Digests        map[string][]byte // in the place of Content or SignatureXML that stays where it is: digests of it by the algorithm's OID
	SignatureXML   []byte            // for a bare SES_Signature: the Signature.xml beside it
	MaxBytes       int               // of the input; zero: 64 MiB
}

const defaultMaxBytes = 64 << 20

// verifier is one call of Document.
type verifier struct {
	ctx    context.Context
	opts   Options
	others *gm.CertPool      // what may stand between
	links  []*gm.Certificate // what structures enclose
	crls   []crlList
	lists  []*trust.List
	esid   string // of the seal that is judged
	report *Report
}

// Document judges one file. name is for the report alone; the kind is found in the bytes. A cancelled ctx ends the work with the
// finding "interrupted".
func Document(ctx context.Context, name string, b []byte, opts Options) Report {
	if opts.Now.IsZero() {
		opts.Now = time.Now()
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	r := &Report{File: clean(name), Kind: kindOf(name, b), Signatures: []Signature{}, Findings: []Check{}}
	v := &verifier{ctx: ctx, opts: opts, report: r, others: gm.NewCertPool()}
	for _, c := range opts.Intermediates {
		v.others.AddCert(c)
	}
	v.readLists()
	v.parseCRLs()
	v.judge(b)
	for i := range r.Signatures {
		r.Signatures[i].conclude(r.Kind == KindSeal, r.Findings)
	}
	r.Verdict = r.verdict()
	return *r
}

func (v *verifier) judge(b []byte) {
	if len(b) > v.opts.MaxBytes {
		v.find("too-large", Fail, "%d bytes, limit %d", len(b), v.opts.MaxBytes)
		return
	}
	switch v.report.Kind {
	case KindOFD:
		v.judgeOFD(b)
	case KindSeal:
		v.judgeBareSeal(b)
	case KindSESSignature:
		v.judgeBareSignature(b)
	case KindCMS:
		v.judgeCMSFile(b)
	case KindPDF:
		v.judgePDF(b)
	default:
		v.find("unknown-kind", Fail, "%d bytes that are no OFD, PDF, seal or signature", len(b))
	}
}

// decisive are the checks whose failure makes a file invalid.
var decisive = []string{CodeStructure, CodeReferences, CodeDocumentDigest, CodeSignatureValue, CodeSealSignature, CodeSealCopy,
	CodeSignerInList, CodeSigningTime, CodeSealValidity, CodeTimestamp, CodeSealTimestamp, CodeRevocation, CodeCertificateRevocation}

// required are the checks without which nothing can be called valid.
var required = []string{CodeStructure, CodeReferences, CodeDocumentDigest, CodeSignatureValue, CodeSealSignature,
	CodeSignerCertificate, CodeMakerCertificate}

// verdict follows design §5a. A failing check that is not decisive (a certificate, coverage) still keeps a file from being valid.
func (r *Report) verdict() Verdict {
	out := Valid
	if len(r.Signatures) == 0 {
		out = IndeterminateResult
	}
	for _, c := range r.Findings {
		switch c.Result {
		case Fail:
			return Invalid
		case Indeterminate:
			out = IndeterminateResult
		}
	}
	for _, s := range r.Signatures {
		for _, c := range s.Checks {
			switch {
			case c.Result == Fail && slices.Contains(decisive, c.Code):
				return Invalid
			case c.Result == Fail, c.Result == Indeterminate, c.Result == NotChecked && slices.Contains(required, c.Code):
				out = IndeterminateResult
			}
		}
	}
	return out
}

// ExitCode is the exit status for a set of reports: 0 all valid, 3 any invalid, 4 any indeterminate and none invalid.
func ExitCode(reports []Report) int {
	code := 0
	for _, r := range reports {
		switch r.Verdict {
		case Invalid:
			return 3
		case IndeterminateResult:
			code = 4
		}
	}
	return code
}
