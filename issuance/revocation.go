package issuance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"sealkeeper/issuance/ca"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

// ErrNoRevocationList: the authority that certifies seals publishes its revocation lists itself.
var ErrNoRevocationList = errors.New("revocation lists are published by the outside authority")

// Revoker is an Issuer that also makes revocation lists.
type Revoker interface {
	RevocationList(ctx context.Context, number uint64, from, next time.Time, all []ca.Revoked) ([]byte, error)
}

// How long a list holds, and how long it is handed out without looking for seals that ended since.
const (
	listLife = 24 * time.Hour
	listLook = time.Minute
)

// revocations is the list of one authority that is handed out.
type revocations struct {
	by Revoker

	mu     sync.Mutex
	der    []byte
	made   time.Time
	looked time.Time
	number uint64
	sum    [32]byte // of what it lists
}

// RevocationList returns the CRL of the seal certificates of one authority ("" the first): of all seals that were cancelled or superseded, from the
// moment they were. It is at most a minute older than the register, holds a day, and every one is on record before it is handed out.
// ErrNoRevocationList where the authority is outside; store.ErrNotFound when there is no authority of that name.
func (i *Issuance) RevocationList(ctx context.Context, authority string) ([]byte, error) {
	r := i.revoked[authority]
	switch {
	case len(i.revoked) == 0:
		return nil, ErrNoRevocationList
	case r == nil:
		return nil, fmt.Errorf("revocation list %q: no authority of that name makes one: %w", authority, store.ErrNotFound)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := i.now()
	if r.der != nil && now.Sub(r.looked) < listLook && !now.Before(r.looked) {
		return r.der, nil
	}
	all, sum, err := i.ended(ctx)
	if err != nil {
		return nil, err
	}
	if r.der == nil || sum != r.sum || now.Sub(r.made) > listLife/2 || now.Before(r.made) {
		number := max(uint64(now.Unix()), r.number+1)
		der, err := r.by.RevocationList(ctx, number, now, now.Add(listLife), all)
		if err != nil {
			return nil, fmt.Errorf("making the revocation list: %w", err)
		}
		if err := i.recordList(ctx, authority, number, len(all), der); err != nil {
			return nil, err
		}
		r.der, r.made, r.number, r.sum = der, now, number, sum
	}
	r.looked = now
	return r.der, nil
}

// RevocationLists returns the lists of all authorities that make their own, by name; none where the authority is outside.
func (i *Issuance) RevocationLists(ctx context.Context) ([][]byte, error) {
	var all [][]byte
	for _, name := range slices.Sorted(maps.Keys(i.revoked)) {
		der, err := i.RevocationList(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	return all, nil
}

// ended gathers the certificates of seals that ended before their time, and a digest of what they are.
func (i *Issuance) ended(ctx context.Context) ([]ca.Revoked, [32]byte, error) {
	seals, err := i.Register.Ended(ctx)
	if err != nil {
		return nil, [32]byte{}, err
	}
	var all []ca.Revoked
	h := sha256.New()
	for _, s := range seals {
		if s.State == register.Expired {
			continue
		}
		der, err := i.Register.Certificate(ctx, s.ESID)
		if err != nil {
			return nil, [32]byte{}, err
		}
		r := ca.Revoked{Certificate: der, At: s.EndedAt, Reason: crlReason(s)}
		all = append(all, r)
		fmt.Fprintf(h, "%s %d %d\n", s.ESID, r.At.Unix(), r.Reason)
	}
	return all, [32]byte(h.Sum(nil)), nil
}

func crlReason(s register.Seal) int {
	switch {
	case s.EndReason == register.ReasonMisuse:
		return ca.ReasonCompromise
	case s.State == register.Superseded:
		return ca.ReasonSuperseded
	}
	return ca.ReasonCessation
}

type listRecord struct {
	Number    uint64 `json:"number"`
	Entries   int    `json:"entries"` // that were looked at; the list holds those that its authority issued
	SHA256    string `json:"sha256"`
	Authority string `json:"authority,omitempty"` // left out for the first
}

func (i *Issuance) recordList(ctx context.Context, authority string, number uint64, entries int, der []byte) error {
	sum := sha256.Sum256(der)
	body, err := audit.Event{Kind: audit.KindRevocationList, Actor: audit.Appliance("issuance"), Subject: fmt.Sprint(number),
		Detail: listRecord{number, entries, hex.EncodeToString(sum[:]), authority}}.Body()
	if err != nil {
		return err
	}
	_, err = i.Store.Commit(ctx, store.Mutation{Audit: [][]byte{body}})
	return err
}
