package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// post sends bytes as they are.
func (s *scene) post(t *testing.T, role, path string, body []byte) error {
	t.Helper()
	_, err := s.as(t, role).Do(t.Context(), client.Call{Method: "POST", Path: path, Key: client.NewKey(), Body: body})
	return err
}

// event signs an event of a new enterprise, as changed.
func (g *ground) event(t *testing.T, change func(*licence.Event)) envelope.Envelope {
	t.Helper()
	e := g.newEnterprise()
	at := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	ev := licence.Event{ID: "e2e-" + client.NewKey(), Kind: licence.KindEstablished, Licence: e.Fields, EffectiveAt: at, IssuedAt: at}
	change(&ev)
	return mustOf(g.registry.Sign(ev))(t)
}

func asIs(*licence.Event) {}

// messages are licence events that are unsigned, wrongly signed, or say what cannot be.
func (g *ground) messages(t *testing.T) {
	const path, role = "/v1/licences", "registration"
	signed := func(name, code string, status int, change func(*licence.Event)) {
		g.add("event: "+name, code, status, role, func(t *testing.T) error { return g.post(t, role, path, encode(t, g.event(t, change))) })
	}
	altered := func(name, code string, status int, alter func(*envelope.Envelope)) {
		g.add("event: "+name, code, status, role, func(t *testing.T) error {
			e := g.event(t, asIs)
			alter(&e)
			return g.post(t, role, path, encode(t, e))
		})
	}
	signed("wrong USCC", "uscc-invalid", 422, func(e *licence.Event) { e.Licence.USCC = "91410302YYY00002X8" })
	signed("USCC of 17 characters", "uscc-invalid", 422, func(e *licence.Event) { e.Licence.USCC = e.Licence.USCC[:17] })
	signed("USCC with a letter that does not occur", "uscc-invalid", 422, func(e *licence.Event) { e.Licence.USCC = e.Licence.USCC[:16] + "I0" })
	signed("a real enterprise's code in demo mode", "uscc-not-synthetic", 422, func(e *licence.Event) { e.Licence.USCC = "91350100M000100Y43" })
	signed("unknown kind", "event-kind", 422, func(e *licence.Event) { e.Kind = "renamed-and-sold" })
	signed("no identifier", "event-form", 422, func(e *licence.Event) { e.ID = "" })
	signed("tomorrow", "event-future", 422, func(e *licence.Event) { e.EffectiveAt = e.EffectiveAt.AddDate(0, 0, 2) })
	signed("name of 101 characters", "licence-fields", 422, func(e *licence.Event) { e.Licence.Name = string(bytes.Repeat([]byte("示"), 101)) })
	signed("established twice", "licence-transition", 409, func(e *licence.Event) {
		e.Licence, e.IssuedAt, e.EffectiveAt = g.main.Fields, time.Now(), time.Now()
	})
	signed("older than the last one", "event-order", 409, func(e *licence.Event) {
		e.Kind, e.Licence, e.IssuedAt = licence.KindDormant, g.main.Fields, e.IssuedAt.AddDate(-1, 0, 0)
		e.EffectiveAt = e.IssuedAt
	})
	altered("signature empty", "message-unsigned", 403, func(e *envelope.Envelope) { e.Signature = []byte{} })
	altered("signature null", "message-unsigned", 403, func(e *envelope.Envelope) { e.Signature = nil })
	g.add("event: unsigned", "message-unsigned", 403, role, func(t *testing.T) error {
		m := fieldsOf(t, g.event(t, asIs))
		delete(m, "signature")
		return g.post(t, role, path, encode(t, m))
	})
	altered("of another kind", "message-unsigned", 403, func(e *envelope.Envelope) { e.Kind = register.FilingKind })
	altered("one bit changed", "message-signature", 403, func(e *envelope.Envelope) { e.Payload[len(e.Payload)/2] ^= 1 })
	altered("signed by another source", "message-signature", 403, func(e *envelope.Envelope) {
		e.Signature = mustOf(g.police.Key.Sign(e.SignedBytes()))(t)
	})
	altered("signature in another form", "message-signature", 403, func(e *envelope.Envelope) { e.Signature = append(e.Signature, 0) })
	g.add("event: unknown field inside", "message-payload", 422, role, func(t *testing.T) error {
		e := mustOf(envelope.Seal(licence.EventKind, map[string]any{"id": "e2e-x", "kind": "established", "colour": "red"}, g.registry.Key.Sign))(t)
		return g.post(t, role, path, encode(t, e))
	})
	g.wires(t, path, role)
}

