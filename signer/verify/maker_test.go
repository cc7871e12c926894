package verify_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
)

// TestLaw06OnlyMakersMake: a holder of an ordinary certificate of the same authority makes a seal for somebody else's name. Its chain is as good
// as the maker's own.
func TestLaw06OnlyMakersMake(t *testing.T) {
	w := newWorld(t)
	honest := w.maker
	mallory := newParty(t, "示例持有人", 77, usageSign, false, &w.root)
	for name, c := range map[string]struct {
		maker   party
		pins    []*gm.Certificate
		self    bool
		result  verify.Result
		verdict verify.Verdict
	}{
		"the pinned maker":                {honest, []*gm.Certificate{honest.cert}, false, verify.Pass, verify.Valid},
		"a holder, makers pinned":         {mallory, []*gm.Certificate{honest.cert}, false, verify.Fail, verify.IndeterminateResult},
		"a holder for himself, no pins":   {mallory, nil, true, verify.Indeterminate, verify.IndeterminateResult},
		"a holder for himself, with pins": {mallory, []*gm.Certificate{honest.cert}, true, verify.Fail, verify.IndeterminateResult},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.maker = c.maker
			if c.self {
				w.signer = c.maker
				w.info.Certs = [][]byte{c.maker.der}
			}
			opts := w.options()
			opts.Makers = c.pins
			r := verify.Document(t.Context(), "x.ofd", w.build(t), opts)
			if got, why := resultOf(r, verify.CodeMakerCertificate); got != c.result || r.Verdict != c.verdict {
				t.Errorf("maker-certificate %s (%s), verdict %s\n%s", got, why, r.Verdict, r.Text(verify.English))
			}
		})
	}
}

// TestSealIsTheRegisteredOne: the number alone proves nothing; the appliance is asked for the seal that bears it.
func TestSealIsTheRegisteredOne(t *testing.T) {
	w := newWorld(t)
	der := w.build(t)
	good := sha256.Sum256([]byte(w.files[signDir+"Seal.esl"]))
	for name, c := range map[string]struct {
		state   verify.SealState
		err     error
		status  verify.Result
		verdict verify.Verdict
	}{
		"the same seal":             {verify.SealState{State: "active", Since: made, SHA256: hex.EncodeToString(good[:])}, nil, verify.Pass, verify.Valid},
		"another under this number": {verify.SealState{State: "active", Since: made, SHA256: hex.EncodeToString(make([]byte, 32))}, nil, verify.Fail, verify.Invalid},
		"unknown to its maker":      {verify.SealState{}, verify.ErrSealUnknown, verify.Indeterminate, verify.IndeterminateResult},
	} {
		t.Run(name, func(t *testing.T) {
			opts := w.options()
			opts.Makers = []*gm.Certificate{w.maker.cert}
			opts.SealStatus = func(context.Context, string) (verify.SealState, error) { return c.state, c.err }
			r := verify.Document(t.Context(), "x.ofd", der, opts)
			if got, _ := resultOf(r, verify.CodeSealStatus); got != c.status || r.Verdict != c.verdict {
				t.Errorf("%s", r.Text(verify.English))
			}
		})
	}
}
