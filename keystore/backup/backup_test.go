package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/backup"
	"sealkeeper/keystore/store"
)

type key struct{ *softkey.Key }

func (k key) Sign(_ context.Context, message []byte) ([]byte, error) { return k.Key.Sign(message) }

var things = &store.Collection{Name: "thing", Codec: 1}

// world is a store with a log that grows.
type world struct {
	*testing.T
	dir  string
	st   *store.Bolt
	log  *audit.Log
	key  key
	own  *age.X25519Identity
	from backup.Source
	to   []age.Recipient
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	k, err := softkey.Generate(nil)
	w.must(err)
	w.key = key{k}
	w.st, err = store.Open(store.Config{Path: filepath.Join(w.dir, "store.db"), Create: true, Collections: append(audit.Collections(), things)})
	w.must(err)
	t.Cleanup(func() { w.st.Close() })
	w.add(1)
	w.log, err = audit.Open(t.Context(), w.st, audit.Config{Key: w.key, Anchor: audit.FileAnchor{Path: filepath.Join(w.dir, "anchor")}, Genesis: true})
	w.must(err)
	w.own, err = age.GenerateX25519Identity()
	w.must(err)
	w.to, err = backup.Recipients([]string{w.own.Recipient().String()})
	w.must(err)
	w.from = backup.Source{Store: w.st, Key: w.key.Public(), Checkpoint: w.log.Checkpoint, Dir: w.dir}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// add commits n records with a value each.
func (w *world) add(n int) {
	w.Helper()
	for range n {
		size := w.st.State().Size
		event := audit.Event{Kind: audit.KindOrder, Actor: audit.Appliance("test"), Subject: fmt.Sprint(size), Detail: struct{}{}}
		if size == 0 {
			event = audit.GenesisEvent(w.st.State(), audit.Appliance("init"), "test", nil)
		}
		b, err := event.Body()
		w.must(err)
		_, err = w.st.Commit(w.Context(), store.Mutation{Audit: [][]byte{b}, Put: []store.Put{{Collection: things, Key: fmt.Append(nil, size), Value: []byte("示例 演示数据")}}})
		w.must(err)
	}
}

func (w *world) write() ([]byte, backup.Head) {
	w.Helper()
	var b bytes.Buffer
	h, err := backup.Write(w.Context(), &b, w.from, w.to)
	w.must(err)
	return b.Bytes(), h
}

// TestBackupWhileInUse: copies made under load are whole: each opens to a store whose log verifies to the record, and holds all that the newest checkpoint
// before it covered. Nothing of it is readable as it lies.
func TestBackupWhileInUse(t *testing.T) {
	w := newWorld(t)
	w.add(600)
	_, err := w.log.Sign(t.Context())
	w.must(err)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.add(1)
			}
		}
	})
	for i := range 3 {
		b, h := w.write()
		if bytes.Contains(b, []byte("演示数据")) || bytes.Contains(b, []byte(h.Log)) {
			t.Error("the backup can be read without a key")
		}
		path := filepath.Join(w.dir, fmt.Sprint("restored-", i))
		got, err := backup.Open(t.Context(), bytes.NewReader(b), path, w.own)
		if err != nil || got.Root != h.Root || got.Records != h.Records || h.Covered < 601 || h.Records < h.Covered {
			t.Fatalf("opened %+v, written %+v, %v", got, h, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != h.Size {
			t.Errorf("%v, %v", info, err)
		}
		r, err := audit.VerifyFile(t.Context(), path, w.key.Public(), audit.Options{Collections: []*store.Collection{things}, Checkpoints: [][]byte{h.Checkpoint}})
		if err != nil || r.Bad != nil || r.Records != h.Records {
			t.Errorf("the restored log: %+v, %v", r, err)
		}
	}
	close(stop)
	wg.Wait()
	left, err := filepath.Glob(filepath.Join(w.dir, ".backup-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("copies left behind: %q, %v", left, err)
	}
}

// TestBackupDamaged: whatever is altered, cut or not ours is refused by name, and leaves no file.
func TestBackupDamaged(t *testing.T) {
	w := newWorld(t)
	w.add(20)
	whole, _ := w.write()
	stranger, err := age.GenerateX25519Identity()
	w.must(err)
	sealed := func(plain string) []byte {
		var b bytes.Buffer
		out, err := age.Encrypt(&b, w.to...)
		w.must(err)
		_, err = io.WriteString(out, plain)
		w.must(errors.Join(err, out.Close()))
		return b.Bytes()
	}
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		id   age.Identity
		want error
	}{
		"another identity":    {whole, stranger, backup.ErrIdentity},
		"nothing":             {nil, w.own, backup.ErrForm},
		"a store file":        {[]byte("not encrypted"), w.own, backup.ErrForm},
		"cut in the middle":   {whole[:len(whole)/2], w.own, backup.ErrDamaged},
		"cut by a byte":       {whole[:len(whole)-1], w.own, backup.ErrDamaged},
		"a bit near the end":  {flip(len(whole) - 40), w.own, backup.ErrDamaged},
		"a bit in the middle": {flip(len(whole) / 2), w.own, backup.ErrDamaged},
		"bytes behind it":     {append(bytes.Clone(whole), 0), w.own, backup.ErrDamaged},
		"another format":      {sealed(`{"format":"x/1"}` + "\n"), w.own, backup.ErrForm},
		"no head":             {sealed("x"), w.own, backup.ErrDamaged},
		"a head without end":  {sealed(strings.Repeat("x", 1<<17)), w.own, backup.ErrDamaged},
		"a negative size":     {sealed(`{"format":"sealkeeper-backup/1","size":-1}` + "\n"), w.own, backup.ErrForm},
		"more than its size":  {sealed(`{"format":"sealkeeper-backup/1","size":1}` + "\nxyz"), w.own, backup.ErrDamaged},
		"less than its size":  {sealed(`{"format":"sealkeeper-backup/1","size":9}` + "\nxyz"), w.own, backup.ErrDamaged},
		"a digest of its own": {sealed(`{"format":"sealkeeper-backup/1","size":1}` + "\nx" + strings.Repeat("d", 32)), w.own, backup.ErrDamaged},
	} {
		path := filepath.Join(w.dir, "refused")
		if _, err := backup.Open(t.Context(), bytes.NewReader(c.b), path, c.id); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if all, _ := filepath.Glob(filepath.Join(w.dir, "*re*")); len(all) != 1 { // store.db alone
			t.Errorf("%s left %q", name, all)
		}
	}
	taken := filepath.Join(w.dir, "store.db")
	if _, err := backup.Open(t.Context(), bytes.NewReader(whole), taken, w.own); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another file: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Open(gone, bytes.NewReader(whole), filepath.Join(w.dir, "refused"), w.own); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestNothingIsWrittenOfABadLog: a copy whose log does not verify, and a backup to nobody, are refused before a byte is written.
func TestNothingIsWrittenOfABadLog(t *testing.T) {
	w := newWorld(t)
	w.add(5)
	other, err := softkey.Generate(nil)
	w.must(err)
	older := w.older()
	for name, c := range map[string]struct {
		key  *gm.PublicKey
		st   store.Store
		to   []age.Recipient
		want error
	}{
		"another audit key":             {other.Public(), w.st, w.to, backup.ErrLog},
		"older than its own checkpoint": {w.key.Public(), older, w.to, backup.ErrLog},
		"nobody to read it":             {w.key.Public(), w.st, nil, backup.ErrRecipients},
	} {
		var b bytes.Buffer
		from := w.from
		from.Key, from.Store = c.key, c.st
		if _, err := backup.Write(t.Context(), &b, from, c.to); !errors.Is(err, c.want) || b.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, b.Len())
		}
	}
	for _, text := range []string{"", "age1x", "AGE-SECRET-KEY-1X", "ssh-rsa x"} {
		if _, err := backup.Recipients([]string{text}); !errors.Is(err, backup.ErrRecipients) {
			t.Errorf("recipient %q: %v", text, err)
		}
	}
	if _, err := backup.Recipients(nil); !errors.Is(err, backup.ErrRecipients) {
		t.Errorf("no recipients: %v", err)
	}
}

