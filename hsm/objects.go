package hsm

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/miekg/pkcs11"
)

// className names an object's class as read.
func className(v []byte) string {
	for name, class := range map[string]uint{"private": pkcs11.CKO_PRIVATE_KEY, "public": pkcs11.CKO_PUBLIC_KEY,
		"secret": pkcs11.CKO_SECRET_KEY, "data": pkcs11.CKO_DATA, "certificate": pkcs11.CKO_CERTIFICATE} {
		if string(v) == string(pkcs11.NewAttribute(pkcs11.CKA_CLASS, class).Value) {
			return name
		}
	}
	return "class " + number(v)
}

// listed is an object with its handle.
type listed struct {
	Object
	handle pkcs11.ObjectHandle
}

// list walks all token objects, about a tenth of a millisecond each in SoftHSM, and remembers where the keys are.
func (s *session) list() ([]listed, error) {
	handles, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if err != nil {
		return nil, err
	}
	if len(handles) == 0 { // an empty token looks like a logged-out or a vanished one
		if err := s.missing(ObjectID{}); classify(err) != classNone {
			return nil, err
		}
	}
	all := make([]listed, 0, len(handles))
	for _, h := range handles {
		o, err := s.describeObject(h)
		if classify(err) == classHandle {
			continue // destroyed by somebody since the search
		}
		if err != nil {
			return nil, err
		}
		all = append(all, listed{o, h})
	}
	s.e.keys.learn(all)
	return all, nil
}

func (s *session) describeObject(h pkcs11.ObjectHandle) (Object, error) {
	var o Object
	class, err := s.attribute(h, pkcs11.CKA_CLASS)
	if err != nil {
		return o, fmt.Errorf("reading CKA_CLASS: %w", err)
	}
	o.Class = className(class)
	for _, a := range []struct {
		kind uint
		set  func(v []byte)
	}{
		{pkcs11.CKA_LABEL, func(v []byte) { o.Label = string(v) }},
		{pkcs11.CKA_ID, func(v []byte) {
			o.RawID = hex.EncodeToString(v)
			if len(v) == len(o.ID) {
				copy(o.ID[:], v)
			}
		}},
	} {
		v, err := s.attribute(h, a.kind)
		if err == nil {
			a.set(v)
		} else if classify(err) != classRefused { // a data object has no CKA_ID
			return o, fmt.Errorf("reading object: %w", err)
		}
	}
	return o, nil
}

// learn takes over a complete listing. An identifier that two working keys share is left out: it must not be used.
func (c *keyCache) learn(all []listed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[ObjectID]int{}
	for _, o := range all {
		if o.RawID != "" && o.ID != (ObjectID{}) {
			c.ids[o.ID] = true
		}
		if o.Label != "" {
			c.labels[o.Label] = true
		}
		if o.ID != (ObjectID{}) && (o.Class == "private" || o.Class == "secret") {
			seen[o.ID]++
			if f, known := c.work[o.ID]; !known || f.handle != o.handle {
				c.work[o.ID] = found{handle: o.handle}
			}
		}
	}
	for id, n := range seen {
		if n > 1 {
			delete(c.work, id)
		}
	}
	c.listed = true
}

// Objects lists what is in the token, other people's objects included.
func (m *Module) Objects(ctx context.Context) ([]Object, error) {
	var objects []Object
	err := m.call(ctx, "listing the token", func(s *session) error {
		all, err := s.list()
		objects = make([]Object, len(all))
		for i, o := range all {
			objects[i] = o.Object
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}

// Attributes reads a key's attributes again, without judging them.
func (m *Module) Attributes(ctx context.Context, id ObjectID) ([]Attribute, error) {
	var out []Attribute
	err := m.call(ctx, fmt.Sprintf("reading attributes of key %s", id), func(s *session) error {
		h, flags, err := s.workObject(id)
		if err != nil {
			return err
		}
		all, err := s.readBack(flags, h)
		if err == nil {
			out = append(all, s.describeKey(h)...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// workObject finds the private or secret key of any algorithm.
func (s *session) workObject(id ObjectID) (pkcs11.ObjectHandle, []flag, error) {
	for _, c := range []struct {
		class uint
		flags []flag
	}{{pkcs11.CKO_PRIVATE_KEY, privateFlags}, {pkcs11.CKO_SECRET_KEY, secretFlags}} {
		all, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, c.class), pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]))
		if err != nil {
			return 0, nil, err
		}
		if len(all) > 1 {
			return 0, nil, fmt.Errorf("%d keys with identifier %s: %w", len(all), id, ErrNotFound)
		}
		if len(all) == 1 {
			return all[0], c.flags, nil
		}
	}
	return 0, nil, s.missing(id)
}

// Destroy removes every object with that identifier: ErrNotFound when there is none. There is no way back.
func (m *Module) Destroy(ctx context.Context, id ObjectID) error {
	if id == (ObjectID{}) {
		return fmt.Errorf("destroying key without identifier: %w", ErrRefused)
	}
	return m.call(ctx, fmt.Sprintf("destroying key %s", id), func(s *session) error {
		defer m.writeAlone()()
		if open, err := s.forgetOpened(id); err != nil || open {
			return err
		}
		all, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]))
		if err != nil {
			return err
		}
		// While logged out only public halves are visible: destroying those would orphan a private key that nobody sees.
		if missing := s.missing(id); len(all) == 0 || classify(missing) != classNone {
			return missing
		}
		s.e.keys.forget(id)
		for _, h := range all {
			if err := s.e.raw.DestroyObject(s.h, h); err != nil {
				return fmt.Errorf("destroying object: %w", err)
			}
			s.final = true
		}
		return nil
	})
}
