package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
)

const (
	// TileHeight is the number of tree levels that a tile spans: tiles exist at levels 0, 8, 16 and so on.
	TileHeight = 8
	// TileWidth is the number of hashes in a full tile.
	TileWidth = 1 << TileHeight
	// TileSize is the length of a full tile in bytes.
	TileSize = TileWidth * HashSize
)

// ErrEdge says that stored tiles, records and range hashes contradict each other.
var ErrEdge = errors.New("the tree's right edge does not match its range")

// Tile names a tile: Level is that of its hashes (0, 8, 16 …), Index counts tiles from the left.
type Tile struct {
	Level int
	Index uint64
}

// Full is called with every tile that fills; the bytes are TileSize long and belong to the receiver.
type Full func(t Tile, hashes []byte)

// Edge is the right edge of a growing tree: the compact range and the tiles that are not yet full. It is not safe for concurrent use;
// a writer works on a Clone and keeps it when the commit is durable.
type Edge struct {
	hasher *Hasher
	rng    *compact.Range
	tiles  [][]byte // tiles[k] holds the hashes of the partial tile at level 8k
}

// NewEdge returns the edge of an empty tree.
func NewEdge(h *Hasher) *Edge {
	return &Edge{hasher: h, rng: factory(h).NewEmptyRange(0)}
}

func factory(h *Hasher) *compact.RangeFactory { return &compact.RangeFactory{Hash: h.HashChildren} }

// Clone returns an independent copy.
func (e *Edge) Clone() *Edge {
	// The hashes themselves are never written to, so only the slice that holds them is copied. NewRange fails on a wrong number alone.
	rng, err := factory(e.hasher).NewRange(0, e.rng.End(), slices.Clone(e.rng.Hashes()))
	if err != nil {
		panic("merkle: " + err.Error())
	}
	c := &Edge{hasher: e.hasher, rng: rng, tiles: make([][]byte, len(e.tiles))}
	for i, t := range e.tiles {
		c.tiles[i] = append(make([]byte, 0, TileSize), t...)
	}
	return c
}

// Append adds a leaf and calls full (if not nil) for every tile that this completes, lowest level first.
func (e *Edge) Append(leaf Hash, full Full) error {
	err := e.rng.Append(leaf[:], func(id compact.NodeID, hash []byte) {
		if id.Level%TileHeight == 0 {
			e.push(int(id.Level/TileHeight), id.Index, hash, full)
		}
	})
	if err != nil {
		return fmt.Errorf("appending leaf %d: %w: %w", e.Size(), ErrEdge, err)
	}
	return nil
}

// push adds one hash to the partial tile of the k-th tile level.
func (e *Edge) push(k int, index uint64, hash []byte, full Full) {
	for len(e.tiles) <= k {
		e.tiles = append(e.tiles, make([]byte, 0, TileSize))
	}
	e.tiles[k] = append(e.tiles[k], hash...)
	if len(e.tiles[k]) < TileSize {
		return
	}
	if full != nil {
		full(Tile{k * TileHeight, index / TileWidth}, e.tiles[k])
	}
	e.tiles[k] = make([]byte, 0, TileSize)
}

// Size is the number of leaves.
func (e *Edge) Size() uint64 { return e.rng.End() }

// Root returns the root hash; that of an empty tree is the hash of no bytes.
func (e *Edge) Root() Hash {
	root, err := e.rng.GetRootHash(nil)
	if err != nil || root == nil {
		return e.hasher.Empty()
	}
	return Hash(root)
}

// Range returns the roots of the perfect subtrees that make up the tree, left to right: what is stored beside the tiles to check an
// Edge that was rebuilt.
func (e *Edge) Range() []Hash {
	out := make([]Hash, 0, len(e.rng.Hashes()))
	for _, h := range e.rng.Hashes() {
		out = append(out, Hash(h))
	}
	return out
}

// Partial returns a copy of the hashes of a tile at the right edge, fewer than TileWidth; nil when t is not at the edge.
func (e *Edge) Partial(t Tile) []byte {
	k := t.Level / TileHeight
	if t.Level%TileHeight != 0 || t.Level < 0 || k >= len(e.tiles) || len(e.tiles[k]) == 0 || t.Index != e.Size()>>(t.Level+TileHeight) {
		return nil
	}
	return slices.Clone(e.tiles[k])
}

// Rebuild makes the edge of a tree of the given size from its stored parts: leaf reads the leaf hash of a record (at most 255 are
// asked for), tile a full tile (at most 255 at each level). It returns ErrEdge when the result does not have the range hashes want.
func Rebuild(h *Hasher, size uint64, want []Hash, leaf func(index uint64) (Hash, error), tile func(Tile) ([]byte, error)) (*Edge, error) {
	e := NewEdge(h)
	for k := 0; size>>(k*TileHeight) > 0; k++ {
		part, err := rebuildPartial(h, size, k, leaf, tile)
		if err != nil {
			return nil, err
		}
		e.tiles = append(e.tiles, part)
	}
	hashes, err := rangeFrom(h, size, e.tiles)
	if err != nil {
		return nil, err
	}
	if e.rng, err = factory(h).NewRange(0, size, hashes); err != nil {
		return nil, fmt.Errorf("rebuilding the range: %w: %w", ErrEdge, err)
	}
	if !slices.Equal(e.Range(), want) {
		return nil, fmt.Errorf("range hashes of size %d differ: %w", size, ErrEdge)
	}
	return e, nil
}

func rebuildPartial(h *Hasher, size uint64, k int, leaf func(uint64) (Hash, error), tile func(Tile) ([]byte, error)) ([]byte, error) {
	part := make([]byte, 0, TileSize)
	end := size >> (k * TileHeight)
	for i := end &^ (TileWidth - 1); i < end; i++ {
		if k == 0 {
			l, err := leaf(i)
			if err != nil {
				return nil, err
			}
			part = append(part, l[:]...)
			continue
		}
		below, err := tile(Tile{(k - 1) * TileHeight, i})
		if err != nil {
			return nil, err
		}
		if len(below) != TileSize {
			return nil, fmt.Errorf("tile %d/%d has %d bytes: %w", (k-1)*TileHeight, i, len(below), ErrEdge)
		}
		part = append(part, fold(h, below)...)
	}
	return part, nil
}

// rangeFrom computes the range hashes from the partial tiles alone: every subtree of the range lies inside the partial tile of its level.
func rangeFrom(h *Hasher, size uint64, tiles [][]byte) ([][]byte, error) {
	var hashes [][]byte
	for _, id := range compact.RangeNodes(0, size, nil) {
		k, sub := int(id.Level/TileHeight), id.Level%TileHeight
		from := id.Index << sub % TileWidth * HashSize
		to := from + HashSize<<sub
		if k >= len(tiles) || to > uint64(len(tiles[k])) {
			return nil, fmt.Errorf("node %d/%d lies outside its tile: %w", id.Level, id.Index, ErrEdge)
		}
		hashes = append(hashes, fold(h, tiles[k][from:to]))
	}
	return hashes, nil
}

// fold hashes a power-of-two number of neighbouring hashes up to their common root. The input is left alone.
func fold(h *Hasher, hashes []byte) []byte {
	level := bytes.Clone(hashes)
	for len(level) > HashSize {
		for i := 0; i < len(level); i += 2 * HashSize {
			n := h.Node(level[i:i+HashSize], level[i+HashSize:i+2*HashSize])
			copy(level[i/2:], n[:])
		}
		level = level[:len(level)/2]
	}
	return level
}
