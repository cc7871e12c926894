package verify

import (
	"fmt"
	"strings"
)

// Language of Text.
const (
	Chinese = "zh"
	English = "en"
)

// words are the fixed parts of the printed report: English, then Chinese. Details stay in English in both.
var words = map[string][2]string{
	string(Valid): {"VALID", "有效"}, string(Invalid): {"INVALID", "无效"}, string(IndeterminateResult): {"INDETERMINATE", "无法判定"},
	string(Pass): {"pass", "通过"}, string(Fail): {"FAIL", "不通过"}, string(Note): {"note", "提示"}, string(NotChecked): {"not checked", "未检查"},
	KindOFD: {"OFD document", "OFD 文件"}, KindPDF: {"PDF document", "PDF 文件"}, KindCMS: {"CMS signature", "CMS 签名"},
	KindSeal: {"e-seal", "电子印章"}, KindSESSignature: {"seal signature", "电子签章数据"}, "": {"unknown", "未知类型"},
	"signature": {"signature", "签章"}, "number": {"seal number", "印章编号"}, "name": {"seal", "印章名称"}, "signer": {"signer", "签章人"},
	"time": {"signed at", "签章时间"}, "findings": {"findings", "其他发现"},
	CodeStructure: {"structure", "数据结构"}, CodeReferences: {"references", "保护文件摘要"}, CodeCoverage: {"coverage", "保护范围"},
	CodeDocumentDigest: {"document digest", "原文杂凑"}, CodeSignatureValue: {"signature value", "签名值"},
	CodeSealSignature: {"seal signature", "制章签名"}, CodeSealCopy: {"seal copy", "印章副本"}, CodeSignerInList: {"signer in list", "签章人列表"},
	CodeSignerCertificate: {"signer certificate", "签章人证书"}, CodeMakerCertificate: {"maker certificate", "制章人证书"},
	CodeSigningTime: {"signing time", "签章时间"}, CodeSealValidity: {"seal validity", "印章有效期"}, CodeTimestamp: {"time stamp", "时间戳"},
	CodeRevocation: {"revocation", "撤销状态"}, CodeSealStatus: {"seal status", "印章当前状态"},
	CodeSealTimestamp: {"time stamp of the seal", "印章时间戳"},
	"seal_offline":    {"seal by itself", "印章本身"}, "seal_status": {"seal by its issuer", "印章状态"}, "document": {"document", "文件"},
	string(NotApplicable): {"not applicable", "不适用"}, "conclusion": {"conclusion", "结论"},
	CodeLicenceFile: {"licence file", "执照文件"}, CodeLicenceVersion: {"licence version", "执照版本"}, CodeLicenceStatus: {"licence status", "登记状态"},
	CodeNationalCheck: {"national system", "全国系统核验"}, "statement": {"statement", "声明"}, "licence": {"business licence", "电子营业执照"},
	CodeCertificateRevocation: {"certificate revocation", "证书撤销"}, CodePropertyInfo: {"property info", "原文属性"},
}

// Text prints the report for a terminal, in Chinese or English (lang "zh" or anything else). Everything taken from the document was
// made harmless before.
func (r Report) Text(lang string) string {
	say := func(key string) string {
		w, known := words[key]
		switch {
		case !known:
			return key
		case lang == Chinese:
			return w[1]
		}
		return w[0]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)\n", r.File, say(string(r.Verdict)), say(r.Kind))
	for _, s := range r.Signatures {
		fmt.Fprintf(&b, "  %s %s [%s %s]\n", say("signature"), s.ID, s.Type, s.Generation)
		for _, line := range [][2]string{{"name", s.SealName}, {"number", s.ESID}, {"signer", s.Signer}, {"time", s.SignedAt}} {
			if line[1] != "" {
				fmt.Fprintf(&b, "    %s: %s\n", say(line[0]), line[1])
			}
		}
		c := s.Conclusion.En
		if lang == Chinese {
			c = s.Conclusion.Zh
		}
		fmt.Fprintf(&b, "    %s: %s (%s: %s, %s: %s, %s: %s)\n", say("conclusion"), c, say("seal_offline"), say(string(s.Verdicts.SealOffline)),
			say("seal_status"), say(string(s.Verdicts.SealStatus)), say("document"), say(string(s.Verdicts.Document)))
		printChecks(&b, s.Checks, say)
	}
	if len(r.Findings) > 0 {
		fmt.Fprintf(&b, "  %s\n", say("findings"))
		printChecks(&b, r.Findings, say)
	}
	return b.String()
}

var marks = map[Result]string{Pass: "✓", Fail: "✗", Note: "!", NotChecked: "-", Indeterminate: "?"}

func printChecks(b *strings.Builder, checks []Check, say func(string) string) {
	for _, c := range checks {
		fmt.Fprintf(b, "    %s %s: %s — %s", marks[c.Result], say(c.Code), say(string(c.Result)), c.Detail)
		if c.Clause != "" {
			fmt.Fprintf(b, " (%s)", c.Clause)
		}
		b.WriteByte('\n')
	}
}
