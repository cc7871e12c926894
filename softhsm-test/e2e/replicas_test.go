package e2e

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sealkeeper/access/ceremony"
	"sealkeeper/client"
	"sealkeeper/keystore"
	"sealkeeper/softhsm-test/ofdgen"
)

// TestReplicatedSeals: three officers make a wrapping key in two tokens; the set of four seals that is issued then signs under load while one token and then
// the other is taken away, and nobody is refused.
func TestReplicatedSeals(t *testing.T) {
	w := layTwo(t, "in-process")
	step := "  - action: make-replicated-kek\n    token: '" + w.serial[0] + "," + w.serial[1] + "'\n"
	if c := w.carry(t, "system", planned(t, t.TempDir(), step, 2), "security", "audit"); c.State != ceremony.Executed {
		t.Fatalf("the ceremony is %s", c.State)
	}
	w.stopAnd(t, func() { w.configure(t, "seals: resident", "seals: wrapped") })
	before, _ := w.sealKeys(t)
	e := mustOf(w.establish(t.Context()))(t)
	if after, _ := w.sealKeys(t); len(e.seals) != 4 || len(after) != len(before) {
		t.Fatalf("seals %v; the first token holds %d keys of seals, %d before", e.seals, len(after), len(before))
	}
	var seals []string
	for _, esid := range e.seals {
		seals = append(seals, esid)
	}
	document := ofdgen.Document("示例文件（演示数据）", 1)
	var wg sync.WaitGroup
	var stop atomic.Bool
	var served atomic.Int64
	for c := range 4 {
		wg.Go(func() {
			for !stop.Load() {
				a := w.approved(t, askOFD(seals[c], document), e.phone)
				if _, err := a.sign(t, w.as(t, "department")); err != nil {
					t.Errorf("seal %s: %v", seals[c], err)
					return
				}
				served.Add(1)
			}
		})
	}
	more := func(what string) {
		from := served.Load()
		if err := until(t.Context(), what, func() (bool, error) { return served.Load() > from+40 || t.Failed(), nil }); err != nil {
			t.Error(err)
		}
	}
	more("signatures")
	for i, serial := range w.serial {
		w.Script("* on=" + serial + " absent")
		if err := until(t.Context(), "the loss is named", func() (bool, error) {
			r, err := w.as(t, "system").Ready(t.Context())
			return slices.ContainsFunc(r.Faults, func(f client.Fault) bool { return strings.Contains(f.Detail, serial) }) || t.Failed(), err
		}); err != nil {
			t.Error(err)
		}
		more("signatures without it")
		if up := [][]float64{{0, 1}, {1, 0}}[i]; !t.Failed() {
			w.up(t, up...)
		}
		w.Script()
		if err := until(t.Context(), "its return", func() (bool, error) { return w.ready(t) || t.Failed(), nil }); err != nil {
			t.Error(err)
		}
		more("signatures after it")
	}
	stop.Store(true)
	wg.Wait()
	w.oneWrappingKey(t, uint64(len(e.seals)))
	w.up(t, 1, 1)
	t.Logf("%d signatures, none refused", served.Load())
	w.stopAnd(t, func() { logHolds(t, w.scene) })
}

// oneWrappingKey holds what officers see to one KEK, in both tokens, with so many keys under it; /metrics to the places that are left.
func (w *twoTokens) oneWrappingKey(t *testing.T, keys uint64) {
	t.Helper()
	var a struct {
		All []keystore.KEKState `json:"wrapping_keys"`
	}
	if err := w.as(t, "audit").JSON(t.Context(), "GET", "/v1/wrapping-keys", nil, "", nil, &a); err != nil {
		t.Fatal(err)
	}
	if len(a.All) != 1 || a.All[0].Born != keys || a.All[0].Limit != 50_000 || !slices.Equal(a.All[0].Tokens, w.serial[:]) {
		t.Errorf("wrapping keys %+v", a.All)
	}
	if left := w.metric(t, "sealkeeper_wrapping_places_left"); left != float64(50_000-keys) {
		t.Errorf("%g places left", left)
	}
}
