package gm

import (
	"encoding/binary"
	"fmt"
	"math/big"
)

// maxID is the longest user ID whose length in bits fills two bytes.
const maxID = 8191

// ZOf returns Z for another user ID than the default. Nothing of ours signs under one; it tells what a device signed that was given one.
func (p *PublicKey) ZOf(id []byte) ([32]byte, error) {
	if len(id) > maxID {
		return [32]byte{}, fmt.Errorf("user ID of %d bytes, at most %d: %w", len(id), maxID, ErrKey)
	}
	h := NewSM3()
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(id)*8)))
	h.Write(id)
	c := order()
	for _, v := range []*big.Int{new(big.Int).Sub(c.P, big.NewInt(3)), c.B, c.Gx, c.Gy} { // a is p-3
		h.Write(v.FillBytes(make([]byte, 32)))
	}
	h.Write(p.Point()[1:])
	var z [32]byte
	h.Sum(z[:0])
	return z, nil
}
