package audit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/keystore/store"
)

// ErrCheckpoint says that bytes are not a checkpoint of this log signed by this key.
var ErrCheckpoint = errors.New("not a checkpoint signed by the audit key")

// SignatureType names the signature algorithm inside a note: 0xff and an identifier of our own, since no number is registered for SM2.
// The key hash of a note's signature line is the first four bytes of
//
//	SHA-256(key name ‖ LF ‖ 0xff ‖ "sealkeeper.sm2-sm3.der.v1" ‖ 65-byte point 04‖X‖Y)
//
// and the signature is strict DER SEQUENCE{r,s} (GM/T 0009) by SM2 with SM3 under the default user ID over the note's text, its final
// newline included.
const SignatureType = "\xffsealkeeper.sm2-sm3.der.v1"

// Key is the audit key: token-held, and it signs nothing but checkpoints (law 11: the text is built here).
type Key interface {
	Public() *gm.PublicKey
	// Sign returns strict DER over the whole message.
	Sign(ctx context.Context, message []byte) (der []byte, err error)
}

// Checkpoint is what a log looked like: its text is origin, size and root in base64, each on a line (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   merkle.Hash
}

// Origin names a log: "sealkeeper/<log identifier>/<hash>". The hash of the tree is part of the name, so it cannot change silently.
func Origin(s store.State) string { return "sealkeeper/" + s.Log + "/" + s.Hash }

// Hasher returns the tree hash that the origin names.
func (c Checkpoint) Hasher() (*merkle.Hasher, error) {
	i := strings.LastIndexByte(c.Origin, '/')
	return merkle.ByName(c.Origin[i+1:])
}

func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// sign makes the signed note. Its key name is the origin.
func (c Checkpoint) sign(ctx context.Context, k Key) ([]byte, error) {
	b, err := note.Sign(&note.Note{Text: c.text()}, noteSigner{ctx, c.Origin, k})
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint of size %d: %w", c.Size, err)
	}
	return b, nil
}

// OpenCheckpoint verifies a signed note under the audit key and reads it strictly: three lines and no more. Further signatures (of
// witnesses) are allowed and not judged. Everything else is ErrCheckpoint.
func OpenCheckpoint(signed []byte, key *gm.PublicKey) (Checkpoint, error) {
	origin, _, _ := strings.Cut(string(signed), "\n")
	n, err := note.Open(signed, note.VerifierList(noteVerifier{origin, key}))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, fmt.Errorf("%d lines: %w", len(lines)-1, ErrCheckpoint)
	}
	c := Checkpoint{Origin: lines[0]}
	if c.Size, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return Checkpoint{}, fmt.Errorf("size: %w: %w", ErrCheckpoint, err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != merkle.HashSize {
		return Checkpoint{}, fmt.Errorf("root %q: %w", lines[2], ErrCheckpoint)
	}
	c.Root = merkle.Hash(root)
	if c.text() != n.Text {
		return Checkpoint{}, fmt.Errorf("not in the one form: %w", ErrCheckpoint)
	}
	if _, err := c.Hasher(); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return c, nil
}

// openAny is OpenCheckpoint under the first of several keys that fits; the error is that of the last.
func openAny(signed []byte, keys []*gm.PublicKey) (c Checkpoint, err error) {
	for _, key := range keys {
		if c, err = OpenCheckpoint(signed, key); err == nil {
			return c, nil
		}
	}
	return c, err
}

func keyHash(name string, p *gm.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n" + SignatureType))
	h.Write(p.Point())
	return binary.BigEndian.Uint32(h.Sum(nil))
}

type noteSigner struct {
	ctx  context.Context // the note package's Sign takes none
	name string
	key  Key
}

func (s noteSigner) Name() string                     { return s.name }
func (s noteSigner) KeyHash() uint32                  { return keyHash(s.name, s.key.Public()) }
func (s noteSigner) Sign(text []byte) ([]byte, error) { return s.key.Sign(s.ctx, text) }

type noteVerifier struct {
	name string
	key  *gm.PublicKey
}

func (v noteVerifier) Name() string                 { return v.name }
func (v noteVerifier) KeyHash() uint32              { return keyHash(v.name, v.key) }
func (v noteVerifier) Verify(text, sig []byte) bool { return v.key.Verify(text, sig) == nil }
