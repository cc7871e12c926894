package register

import (
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/keystore/store"
)

// QueueCertificates is the outbox queue of messages to the outside certificate authority.
const QueueCertificates = "certificate"

// CertificateMessage is the body of a message in QueueCertificates, as JSON. Kind decides which fields are set.
type CertificateMessage struct {
	Kind    string    `json:"kind"` // revoke: a seal ended before its time; withdraw: a request whose key exists no more
	At      time.Time `json:"at"`
	USCC    string    `json:"uscc"`
	ESID    string    `json:"esid"`
	SHA256  string    `json:"cert_sha256,omitempty"` // revoke
	State   State     `json:"state,omitempty"`       // revoke
	Reason  Reason    `json:"reason,omitempty"`      // revoke
	Request string    `json:"request,omitempty"`     // withdraw
}

// revoke tells the authority in the commit that ends the seal.
func (d *Draft) revoke(s Seal) error {
	return d.Tell(CertificateMessage{Kind: "revoke", At: s.EndedAt, USCC: s.USCC, ESID: s.ESID, SHA256: s.CertSHA256, State: s.State, Reason: s.EndReason})
}

// Tell queues a message to the outside certificate authority.
func (d *Draft) Tell(m CertificateMessage) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding %s message: %w", m.Kind, err)
	}
	d.Outbox = append(d.Outbox, store.Message{Queue: QueueCertificates, Body: body})
	return nil
}