// older is a store that was put back: the newest checkpoint knows more of it.
func (w *world) older() store.Store {
	w.Helper()
	path := filepath.Join(w.dir, "older.db")
	f, err := os.Create(path)
	w.must(err)
	w.must(errors.Join(w.st.Backup(w.Context(), f), f.Close()))
	st, err := store.Open(store.Config{Path: path, Collections: append(audit.Collections(), things)})
	w.must(err)
	w.Cleanup(func() { st.Close() })
	w.add(9)
	_, err = w.log.Sign(w.Context())
	w.must(err)
	return st
}

// TestFolder: backups in a folder have names in the order of their times, are read back, and the oldest make room.
func TestFolder(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.must(os.WriteFile(filepath.Join(dir, "note.txt"), []byte("stays"), 0o600))
	var all []backup.Written
	for range 4 {
		w.add(1) // the number of records tells backups of one second apart
		b, err := backup.WriteTo(t.Context(), dir, 2, w.from, w.to)
		w.must(err)
		all = append(all, b)
	}
	entries, err := os.ReadDir(dir)
	w.must(err)
	if len(entries) != 3 {
		t.Errorf("%d files", len(entries))
	}
	for i, b := range all {
		f, err := os.ReadFile(b.File)
		if kept := i >= 2; kept != (err == nil) || kept && int64(len(f)) != b.Bytes {
			t.Errorf("backup %d: %d bytes of %d, %v", i, len(f), b.Bytes, err)
		}
	}
	at, err := backup.Newest(dir, all[3].Log)
	if err != nil || !at.Equal(all[3].Taken) {
		t.Errorf("the newest of %s: %s, %v", all[3].Taken, at, err)
	}
	if at, err := backup.Newest(dir, strings.Repeat("0", 64)); err != nil || !at.IsZero() {
		t.Errorf("of another log: %s, %v", at, err)
	}
	if _, err := backup.WriteTo(t.Context(), filepath.Join(dir, "none"), 2, w.from, w.to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
