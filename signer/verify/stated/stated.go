// Package stated judges statements that an appliance signed in its own name, on a machine with no token and no network.
//
// Its one promise is that what Judge calls valid was signed, byte for byte as received, by a key whose certificate is for statements and
// leads to an anchor that the caller named (law 6). It shares no code with the writer, signer/statement.
package stated

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/signeddata"
)

// Kind is the kind of a statement's report.
const Kind = "statement"

// MaxSize bounds a statement in bytes.
const MaxSize = 1 << 20

const (
	contentOID = "1.2.3.4.2.1"
	purpose    = "\x30\x07\x06\x05\x2A\x03\x04\x02\x02" // SEQUENCE { 1.2.3.4.2.2 }
)

// ErrRefused says that a statement is not to be relied on; the report says why.
var ErrRefused = errors.New("the statement is not valid")

// Trust is whom the caller trusts.
type Trust struct {
	Roots          []*gm.Certificate // of statements
	TimestampRoots []*gm.Certificate // of time stamps; none: Roots count
	Now            time.Time         // zero: the present
}

// Statement is what was stated.
type Statement struct {
	Appliance string          `json:"appliance"`
	Body      json.RawMessage `json:"body"`
	ID        string          `json:"id"`
	IssuedAt  time.Time       `json:"issued_at"`
	Kind      string          `json:"kind"`

	StampedAt time.Time `json:"-"` // zero without a time stamp that counts
}

// Judge reads a statement and reports on it: structure, signature-value, signer-certificate, signing-time, timestamp.
func Judge(name string, der []byte, trust Trust) (Statement, verify.Report) {
	if trust.Now.IsZero() {
		trust.Now = time.Now()
	}
	j := judgement{trust: trust}
	j.out = verify.Signature{Type: "statement", Generation: "cms", Checks: []verify.Check{}}
	j.judge(der)
	r := verify.Report{File: name, Kind: Kind, Verdict: j.verdict(), Signatures: []verify.Signature{j.out}, Findings: []verify.Check{}}
	return j.said, r
}

// Open judges a statement of one kind and decodes its body into v, refusing unknown names. Errors: ErrRefused.
func Open(der []byte, trust Trust, kind string, v any) (Statement, error) {
	s, r := Judge("", der, trust)
	if r.Verdict != verify.Valid {
		for _, c := range r.Signatures[0].Checks {
			if c.Result == verify.Fail || c.Result == verify.Indeterminate {
				return s, fmt.Errorf("%s: %s: %w", c.Code, c.Detail, ErrRefused)
			}
		}
		return s, ErrRefused
	}
	if s.Kind != kind {
		return s, fmt.Errorf("kind %q, want %q: %w", s.Kind, kind, ErrRefused)
	}
	if err := decode(s.Body, v); err != nil {
		return s, fmt.Errorf("body: %w: %w", ErrRefused, err)
	}
	return s, nil
}

type judgement struct {
	trust Trust
	said  Statement
	out   verify.Signature
}

func (j *judgement) add(code string, r verify.Result, format string, args ...any) bool {
	j.out.Checks = append(j.out.Checks, verify.Check{Code: code, Result: r, Detail: fmt.Sprintf(format, args...)})
	return r == verify.Pass
}

func (j *judgement) verdict() verify.Verdict {
	v := verify.Valid
	for _, c := range j.out.Checks {
		switch c.Result {
		case verify.Fail:
			return verify.Invalid
		case verify.Indeterminate:
			v = verify.IndeterminateResult
		}
	}
	return v
}

func (j *judgement) judge(der []byte) {
	s, err := signeddata.ParseWith(der, signeddata.Options{MaxBytes: MaxSize})
	switch {
	case err != nil:
		j.add(verify.CodeStructure, verify.Fail, "%v", err)
		return
	case s.ContentType != contentOID || s.Content == nil:
		j.add(verify.CodeStructure, verify.Fail, "content of type %s is no statement", s.ContentType)
		return
	}
	if err := j.read(s.Content); err != nil {
		j.add(verify.CodeStructure, verify.Fail, "%v", err)
		return
	}
	j.add(verify.CodeStructure, verify.Pass, "%s %s of %s", j.said.Kind, j.said.ID, j.said.Appliance)
	i := s.Signer()
	if err := errors.Join(i.VerifyContent(s.Content), i.MatchCertificate()); err != nil {
		j.add(verify.CodeSignatureValue, verify.Fail, "%v", err)
		return
	}
	j.add(verify.CodeSignatureValue, verify.Pass, "SM2 over the statement as received")
	at := j.stamp(i)
	j.signer(s, i, at)
}

