package access_test

import (
	"errors"
	"testing"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

func TestRegisterRefusals(t *testing.T) {
	w := newWorld(t)
	good := access.Client{ID: access.ClientID([]byte("new")), Name: "示例部门", Role: access.RoleDepartment}
	newOperator := operator("fourth", access.RoleAudit)
	for _, c := range []struct {
		name   string
		change func(*access.Client)
		actor  *access.Actor
		refuse error
	}{
		{name: "identifier is no digest", change: func(c *access.Client) { c.ID = "bank" }, refuse: access.ErrClientForm},
		{name: "identifier in capitals", change: func(c *access.Client) { c.ID = "AA" + c.ID[2:] }, refuse: access.ErrClientForm},
		{name: "unknown role", change: func(c *access.Client) { c.Role = "root" }, refuse: access.ErrClientForm},
		{name: "no name", change: func(c *access.Client) { c.Name = "" }, refuse: access.ErrClientForm},
		{name: "line feed in name", change: func(c *access.Client) { c.Name = "a\nb" }, refuse: access.ErrClientForm},
		{name: "department with a person", change: func(c *access.Client) { c.Person = "p" }, refuse: access.ErrClientForm},
		{name: "operator, by one officer alone", change: func(c *access.Client) { *c = newOperator }, refuse: access.ErrOperatorAlone},
		{name: "key registered already", change: func(c *access.Client) { c.ID = w.dept.Client }, refuse: access.ErrClientExists},
		{name: "by a department", actor: &w.dept, refuse: access.ErrNotEntitled},
		{name: "good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, actor := good, w.security
			if c.change != nil {
				c.change(&n)
			}
			if c.actor != nil {
				actor = *c.actor
			}
			if _, err := w.Register(t.Context(), nil, actor, n); !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
	if list, _, err := w.ClientsPage(t.Context(), w.security, "", 100); err != nil || len(list) != 5 {
		t.Errorf("%d clients (%v), want 4 of the start and the good one", len(list), err)
	}
}

// TestAppoint: what a ceremony may register, and what it may not either.
func TestAppoint(t *testing.T) {
	w := newWorld(t)
	good := operator("fourth", access.RoleAudit)
	for _, c := range []struct {
		name   string
		change func(*access.Client)
		refuse error
	}{
		{"a department", func(c *access.Client) { c.Role, c.Person = access.RoleDepartment, "" }, access.ErrClientForm},
		{"without a person", func(c *access.Client) { c.Person = "" }, access.ErrClientForm},
		{"person with another operator role", func(c *access.Client) { c.Person = "person-system" }, access.ErrTwoRoles},
		{"key registered already", func(c *access.Client) { c.ID = w.security.Client }, access.ErrClientExists},
		{"good", func(*access.Client) {}, nil},
		{"second key of the same person and role", func(c *access.Client) { c.ID = access.ClientID([]byte("key of fifth")) }, nil},
	} {
		n := good
		c.change(&n)
		if err := w.appoint(t, n); !errors.Is(err, c.refuse) {
			t.Errorf("%s: %v, want %v", c.name, err, c.refuse)
		}
	}
}

// appoint registers an operator as a ceremony does.
func (w *world) appoint(t testing.TB, c access.Client) error {
	ch, err := w.Appoint(t.Context(), w.security.Audit(), c)
	if err != nil {
		return err
	}
	_, err = w.st.Commit(t.Context(), ch.Mutation(nil))
	return err
}

// TestTwoRolesRace: two registrations that were both checked before either committed.
func TestTwoRolesRace(t *testing.T) {
	w := newWorld(t)
	one, two := operator("one", access.RoleSystem), operator("two", access.RoleAudit)
	two.Person = one.Person
	errs := make(chan error)
	for _, c := range []access.Client{one, two} {
		go func() {
			errs <- w.appoint(t, c)
		}()
	}
	refused := 0
	for range 2 {
		if err := <-errs; errors.Is(err, access.ErrTwoRoles) || errors.Is(err, store.ErrConflict) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d of two roles for one person refused, want exactly 1", refused)
	}
}

func TestDisable(t *testing.T) {
	w := newWorld(t)
	c := operator("sixth", access.RoleSystem)
	if err := w.appoint(t, c); err != nil {
		t.Fatal(err)
	}
	if err := w.Acting(t.Context(), c.Actor(), access.ApplianceOperate); err != nil {
		t.Errorf("acting: %v", err)
	}
	for range 2 { // the second time changes nothing
		if _, err := w.Disable(t.Context(), nil, w.security, c.ID, "演示"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Client(t.Context(), []byte("key of sixth")); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("disabled client: %v, want ErrNotEntitled", err)
	}
	if err := w.Acting(t.Context(), c.Actor(), access.ApplianceOperate); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("disabled client acting: %v, want ErrNotEntitled", err)
	}
	again := operator("sixth again", access.RoleAudit)
	again.Person = c.Person
	if err := w.appoint(t, again); err != nil {
		t.Errorf("another role after the first ended: %v", err)
	}
	if _, err := w.Disable(t.Context(), nil, w.security, access.ClientID([]byte("nobody")), "演示"); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("disabling nobody: %v", err)
	}
	if _, err := w.Disable(t.Context(), nil, w.dept, c.ID, "演示"); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("disabling by a department: %v", err)
	}
}

func TestFounders(t *testing.T) {
	w := newWorld(t)
	by := audit.Actor{Role: "appliance", ID: "init"}
	three := []access.Client{operator("a", access.RoleSystem), operator("b", access.RoleSecurity), operator("c", access.RoleAudit)}
	onePerson := []access.Client{three[0], three[1], three[2]}
	onePerson[2].Person = onePerson[0].Person
	for _, c := range []struct {
		name   string
		cs     []access.Client
		refuse error
	}{
		{"three", three, nil},
		{"no audit officer", three[:2], access.ErrClientForm},
		{"one person in two roles", onePerson, access.ErrTwoRoles},
		{"bad record", []access.Client{{}}, access.ErrClientForm},
	} {
		if _, err := w.Founders(by, c.cs); !errors.Is(err, c.refuse) {
			t.Errorf("%s: %v, want %v", c.name, err, c.refuse)
		}
	}
}

// TestRepeatedRequests: the same request again gives the first receipt and changes nothing; the same id for something else is refused.
func TestRepeatedRequests(t *testing.T) {
	w := newWorld(t)
	c := access.Client{ID: access.ClientID([]byte("again")), Name: "示例部门", Role: access.RoleDepartment}
	req := &store.Request{Client: w.security.Client, ID: "register-1", Digest: [32]byte{1}}
	first, err := w.Register(t.Context(), req, w.security, c)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Register(t.Context(), req, w.security, c)
	if err != nil || !second.Duplicate || second.First != first.First || second.Leaves[0] != first.Leaves[0] {
		t.Errorf("again: %+v (%v), want the first receipt %+v", second, err, first)
	}
	other := *req
	other.Digest[0] = 2
	if _, err := w.Register(t.Context(), &other, w.security, c); !errors.Is(err, store.ErrRequestReused) {
		t.Errorf("same id, other body: %v, want ErrRequestReused", err)
	}
}

func TestGrantForms(t *testing.T) {
	w := newWorld(t)
	taken := w.grant(t, nil)
	for _, c := range []struct {
		name   string
		change func(*access.Grant)
		refuse error
	}{
		{"no identifier", func(g *access.Grant) { g.ID = "" }, access.ErrGrantForm},
		{"client is no digest", func(g *access.Grant) { g.Client = "bank" }, access.ErrGrantForm},
		{"no seals", func(g *access.Grant) { g.Seals = nil }, access.ErrGrantForm},
		{"seals and any owner", func(g *access.Grant) { g.AnyOwner = true }, access.ErrGrantForm},
		{"seals out of order", func(g *access.Grant) { g.Seals = []string{sealB, sealA} }, access.ErrGrantForm},
		{"no kinds", func(g *access.Grant) { g.Kinds = nil }, access.ErrGrantForm},
		{"unknown kind", func(g *access.Grant) { g.Kinds = []string{"fax"} }, access.ErrGrantForm},
		{"digest only without the kind", func(g *access.Grant) { g.Kinds = []string{"ofd"} }, access.ErrGrantForm},
		{"licences and documents", func(g *access.Grant) { g.Kinds = []string{"licence", "ofd"} }, access.ErrGrantForm},
		{"licences with seals", func(g *access.Grant) { g.Kinds, g.DigestOnly = []string{"licence"}, false }, access.ErrGrantForm},
		{"licences of any owner", func(g *access.Grant) {
			g.Kinds, g.Seals, g.AnyOwner, g.DigestOnly = []string{"licence"}, nil, true, false
		}, access.ErrGrantForm},
		{"licences without a window", func(g *access.Grant) { g.Kinds, g.Seals, g.DigestOnly, g.Count = []string{"licence"}, nil, false, 0 }, access.ErrGrantForm},
		{"no purposes", func(g *access.Grant) { g.Purposes = nil }, access.ErrGrantForm},
		{"purpose twice", func(g *access.Grant) { g.Purposes = []string{"a", "a"} }, access.ErrGrantForm},
		{"count zero", func(g *access.Grant) { g.Count = 0 }, access.ErrGrantForm},
		{"window backwards", func(g *access.Grant) { g.Expires = g.NotBefore.Add(-1e9) }, access.ErrGrantForm},
		{"fraction of a second", func(g *access.Grant) { g.Expires = g.Expires.Add(1) }, access.ErrGrantForm},
		{"withdrawn from the start", func(g *access.Grant) { g.Withdrawn = "x" }, access.ErrGrantForm},
		{"unknown client", func(g *access.Grant) { g.Client = access.ClientID([]byte("nobody")) }, access.ErrUnknown},
		{"to an operator", func(g *access.Grant) { g.Client = w.security.Client }, access.ErrUnknown},
		{"identifier taken", func(g *access.Grant) { g.ID = taken.ID }, access.ErrGrantExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := taken
			g.ID = "grant-new"
			c.change(&g)
			if _, err := w.PutGrant(t.Context(), nil, w.security, g); !errors.Is(err, c.refuse) {
				t.Errorf("got %v, want %v", err, c.refuse)
			}
		})
	}
	if _, err := w.PutGrant(t.Context(), nil, w.dept, taken); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by a department: %v", err)
	}
	if list, _, err := w.GrantsPage(t.Context(), w.dept, w.dept.Client, "", 10); err != nil || len(list) != 1 {
		t.Errorf("%d grants (%v), want the good one", len(list), err)
	}
	if _, _, err := w.GrantsPage(t.Context(), w.dept, "", "", 10); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("a department lists all grants: %v", err)
	}
	if _, err := w.WithdrawGrant(t.Context(), nil, w.security, "none", "演示"); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("withdrawing what is not there: %v", err)
	}
}

