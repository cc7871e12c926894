package client

import (
	"context"
	"encoding/json"
	"time"
)

// Registration asks for a new client and its certificate.
type Registration struct {
	Name   string `json:"name"`
	Role   string `json:"role"`
	Person string `json:"person,omitempty"` // operators alone
	CSR    string `json:"csr"`              // PEM certificate request, P-256
}

// Registered is a client of the appliance.
type Registered struct {
	ID          string    `json:"id"` // hexadecimal SHA-256 of the certificate's SubjectPublicKeyInfo
	Name        string    `json:"name"`
	Role        string    `json:"role"`
	Person      string    `json:"person,omitempty"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	Certificate string    `json:"certificate,omitempty"` // PEM chain
}

type registrationAnswer struct {
	Client  Registered `json:"client"`
	Receipt Receipt    `json:"receipt"`
}

// RegisterClient registers a client and returns it with its certificate; security operators do.
func (c *Client) RegisterClient(ctx context.Context, key string, r Registration) (Registered, Receipt, error) {
	a, err := post[registrationAnswer](ctx, c, "/v1/clients", key, r)
	return a.Client, a.Receipt, err
}

// Clients lists the clients.
func (c *Client) Clients(ctx context.Context, cursor string, limit int) (Page[Registered], error) {
	return get[Page[Registered]](ctx, c, "/v1/clients", paging(cursor, limit))
}

// withdrawal is the body of everything that ends with a reason.
type withdrawal struct {
	Reason string `json:"reason"`
}

// DisableClient shuts a client out at once and for good.
func (c *Client) DisableClient(ctx context.Context, key, id, reason string) (Receipt, error) {
	return post[Receipt](ctx, c, at("/v1/clients", id, "/disable"), key, withdrawal{reason})
}

// Grant lets one client ask for signatures, in bounds. It never replaces the owner's approval.
type Grant struct {
	ID         string    `json:"id"`
	Client     string    `json:"client"`
	Seals      []string  `json:"seals,omitempty"`    // sorted esIDs; none exactly when AnyOwner
	AnyOwner   bool      `json:"any_owner_approves"` // any seal whose owner consented for this client
	Kinds      []string  `json:"kinds"`              // sorted, of digest and ofd
	Purposes   []string  `json:"purposes"`           // sorted
	NotBefore  time.Time `json:"not_before"`         // whole seconds
	Expires    time.Time `json:"expires"`
	Count      uint64    `json:"count"`
	DigestOnly bool      `json:"digest_only"` // documents the appliance never saw (未见原文)
	Withdrawn  string    `json:"withdrawn,omitempty"`
}

// PutGrant writes a grant; security operators do.
func (c *Client) PutGrant(ctx context.Context, key string, g Grant) (Receipt, error) {
	return post[Receipt](ctx, c, "/v1/grants", key, g)
}

// Grants lists the grants of a client, the caller's own when client is empty.
func (c *Client) Grants(ctx context.Context, client, cursor string, limit int) (Page[Grant], error) {
	return get[Page[Grant]](ctx, c, "/v1/grants", paging(cursor, limit, "client", client))
}

// WithdrawGrant ends a grant.
func (c *Client) WithdrawGrant(ctx context.Context, key, id, reason string) (Receipt, error) {
	return post[Receipt](ctx, c, at("/v1/grants", id, "/withdraw"), key, withdrawal{reason})
}

// Delegation is the owner's consent in advance as the device signed it (docs/approval.md), with what the appliance keeps beside it.
type Delegation struct {
	ID        string    `json:"id"`
	Seal      string    `json:"seal"`
	Client    string    `json:"client"`
	Purposes  []string  `json:"purposes"`
	Kinds     []string  `json:"kinds"`
	NotBefore time.Time `json:"not_before"`
	Expires   time.Time `json:"expires"`
	Count     uint64    `json:"count"`
	Nonce     string    `json:"nonce"`
	Alg       string    `json:"alg"`
	Signature []byte    `json:"signature"`
	USCC      string    `json:"uscc"`
	Since     time.Time `json:"since"`
	Withdrawn string    `json:"withdrawn,omitempty"`
}

// PutDelegation registers a delegation exactly as the owner's device signed it; signed is its JSON.
func (c *Client) PutDelegation(ctx context.Context, key string, signed json.RawMessage) (Receipt, error) {
	return post[Receipt](ctx, c, "/v1/delegations", key, signed)
}

// Delegations lists the delegations to a client, the caller's own when client is empty.
func (c *Client) Delegations(ctx context.Context, client, cursor string, limit int) (Page[Delegation], error) {
	return get[Page[Delegation]](ctx, c, "/v1/delegations", paging(cursor, limit, "client", client))
}

// StandingDelegation is what a ceremony signed for an institution's own seal, in the place of a licence and an owner's consent.
type StandingDelegation struct {
	ID        string    `json:"id"`
	Seal      string    `json:"seal"`
	Authority string    `json:"authority"` // USCC of the institution
	Client    string    `json:"client"`    // "appliance" for the appliance itself
	Purposes  []string  `json:"purposes"`
	Kinds     []string  `json:"kinds"`
	NotBefore time.Time `json:"not_before"`
	Expires   time.Time `json:"expires"`
	Count     uint64    `json:"count"`
	Ceremony  string    `json:"ceremony"`
	Since     time.Time `json:"since"`
	Revoked   string    `json:"revoked,omitempty"` // the ceremony's step that did
	Spent     uint64    `json:"spent"`
}

// StandingDelegations lists the standing delegations to a client, the caller's own when client is empty.
func (c *Client) StandingDelegations(ctx context.Context, client, cursor string, limit int) (Page[StandingDelegation], error) {
	return get[Page[StandingDelegation]](ctx, c, "/v1/standing-delegations", paging(cursor, limit, "client", client))
}

// WithdrawDelegation ends a delegation.
func (c *Client) WithdrawDelegation(ctx context.Context, key, id, reason string) (Receipt, error) {
	return post[Receipt](ctx, c, at("/v1/delegations", id, "/withdraw"), key, withdrawal{reason})
}
