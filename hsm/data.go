package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// A named value lives in data objects that each hold a sequence number and a checksum; the highest sequence that is whole is the value.
// Where the token lets a value be changed, two objects are written in turn. Where it does not (SoftHSM2 answers
// CKR_ATTRIBUTE_READ_ONLY), a new one is made before the old one goes. Either way a write that is cut off never costs the value
// last written.
//
//	"SKD1" | sequence, 8 bytes big-endian | first 8 bytes of SHA-256(sequence ‖ value) | value

// ErrDamaged: the value was set once and cannot be read any more. Never the same as ErrNotFound: an anchor that was lost is not an
// anchor that never was (law 12).
var ErrDamaged = errors.New("the token's data object is damaged")

const (
	dataMagic = "SKD1"
	dataHead  = len(dataMagic) + 8 + 8
	maxData   = 4 << 10
	dataOwner = "sealkeeper" // CKA_APPLICATION
)

// datum is one of a value's objects, as found.
type datum struct {
	handle   pkcs11.ObjectHandle
	sequence uint64 // zero: damaged
	value    []byte
}

// SetData keeps a small named value in public data objects of the token. It is not a secret there. On tokens whose memory wears out
// this is for now and then, not for every second.
func (m *Module) SetData(ctx context.Context, label string, value []byte) error {
	if err := checkData(label, value); err != nil {
		return err
	}
	return m.call(ctx, fmt.Sprintf("writing data object %q", label), func(s *session) error {
		m.writing.Lock()
		defer m.writing.Unlock()
		all, err := s.data(label)
		if err != nil {
			return err
		}
		var newest uint64
		for _, d := range all {
			newest = max(newest, d.sequence)
		}
		content := pkcs11.NewAttribute(pkcs11.CKA_VALUE, encodeData(newest+1, value))
		done, err := s.overwrite(all, content)
		if done || err != nil {
			return err
		}
		return s.replace(label, all, content)
	})
}

// overwrite changes the oldest of two objects, if the token allows it.
func (s *session) overwrite(all []datum, content *pkcs11.Attribute) (bool, error) {
	if len(all) < 2 || s.e.keys.immutable.Load() {
		return false, nil
	}
	oldest := all[0]
	for _, d := range all {
		if d.sequence < oldest.sequence {
			oldest = d
		}
	}
	err := s.e.raw.SetAttributeValue(s.h, oldest.handle, []*pkcs11.Attribute{content})
	if k := classify(err); k == classRefused || k == classMissing {
		s.e.keys.immutable.Store(true)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("changing data object: %w", err)
	}
	return true, nil
}

// replace makes a new object and then, where objects cannot be changed, destroys what it replaces.
func (s *session) replace(label string, old []datum, content *pkcs11.Attribute) error {
	h, err := s.e.raw.CreateObject(s.h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, dataOwner),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		content,
	})
	if err != nil {
		return fmt.Errorf("creating data object: %w", err)
	}
	kept := []pkcs11.ObjectHandle{h}
	for _, d := range old {
		if len(old) < 2 && !s.e.keys.immutable.Load() {
			kept = append(kept, d.handle)
			continue
		}
		if err := s.e.raw.DestroyObject(s.h, d.handle); err != nil && classify(err) != classHandle {
			return fmt.Errorf("destroying the data object before: %w", err)
		}
	}
	s.e.keys.putData(label, kept)
	return nil
}

func checkData(label string, value []byte) error {
	r := GenerateRequest{ID: ObjectID{1}, Label: label}
	if err := r.check(); err != nil {
		return err
	}
	if len(value) > maxData {
		return fmt.Errorf("data of %d bytes, at most %d: %w", len(value), maxData, ErrRefused)
	}
	return nil
}

// Data returns the value last written: ErrNotFound when it was never set, ErrDamaged when nothing readable is left.
func (m *Module) Data(ctx context.Context, label string) ([]byte, error) {
	var value []byte
	err := m.call(ctx, fmt.Sprintf("reading data object %q", label), func(s *session) error {
		all, err := s.data(label)
		if err != nil {
			return err
		}
		var best datum
		for _, d := range all {
			if d.sequence > best.sequence {
				best = d
			}
		}
		switch {
		case best.sequence > 0:
			value = best.value
			return nil
		case len(all) > 0:
			return ErrDamaged
		case !s.e.alive(s.m.serial):
			return pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
		}
		return ErrNotFound
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// data finds and reads the objects of a name.
func (s *session) data(label string) ([]datum, error) {
	handles := s.e.keys.dataHandles(label)
	if len(handles) == 0 {
		var err error
		handles, err = s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
			pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, dataOwner))
		if err != nil {
			return nil, err
		}
		s.e.keys.putData(label, handles)
	}
	all := make([]datum, 0, len(handles))
	for _, h := range handles {
		v, err := s.attribute(h, pkcs11.CKA_VALUE)
		if err != nil && classify(err) != classRefused {
			return nil, fmt.Errorf("reading data object: %w", err)
		}
		d := datum{handle: h}
		d.sequence, d.value = decodeData(v)
		all = append(all, d)
	}
	return all, nil
}

func encodeData(sequence uint64, value []byte) []byte {
	b := make([]byte, dataHead, dataHead+len(value))
	copy(b, dataMagic)
	binary.BigEndian.PutUint64(b[4:], sequence)
	sum := dataSum(b[4:12], value)
	copy(b[12:], sum[:8])
	return append(b, value...)
}

// decodeData returns sequence zero for anything that encodeData did not write whole.
func decodeData(b []byte) (uint64, []byte) {
	if len(b) < dataHead || string(b[:4]) != dataMagic {
		return 0, nil
	}
	sum := dataSum(b[4:12], b[dataHead:])
	if !bytes.Equal(sum[:8], b[12:dataHead]) {
		return 0, nil
	}
	return binary.BigEndian.Uint64(b[4:]), b[dataHead:]
}

func dataSum(sequence, value []byte) [32]byte {
	return sha256.Sum256(append(append([]byte{}, sequence...), value...))
}
