package register

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"sealkeeper/keystore/store"
)

// ErrNumber: the division is not six digits, or its numbers are used up.
var ErrNumber = errors.New("no seal number to give")

var divisionForm = regexp.MustCompile(`^\d{6}$`)

const lastNumber = 99_999_999

// runningNumber is the value of seal-number: where to look for a free number after a start.
type runningNumber struct {
	Next uint64 `json:"next"`
}

// Number gives the next free seal number: six digits of the division, eight running. It is given once in this process, and for good by
// the commit that enters the seal, which requires that no seal has it. Numbers of commits that never came leave gaps.
func (r *Register) Number(ctx context.Context, division string) (string, error) {
	if !divisionForm.MatchString(division) {
		return "", fmt.Errorf("division %.20q: %w", division, ErrNumber)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := r.startOf(ctx, division)
	if err != nil {
		return "", err
	}
	for ; next <= lastNumber; next++ {
		esid := division + fmt.Sprintf("%08d", next)
		_, err := r.st.Get(ctx, seals, []byte(esid))
		if errors.Is(err, store.ErrNotFound) {
			r.next[division] = next + 1
			return esid, nil
		}
		if err != nil {
			return "", fmt.Errorf("looking for seal number %s: %w", esid, err)
		}
	}
	return "", fmt.Errorf("division %s: %w", division, ErrNumber)
}

func (r *Register) startOf(ctx context.Context, division string) (uint64, error) {
	if n, known := r.next[division]; known {
		return max(n, r.skip[division]), nil
	}
	var n runningNumber
	_, _, err := r.lookup(ctx, numbers, division, &n)
	return max(n.Next, r.skip[division], 1), err
}

// Numbered drafts where the search for a free number goes on after a restart. It only spares time: the promise that a number is never
// given twice rests on Enter.
func Numbered(esid string) (Draft, error) {
	n, err := strconv.ParseUint(esid[6:], 10, 64)
	if err != nil || len(esid) != 14 {
		return Draft{}, fmt.Errorf("seal number %.20q: %w", esid, ErrNumber)
	}
	var d Draft
	err = d.put(numbers, esid[:6], runningNumber{n + 1}, 0)
	d.Expect = nil // the last writer wins; a value too low costs a few reads
	return d, err
}

// SkipNumber keeps a number and all below it from being given, for the life of this process; other text is ignored.
func (r *Register) SkipNumber(esid string) {
	if len(esid) != 14 || !divisionForm.MatchString(esid[:6]) {
		return
	}
	n, err := strconv.ParseUint(esid[6:], 10, 64)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skip[esid[:6]] = max(r.skip[esid[:6]], n+1)
}
