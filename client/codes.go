package client

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// EntityCode is an enterprise's static code.
type EntityCode struct {
	ID        string    `json:"id"`
	USCC      string    `json:"uscc"`
	URL       string    `json:"url"`
	Since     time.Time `json:"since"`
	Statement []byte    `json:"statement"` // SignedData, DER
}

// Presentation is a presentation code that was made, and who redeemed it.
type Presentation struct {
	ID           string    `json:"id"`
	USCC         string    `json:"uscc"`
	Client       string    `json:"client"`
	Attributes   []string  `json:"attributes"`
	Certificates []string  `json:"certificates"`
	Made         time.Time `json:"made"`
	Expires      time.Time `json:"expires"`
	Redeemed     *Redeemer `json:"redeemed,omitempty"`
}

// Redeemer is who saw what a code shows.
type Redeemer struct {
	Client  string    `json:"client"`
	Name    string    `json:"name"`
	Purpose string    `json:"purpose"`
	At      time.Time `json:"at"`
}

// Presented is a code to show.
type Presented struct {
	Code         string       `json:"code"`
	Presentation Presentation `json:"presentation"`
}

// Redemption is a code as scanned, and what for.
type Redemption struct {
	Code    string `json:"code"`
	Purpose string `json:"purpose"`
}

// Shown is what the holder chose to show.
type Shown struct {
	USCC         string            `json:"uscc"`
	Status       string            `json:"status"`
	Attributes   map[string]string `json:"attributes"`
	Certificates []CertificateView `json:"certificates"`
	At           time.Time         `json:"at"`
	Statement    []byte            `json:"statement"` // SignedData, DER, to be kept
}

// Present makes a code from the wish that the owner's device signed; the licence system does.
func (c *Client) Present(ctx context.Context, key string, signed json.RawMessage) (Presented, error) {
	return post[Presented](ctx, c, "/v1/presentations", key, signed)
}

// Redeem redeems a code; a department does, once.
func (c *Client) Redeem(ctx context.Context, key string, r Redemption) (Shown, error) {
	return post[Shown](ctx, c, "/v1/presentations/redeem", key, r)
}

// Presentations lists the codes of an enterprise, the newest first.
func (c *Client) Presentations(ctx context.Context, uscc, cursor string, limit int) (Page[Presentation], error) {
	return get[Page[Presentation]](ctx, c, "/v1/enterprises/"+url.PathEscape(uscc)+"/presentations", paging(cursor, limit))
}
