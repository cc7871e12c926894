package merkle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"

	"sealkeeper/internal/gm"
)

// naive is the tree hash of RFC 6962 §2.1, word for word.
func naive(h *Hasher, leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return h.Empty()
	case 1:
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	l, r := naive(h, leaves[:k]), naive(h, leaves[k:])
	return h.Node(l[:], r[:])
}

// tree is an edge with its tiles and leaves.
type tree struct {
	edge   *Edge
	leaves []Hash
	full   map[Tile][]byte
}

func grow(t testing.TB, h *Hasher, n int) *tree {
	t.Helper()
	tr := &tree{edge: NewEdge(h), full: map[Tile][]byte{}}
	for i := range n {
		l := h.Leaf(fmt.Append(nil, "leaf ", i))
		if err := tr.edge.Append(l, func(id Tile, b []byte) { tr.full[id] = b }); err != nil {
			t.Fatal(err)
		}
		tr.leaves = append(tr.leaves, l)
	}
	return tr
}

func (tr *tree) read(id Tile) ([]byte, error) {
	if b := tr.full[id]; b != nil {
		return b, nil
	}
	if b := tr.edge.Partial(id); b != nil {
		return b, nil
	}
	return nil, errors.New("no such tile")
}

// sizes lie around the edges of tiles and levels.
var sizes = []int{0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 1000, 65535, 65536, 65537, 66000}

