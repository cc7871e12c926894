// Package merkle is the arithmetic of the audit log's tree: RFC 6962 in shape, over SM3 unless the log says otherwise, cut into tiles.
//
// Its one promise is purity: it holds no file, clock or key. An Edge grows the tree one leaf at a time and hands out every tile that
// fills; proofs and roots of any earlier size are computed from tiles alone. Nodes and proofs come from transparency-dev/merkle.
//
//	tile {8,0}   │ root{0,0} … root{0,255} │
//	tile {0,0}   │ leaf 0 … leaf 255 │  tile {0,1}  │ leaf 256 … │   (each 256 hashes of 32 bytes)
//
// Limits: hashes are 32 bytes; the hash is a property of a log, fixed when the log is made, and never changes inside it.
package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"sealkeeper/internal/gm"
)

// HashSize is the length of every hash in bytes.
const HashSize = 32

// Hash is a leaf, node or root hash.
type Hash = [HashSize]byte

// ErrHasher says that a log names a hash this package does not know.
var ErrHasher = errors.New("unknown tree hash")

// Hasher computes leaf and node hashes with the domain separation of RFC 6962 §2.1: 0x00 before a leaf, 0x01 before two children.
// It satisfies the LogHasher of transparency-dev/merkle.
type Hasher struct {
	name string
	sum  func(b []byte) Hash
}

// SM3 is the default hasher (GB/T 32905), named "sm3"; SHA256 (FIPS 180-4), named "sha256", is for a log that must be read by tools
// that know no other.
var (
	SM3    = &Hasher{"sm3", func(b []byte) Hash { return gm.SM3(b) }}
	SHA256 = &Hasher{"sha256", sha256.Sum256}
)

// ByName returns the hasher that a log names, or ErrHasher.
func ByName(name string) (*Hasher, error) {
	for _, h := range []*Hasher{SM3, SHA256} {
		if h.name == name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("%q: %w", name, ErrHasher)
}

// Name is how a log names the hash: "sm3" or "sha256".
func (h *Hasher) Name() string { return h.name }

// Leaf returns the leaf hash of the stored bytes of a record.
func (h *Hasher) Leaf(record []byte) Hash {
	b := make([]byte, 0, 1024)
	b = append(b, 0)
	return h.sum(append(b, record...))
}

// Node returns the hash of an inner node.
func (h *Hasher) Node(left, right []byte) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = 1
	copy(b[1:], left)
	copy(b[1+HashSize:], right)
	return h.sum(b[:1+len(left)+len(right)])
}

// Empty is the root of a tree without leaves: the hash of no bytes.
func (h *Hasher) Empty() Hash { return h.sum(nil) }

// EmptyRoot is Empty. It, HashLeaf, HashChildren and Size are the forms that transparency-dev/merkle asks for.
func (h *Hasher) EmptyRoot() []byte { e := h.Empty(); return e[:] }

// HashLeaf is Leaf.
func (h *Hasher) HashLeaf(leaf []byte) []byte { l := h.Leaf(leaf); return l[:] }

// HashChildren is Node.
func (h *Hasher) HashChildren(l, r []byte) []byte { n := h.Node(l, r); return n[:] }

// Size is HashSize.
func (h *Hasher) Size() int { return HashSize }
