package audit

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/keystore/store"
)

// ErrProof says that a proof does not prove what it should, or one was asked for beyond the log's end.
var ErrProof = errors.New("the proof does not hold")

// Hash is a tree hash; in JSON it is standard base64, as in a checkpoint.
type Hash merkle.Hash

// MarshalText writes standard base64.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads standard base64 of exactly 32 bytes.
func (h *Hash) UnmarshalText(b []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(b))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("hash %q: %w", b, ErrProof)
	}
	*h = Hash(raw)
	return nil
}

// Proof says that a record stands in the log: VerifyInclusion needs nothing else but the audit key and the record's bytes.
type Proof struct {
	Index      uint64 `json:"index"`
	Size       uint64 `json:"size"` // of the tree that the checkpoint tells of
	Leaf       Hash   `json:"leaf"`
	Hashes     []Hash `json:"hashes"`               // audit path, lowest level first
	Checkpoint string `json:"checkpoint,omitempty"` // signed note of that size; empty when none is kept for the size that was asked for
}

// Consistency says that a smaller tree is the beginning of a larger one.
type Consistency struct {
	From       uint64 `json:"from"`
	To         uint64 `json:"to"`
	Hashes     []Hash `json:"hashes"`
	Checkpoint string `json:"checkpoint,omitempty"` // signed note of size To, if one is kept
}

// Inclusion proves record index in the tree of the given size; size 0 means the latest checkpoint, and a new one is signed when the record
// is younger. Beyond the log's end it is ErrProof.
func (l *Log) Inclusion(ctx context.Context, index, size uint64) (Proof, error) {
	state := l.st.State()
	if size > state.Size || index >= state.Size || size != 0 && index >= size {
		return Proof{}, fmt.Errorf("record %d in %d of %d: %w", index, size, state.Size, ErrProof)
	}
	if size == 0 {
		s := l.latest.Load()
		if s == nil || index >= s.Size {
			if _, err := l.Sign(ctx); err != nil {
				return Proof{}, err
			}
			s = l.latest.Load()
		}
		size = s.Size
	}
	rs, err := l.st.Records(ctx, index, 1)
	if err != nil {
		return Proof{}, fmt.Errorf("reading record %d: %w", index, err)
	}
	path, err := merkle.Inclusion(l.hasher, index, size, l.tiles(ctx))
	if err != nil {
		return Proof{}, err
	}
	b, err := l.noteOf(ctx, size)
	return Proof{Index: index, Size: size, Leaf: Hash(l.hasher.Leaf(rs[0].Raw)), Hashes: wrap(path), Checkpoint: string(b)}, err
}

// Consistency proves that the tree of size from is the beginning of the tree of size to; to 0 means the latest checkpoint.
func (l *Log) Consistency(ctx context.Context, from, to uint64) (Consistency, error) {
	if to == 0 {
		if s := l.latest.Load(); s != nil {
			to = s.Size
		}
	}
	if from > to || to > l.st.State().Size {
		return Consistency{}, fmt.Errorf("from %d to %d of %d: %w", from, to, l.st.State().Size, ErrProof)
	}
	path, err := merkle.Consistency(l.hasher, from, to, l.tiles(ctx))
	if err != nil {
		return Consistency{}, err
	}
	b, err := l.noteOf(ctx, to)
	return Consistency{From: from, To: to, Hashes: wrap(path), Checkpoint: string(b)}, err
}

// noteOf finds the signed note of a size, nil when none is kept.
func (l *Log) noteOf(ctx context.Context, size uint64) ([]byte, error) {
	if s := l.latest.Load(); s != nil && s.Size == size {
		return s.note, nil
	}
	it, err := l.st.Get(ctx, checkpoints, binary.BigEndian.AppendUint64(nil, size))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return it.Value, err
}

func wrap(path []merkle.Hash) []Hash {
	out := make([]Hash, len(path))
	for i, h := range path {
		out[i] = Hash(h)
	}
	return out
}

func unwrap(path []Hash) []merkle.Hash {
	out := make([]merkle.Hash, len(path))
	for i, h := range path {
		out[i] = merkle.Hash(h)
	}
	return out
}

// VerifyInclusion checks a proof with the audit key alone: that its checkpoint is signed and of its size, and that the record, given by
// its stored bytes, stands at its index. It returns the checkpoint; ErrProof or ErrCheckpoint otherwise.
func VerifyInclusion(key *gm.PublicKey, p Proof, raw []byte) (Checkpoint, error) {
	c, err := OpenCheckpoint([]byte(p.Checkpoint), key)
	if err != nil {
		return Checkpoint{}, err
	}
	h, err := c.Hasher()
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Size != p.Size {
		return Checkpoint{}, fmt.Errorf("checkpoint of size %d, proof of %d: %w", c.Size, p.Size, ErrProof)
	}
	if h.Leaf(raw) != merkle.Hash(p.Leaf) {
		return Checkpoint{}, fmt.Errorf("the record has another leaf hash: %w", ErrProof)
	}
	if err := merkle.VerifyInclusion(h, p.Index, p.Size, merkle.Hash(p.Leaf), unwrap(p.Hashes), c.Root); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return c, nil
}

// VerifyConsistency checks that the log of the older signed checkpoint is the beginning of the newer one's.
func VerifyConsistency(key *gm.PublicKey, older, newer []byte, path []Hash) error {
	a, err := OpenCheckpoint(older, key)
	if err != nil {
		return fmt.Errorf("older: %w", err)
	}
	b, err := OpenCheckpoint(newer, key)
	if err != nil {
		return fmt.Errorf("newer: %w", err)
	}
	if a.Origin != b.Origin {
		return fmt.Errorf("checkpoints of %q and %q: %w", a.Origin, b.Origin, ErrProof)
	}
	h, err := a.Hasher()
	if err != nil {
		return err
	}
	if err := merkle.VerifyConsistency(h, a.Size, b.Size, unwrap(path), a.Root, b.Root); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	return nil
}