func TestKnownAnswers(t *testing.T) {
	sm3Empty := SM3.Empty()
	// SM3 of no bytes; SM3 and SHA-256 of single 0x00, computed with OpenSSL.
	for name, c := range map[string]struct {
		got  Hash
		want string
	}{
		"SM3 of nothing":    {sm3Empty, "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"},
		"SM3 empty leaf":    {SM3.Leaf(nil), "2daef60e7a0b8f5e024c81cd2ab3109f2b4f155cf83adeb2ae5532f74a157fdf"},
		"SHA-256 of nought": {SHA256.Empty(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	} {
		if hex.EncodeToString(c.got[:]) != c.want {
			t.Errorf("%s: %x, want %s", name, c.got, c.want)
		}
	}
	big := make([]byte, 5000)
	if SM3.Leaf(big) != gm.SM3([]byte{0}, big) || SHA256.Leaf(big) != sha256.Sum256(append([]byte{0}, big...)) {
		t.Error("a long leaf has another hash")
	}
	if !slices.Equal(SHA256.HashLeaf([]byte("x")), rfc6962.DefaultHasher.HashLeaf([]byte("x"))) ||
		!slices.Equal(SHA256.HashChildren(big[:32], big[:32]), rfc6962.DefaultHasher.HashChildren(big[:32], big[:32])) ||
		!slices.Equal(SHA256.EmptyRoot(), rfc6962.DefaultHasher.EmptyRoot()) {
		t.Error("SHA-256 differs from RFC 6962's own hasher")
	}
}

func TestByName(t *testing.T) {
	for _, h := range []*Hasher{SM3, SHA256} {
		if got, err := ByName(h.Name()); err != nil || got != h {
			t.Errorf("%s: %v %v", h.Name(), got, err)
		}
	}
	if _, err := ByName("md5"); !errors.Is(err, ErrHasher) {
		t.Errorf("md5: %v", err)
	}
}

func TestRootsAndRebuilding(t *testing.T) {
	for _, h := range []*Hasher{SM3, SHA256} {
		for _, n := range sizes {
			if n > 1000 && h == SHA256 {
				continue
			}
			tr := grow(t, h, n)
			want := naive(h, tr.leaves)
			if tr.edge.Root() != want || tr.edge.Size() != uint64(n) {
				t.Fatalf("%s, %d leaves: root %x, want %x", h.Name(), n, tr.edge.Root(), want)
			}
			again, err := Rebuild(h, uint64(n), tr.edge.Range(), func(i uint64) (Hash, error) { return tr.leaves[i], nil },
				func(id Tile) ([]byte, error) { return tr.full[id], nil })
			if err != nil || again.Root() != want {
				t.Fatalf("%d leaves rebuilt: %v", n, err)
			}
			for _, e := range []*Edge{again, tr.edge.Clone()} { // both grow on like the first
				next := h.Leaf([]byte("next"))
				if err := e.Append(next, nil); err != nil || e.Root() != naive(h, append(slices.Clone(tr.leaves), next)) {
					t.Fatalf("%d leaves and one: %v", n, err)
				}
			}
			if tr.edge.Root() != want {
				t.Fatalf("%d leaves: growing a clone changed the first", n)
			}
		}
	}
}

func TestRebuildRefuses(t *testing.T) {
	tr := grow(t, SM3, 700)
	leaf := func(i uint64) (Hash, error) { return tr.leaves[i], nil }
	tile := func(id Tile) ([]byte, error) { return tr.full[id], nil }
	good := tr.edge.Range()
	other := slices.Clone(good)
	other[1][0] ^= 1
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		size uint64
		want []Hash
		leaf func(uint64) (Hash, error)
		tile func(Tile) ([]byte, error)
		err  error
	}{
		"another range":    {700, other, leaf, tile, ErrEdge},
		"a shorter range":  {700, good[:2], leaf, tile, ErrEdge},
		"another size":     {699, good, leaf, tile, ErrEdge},
		"another leaf":     {700, good, func(uint64) (Hash, error) { return Hash{}, nil }, tile, ErrEdge},
		"a missing tile":   {700, good, leaf, func(Tile) ([]byte, error) { return nil, nil }, ErrEdge},
		"a reader's error": {700, good, func(uint64) (Hash, error) { return Hash{}, boom }, tile, boom},
	} {
		if _, err := Rebuild(SM3, c.size, c.want, c.leaf, c.tile); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

// TestProofs proves leaves and earlier sizes out of tiles and verifies; every altered proof must fail.
func TestProofs(t *testing.T) {
	tr := grow(t, SM3, 66000)
	rnd := rand.New(rand.NewPCG(3, 4))
	roots := map[int]Hash{}
	for _, size := range sizes[1:] {
		root, err := Root(SM3, uint64(size), tr.read)
		if err != nil || root != naive(SM3, tr.leaves[:size]) {
			t.Fatalf("root of %d from tiles: %v", size, err)
		}
		roots[size] = root
		for range 5 {
			index := uint64(rnd.IntN(size))
			path, err := Inclusion(SM3, index, uint64(size), tr.read)
			if err != nil {
				t.Fatal(err)
			}
			check := func(i uint64, p []Hash, l, r Hash) error { return VerifyInclusion(SM3, i, uint64(size), l, p, r) }
			if err := check(index, path, tr.leaves[index], root); err != nil {
				t.Fatal(err)
			}
			for name, err := range map[string]error{"leaf": check(index, path, Hash{1}, root), "root": check(index, path, tr.leaves[index], Hash{1}),
				"longer": check(index, append(slices.Clone(path), Hash{}), tr.leaves[index], root), "index": check(uint64(size), path, tr.leaves[index], root)} {
				if !errors.Is(err, ErrProof) {
					t.Fatalf("another %s: %v", name, err)
				}
			}
		}
	}
	for _, from := range sizes {
		for _, to := range sizes {
			if from > to {
				continue
			}
			path, err := Consistency(SM3, uint64(from), uint64(to), tr.read)
			if err != nil {
				t.Fatal(err)
			}
			a, b := naive(SM3, tr.leaves[:from]), naive(SM3, tr.leaves[:to])
			if err := VerifyConsistency(SM3, uint64(from), uint64(to), path, a, b); err != nil {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
			a[0] ^= 1
			if err := VerifyConsistency(SM3, uint64(from), uint64(to), path, a, b); !errors.Is(err, ErrProof) {
				t.Fatalf("%d to %d with another root: %v", from, to, err)
			}
		}
	}
	for name, err := range map[string]error{"index": second(Inclusion(SM3, 9, 9, tr.read)), "order": second(Consistency(SM3, 9, 8, tr.read)),
		"beyond": second(Inclusion(SM3, 1, 1<<40, tr.read)), "tiles": second(Inclusion(SM3, 1, 300, func(Tile) ([]byte, error) { return make([]byte, 32), nil }))} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func BenchmarkAppend(b *testing.B) {
	e := NewEdge(SM3)
	record := make([]byte, 400)
	for b.Loop() {
		if err := e.Append(SM3.Leaf(record), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInclusion(b *testing.B) {
	tr := grow(b, SM3, 66000)
	for b.Loop() {
		if _, err := Inclusion(SM3, 12345, 66000, tr.read); err != nil {
			b.Fatal(err)
		}
	}
}
