package e2e

import (
	"bytes"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/signer"
	"sealkeeper/softhsm-test/ofdgen"
)

// signing enters a case that the signing path refuses and records itself.
func (g *ground) signing(name, code string, status int, reason error, ask func(t *testing.T) asking) {
	g.add("signing: "+name, code, status, "department", func(t *testing.T) error {
		_, err := ask(t).sign(t, g.as(t, "department"))
		return err
	}).reason = reason
}

// requests are signing requests that cannot be, on seals that cannot be used.
func (g *ground) requests(t *testing.T) {
	digest := func(e **enterprise, sealType string) func(t *testing.T) asking {
		return func(t *testing.T) asking {
			return g.approved(t, askDigest((*e).seals[sealType], []byte("示例"+client.NewKey())), (*e).phone)
		}
	}
	g.signing("cancelled licence", "licence-inactive", 409, signer.ErrLicenceInactive, digest(&g.cancelled, "01"))
	g.signing("suspended seal", "seal-inactive", 409, signer.ErrSealInactive, digest(&g.suspended, "01"))
	g.signing("seal that nobody collected", "seal-inactive", 409, signer.ErrSealInactive, func(t *testing.T) asking {
		return g.approved(t, askDigest(g.made.seals["01"], []byte("示例")), g.foreign)
	})
	g.signing("unknown seal", "approval-altered", 403, access.ErrApprovalAltered, func(t *testing.T) asking {
		return g.approved(t, askDigest("41030299999999", []byte("示例")), g.foreign)
	})
	g.signing("legal representative's seal on a bare digest", "digest-only", 403, access.ErrDigestOnly, digest(&g.main, "05"))
	g.signing("purpose that was not granted", "not-entitled", 403, access.ErrNotEntitled, func(t *testing.T) asking {
		a := askDigest(g.main.seals["01"], []byte("示例"))
		a.request.Purpose = "演示.其他用途"
		return g.approved(t, a, g.main.phone)
	})
	g.signing("unknown kind", "request-form", 422, signer.ErrRequestForm, func(t *testing.T) asking {
		a := g.approved(t, askOFD(g.main.seals["01"], ofdgen.Document("示例", 1)), g.main.phone)
		a.request.Kind = "fax"
		return a
	})
	g.signing("kind ofd with a digest", "request-form", 422, signer.ErrRequestForm, func(t *testing.T) asking {
		a := g.approved(t, askOFD(g.main.seals["01"], ofdgen.Document("示例", 1)), g.main.phone)
		a.request.Digest = "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"
		return a
	})
	unread := func(name, code string, status int, role string, send func(t *testing.T) error) {
		g.add("signing: "+name, code, status, role, send)
	}
	unread("digest of 31 bytes", "request-form", 422, "department", func(t *testing.T) error {
		a := g.approved(t, askDigest(g.main.seals["01"], []byte("示例")), g.main.phone)
		a.request.Digest = a.request.Digest[2:]
		_, err := a.sign(t, g.as(t, "department"))
		return err
	})
	for _, body := range []string{`{"kind":"digest","seal":"x","purpose":"x","e":"00"}`, `{"items":[{"key":"k","kind":"digest","seal":"x","purpose":"x","e":"00"}]}`} {
		path := "/v1/signatures"
		if body[2] == 'i' {
			path += "/batch"
		}
		unread("unknown JSON field at "+path, "invalid-fields", 422, "department", func(t *testing.T) error { return g.post(t, "department", path, []byte(body)) })
	}
	unread("empty batch", "invalid-fields", 422, "department", func(t *testing.T) error {
		return g.post(t, "department", "/v1/signatures/batch", []byte(`{"items":[]}`))
	})
	unread("body that is no form", "unsupported-media-type", 415, "department", func(t *testing.T) error {
		_, err := g.as(t, "department").Do(t.Context(), client.Call{Method: "POST", Path: "/v1/signatures", Key: client.NewKey(), ContentType: "application/ofd", Body: []byte("PK")})
		return err
	})
	unread("JSON over the limit", "body-too-large", 413, "department", func(t *testing.T) error {
		return g.post(t, "department", "/v1/signatures", bytes.Repeat([]byte{' '}, 1<<20+1))
	})
	unread("document over the limit", "body-too-large", 413, "department", func(t *testing.T) error {
		a := askOFD(g.main.seals["01"], make([]byte, 64<<20+1))
		_, err := a.sign(t, g.as(t, "department"))
		return err
	})
	g.callers()
}

// callers ask for what is not theirs to ask.
func (g *ground) callers() {
	ask := func(t *testing.T) asking {
		return g.approved(t, askDigest(g.main.seals["01"], []byte("示例")), g.main.phone)
	}
	for _, role := range []string{"system", "security", "audit", "registration", "e-licence"} {
		g.add("signing: wrong role "+role, "not-entitled", 403, role, func(t *testing.T) error {
			_, err := ask(t).sign(t, g.as(t, role))
			return err
		}).reason = access.ErrNotEntitled
	}
	g.add("signing: department without a grant", "not-entitled", 403, "stranger", func(t *testing.T) error {
		_, err := g.approved(t, ask(t), g.main.phone, func(a *access.Approval) { a.Client = g.stranger.id }).sign(t, g.stranger.Client)
		return err
	}).reason = access.ErrNotEntitled
	g.add("seal that does not exist", "unknown-record", 404, "system", func(t *testing.T) error {
		_, err := g.as(t, "system").Seal(t.Context(), "41030299999999")
		return err
	})
	g.add("seal that is not the department's to see", "not-entitled", 403, "stranger", func(t *testing.T) error {
		_, err := g.stranger.Seal(t.Context(), g.main.seals["01"])
		return err
	})
	g.add("suspending for no reason of the list", "reason-code", 422, "security", func(t *testing.T) error {
		_, err := g.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), g.main.seals["01"], client.Suspend, client.Reason{Reason: "because", Evidence: "x"})
		return err
	})
	g.add("security officer cancels a seal", "not-entitled", 403, "security", func(t *testing.T) error {
		_, err := g.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), g.main.seals["01"], client.Cancel, client.Reason{Reason: "owner-request", Evidence: "x"})
		return err
	})
}