// fieldsOf is an envelope as the fields of its JSON.
func fieldsOf(t *testing.T, e envelope.Envelope) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(encode(t, e), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// wires are bodies that no route takes.
func (g *ground) wires(t *testing.T, path, role string) {
	fields := func(t *testing.T) map[string]any { return fieldsOf(t, g.event(t, asIs)) }
	g.add("wire: unknown JSON field", "invalid-fields", 422, role, func(t *testing.T) error {
		m := fields(t)
		m["colour"] = "red"
		return g.post(t, role, path, encode(t, m))
	})
	g.add("wire: field of another type", "invalid-fields", 422, role, func(t *testing.T) error {
		m := fields(t)
		m["kind"] = 7
		return g.post(t, role, path, encode(t, m))
	})
	g.add("wire: not JSON", "bad-request", 400, role, func(t *testing.T) error { return g.post(t, role, path, []byte("{")) })
	g.add("wire: body too large", "body-too-large", 413, role, func(t *testing.T) error {
		m := fields(t)
		m["payload"] = bytes.Repeat([]byte{'x'}, 1<<20)
		return g.post(t, role, path, encode(t, m))
	})
	g.add("wire: no Idempotency-Key", "invalid-fields", 422, role, func(t *testing.T) error {
		_, err := g.as(t, role).Do(t.Context(), client.Call{Method: "POST", Path: path, Body: encode(t, fields(t))})
		return err
	})
	g.add("wire: unknown field of a grant", "invalid-fields", 422, "security", func(t *testing.T) error {
		return g.post(t, "security", "/v1/grants", []byte(`{"id":"x","client":"x","any_owner_approves":true,"kinds":["ofd"],"purposes":["x"],"not_before":"2026-01-01T00:00:00Z",
			"expires":"2027-01-01T00:00:00Z","count":1,"digest_only":false,"colour":"red"}`))
	})
	g.add("wire: unknown query parameter", "invalid-fields", 422, "system", func(t *testing.T) error {
		_, err := g.as(t, "system").Do(t.Context(), client.Call{Method: "GET", Path: "/v1/orders", Query: url.Values{"uscc": {g.main.USCC}, "colour": {"red"}}})
		return err
	})
	g.add("wire: no such route", "no-such-route", 404, "system", func(t *testing.T) error { return g.post(t, "system", "/v1/sign-anything", []byte("{}")) })
	g.add("licence of an unknown enterprise", "licence-unknown", 404, "system", func(t *testing.T) error {
		_, err := g.as(t, "system").Licence(t.Context(), "91410302YYY09999X1", time.Time{})
		return err
	})
	g.add("wrong role sends an event", "not-entitled", 403, "public-security", func(t *testing.T) error {
		return g.post(t, "public-security", path, encode(t, g.event(t, asIs)))
	})
	g.add("a grant that contradicts itself", "grant-form", 422, "security", func(t *testing.T) error {
		return g.grant(t.Context(), func(x *access.Grant) { x.AnyOwner, x.Seals = true, []string{g.main.seals["01"]} })
	})
}

// pictures are filings whose picture or statement does not fit. A check that fails makes the order wait for a human.
func (g *ground) pictures(t *testing.T) {
	send := func(t *testing.T, f register.Filing) error {
		return g.post(t, "public-security", "/v1/impressions", encode(t, mustOf(g.police.File(f))(t)))
	}
	waiting := func(name, code, sealType string, defect draw.Defect, change func(*register.Filing)) {
		e := g.newEnterprise()
		if err := g.tell(t.Context(), e, licence.KindEstablished, time.Hour); err != nil {
			t.Fatal(err)
		}
		c := g.add("impression: "+name, code, 422, "public-security", func(t *testing.T) error {
			f := mustOf(g.filing(e, sealType, defect))(t)
			change(&f)
			return send(t, f)
		})
		c.exception = e
	}
	same := func(*register.Filing) {}
	waiting("8 mm too large", "impression-size", "01", draw.DefectSize, same)
	waiting("stated in other millimetres than drawn", "impression-aspect", "03", draw.DefectNone, func(f *register.Filing) { f.WidthMM, f.HeightMM = f.HeightMM, f.WidthMM })
	waiting("blue", "impression-colour", "02", draw.DefectBlue, same)
	waiting("GIF", "impression-format", "01", draw.DefectGIF, same)
	waiting("broken off", "impression-truncated", "01", draw.DefectTruncated, same)
	waiting("JPEG stated as PNG", "impression-format-stated", "01", draw.DefectJPEG, func(f *register.Filing) { f.Format = "PNG" })
	waiting("100 megapixels", "impression-too-many-pixels", "01", draw.DefectHuge, same)
	waiting("not a picture", "impression-format", "01", draw.DefectNone, func(f *register.Filing) { f.Image = []byte("示例") })
	waiting("type that is not in the set", "seal-type-not-in-set", "01", draw.DefectNone, func(f *register.Filing) { f.SealType = "04" })
	waiting("name of another enterprise", "name-differs", "01", draw.DefectNone, func(f *register.Filing) { f.Name = g.main.Name })

	plain := func(name, code string, status int, of func() *enterprise, change func(*register.Filing)) {
		g.add("impression: "+name, code, status, "public-security", func(t *testing.T) error {
			f := mustOf(g.filing(of(), "01", draw.DefectNone))(t)
			change(&f)
			return send(t, f)
		})
	}
	main := func() *enterprise { return g.main }
	plain("unknown seal type", "filing-form", 422, main, func(f *register.Filing) { f.SealType = "77" })
	plain("no filing number", "filing-form", 422, main, func(f *register.Filing) { f.FilingNumber = "" })
	plain("wrong USCC", "uscc-invalid", 422, main, func(f *register.Filing) { f.USCC = "91410302YYY00002X8" })
	plain("nobody waits for it", "no-open-order", 404, main, same)
	g.add("impression: unsigned", "message-unsigned", 403, "public-security", func(t *testing.T) error {
		e := mustOf(g.police.File(mustOf(g.filing(g.main, "01", draw.DefectNone))(t)))(t)
		e.Signature = []byte{}
		return g.post(t, "public-security", "/v1/impressions", encode(t, e))
	})
	g.add("impression: signed by another source", "message-signature", 403, "public-security", func(t *testing.T) error {
		e := mustOf(envelope.Seal(register.FilingKind, mustOf(g.filing(g.main, "01", draw.DefectNone))(t), g.registry.Key.Sign))(t)
		return g.post(t, "public-security", "/v1/impressions", encode(t, e))
	})
	g.collections(t)
}

// collections are identity assertions that do not hand the made set over.
func (g *ground) collections(t *testing.T) {
	point := mustOf(g.foreign.Public())(t)
	collect := func(name, code string, status int, change func(*access.Assertion)) {
		g.add("collection: "+name, code, status, "e-licence", func(t *testing.T) error {
			a := g.elicence.Assertion(g.made.USCC, g.made.LegalRep, access.AlgP256, point, audience, time.Now())
			change(&a)
			return g.post(t, "e-licence", fmt.Sprintf("/v1/orders/%s/collect", g.made.order), encode(t, mustOf(g.elicence.Sign(a))(t)))
		})
	}
	collect("by somebody else", "not-responsible-person", 403, func(a *access.Assertion) { a.Person = "测某" })
	collect("for another enterprise", "assertion-foreign", 403, func(a *access.Assertion) { a.USCC = g.main.USCC })
	collect("for another appliance", "assertion-foreign", 403, func(a *access.Assertion) { a.Audience = "sealkeeper-110000" })
	collect("expired", "assertion-expired", 403, func(a *access.Assertion) {
		a.IssuedAt, a.ExpiresAt = a.IssuedAt.Add(-time.Hour), a.ExpiresAt.Add(-time.Hour)
	})
	collect("key that is no point", "device-key", 422, func(a *access.Assertion) { a.DeviceKey = bytes.Repeat([]byte{4}, 65) })
	g.add("collection: unsigned", "message-unsigned", 403, "e-licence", func(t *testing.T) error {
		return g.post(t, "e-licence", fmt.Sprintf("/v1/orders/%s/collect", g.made.order), []byte(`{"kind":"identity-assertion/1","payload":"e30=","signature":""}`))
	})
	g.add("collection: unknown order", "unknown-record", 404, "e-licence", func(t *testing.T) error {
		a := mustOf(g.elicence.Sign(g.elicence.Assertion(g.made.USCC, g.made.LegalRep, access.AlgP256, point, audience, time.Now())))(t)
		return g.post(t, "e-licence", "/v1/orders/00000000000000000000000000000000/collect", encode(t, a))
	})
}
