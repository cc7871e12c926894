// Package authority connects the licensed certificate authority outside: signing requests go out, certificates come in, those of ended seals are
// revoked.
//
// Its one promise: a certificate counts only for the key, the name and the time that it was asked for, under the pinned authority, and one that was
// issued for a seal that never came to be is withdrawn. An authority that is slow or away keeps orders waiting and loses none. The contract is
// docs/connectors/authority.md.
package authority

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// Outgoing asks for one certificate.
type Outgoing struct {
	ID        string    `json:"id"`
	CSR       []byte    `json:"csr"` // PKCS#10, DER
	ESID      string    `json:"esid"`
	USCC      string    `json:"uscc"`
	Name      string    `json:"name"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Incoming is the answer. State is a code of the table.
type Incoming struct {
	State       string   `json:"state"`
	Reason      string   `json:"reason,omitempty"`
	Certificate []byte   `json:"certificate,omitempty"` // DER
	Chain       [][]byte `json:"chain,omitempty"`       // from the certificate's issuer on
}

// Config is what the connector stands on.
type Config struct {
	Client   *wire.Client
	Store    store.Store
	Register *register.Register
	Anchors  []*gm.Certificate // pinned: who controls one of their keys can certify any key
	Subject  ca.SubjectTemplate
	Codes    Codes
	Now      func() time.Time
}

// Connector is issuance.Issuer for enterprise seals. It is safe for concurrent use; one per store.
type Connector struct {
	Config
	accept ca.External

	mu    sync.Mutex
	mine  map[string]bool // requests of this process: their keys may still become seals; guarded by mu
	fails int             // in a row; guarded by mu
	until time.Time       // nobody is asked before; guarded by mu
	waits int64           // requests without an answer; guarded by mu
}

// New wires a connector.
func New(c Config) *Connector {
	return &Connector{Config: c, accept: ca.External{Anchors: c.Anchors, Subject: c.Subject}, mine: map[string]bool{}}
}

// Issue asks for the certificate of a key, or returns the one that came. issuance.ErrCertificatePending while there is none,
// issuance.ErrCertificateRefused when there will be none, issuance.ErrCertificateWrong when another one came.
func (c *Connector) Issue(ctx context.Context, r ca.Request) ([]byte, [][]byte, error) {
	q, err := c.asked(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if q.State == Issued {
		return q.Certificate, q.Chain, nil
	}
	if until, resting := c.resting(); resting {
		return nil, nil, fmt.Errorf("request %s: the authority is not asked again before %s: %w", q.ID, until.Format(time.RFC3339), issuance.ErrCertificatePending)
	}
	in, state, err := c.ask(ctx, &q)
	if ctx.Err() == nil {
		c.noted(err)
	}
	switch {
	case errors.Is(err, wire.ErrRefused):
		return nil, nil, c.refused(ctx, q, err.Error())
	case err != nil:
		return nil, nil, fmt.Errorf("request %s: %w: %w", q.ID, issuance.ErrCertificatePending, err)
	case state == Refused:
		return nil, nil, c.refused(ctx, q, "state "+in.State+", "+in.Reason)
	case state == Issued:
		return c.issued(ctx, q, r, in)
	}
	return nil, nil, errors.Join(fmt.Errorf("request %s is with the authority: %w", q.ID, issuance.ErrCertificatePending), c.taken(ctx, q))
}

// ask sends a request, or asks after one that was taken. A request that the authority knows nothing of, although it took it, is sent again.
func (c *Connector) ask(ctx context.Context, q *request) (in Incoming, state State, err error) {
	status := http.StatusNotFound
	if q.State == Taken {
		status, err = c.Client.Do(ctx, wire.Call{Method: http.MethodGet, Path: "/v1/certificate-requests/" + q.ID}, &in)
	}
	if status == http.StatusNotFound {
		status, err = c.Client.Do(ctx, wire.Call{Method: http.MethodPost, Path: "/v1/certificate-requests", Key: q.ID, In: q.outgoing()}, &in)
	}
	if err != nil {
		return in, "", err
	}
	if status == http.StatusAccepted {
		return in, Taken, nil
	}
	state, err = c.Codes.request(in.State)
	return in, state, err
}

// The longest pause between two questions to an authority that does not answer.
const longest = time.Minute

// noted remembers whether the authority answers: with many orders waiting, each would hang for a whole timeout.
func (c *Connector) noted(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || errors.Is(err, wire.ErrRefused) {
		c.fails, c.until = 0, time.Time{}
		return
	}
	c.fails++
	c.until = c.Now().Add(min(longest, time.Second<<min(c.fails-1, 6)))
}

func (c *Connector) resting() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until, c.Now().Before(c.until)
}

// slack is how far the authority's clock, and its habit of counting whole days, may lie from what was asked.
const slack = 24 * time.Hour

// issued judges the certificate and keeps it. One that is valid from a little later is kept for then.
func (c *Connector) issued(ctx context.Context, q request, r ca.Request, in Incoming) ([]byte, [][]byte, error) {
	now := c.Now()
	cert, err := gm.ParseCertificate(in.Certificate)
	if err != nil {
		return nil, nil, c.wrong(ctx, q, err)
	}
	if cert.NotBefore.After(now) && cert.NotBefore.Before(now.Add(slack)) {
		return nil, nil, fmt.Errorf("request %s: the certificate is valid from %s: %w", q.ID, cert.NotBefore.Format(time.RFC3339), issuance.ErrCertificatePending)
	}
	if cert.NotBefore.Before(q.NotBefore.Add(-slack)) || cert.NotAfter.After(now.Add(q.NotAfter.Sub(q.NotBefore)+slack)) {
		return nil, nil, c.wrong(ctx, q, fmt.Errorf("valid %s to %s, asked for %s to %s: %w", cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly),
			q.NotBefore.Format(time.DateOnly), q.NotAfter.Format(time.DateOnly), ca.ErrValidity))
	}
	r.NotBefore, r.NotAfter = time.Time{}, q.NotAfter.Add(-slack)
	chain, err := c.accept.Accept(r, in.Certificate, in.Chain, now)
	if err != nil {
		return nil, nil, c.wrong(ctx, q, err)
	}
	q.State, q.Certificate, q.Chain, q.CSR = Issued, in.Certificate, chain, nil
	if err := c.keep(ctx, q); err != nil {
		return nil, nil, err
	}
	return q.Certificate, q.Chain, nil
}

// wrong gives a request up whose answer is not what was asked for; the authority is told in the same commit.
func (c *Connector) wrong(ctx context.Context, q request, why error) error {
	err := fmt.Errorf("request %s: %w: %w", q.ID, issuance.ErrCertificateWrong, why)
	q.State, q.Why, q.CSR = Wrong, wire.Cut(why.Error(), 300), nil
	return errors.Join(err, c.withdraw(ctx, q))
}

func (c *Connector) refused(ctx context.Context, q request, why string) error {
	q.State, q.Why, q.CSR = Refused, wire.Cut(why, 300), nil
	return errors.Join(fmt.Errorf("request %s: %w: %s", q.ID, issuance.ErrCertificateRefused, why), c.keep(ctx, q))
}

func (c *Connector) taken(ctx context.Context, q request) error {
	if q.State == Taken {
		return nil
	}
	q.State = Taken
	return c.keep(ctx, q)
}
