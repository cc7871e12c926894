package e2e

import (
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	phone "sealkeeper/connector/phone/sim"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// TestExceptionIsResolved: a picture of the wrong colour makes the order wait; an operator lets it go on, the right pictures come, the set is
// made. Nobody else decides.
func TestExceptionIsResolved(t *testing.T) {
	s := shared(t)
	e := s.newEnterprise()
	if err := s.tell(t.Context(), e, licence.KindEstablished, time.Hour); err != nil {
		t.Fatal(err)
	}
	env := mustOf(s.police.File(mustOf(s.filing(e, "01", draw.DefectBlue))(t)))(t)
	if err := s.send(t.Context(), "public-security", "/v1/impressions", client.NewKey(), env, nil); client.Code(err) != "impression-colour" {
		t.Fatalf("a blue seal: %v", err)
	}
	if err := s.file(t.Context(), e, "01"); client.Code(err) != "order-exception" {
		t.Errorf("a filing while the order waits: %v", err)
	}
	decision := []byte(`{"resolution":"continue","reason":"示例：补报"}`)
	if err := s.post(t, "system", "/v1/orders/"+e.order+"/resolve", decision); err != nil {
		t.Fatal(err)
	}
	if o := mustOf(s.orderOf(t.Context(), e.order))(t); o.State != register.AwaitingImpression || o.Exception != nil {
		t.Errorf("resolved, the order is %s", o.State)
	}
	if err := s.file(t.Context(), e, set...); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitMade(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// TestNewPhone: binding another device of the responsible person ends what the old one consented to, and nothing else.
func TestNewPhone(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	named := []string{e.seals["01"]}
	if err := s.grant(t.Context(), func(g *access.Grant) { g.Seals = named }); err != nil {
		t.Fatal(err)
	}
	dept := s.as(t, "department")
	delegation := mustOf(s.delegate(t.Context(), e, "01", 100))(t)
	delegated := func() error {
		a := askDigest(e.seals["01"], []byte("示例"))
		a.request.Delegation = delegation
		_, err := a.sign(t, dept)
		return err
	}
	approvedBy := func(p *phone.Phone) error {
		_, err := s.approved(t, askDigest(e.seals["01"], []byte("示例")), p).sign(t, dept)
		return err
	}
	old, fresh := e.phone, mustOf(phone.New())(t)
	if err := delegated(); err != nil {
		t.Fatal(err)
	}
	if err := approvedBy(fresh); client.Code(err) != "approval-foreign" {
		t.Errorf("a phone before it is bound: %v", err)
	}
	assertion := s.elicence.Assertion(e.USCC, e.LegalRep, access.AlgP256, mustOf(fresh.Public())(t), audience, time.Now())
	if err := s.post(t, "e-licence", "/v1/enterprises/"+e.USCC+"/device", encode(t, mustOf(s.elicence.Sign(assertion))(t))); err != nil {
		t.Fatal(err)
	}
	if err := delegated(); client.Code(err) != "delegation-out-of-bounds" {
		t.Errorf("a delegation by the old phone: %v", err)
	}
	if err := approvedBy(old); client.Code(err) != "approval-foreign" {
		t.Errorf("an approval by the old phone: %v", err)
	}
	if err := approvedBy(fresh); err != nil {
		t.Errorf("an approval by the new phone: %v", err)
	}
	for _, x := range mustOf(s.sealsOf(t.Context(), e.USCC))(t) {
		if x.State != register.Active {
			t.Errorf("seal %s is %s", x.Type, x.State)
		}
	}
}
