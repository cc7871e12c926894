package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Client is a registered holder of a TLS client certificate, known by its public key, never by certificate text.
type Client struct {
	ID     string    `json:"id"`               // ClientID of the certificate's SubjectPublicKeyInfo
	Name   string    `json:"name"`             // for people, 1..128 characters
	Role   Role      `json:"role"`             // exactly one
	Person string    `json:"person,omitempty"` // operators alone: who holds the key, opaque and unique to the person, 1..64 characters
	State  string    `json:"state"`            // ClientActive or ClientDisabled
	Since  time.Time `json:"since"`            // when the state began
	// Certificate is the PEM chain issued at registration, so that a repeated call gets the same one.
	Certificate string `json:"certificate,omitempty"`
}

// States of a client.
const (
	ClientActive   = "active"
	ClientDisabled = "disabled"
)

// Clients is the collection of clients, keyed by ID.
var Clients = &store.Collection{Name: "client", Codec: 1}

// persons keeps who holds which operator role, keyed by Client.Person: two commits that would give one person two roles meet here.
var persons = &store.Collection{Name: "client-person", Codec: 1}

type person struct {
	Role    Role     `json:"role"`
	Clients []string `json:"clients"` // active clients of this person, sorted
}

// ClientID is the identity of a certificate: lower-case hexadecimal SHA-256 of its DER SubjectPublicKeyInfo.
func ClientID(spki []byte) string {
	d := sha256.Sum256(spki)
	return hex.EncodeToString(d[:])
}

// Actor is the client as it acts.
func (c Client) Actor() Actor { return Actor{Client: c.ID, Role: c.Role, Name: c.Name} }

func (c Client) check() error {
	switch {
	case !isHex(c.ID, sha256.Size):
		return fmt.Errorf("identifier is not 64 lower-case hexadecimal digits: %w", ErrClientForm)
	case !slices.Contains(roles, c.Role):
		return fmt.Errorf("role %.40q: %w", c.Role, ErrClientForm)
	case !cleanText(c.Name, 128):
		return fmt.Errorf("name: %w", ErrClientForm)
	case c.Role.Operator() != (c.Person != ""), c.Person != "" && !cleanText(c.Person, 64):
		return fmt.Errorf("an operator, and no one else, names a person: %w", ErrClientForm)
	}
	return nil
}

// Client finds the active client of a certificate by its SubjectPublicKeyInfo. Unknown and disabled are both ErrNotEntitled.
func (a *Access) Client(ctx context.Context, spki []byte) (Client, store.Version, error) {
	return a.active(ctx, ClientID(spki))
}

// active reads a client that may act.
func (a *Access) active(ctx context.Context, id string) (Client, store.Version, error) {
	c, v, err := read(ctx, a, Clients, &a.clients, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Client{}, 0, fmt.Errorf("reading client: %w", err)
	}
	if err != nil || c.State != ClientActive {
		return Client{}, 0, fmt.Errorf("client %.12s: %w", id, ErrNotEntitled)
	}
	return c, v, nil
}

// ClientByID returns a client's record to those who may read the list; ErrUnknown when there is none.
func (a *Access) ClientByID(ctx context.Context, actor Actor, id string) (Client, error) {
	if err := a.Allow(actor, ClientRead, Resource{}); err != nil {
		return Client{}, err
	}
	c, _, err := read(ctx, a, Clients, &a.clients, id)
	if errors.Is(err, store.ErrNotFound) {
		return c, fmt.Errorf("client %.12s: %w", id, ErrUnknown)
	}
	return c, err
}

// ClientsPage lists clients by identifier; the cursor of the last page is empty.
func (a *Access) ClientsPage(ctx context.Context, actor Actor, cursor string, limit int) ([]Client, string, error) {
	if err := a.Allow(actor, ClientRead, Resource{}); err != nil {
		return nil, "", err
	}
	return page(ctx, a, Clients, &a.clients, "", "", cursor, limit)
}