// read decodes the content. A name that stands twice, or in another order than the writer's, is refused: two readers must not see two statements.
func (j *judgement) read(content []byte) error {
	if err := decode(content, &j.said); err != nil {
		return err
	}
	again, err := json.Marshal(j.said)
	if err != nil || !bytes.Equal(again, content) {
		return errors.New("the statement is not in its canonical form")
	}
	var ordered map[string]any
	d := json.NewDecoder(bytes.NewReader(j.said.Body))
	d.UseNumber()
	if err := d.Decode(&ordered); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if again, err = json.Marshal(ordered); err != nil || !bytes.Equal(again, j.said.Body) {
		return errors.New("the body is not in its canonical form")
	}
	j.out.ID, j.out.SignedAt = j.said.ID, j.said.IssuedAt.UTC().Format(time.RFC3339)
	return nil
}

// stamp judges the time stamp and returns the moment that counts for the certificate.
func (j *judgement) stamp(i *signeddata.Signer) time.Time {
	issued := j.said.IssuedAt
	if !i.SigningTime.Equal(issued) {
		j.add(verify.CodeSigningTime, verify.Fail, "stated %s, signed %s", issued.Format(time.RFC3339), i.SigningTime.Format(time.RFC3339))
	}
	if issued.After(j.trust.Now.Add(5 * time.Minute)) {
		j.add(verify.CodeSigningTime, verify.Fail, "stated %s, which lies in the future", issued.Format(time.RFC3339))
	}
	if i.Timestamp == nil {
		j.add(verify.CodeTimestamp, verify.NotChecked, "no time stamp: the time is the appliance's own word")
		return issued
	}
	t, err := signeddata.ParseToken(i.Timestamp)
	if err == nil {
		err = errors.Join(t.Covers(i.Value), t.Verify())
	}
	if err != nil {
		j.add(verify.CodeTimestamp, verify.Fail, "%v", err)
		return issued
	}
	if t.GenTime.Before(issued) || t.GenTime.Sub(issued) > 5*time.Minute {
		j.add(verify.CodeTimestamp, verify.Fail, "stamped %s, stated %s", t.GenTime.Format(time.RFC3339), issued.Format(time.RFC3339))
		return issued
	}
	j.said.StampedAt = t.GenTime
	c, _ := t.Signed.Signer().Signatory()
	roots := j.trust.TimestampRoots
	if len(roots) == 0 {
		roots = j.trust.Roots
	}
	j.chain(verify.CodeTimestamp, c, t.Signed.Certificates, roots, t.GenTime)
	return t.GenTime
}

// signer judges the certificate: for statements alone, valid at the time, under an anchor.
func (j *judgement) signer(s *signeddata.SignedData, i *signeddata.Signer, at time.Time) {
	c, err := i.Signatory()
	if err != nil || c.X509 == nil {
		j.add(verify.CodeSignerCertificate, verify.Fail, "the certificate cannot be read: %v", err)
		return
	}
	j.out.Signer = c.X509.Subject.CommonName
	if !forStatements(c.X509) {
		j.add(verify.CodeSignerCertificate, verify.Fail, "certificate of %q is not for statements alone", c.X509.Subject.CommonName)
		return
	}
	j.chain(verify.CodeSignerCertificate, c, s.Certificates, j.trust.Roots, at)
}

func forStatements(c *gm.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool {
		return e.Id.String() == "2.5.29.37" && e.Critical && string(e.Value) == purpose
	})
}

// chain judges a certificate at a moment under anchors; those enclosed may stand between.
func (j *judgement) chain(code string, c *signeddata.Certificate, enclosed [][]byte, anchors []*gm.Certificate, at time.Time) {
	if c == nil || c.X509 == nil {
		j.add(code, verify.Indeterminate, "the certificate is defective and has no chain")
		return
	}
	if len(anchors) == 0 {
		j.add(code, verify.Indeterminate, "no trust anchor is named")
		return
	}
	opts := gm.VerifyOptions{Roots: gm.NewCertPool(), Intermediates: gm.NewCertPool(), CurrentTime: at, KeyUsages: []gm.ExtKeyUsage{gm.ExtKeyUsageAny}}
	for _, a := range anchors {
		opts.Roots.AddCert(a)
	}
	for _, der := range enclosed {
		if link, err := gm.ParseCertificate(der); err == nil {
			opts.Intermediates.AddCert(link)
		}
	}
	switch chains, err := c.X509.Verify(opts); {
	case !c.ValidAt(at):
		j.add(code, verify.Fail, "certificate of %q was not valid at %s", c.X509.Subject.CommonName, at.Format(time.RFC3339))
	case err != nil:
		j.add(code, verify.Indeterminate, "certificate of %q leads to no trust anchor: %s", c.X509.Subject.CommonName, strconv.Quote(err.Error()))
	default:
		j.add(code, verify.Pass, "%s; certificate of %q leads to %s", at.Format(time.RFC3339), c.X509.Subject.CommonName, chains[0][len(chains[0])-1].Subject)
	}
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("bytes behind the statement")
	}
	return nil
}
