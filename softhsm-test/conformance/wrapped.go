package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"

	"sealkeeper/hsm"
)

// wrapping makes a KEK and its binding key, which are destroyed when the test ends.
func (c *body) wrapping(t *testing.T) hsm.Wrapping {
	t.Helper()
	return hsm.Wrapping{KEK: c.make(t, hsm.KEK).ID, Binder: c.make(t, hsm.AES256).ID}
}

func (c *body) makeWrapped(t *testing.T, a hsm.Algorithm, w hsm.Wrapping) hsm.WrappedBirth {
	t.Helper()
	b, err := c.tok.GenerateWrapped(t.Context(), wrapRequest(a, w))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wrapRequest(a hsm.Algorithm, w hsm.Wrapping) hsm.WrapRequest {
	var id hsm.ObjectID
	rand.Read(id[:])
	return hsm.WrapRequest{GenerateRequest: hsm.GenerateRequest{ID: id, Label: "conformance:" + id.String(), Algorithm: a}, Wrapping: w,
		Context: "seal 41030200000001"}
}

func signWith(w hsm.Wrapped, d [32]byte) hsm.SignRequest {
	return hsm.SignRequest{Key: w.Key, Algorithm: w.Algorithm, Digest: d, Wrapped: &w}
}

// wrapped is wrapped custody, for the algorithms whose keys the token wraps. A token that wraps none says so by name and makes nothing.
func (c *body) wrapped(t *testing.T, algorithms []hsm.Algorithm) {
	var id hsm.ObjectID
	rand.Read(id[:])
	_, err := c.tok.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "conformance:" + id.String(), Algorithm: hsm.KEK})
	if errors.Is(err, hsm.ErrUnproven) || errors.Is(err, hsm.ErrUnsupported) {
		t.Log("this token offers no wrapped custody:", err)
		if c.holds(t, id) {
			t.Error("the refused wrapping key is in the token")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := c.tok.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, a := range algorithms {
		if a == hsm.AES256 {
			continue
		}
		t.Run(string(a), func(t *testing.T) {
			w := c.wrapping(t)
			if _, err := c.tok.GenerateWrapped(t.Context(), wrapRequest(a, w)); errors.Is(err, hsm.ErrUnproven) || errors.Is(err, hsm.ErrUnsupported) {
				t.Skip("not wrapped here:", err)
			}
			t.Run("birth", func(t *testing.T) { c.wrappedBirth(t, a, w) })
			t.Run("sign", func(t *testing.T) { c.wrappedSign(t, a, w) })
			t.Run("many at once", func(t *testing.T) { c.wrappedMany(t, a, w) })
			t.Run("refusals", func(t *testing.T) { c.wrappedRefusals(t, a, w) })
			t.Run("rewrap", func(t *testing.T) { c.rewrap(t, a, w) })
		})
	}
}

func (c *body) holds(t *testing.T, id hsm.ObjectID) bool {
	t.Helper()
	all, err := c.tok.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.ID == id {
			return true
		}
	}
	return false
}

// bornWrapped is what a key must have read as before it was wrapped. It differs from a resident one's in that it could be wrapped.
var bornWrapped = map[string]string{"CKA_TOKEN": "false", "CKA_PRIVATE": "true", "CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "true"}

func (c *body) wrappedBirth(t *testing.T, a hsm.Algorithm, w hsm.Wrapping) {
	b := c.makeWrapped(t, a, w)
	have := map[string]string{}
	for _, at := range b.Birth.Attributes {
		have[at.Name] = at.Value
	}
	for name, want := range bornWrapped {
		if have[name] != want {
			t.Errorf("%s is %q", name, have[name])
		}
	}
	for _, name := range []string{"CKA_LOCAL", "CKA_ALWAYS_SENSITIVE"} {
		if have[name] != "true" && have[name] != "unknown" {
			t.Errorf("%s is %q", name, have[name])
		}
	}
	if !strings.HasPrefix(b.Birth.ValueRead, "refused: ") {
		t.Errorf("reading the private value: %q", b.Birth.ValueRead)
	}
	if b.Birth.Token.Serial == "" || b.Birth.Time.IsZero() || b.Birth.Algorithm != a || !bytes.Equal(b.Birth.Public, b.Wrapped.Public) {
		t.Errorf("birth %+v", b.Birth)
	}
	if err := Verify(b.Birth, [32]byte(b.Birth.Challenge), b.Birth.Response); err != nil {
		t.Errorf("response to the challenge: %v", err)
	}
	if c.holds(t, b.Wrapped.Key) {
		t.Error("the token keeps an object of a wrapped key")
	}
	r := signWith(b.Wrapped, digest())
	r.Wrapped = nil
	if _, err := c.tok.Sign(t.Context(), r); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("signing without the blob: %v", err)
	}
}

