package verify

import (
	"cmp"
	"fmt"
	"slices"
)

// Verdicts keep three questions apart, as GM/T 0047 tests them apart: whether the seal itself is sound, what its issuer says about it, and
// whether the document is the one that was signed.
type Verdicts struct {
	SealOffline Verdict `json:"seal_offline"` // from the bytes and the trust anchors alone
	SealStatus  Verdict `json:"seal_status"`  // by the issuing appliance's word
	Document    Verdict `json:"document"`     // what was signed, by whom and when
}

// What a Verdict of one signature can be beside those of a file.
const (
	Unasked       Verdict = "not-checked"    // nobody was asked
	NotApplicable Verdict = "not-applicable" // a signature without a seal, or a seal that signs nothing
)

// aspects are the codes behind each of the three. Structure speaks for the seal and for the document.
var (
	sealAspect     = []string{CodeStructure, CodeSealSignature, CodeMakerCertificate, CodeSealValidity, CodeSealTimestamp}
	statusAspect   = []string{CodeSealStatus, CodeRevocation}
	documentAspect = []string{CodeStructure, CodeReferences, CodeCoverage, CodeDocumentDigest, CodeSignatureValue, CodeSealCopy, CodeSignerInList,
		CodeSignerCertificate, CodeSigningTime, CodeTimestamp, CodeCertificateRevocation}
)

// Conclusion says in words what the verdicts mean, Chinese and English.
type Conclusion struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// conclude fills the verdicts and the words of a signature whose checks are complete. A finding about the whole file is about the document.
func (s *Signature) conclude(bareSeal bool, findings []Check) {
	s.Verdicts = Verdicts{SealOffline: s.aspect(sealAspect), SealStatus: s.aspect(statusAspect), Document: s.aspect(documentAspect)}
	if s.Verdicts.SealStatus == IndeterminateResult && !s.any(statusAspect, Fail, Indeterminate) {
		s.Verdicts.SealStatus = Unasked
	}
	var grave *Check
	for i, c := range findings {
		switch {
		case c.Result == Fail && (grave == nil || grave.Result != Fail):
			s.Verdicts.Document, grave = Invalid, &findings[i]
		case c.Result == Indeterminate && grave == nil:
			grave = &findings[i]
			if s.Verdicts.Document == Valid {
				s.Verdicts.Document = IndeterminateResult
			}
		}
	}
	switch {
	case bareSeal:
		s.Verdicts.Document = NotApplicable
	case s.Type == "sign", s.Type == "timestamp":
		s.Verdicts.SealOffline, s.Verdicts.SealStatus = NotApplicable, NotApplicable
	}
	s.Conclusion = s.words(grave)
}

// aspect weighs some codes as the verdict of the file weighs all.
func (s *Signature) aspect(codes []string) Verdict {
	out, seen := Valid, false
	for _, c := range s.Checks {
		if !slices.Contains(codes, c.Code) {
			continue
		}
		seen = seen || c.Result == Pass || c.Result == Note
		switch {
		case c.Result == Fail && (slices.Contains(decisive, c.Code) || c.Code == CodeSealStatus):
			return Invalid
		case c.Result == Fail, c.Result == Indeterminate, c.Result == NotChecked && slices.Contains(required, c.Code):
			out = IndeterminateResult
		}
	}
	if !seen {
		return IndeterminateResult
	}
	return out
}

func (s *Signature) any(codes []string, results ...Result) bool {
	return s.first(codes, results...) != nil
}

func (s *Signature) first(codes []string, results ...Result) *Check {
	for i, c := range s.Checks {
		if slices.Contains(codes, c.Code) && slices.Contains(results, c.Result) {
			return &s.Checks[i]
		}
	}
	return nil
}

func (s *Signature) words(grave *Check) Conclusion {
	all := slices.Concat(sealAspect, documentAspect, statusAspect)
	verdicts := []Verdict{s.Verdicts.SealOffline, s.Verdicts.SealStatus, s.Verdicts.Document}
	switch {
	case s.endedBefore && s.Verdicts.Document != Invalid && s.Verdicts.SealOffline != Invalid:
		state := stateWords(s.ended)
		return Conclusion{fmt.Sprintf("无效：签章前印章%s（%s）", state[0], s.endedAt), fmt.Sprintf("not valid: the seal was %s before it signed (%s)", state[1], s.endedAt)}
	case slices.Contains(verdicts, Invalid):
		c := s.first(slices.DeleteFunc(all, func(code string) bool { return !slices.Contains(decisive, code) && code != CodeSealStatus }), Fail)
		return because("无效", "not valid", cmp.Or(c, grave))
	case slices.Contains(verdicts, IndeterminateResult):
		return because("无法判定", "cannot be decided", cmp.Or(s.first(all, Fail, Indeterminate), s.first(required, NotChecked), grave))
	}
	return s.since()
}

func because(zh, en string, c *Check) Conclusion {
	if c == nil {
		return Conclusion{zh, en}
	}
	name, known := words[c.Code]
	if !known {
		name = [2]string{c.Code, c.Code}
	}
	return Conclusion{zh + "：" + name[1], en + ": " + name[0]}
}

// since says of a sound signature what has changed after it was made.
func (s *Signature) since() Conclusion {
	out := Conclusion{"有效", "valid"}
	then := [2]string{"签章时有效", "valid when it signed"}
	switch {
	case s.ended != "":
		state := stateWords(s.ended)
		out = Conclusion{fmt.Sprintf("%s，其后%s（%s）", then[0], state[0], s.endedAt), fmt.Sprintf("%s, %s since (%s)", then[1], state[1], s.endedAt)}
	case s.any([]string{CodeCertificateRevocation}, Note):
		out = Conclusion{then[0] + "，其后证书已吊销", then[1] + ", its certificate revoked since"}
	case s.any([]string{CodeSealValidity}, Note):
		out = Conclusion{then[0] + "，其后印章有效期届满", then[1] + ", the seal run out since"}
	}
	if s.Verdicts.SealStatus == Unasked {
		out.Zh, out.En = out.Zh+"（未查询印章当前状态）", out.En+" (the issuer was not asked about the seal)"
	}
	return out
}

func stateWords(state string) [2]string {
	if w, known := states[state]; known {
		return w
	}
	return [2]string{"失效", "ended"}
}

// states are the words for what a seal can have become since it signed.
var states = map[string][2]string{"suspended": {"暂停使用", "suspended"}, "cancelled": {"已注销", "cancelled"},
	"superseded": {"已换发", "superseded"}, "expired": {"已到期", "expired"}}
