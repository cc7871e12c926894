package merkle

import (
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
)

// ErrProof says that a proof does not prove what it should.
var ErrProof = errors.New("the proof does not hold")

// Reader returns the hashes of a tile: TileSize bytes, fewer at the right edge.
type Reader func(t Tile) ([]byte, error)

// Inclusion returns the audit path of leaf index in the tree of the given size (RFC 6962 §2.1.1), lowest level first.
func Inclusion(h *Hasher, index, size uint64, tiles Reader) ([]Hash, error) {
	n, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion of %d in %d: %w", index, size, err)
	}
	return assemble(h, n, tiles)
}

// Consistency returns the proof that the tree of size from is a beginning of the tree of size to (RFC 6962 §2.1.2).
func Consistency(h *Hasher, from, to uint64, tiles Reader) ([]Hash, error) {
	n, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("consistency of %d with %d: %w", from, to, err)
	}
	return assemble(h, n, tiles)
}

// Root computes the root of the first size leaves from tiles.
func Root(h *Hasher, size uint64, tiles Reader) (Hash, error) {
	if size == 0 {
		return h.Empty(), nil
	}
	c := cache{h: h, read: tiles}
	var hashes [][]byte
	for _, id := range compact.RangeNodes(0, size, nil) {
		b, err := c.node(id)
		if err != nil {
			return Hash{}, err
		}
		hashes = append(hashes, b)
	}
	rng, err := factory(h).NewRange(0, size, hashes)
	if err != nil {
		return Hash{}, fmt.Errorf("root of size %d: %w", size, err)
	}
	root, err := rng.GetRootHash(nil)
	if err != nil {
		return Hash{}, fmt.Errorf("root of size %d: %w", size, err)
	}
	return Hash(root), nil
}

// VerifyInclusion checks an audit path; ErrProof when leaf is not at index in the tree with that root.
func VerifyInclusion(h *Hasher, index, size uint64, leaf Hash, path []Hash, root Hash) error {
	if err := proof.VerifyInclusion(h, index, size, leaf[:], raw(path), root[:]); err != nil {
		return fmt.Errorf("inclusion of %d in %d: %w: %w", index, size, ErrProof, err)
	}
	return nil
}

// VerifyConsistency checks that the tree (from, root1) is a beginning of the tree (to, root2); ErrProof otherwise.
func VerifyConsistency(h *Hasher, from, to uint64, path []Hash, root1, root2 Hash) error {
	if from == 0 && root1 != h.Empty() {
		return fmt.Errorf("root of the empty tree: %w", ErrProof)
	}
	if err := proof.VerifyConsistency(h, from, to, raw(path), root1[:], root2[:]); err != nil {
		return fmt.Errorf("consistency of %d with %d: %w: %w", from, to, ErrProof, err)
	}
	return nil
}

func raw(path []Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}

func assemble(h *Hasher, n proof.Nodes, tiles Reader) ([]Hash, error) {
	c := cache{h: h, read: tiles}
	hashes := make([][]byte, 0, len(n.IDs))
	for _, id := range n.IDs {
		b, err := c.node(id)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, b)
	}
	path, err := n.Rehash(hashes, h.HashChildren)
	if err != nil {
		return nil, fmt.Errorf("assembling proof: %w", err)
	}
	out := make([]Hash, len(path))
	for i := range path {
		out[i] = Hash(path[i])
	}
	return out, nil
}

// cache keeps the tiles of one proof: neighbouring nodes come from the same tile.
type cache struct {
	h     *Hasher
	read  Reader
	tiles map[Tile][]byte
}

// node computes the hash of a perfect subtree from the tile that covers it.
func (c *cache) node(id compact.NodeID) ([]byte, error) {
	sub := id.Level % TileHeight
	first := id.Index << sub
	t := Tile{int(id.Level - sub), first / TileWidth}
	b, err := c.tile(t)
	if err != nil {
		return nil, err
	}
	from := first % TileWidth * HashSize
	to := from + HashSize<<sub
	if uint64(len(b)) < to {
		return nil, fmt.Errorf("tile %d/%d holds %d bytes, %d needed: %w", t.Level, t.Index, len(b), to, ErrEdge)
	}
	return fold(c.h, b[from:to]), nil
}

func (c *cache) tile(t Tile) ([]byte, error) {
	if b, ok := c.tiles[t]; ok {
		return b, nil
	}
	b, err := c.read(t)
	if err != nil {
		return nil, fmt.Errorf("reading tile %d/%d: %w", t.Level, t.Index, err)
	}
	if c.tiles == nil {
		c.tiles = map[Tile][]byte{}
	}
	c.tiles[t] = b
	return b, nil
}
