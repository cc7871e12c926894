// Package tsa is the appliance's own time-stamp authority: two keys in the token, serial numbers that never repeat, and a record of every
// token before it leaves.
//
//	/tsa ─► Answer ─┐
//	signer ─► Stamp ┴─► signer/timestamp.Authority ─► token ─► record, durable ─► out
//
// Its one promise is that no token leaves without its record (law 2), and that no two tokens of one key have one serial number.
//
// Limits: SM3 imprints are answered with the SM2 key, SHA-256 imprints with the P-256 key, no others; one policy. The time is the
// appliance's own clock, which law 8 watches and nothing here corrects.
package tsa

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/signer/timestamp"
)

// Identity is a key of the authority with its certificates, DER.
type Identity struct {
	Key         *keystore.Key
	Certificate []byte
	Chain       [][]byte // from the issuer on
}

// Config is what the authority is made of. All is needed.
type Config struct {
	Store  store.Store
	SM2    Identity
	P256   Identity
	Policy string // dotted
	Now    func() time.Time
}

// Service answers queries and stamps signatures. Safe for concurrent use.
type Service struct {
	st        store.Store
	authority map[timestamp.Imprint]*timestamp.Authority
}

// accuracy is stated in every token: the clock is read in whole seconds.
const accuracy = time.Second

// New opens the authority. Errors: timestamp.ErrAuthority.
func New(cfg Config) (*Service, error) {
	s := &Service{st: cfg.Store, authority: map[timestamp.Imprint]*timestamp.Authority{}}
	numbers := &serials{st: cfg.Store, now: cfg.Now}
	for alg, id := range map[timestamp.Imprint]Identity{timestamp.SM3: cfg.SM2, timestamp.SHA256: cfg.P256} {
		a, err := timestamp.NewAuthority(timestamp.AuthorityConfig{Key: id.Key, Certificate: id.Certificate, Chain: id.Chain, Serials: numbers,
			Policy: cfg.Policy, Accuracy: accuracy, Now: cfg.Now, Record: s.record})
		if err != nil {
			return nil, fmt.Errorf("time-stamp authority for %v: %w", alg, err)
		}
		s.authority[alg] = a
	}
	return s, nil
}

// caller carries who asked to the record.
type caller struct{}

// Answer answers a TimeStampReq with a TimeStampResp. What is wrong with the question is in the reply; an error is what keeps the appliance from
// answering at all, and the sentinels of store and keystore pass through.
func (s *Service) Answer(ctx context.Context, who audit.Actor, query []byte) (reply []byte, err error) {
	a := s.authority[timestamp.SHA256] // also for a question that cannot be read: any of the two says so
	if q, err := timestamp.ParseQuery(query); err == nil && s.authority[q.Imprint] != nil {
		a = s.authority[q.Imprint]
	}
	return a.Respond(context.WithValue(ctx, caller{}, who), query)
}

// Stamp issues a token for a signature of the appliance itself.
func (s *Service) Stamp(ctx context.Context, alg timestamp.Imprint, digest []byte) (token []byte, err error) {
	a := s.authority[alg]
	if a == nil {
		return nil, fmt.Errorf("imprint %v: %w", alg, timestamp.ErrAuthority)
	}
	return a.Stamp(context.WithValue(ctx, caller{}, audit.Appliance("signer")), alg, digest)
}

// EventKind is the kind of a time stamp's audit record; it is written once and never again.
const EventKind = "time-stamp"

// issued is its detail.
type issued struct {
	Serial  uint64    `json:"serial"`
	Time    time.Time `json:"time"`
	Imprint string    `json:"imprint"`
	Digest  string    `json:"digest"`
	Policy  string    `json:"policy"`
	Nonce   string    `json:"nonce,omitempty"`
	Token   []byte    `json:"token"`
}

// record makes a token's record durable; until it is, the token stays here.
func (s *Service) record(ctx context.Context, i timestamp.Issued) error {
	who, _ := ctx.Value(caller{}).(audit.Actor)
	d := issued{Serial: i.Serial, Time: i.Time, Imprint: i.Imprint.String(), Digest: hex.EncodeToString(i.Digest), Policy: i.Policy, Token: i.Token}
	if i.Nonce != nil {
		d.Nonce = i.Nonce.Text(16)
	}
	body, err := audit.Event{Kind: EventKind, Actor: who, Subject: fmt.Sprint(i.Serial), Detail: d}.Body()
	if err != nil {
		return err
	}
	_, err = s.st.Commit(ctx, store.Mutation{Audit: [][]byte{body}})
	return err
}