// consents are approvals and delegations that do not cover exactly this use.
func (g *ground) consents(t *testing.T) {
	foreign := func(name string, change func(*access.Approval)) {
		g.signing("approval for another "+name, "approval-foreign", 403, access.ErrApprovalForeign, func(t *testing.T) asking {
			return g.approved(t, askOFD(g.main.seals["01"], ofdgen.Document("示例", 1)), g.main.phone, change)
		})
	}
	foreign("seal", func(a *access.Approval) { a.Seal = g.main.seals["02"] })
	foreign("client", func(a *access.Approval) { a.Client = g.stranger.id })
	foreign("document", func(a *access.Approval) { a.Document[31] ^= 1 })
	foreign("placement", func(a *access.Approval) { a.Placement[0] ^= 1 })
	foreign("purpose", func(a *access.Approval) { a.Purpose = "演示.其他用途" })
	foreign("request", func(a *access.Approval) { a.Request = client.NewKey() })

	consent := func(name, code string, status int, reason error, sealType string, phoneOf func() *enterprise, change func(*access.Approval)) {
		g.signing("approval "+name, code, status, reason, func(t *testing.T) asking {
			return g.approved(t, askDigest(g.main.seals[sealType], []byte("示例")), phoneOf().phone, change)
		})
	}
	main := func() *enterprise { return g.main }
	consent("replayed", "approval-replayed", 409, access.ErrApprovalReplayed, "01", main, func(a *access.Approval) { a.Nonce = g.spent.Nonce })
	consent("expired", "approval-expired", 403, access.ErrApprovalExpired, "01", main, func(a *access.Approval) { a.Expires = a.Expires.Add(-time.Hour) })
	consent("for a year", "approval-form", 422, access.ErrApprovalForm, "01", main, func(a *access.Approval) { a.Expires = a.Expires.AddDate(1, 0, 0) })
	consent("for two signatures", "approval-form", 422, access.ErrApprovalForm, "01", main, func(a *access.Approval) { a.Count = 2 })
	consent("by another enterprise's device", "approval-foreign", 403, access.ErrApprovalForeign, "01", func() *enterprise { return g.other }, func(*access.Approval) {})
	g.signing("approval of the same request under another key", "approval-foreign", 403, access.ErrApprovalForeign, func(t *testing.T) asking {
		a := g.replay
		a.key = client.NewKey()
		return a
	})
	g.signing("no approval", "approval-missing", 403, access.ErrApprovalMissing, func(t *testing.T) asking { return askDigest(g.main.seals["01"], []byte("示例")) })
	g.signing("no approval, any owner's seal", "approval-missing", 403, access.ErrApprovalMissing, func(t *testing.T) asking { return askDigest(g.other.seals["01"], []byte("示例")) })
	g.altered("after it was signed", "approval-altered", access.ErrApprovalAltered, main)
	// Whoever has nothing but the owner's consent learns nothing when it is not the owner's.
	g.altered("any owner's seal", "approval-altered", access.ErrApprovalAltered, func() *enterprise { return g.other })
	g.delegations()
}

// altered changes purpose and approval alike after the phone has signed.
func (g *ground) altered(name, code string, reason error, of func() *enterprise) {
	g.signing("approval altered, "+name, code, 403, reason, func(t *testing.T) asking {
		a := g.approved(t, askDigest(of().seals["01"], []byte("示例")), of().phone, func(x *access.Approval) { x.Expires = x.Expires.Add(-time.Hour) })
		a.request.Approval = bytes.Replace(a.request.Approval, []byte(`"count":1`), []byte(`"count":9`), 1)
		return a
	})
}

func (g *ground) delegations() {
	g.signing("unknown delegation", "delegation-out-of-bounds", 403, access.ErrDelegationOutOfBounds, func(t *testing.T) asking {
		a := askDigest(g.main.seals["01"], []byte("示例"))
		a.request.Delegation = "no-such"
		return a
	})
	g.signing("approval and delegation at once", "request-form", 422, signer.ErrRequestForm, func(t *testing.T) asking {
		a := g.approved(t, askDigest(g.main.seals["01"], []byte("示例")), g.main.phone)
		a.request.Delegation = "no-such"
		return a
	})
	delegate := func(name, code string, e func() *enterprise, sealType string, signer func() *enterprise) {
		g.add("delegation: "+name, code, 403, "department", func(t *testing.T) error {
			x := *e()
			x.phone = signer().phone
			_, err := g.delegate(t.Context(), &x, sealType, 5)
			return err
		})
	}
	main, other := func() *enterprise { return g.main }, func() *enterprise { return g.other }
	delegate("legal representative's seal", "delegation-refused", main, "05", main)
	delegate("by another enterprise's device", "approval-altered", main, "01", other)
}
