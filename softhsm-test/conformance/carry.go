package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"sealkeeper/hsm"
)

// carried has a KEK and a binding key leave the token for a transport key, which is the same token's here, and come back as copies.
func (c *body) carried(t *testing.T) {
	var id hsm.ObjectID
	rand.Read(id[:])
	transport, err := c.tok.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "conformance:" + id.String(), Algorithm: hsm.Transport})
	if errors.Is(err, hsm.ErrUnsupported) {
		t.Log("profile and token carry no keys, and say so")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c.end(t, id)
	for _, a := range []hsm.Algorithm{hsm.KEK, hsm.AES256} {
		r, copied := c.named(a), c.named(a)
		r.Portable = true
		if _, err := c.tok.Generate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		c.end(t, r.ID)
		blob, err := c.tok.Export(t.Context(), hsm.ExportRequest{Key: r.ID, Algorithm: a, To: transport.Public})
		if err != nil {
			t.Fatal(err)
		}
		c.end(t, copied.ID)
		b, err := c.tok.Import(t.Context(), hsm.ImportRequest{GenerateRequest: copied, Transport: id, Blob: blob})
		if err != nil || b.ID != copied.ID || len(b.Attributes) == 0 {
			t.Fatalf("%+v, %v", b, err)
		}
		if _, err := c.tok.Lock(t.Context(), r); err != nil {
			t.Error(err)
		}
		for _, locked := range []hsm.ObjectID{r.ID, copied.ID} {
			if _, err := c.tok.Export(t.Context(), hsm.ExportRequest{Key: locked, Algorithm: a, To: transport.Public}); !errors.Is(err, hsm.ErrRefused) {
				t.Errorf("a %s key leaves the token after it was carried: %v", a, err)
			}
		}
		if _, err := c.tok.Import(t.Context(), hsm.ImportRequest{GenerateRequest: c.named(a), Transport: id, Blob: blob[1:]}); err == nil {
			t.Error("a blob that was cut is taken over")
		}
	}
}

func (c *body) named(a hsm.Algorithm) hsm.GenerateRequest {
	var id hsm.ObjectID
	rand.Read(id[:])
	return hsm.GenerateRequest{ID: id, Label: "conformance:" + id.String(), Algorithm: a}
}

// end destroys a key when the test ends.
func (c *body) end(t *testing.T, id hsm.ObjectID) {
	t.Cleanup(func() {
		if err := c.tok.Destroy(context.WithoutCancel(t.Context()), id); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			t.Errorf("destroying the test's key: %v", err)
		}
	})
}
