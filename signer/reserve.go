package signer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
)

// A seal whose key is in its owner's token is signed with in two calls over the same halves as every other: Reserve decides and lays out, the owner's
// machine lays the same out from its own document (Outline) and has the token sign, Release verifies and finishes. Between the two nothing is written
// and nothing is spent: a suspension, or another signature on the same approval, makes the releasing commit fail as it does for a key here.

const (
	reserveFor   = 2 * time.Minute // to type a PIN in
	maxReserved  = 64              // open reservations
	maxReserving = 8               // of them one client's
	maxKept      = 64 << 20        // bytes of documents behind them; one alone may be longer
)

// Offer is what the holder of a seal's key needs to lay the same signature out.
type Offer struct {
	Reservation string    // names it to Release; empty when the request was answered before, and Sign gives the answer again
	Until       time.Time // it is void from then on

	Seal, Key, Token string // esID, CKA_ID, serial of the token
	Time             time.Time
	Provider         Provider
	Options          Options
	ESL, Certificate []byte // DER
	Chain            [][]byte
	Contents         [][32]byte // SM3 of what is to be signed, in the order of the signatures
}

// reserved is a use that waits for its signatures.
type reserved struct {
	*use
	id    string
	until time.Time
	end   *time.Timer // frees the memory
}

// reservations are the open ones. Safe for concurrent use.
type reservations struct {
	mu    sync.Mutex
	open  map[string]*reserved // by request, see of; guarded by mu
	bytes int                  // of documents; guarded by mu
}

func of(client, request string) string { return client + "\n" + request }

// Reserve is the half of Sign before the key, for a seal whose key is in its owner's token. The same request again takes the place of its former
// reservation. Errors as of Sign, and ErrKeyInside, ErrReservations.
func (s *Signer) Reserve(ctx context.Context, actor access.Actor, r Request) (Offer, error) {
	o, err := s.reserve(ctx, actor, r)
	if err != nil {
		s.refuse(actor, r, err)
	}
	return o, err
}

func (s *Signer) reserve(ctx context.Context, actor access.Actor, r Request) (Offer, error) {
	u, _, err := s.decide(ctx, actor, r)
	if err != nil || u == nil { // refused, or answered
		return Offer{}, err
	}
	if u.profile.companion || !u.ready.key.Outside() {
		return Offer{}, fmt.Errorf("seal %s, profile %s: %w", u.seal.ESID, u.profile.name, ErrKeyInside)
	}
	p, err := s.reserved.add(u, s.cfg.Now())
	if err != nil {
		return Offer{}, err
	}
	o := Offer{Reservation: p.id, Until: p.until, Seal: u.seal.ESID, Key: u.ready.key.ID().String(), Token: u.ready.key.Token(), Time: u.now, Provider: s.cfg.Provider,
		Options: u.options, ESL: u.ready.esl, Certificate: u.ready.cert, Chain: u.ready.chain}
	for _, c := range u.contents() {
		o.Contents = append(o.Contents, gm.SM3(c))
	}
	return o, nil
}

// add keeps a use until its signatures come, or reserveFor is over, or what it rests on ends: approval, certificate, seal.
func (rs *reservations) add(u *use, now time.Time) (*reserved, error) {
	var id [16]byte
	rand.Read(id[:])
	p := &reserved{use: u, id: hex.EncodeToString(id[:]), until: earlier(now.Add(reserveFor), u.ready.to)}
	if a := u.req.Approval; a != nil {
		p.until = earlier(p.until, a.Expires)
	}
	key, size := of(u.actor.Client, u.req.ID), len(u.req.Document)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.drop(rs.open[key])
	rs.expire(now)
	mine := 0
	for _, q := range rs.open {
		if q.actor.Client == u.actor.Client {
			mine++
		}
	}
	if len(rs.open) >= maxReserved || mine >= maxReserving || rs.bytes > 0 && rs.bytes+size > maxKept {
		return nil, fmt.Errorf("%d open, %d of this client: %w", len(rs.open), mine, ErrReservations)
	}
	rs.open[key], rs.bytes = p, rs.bytes+size
	p.end = time.AfterFunc(reserveFor, func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.drop(p)
	})
	return p, nil
}

