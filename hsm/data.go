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

// A named value lives in two data objects that are written in turn, each with a sequence number and a checksum. A write that is cut
// off damages the older of the two, never the value last written; and no object is ever destroyed, which costs a walk over the whole
// token in SoftHSM.
//
//	"SKD1" | sequence, 8 bytes big-endian | first 8 bytes of SHA-256(sequence ‖ value) | value

// ErrDamaged: the value was set once and cannot be read any more. Never the same as ErrNotFound: an anchor that was lost is not an
// anchor that never was (law 12).
var ErrDamaged = errors.New("the token's data object is damaged")

const (
	dataMagic = "SKD1"
	dataHead  = len(dataMagic) + 8 + 8
	maxData   = 4 << 10
	dataOwner = "sealkeeper/" // CKA_APPLICATION is this and the letter of the slot
)

var dataSlots = []string{"a", "b"}

// slot is one of the two objects, as found.
type slot struct {
	name     string
	handle   pkcs11.ObjectHandle // zero: absent
	sequence uint64              // zero: damaged
	value    []byte
}

// SetData keeps a small named value in public data objects of the token. It is not a secret there.
func (m *Module) SetData(ctx context.Context, label string, value []byte) error {
	if err := checkData(label, value); err != nil {
		return err
	}
	return m.call(ctx, fmt.Sprintf("writing data object %q", label), func(s *session) error {
		m.writing.Lock()
		defer m.writing.Unlock()
		slots, err := s.slots(label)
		if err != nil {
			return err
		}
		target, newest := slots[0], slots[0].sequence
		for _, o := range slots[1:] {
			newest = max(newest, o.sequence)
			if o.sequence < target.sequence {
				target = o
			}
		}
		return s.writeSlot(label, target, encodeData(newest+1, value))
	})
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
		slots, err := s.slots(label)
		if err != nil {
			return err
		}
		best, present := slot{}, false
		for _, o := range slots {
			present = present || o.handle != 0
			if o.sequence > best.sequence {
				best = o
			}
		}
		switch {
		case best.sequence > 0:
			value = best.value
			return nil
		case present:
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

// slots finds both objects and reads them.
func (s *session) slots(label string) ([]slot, error) {
	out := make([]slot, 0, len(dataSlots))
	for _, name := range dataSlots {
		o := slot{name: name}
		var err error
		if o.handle, err = s.dataObject(label, name); err != nil {
			return nil, err
		}
		if o.handle != 0 {
			v, err := s.attribute(o.handle, pkcs11.CKA_VALUE)
			if err != nil && classify(err) != classRefused {
				return nil, fmt.Errorf("reading data object: %w", err)
			}
			o.sequence, o.value = decodeData(v)
		}
		out = append(out, o)
	}
	return out, nil
}

// dataObject returns the handle of a slot's object, zero when there is none.
func (s *session) dataObject(label, name string) (pkcs11.ObjectHandle, error) {
	key := label + "/" + name
	if h := s.e.keys.dataHandle(key); h != 0 {
		return h, nil
	}
	all, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, dataOwner+name))
	switch {
	case err != nil || len(all) == 0:
		return 0, err
	case len(all) > 1:
		return 0, fmt.Errorf("%d data objects %q: %w", len(all), label, ErrDamaged)
	}
	s.e.keys.putData(key, all[0])
	return all[0], nil
}

func (s *session) writeSlot(label string, o slot, content []byte) error {
	value := pkcs11.NewAttribute(pkcs11.CKA_VALUE, content)
	if o.handle != 0 {
		if err := s.e.raw.SetAttributeValue(s.h, o.handle, []*pkcs11.Attribute{value}); err != nil {
			return fmt.Errorf("changing data object: %w", err)
		}
		return nil
	}
	h, err := s.e.raw.CreateObject(s.h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, dataOwner+o.name),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		value,
	})
	if err != nil {
		return fmt.Errorf("creating data object: %w", err)
	}
	s.e.keys.putData(label+"/"+o.name, h)
	return nil
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
