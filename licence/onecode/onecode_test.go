package onecode_test

import (
	"bytes"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/licence/onecode"
)

// TestRedeem: one department sees exactly what the holder chose, and the holder sees who that was.
func TestRedeem(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	p := w.present(nil)
	if len(p.Code) > 200 || strings.Contains(p.Code, uscc) {
		t.Errorf("code %s", p.Code)
	}
	req, asked := request(w.bank), onecode.Redemption{Code: p.Code, Purpose: purpose}
	shown, err := w.Redeem(ctx, req, w.bank, asked)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"legal_rep": "欧阳测甲", "name": name}; !reflect.DeepEqual(shown.Attributes, want) || shown.USCC != uscc || shown.Status != "active" {
		t.Errorf("%+v", shown)
	}
	if len(shown.Certificates) != 1 || shown.Certificates[0].Certificate != w.permit {
		t.Errorf("certificates %+v", shown.Certificates)
	}
	var kept struct {
		USCC, Client             string
		Attributes, Certificates []string
		Expires                  time.Time
	}
	if err := w.judge(shown.Statement, onecode.PresentationKind, &kept); err != nil || kept.USCC != uscc || !reflect.DeepEqual(kept.Certificates, []string{w.permit}) {
		t.Errorf("the statement to be kept: %+v, %v", kept, err)
	}
	w.passes(time.Hour)
	again, err := w.Redeem(ctx, req, w.bank, asked)
	if err != nil || !reflect.DeepEqual(again, shown) {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
	seen, _, err := w.Presentations(ctx, w.elicence, uscc, "", 10)
	if err != nil || len(seen) != 1 || seen[0].Redeemed == nil || seen[0].Redeemed.Client != w.bank.Client || seen[0].Redeemed.Purpose != purpose || seen[0].Redeemed.Name != w.bank.Name {
		t.Errorf("what the holder sees: %+v, %v", seen, err)
	}
}

// TestRedeemRefused: expired, replayed, foreign and altered codes are refused by name, and leave the code as it was.
func TestRedeemRefused(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	used, banks, fresh := w.present(nil).Code, w.present(func(p *access.Presentation) { p.Client = w.bank.Client }).Code, w.present(nil).Code
	if _, err := w.Redeem(ctx, request(w.tax), w.tax, onecode.Redemption{Code: used, Purpose: purpose}); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(fresh, ".")
	name := []byte(parts[1])
	name[3] = map[bool]byte{true: 'b', false: 'a'}[name[3] == 'a']
	size := w.st.State().Size
	for what, c := range map[string]struct {
		actor access.Actor
		code  string
		why   string
		want  error
	}{
		"redeemed before":                  {w.bank, used, purpose, onecode.ErrRedeemed},
		"by the same department again":     {w.tax, used, purpose, onecode.ErrRedeemed},
		"for another department":           {w.tax, banks, purpose, onecode.ErrForeign},
		"of another appliance by its name": {w.tax, fresh + "x", purpose, onecode.ErrForeign},
		"another name":                     {w.tax, strings.Join([]string{parts[0], string(name), parts[2], parts[3]}, "."), purpose, onecode.ErrAltered},
		"another statement":                {w.tax, strings.Join([]string{parts[0], parts[1], strings.Split(used, ".")[2], parts[3]}, "."), purpose, onecode.ErrAltered},
		"cut short":                        {w.tax, fresh[:40], purpose, onecode.ErrCode},
		"no code":                          {w.tax, "https://seal.example/c/x", purpose, onecode.ErrCode},
		"no purpose":                       {w.tax, fresh, " ", onecode.ErrPurpose},
		"by an operator":                   {w.system, fresh, purpose, access.ErrNotEntitled},
		"by the owner's channel":           {w.elicence, fresh, purpose, access.ErrNotEntitled},
		"by nobody":                        {access.Actor{Role: access.RoleDepartment}, fresh, purpose, access.ErrNotEntitled},
	} {
		shown, err := w.Redeem(ctx, request(c.actor), c.actor, onecode.Redemption{Code: c.code, Purpose: c.why})
		w.wants(what, err, c.want)
		if !reflect.DeepEqual(shown, onecode.Shown{}) || w.st.State().Size != size {
			t.Errorf("%s: shown %+v", what, shown)
		}
	}
	w.passes(119 * time.Second)
	if _, err := w.Redeem(ctx, request(w.tax), w.tax, onecode.Redemption{Code: fresh, Purpose: purpose}); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	w.passes(time.Second)
	_, err := w.Redeem(ctx, request(w.bank), w.bank, onecode.Redemption{Code: banks, Purpose: purpose})
	w.wants("a second later", err, onecode.ErrExpired)
	_, err = w.Redeem(ctx, request(w.bank), w.bank, onecode.Redemption{Code: used, Purpose: purpose})
	w.wants("redeemed, and over", err, onecode.ErrRedeemed)
}