// drop forgets one that is still open. The caller holds mu.
func (rs *reservations) drop(p *reserved) {
	if p == nil || rs.open[of(p.actor.Client, p.req.ID)] != p {
		return
	}
	delete(rs.open, of(p.actor.Client, p.req.ID))
	rs.bytes -= len(p.req.Document)
	p.end.Stop()
}

func (rs *reservations) expire(now time.Time) {
	for _, p := range rs.open {
		if !now.Before(p.until) {
			rs.drop(p)
		}
	}
}

// take hands a reservation out, once, to the client and the request that it was made for.
func (rs *reservations) take(client, request, id string, now time.Time) (*use, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	p := rs.open[of(client, request)]
	if p == nil || p.id != id {
		return nil, fmt.Errorf("reservation %.32q of request %.128q: %w", id, request, ErrReservation)
	}
	rs.drop(p)
	if !now.Before(p.until) {
		return nil, fmt.Errorf("reservation ended %s: %w", p.until.Format(time.RFC3339), ErrReservation)
	}
	return p.use, nil
}

// Release is the half of Sign from the key on: the signatures that the owner's token made, strict DER in the order of Offer.Contents, are verified against
// the registered key, and the document leaves with its record as every other does. A reservation serves one call, whatever comes of it. Errors as of
// Sign, and ErrReservation, ErrSignature.
func (s *Signer) Release(ctx context.Context, actor access.Actor, request, reservation string, signatures [][]byte) (Released, error) {
	r := Request{ID: request, Kind: "reservation"}
	err := s.cfg.Access.Acting(ctx, actor, access.SignatureMake) // disabled since, or never entitled: nothing else is told
	var rel Released
	if err == nil {
		var u *use
		if u, err = s.reserved.take(actor.Client, request, reservation, s.cfg.Now()); err == nil {
			r = u.req
			rel, err = s.releaseTaken(ctx, actor, u, signatures)
		}
	}
	if err != nil {
		s.refuse(actor, r, err)
	}
	return rel, err
}

func (s *Signer) releaseTaken(ctx context.Context, actor access.Actor, u *use, signatures [][]byte) (Released, error) {
	signed := func(ctx context.Context, u *use) error {
		if err := s.covered(ctx, u); err != nil { // this is no state that the commit expects, and it may have come since
			return err
		}
		return u.accept(signatures)
	}
	if _, rel, err := s.finish(ctx, u, signed); err != nil || rel.Signature != nil {
		return rel, err
	}
	rel, err := s.commit(ctx, u)
	if !raced(err) {
		return rel, err
	}
	// What was decided counts no longer, and the time in which it was: say why, by asking again from the first question.
	if _, rel, again := s.decide(ctx, actor, u.req); again != nil || rel.Signature != nil {
		return rel, again
	}
	return Released{}, fmt.Errorf("what the reservation rests on has changed: %w: %w", ErrReservation, err)
}

// contents are what is to be signed.
func (u *use) contents() [][]byte {
	if u.entries.structure != nil {
		return [][]byte{u.entries.structure.content(), u.structure.content()}
	}
	return [][]byte{u.structure.content()}
}

// accept takes the signatures of a key outside, which are none of the appliance's tokens: the epoch's counts leave them out.
func (u *use) accept(signatures [][]byte) error {
	contents := u.contents()
	if len(signatures) != len(contents) {
		return fmt.Errorf("%d signatures where %d are due: %w", len(signatures), len(contents), ErrRequestForm)
	}
	for i, c := range contents {
		if err := u.ready.key.Accept(c, signatures[i]); err != nil {
			return fmt.Errorf("%w: %w", ErrSignature, err)
		}
	}
	if u.entries.structure != nil {
		u.entries.signature = signatures[0]
	}
	u.signature = signatures[len(signatures)-1]
	return nil
}