// Register adds a client that is no operator: those come by a ceremony (Appoint). ErrNotEntitled, ErrClientForm, ErrClientExists,
// ErrOperatorAlone, or an error of the store.
func (a *Access) Register(ctx context.Context, req *store.Request, actor Actor, c Client) (store.Receipt, error) {
	if err := a.Allow(actor, ClientWrite, Resource{Client: c.ID}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	if c.Role.Operator() {
		return store.Receipt{}, fmt.Errorf("registering %.12s as %s: %w", c.ID, c.Role, ErrOperatorAlone)
	}
	ch, err := a.registration(ctx, actor.Audit(), c)
	if err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

func (a *Access) registration(ctx context.Context, by audit.Actor, c Client) (Change, error) {
	var ch Change
	if err := c.check(); err != nil {
		return ch, err
	}
	if _, err := a.st.Get(ctx, Clients, []byte(c.ID)); err == nil {
		return ch, fmt.Errorf("registering %.12s: %w", c.ID, ErrClientExists)
	} else if !errors.Is(err, store.ErrNotFound) {
		return ch, err
	}
	c.State, c.Since = ClientActive, a.now().Truncate(time.Second)
	if err := a.hold(ctx, &ch, c); err != nil {
		return ch, err
	}
	err := errors.Join(ch.write(Clients, c.ID, 0, c), ch.record("client", by, c.ID, c))
	return ch, err
}

// hold adds an operator's client to the person's role.
func (a *Access) hold(ctx context.Context, ch *Change, c Client) error {
	if c.Person == "" {
		return nil
	}
	p, v, err := read(ctx, a, persons, &a.persons, c.Person)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if len(p.Clients) > 0 && p.Role != c.Role {
		return fmt.Errorf("registering an operator as %s: %w", c.Role, ErrTwoRoles)
	}
	p.Role, p.Clients = c.Role, append(slices.Clone(p.Clients), c.ID)
	slices.Sort(p.Clients)
	return ch.write(persons, c.Person, v, p)
}

// Founders returns the change that registers the first operators of a fresh appliance, for the ceremony's own commit. It needs one
// of each operator role, three persons.
func (a *Access) Founders(by audit.Actor, cs []Client) (Change, error) {
	var ch Change
	held, seen := map[string]person{}, map[Role]bool{}
	for _, c := range cs {
		if err := c.check(); err != nil {
			return ch, err
		}
		p, again := held[c.Person]
		if again && p.Role != c.Role && c.Person != "" {
			return ch, fmt.Errorf("registering an operator as %s: %w", c.Role, ErrTwoRoles)
		}
		held[c.Person], seen[c.Role] = person{c.Role, append(p.Clients, c.ID)}, true
		c.State, c.Since = ClientActive, a.now().Truncate(time.Second)
		if err := errors.Join(ch.write(Clients, c.ID, 0, c), ch.record("client", by, c.ID, c)); err != nil {
			return ch, err
		}
	}
	if !seen[RoleSystem] || !seen[RoleSecurity] || !seen[RoleAudit] {
		return ch, fmt.Errorf("the first operators are one each of system, security and audit: %w", ErrClientForm)
	}
	err := holdAll(&ch, held)
	return ch, err
}

func holdAll(ch *Change, held map[string]person) error {
	delete(held, "") // clients that are no persons
	names := make([]string, 0, len(held))
	for n := range held {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		p := held[n]
		slices.Sort(p.Clients)
		if err := ch.write(persons, n, 0, p); err != nil {
			return err
		}
	}
	return nil
}

// Disable ends a client's right to act, at once and for good; a person whose last client is disabled may take another role.
// Repeating it changes nothing.
func (a *Access) Disable(ctx context.Context, req *store.Request, actor Actor, id, reason string) (store.Receipt, error) {
	if err := a.Allow(actor, ClientWrite, Resource{Client: id}); err != nil {
		return store.Receipt{}, err
	}
	if r, done, err := a.again(ctx, req); done || err != nil {
		return r, err
	}
	c, v, err := read(ctx, a, Clients, &a.clients, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Receipt{}, fmt.Errorf("client %.12s: %w", id, ErrUnknown)
	} else if err != nil || c.State == ClientDisabled {
		return store.Receipt{}, err
	}
	c.State, c.Since = ClientDisabled, a.now().Truncate(time.Second)
	var ch Change
	err = errors.Join(ch.write(Clients, id, v, c), a.letGo(ctx, &ch, c), ch.record("client", actor.Audit(), id, disabled{c, reason}))
	if err != nil {
		return store.Receipt{}, err
	}
	return a.commit(ctx, req, ch)
}

type disabled struct {
	Client
	Reason string `json:"reason"`
}

// letGo takes a client away from the person who held it.
func (a *Access) letGo(ctx context.Context, ch *Change, c Client) error {
	if c.Person == "" {
		return nil
	}
	p, v, err := read(ctx, a, persons, &a.persons, c.Person)
	if err != nil {
		return fmt.Errorf("reading the roles of the client's person: %w", err)
	}
	p.Clients = slices.DeleteFunc(slices.Clone(p.Clients), func(id string) bool { return id == c.ID })
	return ch.write(persons, c.Person, v, p)
}

// commit writes a change of this package's own.
func (a *Access) commit(ctx context.Context, req *store.Request, ch Change) (store.Receipt, error) {
	return a.st.Commit(ctx, ch.Mutation(req))
}

func clientOf(value []byte) (string, error) {
	var v struct {
		Client string `json:"client"`
	}
	err := json.Unmarshal(value, &v)
	return v.Client, err
}

// Acting decides whether the actor, as registered now, may take the action on its own records: the first question for a use case that
// answers from what it has answered before. ErrNotEntitled.
func (a *Access) Acting(ctx context.Context, actor Actor, action Action) error {
	if actor.Role == RoleAppliance {
		return a.Allow(actor, action, Resource{Client: actor.Client})
	}
	c, _, err := a.active(ctx, actor.Client)
	if err != nil {
		return err
	}
	return a.Allow(c.Actor(), action, Resource{Client: c.ID})
}
