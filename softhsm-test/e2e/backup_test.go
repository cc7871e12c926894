package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sealkeeper/client"
	"sealkeeper/keystore/backup"
	"sealkeeper/softhsm-test/stage"
)

// TestRestoreDrill: an encrypted copy is made while clients sign; then the disk with the store is lost. On what is left (tokens, anchor, the offline key) the
// copy becomes a store again: it holds every record that was acknowledged before the copy, the start is recovering, two officers let it go on, an old
// proof checks against the old checkpoint, and seals sign.
func TestRestoreDrill(t *testing.T) {
	s := own(t, stage.Config{})
	dir := t.TempDir()
	folder, offline := filepath.Join(dir, "copies"), filepath.Join(dir, "offline.key")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var id struct{ Recipient string }
	s.officer(t, "system", &id, "backup", "identity", "--out", offline)
	if exit, _, errs := s.sealctl(t, "system", "backup", "now"); exit != 2 || !strings.Contains(errs, "no-backup-folder") {
		t.Errorf("without a folder: exit %d, %s", exit, errs)
	}
	s.stopAnd(t, func() {
		s.configure(t, `folder: ""`, fmt.Sprintf("folder: %q", folder))
		s.configure(t, "recipients: []", fmt.Sprintf("recipients: [%s]", id.Recipient))
		s.configure(t, "every: 0s", "every: -1s")
		s.configure(t, "keep: 0", "keep: 2")
	})
	e := granted(t, s)
	first := mustOf(s.approved(t, askDigest(e.seals["01"], []byte("示例")), e.phone).sign(t, s.as(t, "department")))(t)
	receipts := []client.Receipt{first.receipt}
	proofs := proofsOf(t, s, receipts)
	w := s.copiedUnderLoad(t, e)
	s.lose(t)

	store := s.storePath()
	restore := []string{"backup", "restore", "--file", w.File, "--identity", offline, "--audit-key", filepath.Join(s.Dir, "state", "audit.pem"), "--out", store}
	other := filepath.Join(dir, "other.key")
	s.officer(t, "system", nil, "backup", "identity", "--out", other)
	wrong := append([]string(nil), restore...)
	wrong[5] = other
	if exit, _, errs := s.sealctl(t, "system", wrong...); exit != 1 || !strings.Contains(errs, "no identity opens the backup") {
		t.Errorf("with another key: exit %d, %s", exit, errs)
	}
	s.officer(t, "system", nil, restore...)
	if exit, _, errs := s.sealctl(t, "system", restore...); exit != 1 || !strings.Contains(errs, "exists") {
		t.Errorf("over a store: exit %d, %s", exit, errs)
	}
	if err := s.StartSeald(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.ready(t) {
		t.Error("a store from yesterday is ready without anybody's decision")
	}
	if agree(t, s.as(t, "system")) || !agree(t, s.as(t, "security")) || !s.ready(t) {
		t.Fatal("two officers did not let it go on")
	}
	if _, err := s.approved(t, askDigest(e.seals["01"], []byte("示例 afterwards")), e.phone).sign(t, s.as(t, "department")); err != nil {
		t.Errorf("signing after the drill: %v", err)
	}
	s.stopAnd(t, func() {
		proven(t, s, receipts, proofs) // the old checkpoint over the restored record
		logHolds(t, s)
	})
}

// copiedUnderLoad has two copies made while four clients sign, and returns the newer one. It holds what was acknowledged before it began.
func (s *scene) copiedUnderLoad(t *testing.T, e *enterprise) backup.Written {
	t.Helper()
	var stop atomic.Bool
	var newest atomic.Uint64
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				r, err := s.approved(t, askDigest(e.seals["01"], fmt.Appendf(nil, "%d %d", c, n)), e.phone).sign(t, s.as(t, "department"))
				if err != nil {
					t.Errorf("signing while a copy is made: %v", err)
					return
				}
				for at := newest.Load(); at < r.receipt.Index && !newest.CompareAndSwap(at, r.receipt.Index); at = newest.Load() {
				}
			}
		})
	}
	var b struct{ Last backup.Written }
	for range 2 {
		before := newest.Load()
		s.officer(t, "system", &b, "backup", "now")
		if b.Last.Records <= before || b.Last.Covered <= before {
			t.Errorf("the copy has %d records, %d under a checkpoint; record %d was acknowledged before", b.Last.Records, b.Last.Covered, before)
		}
	}
	stop.Store(true)
	wg.Wait()
	if s.metric(t, "sealkeeper_backup_newest_seconds") == 0 || s.metric(t, "sealkeeper_backup_failed") != 0 {
		t.Error("the metrics know of no copy")
	}
	s.onRecord(t, b.Last)
	return b.Last
}

// onRecord: the log says that there is a copy and who can read it.
func (s *scene) onRecord(t *testing.T, w backup.Written) {
	t.Helper()
	for _, x := range mustOf(s.entries(t.Context(), 0))(t) {
		if x.Kind != "backup" || x.Subject != filepath.Base(w.File) {
			continue
		}
		var d struct {
			SHA256     string
			Recipients []string
		}
		if err := json.Unmarshal(x.Detail, &d); err != nil || d.SHA256 != w.SHA256 || len(d.Recipients) != 1 {
			t.Errorf("record %s, %v", x.Detail, err)
		}
		return
	}
	t.Errorf("%s is not on record", w.File)
}

// lose ends the daemon hard and takes its store away.
func (s *scene) lose(t *testing.T) {
	t.Helper()
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.storePath()); err != nil {
		t.Fatal(err)
	}
}
