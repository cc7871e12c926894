package issuance_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"sealkeeper/connector/authority"
	authoritysim "sealkeeper/connector/authority/sim"
	"sealkeeper/connector/delivery"
	"sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore/register"
)

// licensed is an appliance whose enterprise seals an outside authority certifies.
type licensed struct {
	*world
	office *authoritysim.Office
	client *wire.Client
	con    *authority.Connector
	out    *delivery.Dispatcher
}

func newLicensed(t *testing.T) *licensed {
	t.Helper()
	l := &licensed{world: newWorld(t, func(c *issuance.Config) { c.Outside = true })}
	l.office = must(authoritysim.New(l.clock.now))(t)
	srv := httptest.NewServer(l.office.Routes())
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	l.client = must(wire.New(wire.Config{Base: srv.URL, Timeout: 500 * time.Millisecond}))(t)
	l.connect()
	return l
}

// connect wires the connector as a start of the daemon does.
func (l *licensed) connect() {
	l.Helper()
	l.con = authority.New(authority.Config{Client: l.client, Store: l.gate, Register: l.seals, Subject: ca.DefaultSubjectTemplate(), Now: l.clock.now,
		Anchors: []*gm.Certificate{must(gm.ParseCertificate(l.office.Anchor()))(l)}, Codes: must(authority.LoadCodes(""))(l)})
	p := l.iss.Parts
	p.Issuer = l.con
	l.iss = must(issuance.New(p, l.cfg))(l)
	l.out = delivery.New(l.gate, delivery.Config{Now: l.clock.now}, map[string]delivery.Destination{register.QueueCertificates: l.con})
}

// pending demands that the order waits, whole, and that nothing was released.
func (l *licensed) pending(what, order string) {
	l.Helper()
	l.clock.passes(2 * time.Minute)
	if _, err := l.iss.Make(l.ctx, order); !errors.Is(err, issuance.ErrCertificatePending) {
		l.Errorf("%s: %v", what, err)
	}
	if o := l.order(order); o.State != register.AwaitingCertificate || o.Exception != nil || l.states(o.USCC) != "" {
		l.Errorf("%s: order %s, %+v, seals %q", what, o.State, o.Exception, l.states(o.USCC))
	}
}

// made has the order made and compares both sides: what is certified there and not revoked is what the seals here have.
func (l *licensed) made(order string, want int) {
	l.Helper()
	l.clock.passes(2 * time.Minute)
	o, err := l.iss.Make(l.ctx, order)
	if err != nil || o.State != register.OrderMade {
		l.Fatalf("order %s: %v", o.State, err)
	}
	if err := errors.Join(l.con.Settle(l.ctx), l.out.Step(l.ctx)); err != nil || l.con.Waiting() != 0 {
		l.Errorf("%d requests wait: %v", l.con.Waiting(), err)
	}
	if _, alive := l.office.Issued(); alive != want {
		l.Errorf("%d certificates are alive, want %d", alive, want)
	}
	for _, s := range must(l.seals.SealsOf(l.ctx, o.USCC))(l) {
		cert := must(gm.ParseCertificate(must(l.seals.Certificate(l.ctx, s.ESID))(l)))(l)
		if uscc, whole, ok := ca.Holder(cert); !ok || uscc != o.USCC || whole != name || cert.Subject.SerialNumber != s.ESID || !s.Outside {
			l.Errorf("seal %s has the certificate of %s, %s, %s", s.ESID, uscc, whole, cert.Subject.SerialNumber)
		}
	}
}

func (l *licensed) serial(esid string) string {
	l.Helper()
	return must(gm.ParseCertificate(must(l.seals.Certificate(l.ctx, esid))(l)))(l).SerialNumber.Text(16)
}

// TestAuthoritySlowAndFailing: whatever the authority does, orders wait in awaiting_certificate with the keys they have, and come out whole when it
// answers: one certificate for each seal, none too many. The end of a seal is told there once, also when its answer is lost.
func TestAuthoritySlowAndFailing(t *testing.T) {
	l := newLicensed(t)
	order := l.complete(uscc)
	for _, mood := range sim.Moods {
		l.office.Behave(mood, -1)
		l.pending(string(mood), order)
	}
	l.office.Behave(sim.Well, 0)
	l.office.Decide(true, false)
	l.pending("taken", order)
	l.pending("taken, asked again", order)
	l.office.Decide(false, false)
	l.made(order, 4)
	if keys := l.sealKeys(); len(keys) != 4 || l.office.Repeats() == 0 {
		t.Errorf("%d keys, %d requests came again", len(keys), l.office.Repeats())
	}
	all := must(l.seals.SealsOf(l.ctx, uscc))(t)
	must(l.iss.Cancel(l.ctx, nil, system, all[0].ESID, register.ReasonOwnerRequest, "示例申请1号"))(t)
	l.office.Behave(sim.Lost, 3)
	for range 8 {
		l.clock.passes(15 * time.Minute)
		if err := l.out.Step(l.ctx); err != nil {
			t.Error(err)
		}
	}
	if reason, revoked := l.office.Revoked(l.serial(all[0].ESID)); !revoked || reason != "5" {
		t.Errorf("the cancelled seal's certificate: %v, reason %q", revoked, reason)
	}
	if _, revoked := l.office.Revoked(l.serial(all[1].ESID)); revoked {
		t.Error("the certificate of a living seal was revoked")
	}
	if s := l.out.Stats(register.QueueCertificates); s.Waiting+s.Dead != 0 || s.Delivered != 1 {
		t.Errorf("messages to the authority: %+v", s)
	}
}