func (c *body) wrappedSign(t *testing.T, a hsm.Algorithm, w hsm.Wrapping) {
	b, other := c.makeWrapped(t, a, w), c.makeWrapped(t, a, w)
	before := c.tok.Stats()
	for range 8 {
		d := digest()
		sig, err := c.tok.Sign(t.Context(), signWith(b.Wrapped, d))
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(b.Birth, d, sig); err != nil {
			t.Errorf("signature %x: %v", sig, err)
		}
		if Verify(other.Birth, d, sig) == nil {
			t.Error("the signature verifies under another key")
		}
	}
	after := c.tok.Stats()
	if after.Unwraps != before.Unwraps+1 || after.FindObjects != before.FindObjects || after.Unwrapped < 1 {
		t.Errorf("before %+v, after %+v: eight signatures need one unwrapping", before, after)
	}
	if err := c.tok.Destroy(t.Context(), b.Wrapped.Key); err != nil {
		t.Errorf("closing the open key: %v", err)
	}
	if now := c.tok.Stats(); now.Unwrapped != after.Unwrapped-1 {
		t.Errorf("%d keys are open, %d were", now.Unwrapped, after.Unwrapped)
	}
}

func (c *body) wrappedMany(t *testing.T, a hsm.Algorithm, w hsm.Wrapping) {
	keys := []hsm.WrappedBirth{c.makeWrapped(t, a, w), c.makeWrapped(t, a, w)}
	before := c.tok.Stats()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 4 {
				b, d := keys[(i+j)%2], digest()
				sig, err := c.tok.Sign(t.Context(), signWith(b.Wrapped, d))
				if err != nil {
					t.Error(err)
				} else if err := Verify(b.Birth, d, sig); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if after := c.tok.Stats(); after.Unwraps != before.Unwraps+2 {
		t.Errorf("%d unwraps for two keys", after.Unwraps-before.Unwraps)
	}
}

// wrappedRefusals: whatever is changed in a wrapped key, it does not open and nothing is signed.
func (c *body) wrappedRefusals(t *testing.T, a hsm.Algorithm, w hsm.Wrapping) {
	b, other, elsewhere := c.makeWrapped(t, a, w), c.makeWrapped(t, a, w), c.wrapping(t)
	before := c.tok.Stats()
	for name, change := range map[string]func(x *hsm.Wrapped){
		"another key's blob":     func(x *hsm.Wrapped) { x.Blob = other.Wrapped.Blob },
		"blob and nonce moved":   func(x *hsm.Wrapped) { x.Blob, x.Nonce = other.Wrapped.Blob, other.Wrapped.Nonce },
		"another seal's context": func(x *hsm.Wrapped) { x.Context = "seal 41030200000002" },
		"another public key":     func(x *hsm.Wrapped) { x.Public = other.Wrapped.Public },
		"cut by a byte":          func(x *hsm.Wrapped) { x.Blob = x.Blob[:len(x.Blob)-1] },
		"cut by a block":         func(x *hsm.Wrapped) { x.Blob = x.Blob[:len(x.Blob)-8] },
		"nothing left":           func(x *hsm.Wrapped) { x.Blob = nil },
		"no nonce":               func(x *hsm.Wrapped) { x.Nonce = nil },
		"a bit turned":           func(x *hsm.Wrapped) { x.Blob = append([]byte{x.Blob[0] ^ 1}, x.Blob[1:]...) },
		"a bit of the tag":       func(x *hsm.Wrapped) { x.Blob = append(bytes.Clone(x.Blob[:len(x.Blob)-1]), x.Blob[len(x.Blob)-1]^1) },
		"longer":                 func(x *hsm.Wrapped) { x.Blob = append(bytes.Clone(x.Blob), 0) },
		"under another KEK":      func(x *hsm.Wrapped) { x.KEK = elsewhere.KEK },
		"under other keys":       func(x *hsm.Wrapped) { x.Wrapping = elsewhere },
		"under another binder":   func(x *hsm.Wrapped) { x.Binder = elsewhere.Binder },
	} {
		x := b.Wrapped
		change(&x)
		sig, err := c.tok.Sign(t.Context(), signWith(x, digest()))
		if !errors.Is(err, hsm.ErrBlob) || sig != nil {
			t.Errorf("%s: %x, %v", name, sig, err)
		}
		if _, err := c.tok.Rewrap(t.Context(), hsm.RewrapRequest{Wrapped: x, To: elsewhere}); !errors.Is(err, hsm.ErrBlob) {
			t.Errorf("%s, wrapped anew: %v", name, err)
		}
	}
	r := signWith(b.Wrapped, digest())
	r.Key = other.Wrapped.Key
	if _, err := c.tok.Sign(t.Context(), r); !errors.Is(err, hsm.ErrBlob) {
		t.Errorf("asked for by another identifier: %v", err)
	}
	x := b.Wrapped
	rand.Read(x.KEK[:])
	if _, err := c.tok.Sign(t.Context(), signWith(x, digest())); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("a KEK that is not here: %v", err)
	}
	if after := c.tok.Stats(); after.Signs != before.Signs || after.Unwraps != before.Unwraps {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if _, err := c.tok.Sign(t.Context(), signWith(b.Wrapped, digest())); err != nil {
		t.Errorf("the unchanged key: %v", err)
	}
	if _, err := c.tok.GenerateWrapped(t.Context(), wrapRequest(a, hsm.Wrapping{KEK: w.Binder, Binder: w.KEK})); err == nil {
		t.Error("KEK and binding key can stand for each other")
	}
}

func (c *body) rewrap(t *testing.T, a hsm.Algorithm, w hsm.Wrapping) {
	b, next := c.makeWrapped(t, a, w), c.wrapping(t)
	moved, err := c.tok.Rewrap(t.Context(), hsm.RewrapRequest{Wrapped: b.Wrapped, To: next})
	if err != nil {
		t.Fatal(err)
	}
	if moved.Wrapping != next || moved.Key != b.Wrapped.Key || moved.Context != b.Wrapped.Context || bytes.Equal(moved.Blob, b.Wrapped.Blob) {
		t.Errorf("moved to %+v", moved)
	}
	for _, x := range []hsm.Wrapped{b.Wrapped, moved} {
		d := digest()
		if sig, err := c.tok.Sign(t.Context(), signWith(x, d)); err != nil || Verify(b.Birth, d, sig) != nil {
			t.Errorf("under %s: %x, %v", x.KEK, sig, err)
		}
	}
	ctx := context.WithoutCancel(t.Context())
	if err := c.tok.Destroy(ctx, w.KEK); err != nil {
		t.Fatal(err)
	}
	d := digest()
	if sig, err := c.tok.Sign(ctx, signWith(moved, d)); err != nil || Verify(b.Birth, d, sig) != nil {
		t.Errorf("after the end of the old KEK: %x, %v", sig, err)
	}
	if _, err := c.tok.Rewrap(ctx, hsm.RewrapRequest{Wrapped: b.Wrapped, To: next}); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("from under a KEK that is gone: %v", err)
	}
}
