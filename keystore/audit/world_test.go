package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// key is an audit key in software; the token's own is tried in token_test.go.
type key struct{ *softkey.Key }

func (k key) Sign(_ context.Context, message []byte) ([]byte, error) { return k.Key.Sign(message) }

func newKey(t testing.TB) key {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key{k}
}

// clock is a clock that only a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var things = &store.Collection{Name: "thing", Codec: 1, Indexes: []store.Index{
	{Name: "first", Keys: func(v []byte) ([][]byte, error) { return [][]byte{v[:1]}, nil }}}}

// world is a store with its log, in a directory of its own.
type world struct {
	t      testing.TB
	dir    string
	path   string
	anchor audit.FileAnchor
	key    key
	clock  *clock
	st     *store.Bolt
	log    *audit.Log
	config audit.Config // beside key and anchor
	every  int          // snapshot interval
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, path: filepath.Join(dir, "store.db"), anchor: audit.FileAnchor{Path: filepath.Join(dir, "anchor")}, key: newKey(t),
		clock: &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}}
	t.Cleanup(func() {
		if w.st != nil {
			w.st.Close()
		}
	})
	return w
}

// found makes the store and its log as the ceremony does.
func (w *world) found() *world {
	w.t.Helper()
	w.openStore(true)
	g, err := audit.GenesisEvent(w.st.State(), audit.Appliance("init"), "test", nil).Body()
	w.must(err)
	_, err = w.st.Commit(w.t.Context(), store.Mutation{Audit: [][]byte{g}})
	w.must(err)
	w.config.Genesis = true
	w.openLog()
	w.config.Genesis = false
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) openStore(create bool) {
	w.t.Helper()
	st, err := store.Open(store.Config{Path: w.path, Create: create, Now: w.clock.Now, SnapshotEvery: w.every,
		Collections: append(audit.Collections(), things)})
	w.must(err)
	w.st = st
}

func (w *world) openLog() {
	w.t.Helper()
	cfg := w.config
	cfg.Key = w.key
	if cfg.Anchor == nil {
		cfg.Anchor = w.anchor
	}
	l, err := audit.Open(w.t.Context(), w.st, cfg)
	w.must(err)
	w.log = l
}

// reopen starts again from the files.
func (w *world) reopen() {
	w.t.Helper()
	w.openStore(false)
	w.openLog()
}

func (w *world) close() {
	w.t.Helper()
	w.must(w.log.Close(context.WithoutCancel(w.t.Context())))
	w.must(w.st.Close())
}

// body is an event's bytes.
func (w *world) body(subject string) []byte {
	w.t.Helper()
	b, err := audit.Event{Kind: audit.KindOrder, Actor: audit.Appliance("test"), Subject: subject, Detail: struct {
		Text string `json:"text"`
	}{"演示数据 <" + subject + ">"}}.Body()
	w.must(err)
	return b
}

// add commits n mutations of one record each.
func (w *world) add(n int) {
	w.t.Helper()
	for range n {
		_, err := w.st.Commit(w.t.Context(), store.Mutation{Audit: [][]byte{w.body(fmt.Sprint("order ", w.st.State().Size))}})
		w.must(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

// failingAnchor fails to save while err is set.
type failingAnchor struct {
	audit.Anchor
	err error
}

func (a *failingAnchor) Save(ctx context.Context, b []byte) error {
	if a.err != nil {
		return a.err
	}
	return a.Anchor.Save(ctx, b)
}

var _ audit.Key = key{}

func (w *world) public() *gm.PublicKey { return w.key.Public() }

var (
	alice = audit.Actor{Role: "operator-system", ID: "operator-a"}
	bob   = audit.Actor{Role: "operator-security", ID: "operator-b"}
)
