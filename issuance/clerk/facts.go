package clerk

import (
	"context"
	"encoding/hex"
	"fmt"

	"sealkeeper/internal/gm"
	"sealkeeper/issuance/paper"
	"sealkeeper/keystore/register"
)

// write gathers the facts of a paper and has it written.
func (c *Clerk) write(ctx context.Context, p register.Paper, by issuer) (paper.Paper, error) {
	if p.Kind == register.PaperLicence {
		l, err := c.cfg.Library.Version(ctx, p.USCC, p.Version)
		if err != nil {
			return paper.Paper{}, err
		}
		return paper.Licence(l, paper.LicenceSeal{Authority: by.seal.Enterprise})
	}
	f, err := c.certified(ctx, p, by)
	if err != nil {
		return paper.Paper{}, err
	}
	switch p.Kind {
	case register.PaperMade:
		return paper.Made(f)
	case register.PaperCancelled:
		return paper.Cancelled(f)
	}
	return paper.Paper{}, fmt.Errorf("nobody writes a paper of kind %.20q", p.Kind)
}

// Words for the codes of the register.
var (
	sealTypes = map[string]string{"01": "法定名称章", "02": "财务专用章", "03": "发票专用章", "04": "合同专用章", "05": "法定代表人章"}
	endStates = map[register.State]string{register.Cancelled: "注销", register.Superseded: "换发", register.Expired: "到期"}
	reasons   = map[register.Reason]string{
		register.ReasonOwnerRequest: "持有人申请", register.ReasonLicenceCancelled: "营业执照注销", register.ReasonLicenceAnnulled: "登记被撤销",
		register.ReasonRenamed: "名称变更", register.ReasonLegalRepChanged: "法定代表人变更", register.ReasonMovedOut: "迁出", register.ReasonNotCollected: "逾期未领取",
		register.ReasonAuthorityDecision: "主管部门决定", register.ReasonRemade: "重新制作", register.ReasonExpired: "有效期届满",
	}
)

// word is the word for a code, or the code itself where nobody has one.
func word[K ~string](words map[K]string, code K) string {
	if w, ok := words[code]; ok {
		return w
	}
	return string(code)
}

// certified reads what the register knows of a seal. What a certificate of making says does not change when the seal ends.
func (c *Clerk) certified(ctx context.Context, p register.Paper, by issuer) (paper.Certified, error) {
	s, _, err := c.cfg.Register.Seal(ctx, p.ESID)
	if err != nil {
		return paper.Certified{}, err
	}
	imp, _, err := c.cfg.Register.Impression(ctx, s.Impression)
	if err != nil {
		return paper.Certified{}, err
	}
	esl, err := c.cfg.Register.ESL(ctx, p.ESID)
	if err != nil {
		return paper.Certified{}, err
	}
	sum := gm.SM3(esl)
	f := paper.Certified{ESID: s.ESID, Name: s.Name, Type: word(sealTypes, s.Type), Holder: s.Enterprise, USCC: s.USCC, Filing: imp.Filing, Maker: c.cfg.Maker,
		NotBefore: s.NotBefore, NotAfter: s.NotAfter, MadeAt: s.MadeAt, Collected: s.CollectedAt, ESLSM3: hex.EncodeToString(sum[:]), Issuer: by.seal.Enterprise}
	if p.Kind == register.PaperCancelled {
		f.EndedAt, f.EndState, f.EndReason = s.EndedAt, word(endStates, s.State), word(reasons, s.EndReason)
	}
	return f, nil
}