func TestMaySeeSeal(t *testing.T) {
	w := newWorld(t)
	w.grant(t, nil)
	w.grant(t, anyOwner)
	owner := access.Actor{Client: access.ClientID([]byte("e-licence")), Role: access.RoleELicence}
	for _, c := range []struct {
		name   string
		actor  access.Actor
		seal   string
		refuse error
	}{
		{"operator", w.security, sealB, nil},
		{"the owner's channel", owner, sealB, nil},
		{"named in a grant", w.dept, sealA, nil},
		{"not named", w.dept, sealB, access.ErrNotEntitled},
		{"unknown", w.dept, "41031199999999", access.ErrNotEntitled},
		{"source", access.Actor{Role: access.RoleRegistration}, sealA, access.ErrNotEntitled},
	} {
		if err := w.MaySeeSeal(t.Context(), c.actor, c.seal); !errors.Is(err, c.refuse) {
			t.Errorf("%s: %v, want %v", c.name, err, c.refuse)
		}
	}
}

// TestPolicyTable spells who may do what; a change of the table is a change of this text.
func TestPolicyTable(t *testing.T) {
	w := newWorld(t)
	const mine, others = "mine", "others"
	letters := []struct {
		role   access.Role
		letter string
	}{
		{access.RoleSystem, "s"}, {access.RoleSecurity, "x"}, {access.RoleAudit, "a"}, {access.RoleDepartment, "d"},
		{access.RoleRegistration, "r"}, {access.RolePublicSecurity, "p"}, {access.RoleELicence, "e"},
	}
	want := map[access.Action]string{ // capital: every record; small: its own alone
		"licence.put": "R", "licence.read": "SXADRE", "licence.search": "SXAR", "licence.verify": "SXAD", "licence.archive": "d", "licence.watch": "d", "impression.put": "P", "institution.impression.put": "SR", "paper.read": "SXAE", "impression.read": "SXA", "order.read": "SXARE",
		"order.collect": "SE", "order.resolve": "S", "order.apply": "SE", "order.invite": "S", "outbox.read": "SXA", "outbox.operate": "S", "seal.read": "SXAE", "seal.suspend": "SXE", "seal.resume": "X", "seal.cancel": "S",
		"seal.reissue": "S", "seal.notice": "P", "device.freeze": "SXE", "seal.equip": "X", "key.offer": "S", "signature.make": "d", "signature.read": "AdE", "verify": "SXADRPE", "client.read": "XA", "client.write": "X",
		"grant.read": "XAd", "grant.write": "X", "delegation.read": "XAdE", "delegation.put": "dE", "delegation.cancel": "XE",
		"audit.read": "A", "checkpoint.read": "SXADRPE", "ceremony.take": "SX", "ceremony.read": "SXA", "ceremony.act": "SXA",
		"appliance.read": "SXA", "appliance.operate": "S", "appliance.reconcile": "SXA",
		"certificate.put": "D", "certificate.read": "SAD", "certificate.share": "D",
		"code.issue": "SE", "presentation.make": "E", "presentation.redeem": "D", "presentation.read": "AE",
	}
	if len(want) != len(access.Actions()) {
		t.Errorf("%d actions, %d spelt here", len(access.Actions()), len(want))
	}
	for action, text := range want {
		got := ""
		for _, l := range letters {
			actor := access.Actor{Client: mine, Role: l.role}
			switch {
			case w.Allow(actor, action, access.Resource{Client: others}) == nil:
				got += string(l.letter[0] - 'a' + 'A')
			case w.Allow(actor, action, access.Resource{Client: mine}) == nil:
				got += l.letter
			}
		}
		if got != text {
			t.Errorf("%s: %s, want %s", action, got, text)
		}
	}
	for _, actor := range []access.Actor{{}, {Client: mine}, {Client: mine, Role: "root"}, {Role: access.RoleDepartment}} {
		for _, action := range append(access.Actions(), "unheard.of") {
			if err := w.Allow(actor, action, access.Resource{Client: actor.Client}); actor.Role != access.RoleDepartment && !errors.Is(err, access.ErrNotEntitled) {
				t.Errorf("%s by %+v: %v, want ErrNotEntitled", action, actor, err)
			}
		}
	}
	if err := w.Allow(access.Actor{Role: access.RoleDepartment}, access.SignatureMake, access.Resource{}); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("a department without an identity: %v", err)
	}
}
