package hsm

import (
	"bytes"
	"crypto"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// keyCache remembers where keys are, for one epoch: no search per signature. Objects that another process removes show as stale
// handles, which the call forgets.
type keyCache struct {
	mu     sync.RWMutex
	work   map[ObjectID]found // private and secret keys
	labels map[string]bool
	ids    map[ObjectID]bool
	data   map[string][]pkcs11.ObjectHandle // of data objects, by label
	listed bool                             // labels and ids hold everything that was in the token
	sign   map[ObjectID]crypto.Signer       // crypto11's view of ECDSA and RSA keys

	immutable atomic.Bool // the token lets no data object be changed
}

type found struct {
	handle  pkcs11.ObjectHandle
	checked Algorithm // the algorithm that its type and curve were checked for
}

func newKeyCache() *keyCache {
	return &keyCache{work: map[ObjectID]found{}, labels: map[string]bool{}, ids: map[ObjectID]bool{}, sign: map[ObjectID]crypto.Signer{},
		data: map[string][]pkcs11.ObjectHandle{}}
}

func (c *keyCache) get(id ObjectID) (found, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f, ok := c.work[id]
	return f, ok
}

func (c *keyCache) put(id ObjectID, f found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.work[id] = f
}

func (c *keyCache) signer(id ObjectID) crypto.Signer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.sign[id]
}

func (c *keyCache) putSigner(id ObjectID, s crypto.Signer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sign[id] = s
}

// forget drops a key's handles, and those of data objects; the next use searches.
func (c *keyCache) forget(id ObjectID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.work, id)
	delete(c.sign, id)
	clear(c.data) // they are few
}

func (c *keyCache) dataHandles(key string) []pkcs11.ObjectHandle {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.data[key]
}

func (c *keyCache) putData(key string, h []pkcs11.ObjectHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data[key] = h
}

// note adds a new object to the list of names taken.
func (c *keyCache) note(id ObjectID, label string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids[id], c.labels[label] = true, true
}

func (c *keyCache) taken(id ObjectID, label string) (listed, taken bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.listed, c.ids[id] || c.labels[label]
}

// find runs one search and returns all handles.
func (s *session) find(template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	s.m.finds.Add(1)
	if err := s.e.raw.FindObjectsInit(s.h, template); err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	most := s.m.cfg.Profile.Module.FindMax
	if most == 0 {
		most = 100
	}
	var all []pkcs11.ObjectHandle
	for {
		some, _, err := s.e.raw.FindObjects(s.h, most)
		if err != nil {
			return nil, fmt.Errorf("searching: %w", err)
		}
		all = append(all, some...)
		if len(some) == 0 {
			break
		}
	}
	if err := s.e.raw.FindObjectsFinal(s.h); err != nil {
		return nil, fmt.Errorf("ending search: %w", err)
	}
	return all, nil
}

// key returns the handle of the one private or secret key with that identifier, of that algorithm's type and curve.
func (s *session) key(id ObjectID, a *suite) (pkcs11.ObjectHandle, error) {
	s.used = id
	f, ok := s.e.keys.get(id)
	if !ok {
		all, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, a.class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, a.keyType),
			pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]))
		if err != nil {
			return 0, err
		}
		switch {
		case len(all) == 0:
			return 0, s.missing(id)
		case len(all) > 1:
			return 0, fmt.Errorf("%d keys with identifier %s: %w", len(all), id, ErrNotFound)
		}
		f = found{handle: all[0]}
	}
	if f.checked != a.name {
		if err := s.checkKind(f.handle, a); err != nil {
			return 0, err
		}
		f.checked = a.name
		s.e.keys.put(id, f)
	}
	return f.handle, nil
}

// checkKind makes sure that a key is what its record says. An EC key on the SM2 curve signs happily with CKM_ECDSA, and the result is
// 64 bytes that no verifier of SM2 accepts; so the curve decides, not the key type.
func (s *session) checkKind(h pkcs11.ObjectHandle, a *suite) error {
	want := pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, a.keyType).Value
	if kind, err := s.attribute(h, pkcs11.CKA_KEY_TYPE); err != nil {
		return fmt.Errorf("reading key type: %w", err)
	} else if !bytes.Equal(kind, want) {
		return fmt.Errorf("the key's type is not that of %s: %w", a.name, ErrRefused)
	}
	if a.curve == nil {
		return nil
	}
	curve, err := s.attribute(h, pkcs11.CKA_EC_PARAMS)
	if err != nil && (a.asked || classify(err) != classRefused) {
		return fmt.Errorf("reading the key's curve: %w", err)
	}
	if err == nil && !bytes.Equal(curve, a.curve) {
		return fmt.Errorf("the key's curve is not that of %s: %w", a.name, ErrRefused)
	}
	return nil
}

const (
	stateROUser = 1 // CKS_RO_USER_FUNCTIONS
	stateRWUser = 3 // CKS_RW_USER_FUNCTIONS
)

// missing says why a search found nothing: logged out (private objects turn invisible), token gone (SoftHSM then finds nothing), or not there.
func (s *session) missing(id ObjectID) error {
	info, err := s.e.raw.GetSessionInfo(s.h)
	switch {
	case err != nil:
		return fmt.Errorf("asking session: %w", err)
	case info.State != stateROUser && info.State != stateRWUser:
		return pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)
	case !s.e.alive(s.m.serial):
		return pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
	}
	return fmt.Errorf("key %s: %w", id, ErrNotFound)
}

// attribute reads one attribute. Several at once would fail as a whole for one that the token does not know.
func (s *session) attribute(h pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	a, err := s.e.raw.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil {
		return nil, err
	}
	return a[0].Value, nil
}
