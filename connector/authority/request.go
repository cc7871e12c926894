package authority

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// State is where a request stands.
type State string

// The states. Asked, Taken and Issued are open: a seal may still come of them.
const (
	Asked     State = "asked"     // may have arrived there or not
	Taken     State = "taken"     // the authority has it
	Issued    State = "issued"    // its certificate is here
	Used      State = "used"      // a seal has it
	Refused   State = "refused"   // the authority said no
	Wrong     State = "wrong"     // its answer was another certificate
	Withdrawn State = "withdrawn" // its key exists no more
)

// request is one request with everything that it takes to send it again as it was.
type request struct {
	ID          string    `json:"id"`
	ESID        string    `json:"esid"`
	USCC        string    `json:"uscc"`
	Name        string    `json:"name"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	CSR         []byte    `json:"csr,omitempty"`
	State       State     `json:"state"`
	Why         string    `json:"why,omitempty"`
	Certificate []byte    `json:"certificate,omitempty"`
	Chain       [][]byte  `json:"chain,omitempty"`

	at store.Version
}

// requests are kept from before they are sent. What the register has of a used one is not kept twice.
var requests = &store.Collection{Name: "certificate-request", Codec: 1, Indexes: []store.Index{{Name: byOpen, Keys: func(value []byte) ([][]byte, error) {
	var q request
	if err := json.Unmarshal(value, &q); err != nil {
		return nil, err
	}
	if q.State == Asked || q.State == Taken || q.State == Issued {
		return [][]byte{[]byte(q.ESID)}, nil
	}
	return nil, nil
}}}}

const byOpen = "open"

// Collections lists what this package stores.
func Collections() []*store.Collection { return []*store.Collection{requests} }

// requestID is the same for the same key, seal and attempt, in every life of the appliance.
func requestID(r ca.Request, attempt int) string {
	d := gm.SM3([]byte(fmt.Sprintf("sealkeeper-certificate-request\n%s\n%d\n", r.ESID, attempt)), r.PublicKey.Point())
	return hex.EncodeToString(d[:16])
}

func (q request) outgoing() Outgoing {
	return Outgoing{ID: q.ID, CSR: q.CSR, ESID: q.ESID, USCC: q.USCC, Name: q.Name, NotBefore: q.NotBefore, NotAfter: q.NotAfter}
}

// attempts bounds how often a human may have the same key asked for again.
const attempts = 100

// asked finds the present request for a key, or writes a new one down before anything is sent.
func (c *Connector) asked(ctx context.Context, r ca.Request) (request, error) {
	for n := 1; n <= attempts; n++ {
		q, err := c.read(ctx, requestID(r, n))
		if errors.Is(err, store.ErrNotFound) {
			return c.begin(ctx, r, requestID(r, n))
		}
		if err != nil || q.State != Refused && q.State != Wrong && q.State != Withdrawn {
			c.own(q.ID)
			return q, err
		}
	}
	return request{}, fmt.Errorf("seal %s: asked %d times: %w", r.ESID, attempts, ca.ErrAnswer)
}

func (c *Connector) begin(ctx context.Context, r ca.Request, id string) (request, error) {
	q := request{ID: id, ESID: r.ESID, USCC: r.USCC, Name: r.Name, NotBefore: r.NotBefore, NotAfter: r.NotAfter, State: Asked}
	if r.Key == nil {
		return q, fmt.Errorf("seal %s: a request without its key: %w", r.ESID, ca.ErrPublicKey)
	}
	var err error
	if q.CSR, err = ca.SigningRequest(ctx, r.Key, c.Subject, r); err != nil {
		return q, err
	}
	c.own(id)
	if err := c.keep(ctx, q); err != nil {
		return q, err
	}
	return c.read(ctx, id)
}

// own says that the key of a request lives in this process.
func (c *Connector) own(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mine[id] = true
}

func (c *Connector) read(ctx context.Context, id string) (q request, err error) {
	it, err := c.Store.Get(ctx, requests, []byte(id))
	if err != nil {
		return q, fmt.Errorf("request %s: %w", id, err)
	}
	if err := json.Unmarshal(it.Value, &q); err != nil {
		return q, fmt.Errorf("request %s: %w: %w", id, store.ErrCorrupt, err)
	}
	q.at = it.Version
	return q, nil
}

// keep writes a request over the version that was read.
func (c *Connector) keep(ctx context.Context, q request) error {
	return c.keepWith(ctx, q, register.Draft{})
}

func (c *Connector) keepWith(ctx context.Context, q request, d register.Draft) error {
	value, err := json.Marshal(q)
	if err != nil {
		return err
	}
	d.Put = append(d.Put, store.Put{Collection: requests, Key: []byte(q.ID), Value: value})
	d.Expect = append(d.Expect, store.Expect{Collection: requests, Key: []byte(q.ID), Version: q.at})
	if _, err := c.Store.Commit(ctx, d.Mutation(nil)); err != nil {
		return fmt.Errorf("keeping request %s: %w", q.ID, err)
	}
	return nil
}

// withdraw keeps a request that came to nothing and tells the authority so in the same commit.
func (c *Connector) withdraw(ctx context.Context, q request) error {
	var d register.Draft
	if err := d.Tell(register.CertificateMessage{Kind: "withdraw", At: c.Now().UTC(), USCC: q.USCC, ESID: q.ESID, Request: q.ID}); err != nil {
		return err
	}
	return c.keepWith(ctx, q, d)
}
