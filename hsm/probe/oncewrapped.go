package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

// Wrappable are the algorithms whose keys the profile says can leave the token wrapped.
func Wrappable(p *firmware.Profile) []hsm.Algorithm {
	var all []hsm.Algorithm
	for _, a := range Algorithms(p) {
		name := map[hsm.Algorithm]string{hsm.SM2: "sm2", hsm.ECDSAP256: "ecdsa", hsm.RSA2048: "rsa"}[a]
		if how := p.Wrap[name]; how != "" && how != "none" {
			all = append(all, a)
		}
	}
	return all
}

// OnceWrapped makes the two keys of wrapped custody, a key that leaves the token under them, has it sign, and destroys all three.
func OnceWrapped(ctx context.Context, m *hsm.Module, a hsm.Algorithm) (left string, err error) {
	var ids [3]hsm.ObjectID
	ask := func(i int, a hsm.Algorithm) hsm.GenerateRequest {
		rand.Read(ids[i][:]) // never returns an error
		return hsm.GenerateRequest{ID: ids[i], Label: Label + hex.EncodeToString(ids[i][:8]), Algorithm: a}
	}
	var made []hsm.GenerateRequest
	defer func() {
		for _, r := range made {
			if gone := m.Destroy(context.WithoutCancel(ctx), r.ID); gone != nil {
				left += fmt.Sprintf("%s key %s labelled %s ", r.Algorithm, r.ID, r.Label)
				err = errors.Join(err, fmt.Errorf("destroying the %s key: %w", r.Algorithm, gone))
			}
		}
	}()
	for i, kind := range []hsm.Algorithm{hsm.KEK, hsm.AES256} {
		r := ask(i, kind)
		if _, err := m.Generate(ctx, r); err != nil {
			return "", fmt.Errorf("making the %s key: %w", kind, err)
		}
		made = append(made, r)
	}
	b, err := m.GenerateWrapped(ctx, hsm.WrapRequest{GenerateRequest: ask(2, a), Wrapping: hsm.Wrapping{KEK: ids[0], Binder: ids[1]}, Context: "probe"})
	if err != nil {
		return "", fmt.Errorf("making a wrapped key: %w", err)
	}
	return "", signOnce(ctx, m, b.Birth, &b.Wrapped)
}
