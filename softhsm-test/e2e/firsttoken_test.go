package e2e

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"sealkeeper/client"
	"sealkeeper/keystore/audit"
)

// covered is the size of the tree under the newest checkpoint.
func (w *twoTokens) covered(t *testing.T) uint64 {
	t.Helper()
	note := mustOf(w.as(t, "audit").Checkpoint(t.Context()))(t)
	return mustOf(audit.OpenCheckpoint(note, w.auditKey(t)))(t).Size
}

// TestFirstTokenAway: the token with the audit key and the anchor is lost while the daemon runs. Seals in the other sign on, no checkpoint is made and
// /readyz says so; when it is back, without a restart, one checkpoint covers all that was signed meanwhile and the log verifies.
func TestFirstTokenAway(t *testing.T) {
	for _, isolation := range []string{"in-process", "worker"} {
		t.Run(isolation, func(t *testing.T) {
			w := layTwo(t, isolation)
			if err := errors.Join(w.sign(t, 0), w.sign(t, 1)); err != nil || !w.ready(t) {
				t.Fatal(err)
			}
			pid := w.SealdPID()
			w.Script("* on=" + w.serial[0] + " absent")
			err := w.sign(t, 0)
			if client.Code(err) != "token-gone" || !strings.Contains(err.Error(), w.serial[0]) || strings.Contains(err.Error(), w.serial[1]) {
				t.Errorf("a key in the token that is away: %v", err)
			}
			w.saysNoCheckpoint(t) // the refusal is on record, and nothing signs for it
			from := w.covered(t)
			const meanwhile = 8
			for range meanwhile {
				if err := w.sign(t, 1); err != nil {
					t.Errorf("a key in the token that is there: %v", err)
				}
			}
			w.up(t, 0, 1)
			if now := w.covered(t); now != from {
				t.Errorf("a checkpoint over %d records, after %d, though its key is away", now, from)
			}
			w.Script()
			if err := until(t.Context(), "a checkpoint over what was signed meanwhile", func() (bool, error) { return w.covered(t) >= from+meanwhile && w.ready(t), nil }); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.sign(t, 0), w.sign(t, 1)); err != nil {
				t.Error(err)
			}
			w.up(t, 1, 1)
			if w.SealdPID() != pid {
				t.Error("the daemon was started again")
			}
			w.stopAnd(t, func() { logHolds(t, w.scene) })
		})
	}
}

// TestCheckpointOverdue: with the audit key away for longer than the configuration allows, the keys of the other token sign no more, and say why;
// what was signed is still given again. With the first checkpoint after the token's return they sign as before.
func TestCheckpointOverdue(t *testing.T) {
	w := layTwo(t, "in-process")
	w.stopAnd(t, func() { w.configure(t, "checkpoint_overdue: 15m0s", "checkpoint_overdue: 1ms") })
	before := askDigest(w.seal[1], []byte("示例 before"))
	before.request.Delegation = w.delegation[1]
	first := mustOf(before.sign(t, w.as(t, "department")))(t)
	w.Script("* on=" + w.serial[0] + " absent")
	var last error
	if err := until(t.Context(), "signing to stop", func() (bool, error) { last = w.sign(t, 1); return last != nil, nil }); err != nil {
		t.Fatal(err)
	}
	if client.Code(last) != "checkpoint-overdue" {
		t.Errorf("the log without checkpoints: %v", last)
	}
	again, err := before.sign(t, w.as(t, "department"))
	if err != nil || !bytes.Equal(again.bytes, first.bytes) {
		t.Errorf("a signature on record, asked for again: %v", err)
	}
	w.saysNoCheckpoint(t)
	w.Script()
	if err := until(t.Context(), "signing to go on", func() (bool, error) { return w.sign(t, 1) == nil, nil }); err != nil {
		t.Error(err, w.sign(t, 1))
	}
	w.stopAnd(t, func() { logHolds(t, w.scene) })
}

// saysNoCheckpoint waits until /readyz names the token that is away, and that the log is not signed.
func (w *twoTokens) saysNoCheckpoint(t *testing.T) {
	t.Helper()
	if err := until(t.Context(), "/readyz to name the token and the log", func() (bool, error) {
		parts := map[string]string{}
		for _, f := range mustOf(w.as(t, "system").Ready(t.Context()))(t).Faults {
			parts[f.Part] += f.Detail
		}
		return strings.Contains(parts["token"], w.serial[0]) && !strings.Contains(parts["token"], w.serial[1]) && parts["log"] != "", nil
	}); err != nil {
		t.Error(err)
	}
}
