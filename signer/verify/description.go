package verify

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
	"sealkeeper/signer/verify/signeddata"
)

// description is a Signature.xml: what is protected, and where seal and value are.
type description struct {
	file        string
	raw         []byte
	checkMethod string
	hasMethod   bool
	refs        []reference
	sealFile    string // Seal.esl, empty when there is none
	valueFile   string // SignedValue.dat
	pageRefs    []string
	err         *refusal // why it could not be read, or nil
}

// reference is one protected file.
type reference struct {
	written, file string
	digest        []byte
}

const (
	maxDescription = 4 << 20
	maxReferences  = 2 * maxEntries
)

// describe reads the Signature.xml of a listed signature. What cannot be read is kept in err and judged as structure.
func (p *pack) describe(s *listed) *description {
	d := &description{file: s.file}
	if d.raw, d.err = p.content(s.file, maxDescription); d.err != nil {
		return d
	}
	root, r := readTree(s.file, bytes.NewReader(d.raw), "Signature")
	if r != nil {
		d.err = r
		return d
	}
	d.err = d.read(root)
	return d
}

func (d *description) read(root *node) *refusal {
	info, err := root.one("SignedInfo")
	if err != nil || info == nil {
		return refuse("ofd-signature", "%s has no single SignedInfo: %v", d.file, err)
	}
	value, err := root.one("SignedValue")
	if err != nil || value == nil {
		return refuse("ofd-signature", "%s has no single SignedValue: %v", d.file, err)
	}
	var r *refusal
	if d.valueFile, r = resolve(d.file, value.content()); r != nil {
		return r
	}
	for _, stamp := range info.all("StampAnnot") {
		if page, ok := stamp.attr("PageRef"); ok {
			d.pageRefs = append(d.pageRefs, page)
		}
	}
	if r := d.readSeal(info); r != nil {
		return r
	}
	return d.readReferences(info)
}

func (d *description) readSeal(info *node) *refusal {
	n, err := info.one("Seal")
	if err != nil {
		return refuse("ofd-signature", "%s: %v", d.file, err)
	}
	if n == nil {
		return nil
	}
	loc, err := n.one("BaseLoc")
	if err != nil || loc == nil {
		return refuse("ofd-signature", "%s: Seal has no single BaseLoc: %v", d.file, err)
	}
	var r *refusal
	d.sealFile, r = resolve(d.file, loc.content())
	return r
}

func (d *description) readReferences(info *node) *refusal {
	n, err := info.one("References")
	if err != nil || n == nil {
		return refuse("ofd-signature", "%s has no single References: %v", d.file, err)
	}
	d.checkMethod, d.hasMethod = n.attr("CheckMethod")
	for _, item := range n.all("Reference") {
		if len(d.refs) == maxReferences {
			return refuse("ofd-signature", "%s has more than %d references", d.file, maxReferences)
		}
		written, _ := item.attr("FileRef")
		name, r := resolve(d.file, written)
		if r != nil {
			return r
		}
		value, err := item.one("CheckValue")
		if err != nil || value == nil {
			return refuse("ofd-signature", "%s: reference to %s has no single CheckValue: %v", d.file, written, err)
		}
		digest, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value.value), ""))
		if err != nil {
			return refuse("ofd-signature", "%s: check value of %s: %v", d.file, written, err)
		}
		d.refs = append(d.refs, reference{written, name, digest})
	}
	return nil
}

// sm3Names are the ways in which SM3 is written. The schema's default is MD5: a missing CheckMethod is weak, not SM3.
var sm3Names = []string{"SM3", "1.2.156.10197.1.401", "1.2.156.10197.1.401.1", "1.2.156.10197.1.401.2"}

const clauseOFD = "GB/T 33190-2016"

// checkReferences compares the digest of every protected file, taken over its exact uncompressed bytes.
func (d *description) checkReferences(p *pack) Check {
	c := Check{Code: CodeReferences, Result: Fail, Clause: clauseOFD}
	if !d.hasMethod {
		c.Detail = "CheckMethod is missing, which means MD5"
		return c
	}
	sm3 := false
	for _, name := range sm3Names {
		sm3 = sm3 || strings.EqualFold(d.checkMethod, name)
	}
	if !sm3 {
		c.Detail = clean(fmt.Sprintf("CheckMethod %q is not SM3", d.checkMethod))
		return c
	}
	var bad []string
	for _, ref := range d.refs {
		f, ok := p.files[ref.file]
		switch {
		case !ok:
			bad = append(bad, ref.written+" is missing")
		case subtle.ConstantTimeCompare(f.digest[:], ref.digest) != 1:
			bad = append(bad, ref.written+" was changed")
		}
	}
	switch {
	case len(d.refs) == 0:
		c.Detail = "no file is protected"
	case len(bad) > 0:
		c.Detail = clean(fmt.Sprintf("%d of %d files: %s", len(bad), len(d.refs), strings.Join(bad, ", ")))
	default:
		c.Result, c.Detail = Pass, fmt.Sprintf("%d of %d files match", len(d.refs), len(d.refs))
	}
	return c
}

