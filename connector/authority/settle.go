package authority

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sealkeeper/connector/delivery"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// Revocation asks that a certificate be revoked. Reason is the authority's own code.
type Revocation struct {
	ID     string    `json:"id"`
	ESID   string    `json:"esid"`
	USCC   string    `json:"uscc"`
	Issuer string    `json:"issuer"`
	Serial string    `json:"serial"` // hexadecimal
	SHA256 string    `json:"cert_sha256"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Withdrawal says that the key of a request exists no more: it is dropped, and a certificate that was issued for it is revoked.
type Withdrawal struct {
	ID      string `json:"id"`
	ESID    string `json:"esid"`
	USCC    string `json:"uscc"`
	Request string `json:"request"`
}

// Done answers both.
type Done struct {
	State string `json:"state"`
}

// Deliver is delivery.Destination for register.QueueCertificates.
func (c *Connector) Deliver(ctx context.Context, m delivery.Message) error {
	var body register.CertificateMessage
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return fmt.Errorf("message %s: %w: %w", m.ID, store.ErrCorrupt, err)
	}
	call := wire.Call{Method: http.MethodPost, Key: m.Key, Path: "/v1/withdrawals", In: Withdrawal{m.ID, body.ESID, body.USCC, body.Request}}
	if body.Kind == "revoke" {
		out, err := c.revocation(ctx, m.ID, body)
		if err != nil {
			return err
		}
		call.Path, call.In = "/v1/revocations", out
	}
	var done Done
	status, err := c.Client.Do(ctx, call, &done)
	if err != nil {
		return err
	}
	if status == http.StatusAccepted {
		return fmt.Errorf("%s of seal %s is not done yet: %w", body.Kind, body.ESID, wire.ErrDown)
	}
	return c.Codes.ended(done.State)
}

func (c *Connector) revocation(ctx context.Context, id string, m register.CertificateMessage) (out Revocation, err error) {
	der, err := c.Register.Certificate(ctx, m.ESID)
	if err != nil {
		return out, err
	}
	cert, err := gm.ParseCertificate(der)
	if err != nil {
		return out, err
	}
	return Revocation{ID: id, ESID: m.ESID, USCC: m.USCC, Issuer: cert.Issuer.String(), Serial: cert.SerialNumber.Text(16), SHA256: m.SHA256,
		Reason: c.Codes.reason(m), At: m.At}, nil
}

// Settle looks through the open requests: those whose certificate a seal has are used, and those of a former life of the appliance, whose keys the
// start destroyed, are withdrawn. The others wait.
func (c *Connector) Settle(ctx context.Context) error {
	var errs []error
	waits := int64(0)
	for cursor := ""; ; {
		p, err := c.Store.List(ctx, requests, byOpen, nil, cursor, 200)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, it := range p.Items {
			open, err := c.settle(ctx, it)
			errs = append(errs, err)
			if open {
				waits++
			}
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	c.mu.Lock()
	c.waits = waits
	c.mu.Unlock()
	return errors.Join(errs...)
}

func (c *Connector) settle(ctx context.Context, it store.Item) (open bool, err error) {
	var q request
	if err := json.Unmarshal(it.Value, &q); err != nil {
		return false, fmt.Errorf("request %s: %w: %w", it.Key, store.ErrCorrupt, err)
	}
	q.at = it.Version
	c.mu.Lock()
	mine := c.mine[q.ID] // looked up first: the release of a seal may come between
	c.mu.Unlock()
	s, _, err := c.Register.Seal(ctx, q.ESID)
	if err != nil && !errors.Is(err, register.ErrUnknown) {
		return true, err
	}
	sum := sha256.Sum256(q.Certificate)
	if err == nil && q.State == Issued && s.CertSHA256 == hex.EncodeToString(sum[:]) {
		q.State, q.Certificate, q.Chain = Used, nil, nil
		return false, c.forget(q.ID, c.keep(ctx, q))
	}
	if mine {
		return true, nil
	}
	q.State, q.CSR, q.Certificate, q.Chain = Withdrawn, nil, nil, nil
	return false, c.withdraw(ctx, q)
}

func (c *Connector) forget(id string, err error) error {
	if err == nil {
		c.mu.Lock()
		delete(c.mine, id)
		c.mu.Unlock()
	}
	return err
}

// Waiting is how many requests were open when Settle last looked.
func (c *Connector) Waiting() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits
}

// Run settles at once and then again and again until ctx ends.
func (c *Connector) Run(ctx context.Context, every time.Duration, log *slog.Logger) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := c.Settle(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "requests for certificates", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
