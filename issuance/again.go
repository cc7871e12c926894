package issuance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// attempts bounds how often a change is worked out anew because another commit came first.
const attempts = 16

// again runs a step until it is not overtaken by another commit.
func again[T any](ctx context.Context, step func(ctx context.Context) (T, error)) (T, error) {
	for n := 1; ; n++ {
		v, err := step(ctx)
		if !errors.Is(err, store.ErrConflict) || n == attempts || ctx.Err() != nil {
			return v, err
		}
	}
}

// answered finds what a request was answered the first time, in the first record that its commit wrote. done is false for a new
// request; store.ErrRequestReused when the request id was used for something else.
func (i *Issuance) answered(ctx context.Context, req *keystore.Request, kind string, answer any) (r keystore.Receipt, done bool, err error) {
	if req == nil {
		return r, false, nil
	}
	r, err = i.Store.Lookup(ctx, *req)
	if errors.Is(err, store.ErrNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	rs, err := i.Store.Records(ctx, r.First, 1)
	if err != nil || len(rs) != 1 {
		return r, true, fmt.Errorf("reading the first answer of request %.128q: %w", req.ID, errors.Join(store.ErrCorrupt, err))
	}
	e, err := audit.ParseBody(rs[0].Body)
	if err != nil || e.Kind != kind {
		return r, true, fmt.Errorf("request %.128q was answered with %q: %w", req.ID, e.Kind, errors.Join(store.ErrRequestReused, err))
	}
	result, _ := e.Result.(json.RawMessage)
	if err := json.Unmarshal(result, answer); err != nil {
		return r, true, fmt.Errorf("reading the first answer of request %.128q: %w: %w", req.ID, store.ErrCorrupt, err)
	}
	r.Duplicate = true
	return r, true, nil
}