// judgeListed judges one signature of a package.
func (v *verifier) judgeListed(p *pack, b *body, s *listed, d *description, apart map[string]bool) Signature {
	out := Signature{ID: clean(s.id), Type: strings.ToLower(s.kind), Checks: []Check{}}
	if d.err != nil {
		out.add(CodeStructure, Fail, clauseOFD, "%s: %s", d.err.code, d.err.detail)
		return out
	}
	value, r := p.content(d.valueFile, seal.MaxSize)
	if r != nil {
		out.add(CodeStructure, Fail, clauseOFD, "%s: %s", r.code, r.detail)
		return out
	}
	if s.relative {
		v.find("relative-signature", Indeterminate, "signature %s builds on another signature, which is not judged together with it", s.id)
	}
	for _, page := range d.pageRefs {
		if !b.pageIDs[page] {
			v.find("stamp-without-page", Note, "signature %s stands on page %s, which the document does not have", s.id, page)
		}
	}
	if s.kind == "Sign" {
		v.judgeSign(&out, value, d.raw)
	} else {
		v.judgeSES(&out, value, whole(d.raw), d.file)
	}
	out.Checks = append(out.Checks, d.checkReferences(p), v.checkCoverage(p, b, s, d, apart))
	if s.kind == "Seal" {
		out.Checks = append(out.Checks, p.checkSealCopy(d, value))
	}
	return out
}

const clauseSign = "GM/T 0099-2020 7.2.2"

// judgeSign judges a value without a seal: SignedData over Signature.xml or over its digest, or a bare signature over Signature.xml.
func (v *verifier) judgeSign(out *Signature, value, file []byte) {
	out.Generation = "cms"
	if raw, deviation, err := gm.DecodeLenient(value); err == nil {
		out.Generation = "bare"
		v.judgeBareValue(out, raw, deviation, file)
		return
	}
	if kindOfDER(value) != KindCMS {
		out.add(CodeStructure, Fail, clauseSign, "the signature value is neither a CMS structure nor a bare signature")
		return
	}
	if signed := out.parseCMS(value, signeddata.Options{BER: true}, clauseSign); signed != nil {
		v.judgeCMS(out, signed, whole(file))
	}
}

// judgeBareValue judges SEQUENCE{r,s} alone. Nothing in the package says whose it is: the certificates that the caller holds are tried.
func (v *verifier) judgeBareValue(out *Signature, raw [64]byte, deviation gm.Deviation, file []byte) {
	out.add(CodeStructure, Pass, clauseSign, "a bare signature without certificate")
	if deviation != "" {
		out.Checks[len(out.Checks)-1] = Check{CodeStructure, Note, clean("a bare signature; tolerated: " + string(deviation)), clauseSign}
	}
	for _, x := range v.opts.Signers {
		key, err := gm.CertificateKey(x)
		if err != nil || key.VerifyE(key.E(file), raw) != nil {
			continue
		}
		out.add(CodeSignatureValue, Pass, clauseSign, "the signature value fits Signature.xml as received, by certificate %s", x.SerialNumber)
		out.add(CodeDocumentDigest, Pass, clauseSign, "the value is over Signature.xml itself")
		c, err := seal.ReadCertificate(x.Raw)
		if err != nil {
			out.add(CodeSignerCertificate, Indeterminate, clauseSign, "%v", err)
			return
		}
		out.Signer = clean(nameOf(c))
		result, detail := v.signatory(c, v.opts.Now)
		out.add(CodeSignerCertificate, result, clauseSign, "%s", detail)
		out.add(CodeSigningTime, NotChecked, clauseSign, "a bare signature states no time")
		v.revocation(out, nil, used{c, v.opts.Now})
		return
	}
	out.add(CodeSignatureValue, NotChecked, clauseSign, "whose it is the package does not say, and no certificate at hand fits")
	out.add(CodeDocumentDigest, NotChecked, clauseSign, "the value is over Signature.xml itself")
}

// checkSealCopy compares Seal.esl with the seal inside the signature.
func (p *pack) checkSealCopy(d *description, value []byte) Check {
	c := Check{Code: CodeSealCopy, Result: NotChecked, Detail: "the package has no copy of the seal"}
	if d.sealFile == "" {
		return c
	}
	copied, r := p.content(d.sealFile, seal.MaxSize)
	if r != nil {
		c.Result, c.Detail = Fail, clean(r.code+": "+r.detail)
		return c
	}
	sig, err := seal.ParseSignature(value)
	switch {
	case err != nil:
		c.Detail = "the signature holds no readable seal"
	case !bytes.Equal(copied, sig.Seal.Raw):
		c.Result, c.Detail = Fail, clean(d.sealFile+" differs from the seal inside the signature")
	default:
		c.Result, c.Detail = Pass, clean(d.sealFile+" equals the seal inside the signature")
	}
	return c
}