// TestOneRedemptionWins: of many departments that redeem a code at the same moment, one does; a hundred times over.
func TestOneRedemptionWins(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	actors := []access.Actor{w.market, w.bank, w.tax, w.bank, w.tax, w.market}
	for range 100 {
		code := w.present(nil)
		var wg sync.WaitGroup
		errs := make([]error, len(actors))
		for n, a := range actors {
			wg.Go(func() {
				_, errs[n] = w.Redeem(ctx, request(a), a, onecode.Redemption{Code: code.Code, Purpose: purpose})
			})
		}
		wg.Wait()
		winner := -1
		for n, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("%d and %d both won", winner, n)
			case err == nil:
				winner = n
			default:
				w.wants("a loser", err, onecode.ErrRedeemed)
			}
		}
		seen, _, err := w.Presentations(ctx, w.elicence, uscc, "", 1)
		if winner < 0 || err != nil || seen[0].ID != code.Presentation.ID || seen[0].Redeemed == nil || seen[0].Redeemed.Client != actors[winner].Client {
			t.Fatalf("winner %d, the holder sees %+v, %v", winner, seen, err)
		}
		w.passes(time.Second)
	}
}

// TestPresentRefused: only the bound device makes codes, of what there is, once for each wish.
func TestPresentRefused(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	signed, req := w.wish(nil), request(w.elicence)
	first, err := w.Present(ctx, req, w.elicence, signed)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.Present(ctx, req, w.elicence, signed); err != nil || !reflect.DeepEqual(again, first) {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
	altered := w.wish(nil)
	altered.Attributes = []string{"capital"}
	stolen := w.wish(nil)
	stolen.Signature = bytes.Clone(stolen.Signature)
	stolen.Signature[len(stolen.Signature)-1]++
	unbound := w.wish(func(p *access.Presentation) { p.USCC = "91410303YYY000038M" })
	phones := w.wish(nil)
	phones.Alg = access.AlgP256
	for what, c := range map[string]struct {
		actor access.Actor
		wish  access.SignedPresentation
		want  error
	}{
		"the same wish again":    {w.elicence, signed, access.ErrApprovalReplayed},
		"altered":                {w.elicence, altered, access.ErrApprovalAltered},
		"another signature":      {w.elicence, stolen, access.ErrApprovalAltered},
		"another device":         {w.elicence, phones, access.ErrApprovalForeign},
		"no device":              {w.elicence, unbound, access.ErrNoDevice},
		"by a department":        {w.bank, w.wish(nil), access.ErrNotEntitled},
		"too long":               {w.elicence, w.wish(func(p *access.Presentation) { p.Seconds = 121 }), access.ErrApprovalForm},
		"no time":                {w.elicence, w.wish(func(p *access.Presentation) { p.Seconds = 0 }), access.ErrApprovalForm},
		"not sorted":             {w.elicence, w.wish(func(p *access.Presentation) { p.Attributes = []string{"name", "legal_rep"} }), access.ErrApprovalForm},
		"a client by name":       {w.elicence, w.wish(func(p *access.Presentation) { p.Client = "bank" }), access.ErrApprovalForm},
		"far ahead":              {w.elicence, w.wish(func(p *access.Presentation) { p.Expires = p.Expires.Add(time.Hour) }), access.ErrApprovalForm},
		"over":                   {w.elicence, w.wish(func(p *access.Presentation) { p.Expires = p.Expires.Add(-time.Hour) }), access.ErrApprovalExpired},
		"no such attribute":      {w.elicence, w.wish(func(p *access.Presentation) { p.Attributes = []string{"password"} }), onecode.ErrChoice},
		"certificate of another": {w.elicence, w.wish(func(p *access.Presentation) { p.Certificates = []string{food + "." + issuer + ".B9"} }), onecode.ErrChoice},
		"more than 20 attributes": {w.elicence, w.wish(func(p *access.Presentation) {
			p.Attributes = strings.Split("a b c d e f g h i j k l m n o p q r s t u", " ")
		}), access.ErrApprovalForm},
	} {
		p, err := w.Present(ctx, request(c.actor), c.actor, c.wish)
		w.wants(what, err, c.want)
		if p.Code != "" && err != nil && !reflect.DeepEqual(p, onecode.Presented{}) {
			t.Errorf("%s: a code all the same", what)
		}
	}
	nothing := w.present(func(p *access.Presentation) { p.Attributes, p.Certificates = nil, nil })
	shown, err := w.Redeem(ctx, request(w.bank), w.bank, onecode.Redemption{Code: nothing.Code, Purpose: purpose})
	if err != nil || len(shown.Attributes) != 0 || len(shown.Certificates) != 0 || shown.Status != "active" {
		t.Errorf("nothing chosen: %+v, %v", shown, err)
	}
	w.Statements = nil
	_, err = w.Present(ctx, request(w.elicence), w.elicence, w.wish(nil))
	w.wants("without a key", err, onecode.ErrNoKey)
}

// TestEntityCode: one code for life, and a public page that says name, status and titles of public certificates that hold, no more.
func TestEntityCode(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	var wg sync.WaitGroup
	codes := make([]onecode.Code, 8)
	for n := range codes {
		wg.Go(func() { codes[n], _ = w.Issue(ctx, request(w.elicence), w.elicence, uscc) })
	}
	wg.Wait()
	for _, c := range codes {
		if c.ID == "" || !reflect.DeepEqual(c, codes[0]) {
			t.Fatalf("codes %+v and %+v", c, codes[0])
		}
	}
	var said struct{ USCC, URL string }
	if err := w.judge(codes[0].Statement, onecode.EntityKind, &said); err != nil || said.USCC != uscc || said.URL != codes[0].URL || strings.Contains(said.URL, uscc) {
		t.Errorf("%+v, %v", said, err)
	}
	p, err := w.Public(ctx, codes[0].ID)
	if want := (onecode.Page{Name: name, Status: "active", Certificates: []string{"食品经营许可证（示例）"}}); err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("%+v, %v, want %+v", p, err, want)
	}
	if _, err := w.certs.SetStatus(ctx, request(w.market), w.market, w.permit, certificate.Restatement{Status: certificate.Revoked, Reason: "示例"}); err != nil {
		t.Fatal(err)
	}
	if p, err := w.Public(ctx, codes[0].ID); err != nil || len(p.Certificates) != 0 {
		t.Errorf("revoked: %+v, %v", p, err)
	}
	for _, id := range []string{"", "x", codes[0].ID[:25], strings.ToUpper(codes[0].ID), strings.Repeat("a", 26), codes[0].ID + "a"} {
		_, err := w.Public(ctx, id)
		w.wants("page "+id, err, onecode.ErrNoPage)
	}
	_, err = w.Issue(ctx, request(w.bank), w.bank, uscc)
	w.wants("by a department", err, access.ErrNotEntitled)
	_, err = w.Issue(ctx, request(w.system), w.system, "91410303YYY000038M")
	w.wants("unknown enterprise", err, licence.ErrUnknown)
}

func TestEntityCodeNeedsKeyAndPages(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.Pages = ""
	_, err := w.Issue(ctx, request(w.system), w.system, uscc)
	w.wants("no pages", err, onecode.ErrNoPages)
	w.Pages, w.Statements = "https://seal.example", nil
	_, err = w.Issue(ctx, request(w.system), w.system, uscc)
	w.wants("no key", err, onecode.ErrNoKey)
	_, err = w.Code(ctx, w.system, uscc)
	w.wants("none yet", err, onecode.ErrNoPage)
	_, _, err = w.Presentations(ctx, w.bank, uscc, "", 1)
	w.wants("a department looks who redeemed", err, access.ErrNotEntitled)
}