// TestAuthorityWrongAnswers: a certificate for another key, name, code or time is not taken, whoever signed it. The order waits for a human, the
// authority is told to take the certificate back, and when it mends its ways the same keys become the seals.
func TestAuthorityWrongAnswers(t *testing.T) {
	l := newLicensed(t)
	order := l.complete(uscc)
	other, foreign := newKey(t).Public(), must(authoritysim.New(l.clock.now))(t)
	twists := map[string]func(r *ca.Request){
		"key":       func(r *ca.Request) { r.PublicKey = other },
		"name":      func(r *ca.Request) { r.Name = "洛阳涧西示例商贸有限公司" },
		"code":      func(r *ca.Request) { r.USCC = "91410305YYY0000548" },
		"seal":      func(r *ca.Request) { r.ESID = "41030200000099" },
		"too long":  func(r *ca.Request) { r.NotAfter = r.NotAfter.AddDate(1, 0, 0) },
		"too short": func(r *ca.Request) { r.NotAfter = r.NotAfter.AddDate(-1, 0, 0) },
		"backdated": func(r *ca.Request) { r.NotBefore = r.NotBefore.Add(-30 * time.Hour) },
		"far ahead": func(r *ca.Request) { r.NotBefore = r.NotBefore.Add(30 * time.Hour) },
	}
	wrong := func(what string) {
		t.Helper()
		l.clock.passes(2 * time.Minute)
		if _, err := l.iss.Make(l.ctx, order); !errors.Is(err, issuance.ErrCertificateWrong) {
			t.Errorf("%s: %v", what, err)
		}
		o := l.order(order)
		if o.State != register.OrderException || o.Exception == nil || o.Exception.Code != "certificate-wrong" || l.states(uscc) != "" {
			t.Errorf("%s: order %s, %+v, seals %q", what, o.State, o.Exception, l.states(uscc))
		}
		must(l.iss.Resolve(l.ctx, nil, system, order, issuance.Continue, "", "已与证书机构核对"))(t)
	}
	for what, twist := range twists {
		l.office.Twist(twist)
		wrong(what)
	}
	l.office.Twist(nil)
	l.con.Anchors = nil
	mine := l.con
	l.con = authority.New(authority.Config{Client: l.client, Store: l.gate, Register: l.seals, Subject: ca.DefaultSubjectTemplate(), Now: l.clock.now,
		Anchors: []*gm.Certificate{must(gm.ParseCertificate(foreign.Anchor()))(t)}, Codes: mine.Codes})
	p := l.iss.Parts
	p.Issuer = l.con
	keep := l.iss
	l.iss = must(issuance.New(p, l.cfg))(t)
	wrong("another authority")
	l.iss, l.con = keep, mine
	if err := l.out.Step(l.ctx); err != nil {
		t.Error(err)
	}
	l.made(order, 4)
	if l.office.Withdrawn() < len(twists)+1 {
		t.Errorf("%d requests were withdrawn", l.office.Withdrawn())
	}
}

// TestAuthorityRefuses: a refusal waits for a human, and a certificate from a clock ahead waits for its time.
func TestAuthorityRefuses(t *testing.T) {
	l := newLicensed(t)
	order := l.complete(uscc)
	l.office.Decide(false, true)
	if _, err := l.iss.Make(l.ctx, order); !errors.Is(err, issuance.ErrCertificateRefused) {
		t.Error(err)
	}
	if o := l.order(order); o.State != register.OrderException || o.Exception.Code != "certificate-refused" {
		t.Errorf("order %s, %+v", o.State, o.Exception)
	}
	must(l.iss.Resolve(l.ctx, nil, system, order, issuance.Continue, "", "资料已补"))(t)
	l.office.Decide(false, false)
	l.office.Twist(func(r *ca.Request) { r.NotBefore = r.NotBefore.Add(time.Hour) })
	l.pending("from a clock ahead", order)
	l.clock.passes(time.Hour)
	l.made(order, 4)
}

// TestAuthorityForgottenKeys: a restart destroys the keys that waited for certificates. Their requests are withdrawn, certificates for them revoked,
// and the order comes out with new ones.
func TestAuthorityForgottenKeys(t *testing.T) {
	l := newLicensed(t)
	order := l.complete(uscc)
	l.office.Behave(sim.Garbage, -1) // certifies, and the answer is no answer
	l.pending("garbage", order)
	if issued, alive := l.office.Issued(); issued == 0 || alive != issued {
		t.Fatalf("%d issued, %d alive", issued, alive)
	}
	if r := l.restart(); len(r.Destroyed) != 4 {
		t.Errorf("start found %+v", r)
	}
	l.connect()
	l.office.Behave(sim.Well, 0)
	if err := errors.Join(l.con.Settle(l.ctx), l.out.Step(l.ctx)); err != nil {
		t.Error(err)
	}
	if _, alive := l.office.Issued(); alive != 0 || l.office.Withdrawn() != 4 {
		t.Errorf("%d certificates of keys that are gone are alive, %d requests withdrawn", alive, l.office.Withdrawn())
	}
	l.made(order, 4)
}
