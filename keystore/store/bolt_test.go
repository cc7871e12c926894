package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"sealkeeper/keystore/audit/merkle"
)

var things = &Collection{Name: "thing", Codec: 1, Indexes: []Index{{"first", func(v []byte) ([][]byte, error) { return [][]byte{v[:1]}, nil }}}}

// rig is a store file and its configuration.
type rig struct {
	*testing.T
	cfg Config
	b   *Bolt
	now time.Time
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	r := &rig{T: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	r.cfg = Config{Path: filepath.Join(t.TempDir(), "s.db"), Create: true, Collections: []*Collection{things}, Now: func() time.Time { return r.now }}
	for _, c := range change {
		c(&r.cfg)
	}
	r.open()
	t.Cleanup(func() { r.b.Close() })
	return r
}

func (r *rig) open() {
	r.Helper()
	b, err := Open(r.cfg)
	r.must(err)
	r.b = b
}

func (r *rig) reopen() {
	r.Helper()
	r.must(r.b.Close())
	r.open()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) want(err, want error, what string) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (r *rig) commit(m Mutation) Receipt {
	r.Helper()
	receipt, err := r.b.Commit(r.Context(), m)
	r.must(err)
	return receipt
}

func thing(key, value string) Put { return Put{things, []byte(key), []byte(value)} }

func record(body string) [][]byte { return [][]byte{[]byte(body)} }

func TestOpenRefuses(t *testing.T) {
	r := newRig(t)
	r.commit(Mutation{Put: []Put{thing("a", "v")}, Audit: record("r")})
	open := func(change func(*Config)) error {
		cfg := r.cfg
		change(&cfg)
		b, err := Open(cfg)
		if err == nil {
			b.Close()
		}
		return err
	}
	r.want(open(func(c *Config) {}), ErrInUse, "a second writer")
	r.want(open(func(c *Config) { c.ReadOnly = true }), ErrInUse, "a reader beside the writer")
	r.must(r.b.Close())
	r.want(open(func(c *Config) { c.Path += "x"; c.Create = false }), fs.ErrNotExist, "a missing file")
	r.want(open(func(c *Config) { c.Path += "x"; c.ReadOnly = true }), fs.ErrNotExist, "a missing file to be read")
	r.want(open(func(c *Config) { c.Path += "x"; c.Hash = "md5" }), merkle.ErrHasher, "an unknown hash")
	r.want(open(func(c *Config) { c.Collections = []*Collection{{Name: "thing"}} }), ErrSchema, "an older codec")
	r.want(open(func(c *Config) { c.Collections = []*Collection{things, things} }), ErrMutation, "one collection twice")
	r.want(open(func(c *Config) { c.Collections = []*Collection{{Name: "Bad Name"}} }), ErrMutation, "a strange name")
	r.want(open(func(c *Config) {}), nil, "the file itself")
}

func TestFileMode(t *testing.T) {
	r := newRig(t)
	r.must(os.Chmod(r.cfg.Path, 0o666))
	r.reopen()
	info, err := os.Stat(r.cfg.Path)
	r.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %o", info.Mode().Perm())
	}
	if left, _ := filepath.Glob(r.cfg.Path + ".*"); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

// TestOpenRefusesDamage alters the newest record, which no full tile holds, and the stored schema.
func TestOpenRefusesDamage(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     error
	}{
		"record": {"body of the last", "bodY of the last", ErrCorrupt},
		"schema": {"schema\x00\x00\x00\x01", "schema\x00\x00\x00\x02", ErrSchema},
		"hash":   {"hashsm3", "hashsm4", ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.commit(Mutation{Audit: record("body of the last")})
			r.must(r.b.Close())
			b, err := os.ReadFile(r.cfg.Path)
			r.must(err)
			if !bytes.Contains(b, []byte(c.from)) {
				t.Fatalf("%q is not in the file", c.from)
			}
			r.must(os.WriteFile(r.cfg.Path, bytes.ReplaceAll(b, []byte(c.from), []byte(c.to)), 0o600))
			_, err = Open(r.cfg)
			r.want(err, c.want, "opening")
		})
	}
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a store"), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Path: path}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a text file: %v", err)
	}
}

// TestNewIndex: an index declared later is built, one that is dropped goes away.
func TestNewIndex(t *testing.T) {
	bare := &Collection{Name: "thing", Codec: 1}
	r := newRig(t, func(c *Config) { c.Collections = []*Collection{bare} })
	var ms []Mutation
	for i := range 2500 {
		ms = append(ms, Mutation{Put: []Put{{bare, fmt.Append(nil, "key ", i), fmt.Append(nil, i%10)}}})
	}
	for len(ms) > 0 {
		for _, x := range r.b.CommitAll(t.Context(), ms[:500]) {
			r.must(x.Err)
		}
		ms = ms[500:]
	}
	count := func(c *Collection) (n int) {
		for cursor := ""; ; {
			p, err := r.b.List(t.Context(), c, "first", []byte("7"), cursor, 1000)
			r.must(err)
			if n += len(p.Items); p.Next == "" {
				return n
			}
			cursor = p.Next
		}
	}
	for range 2 { // built, dropped while a value moves, and built again
		r.cfg.Collections = []*Collection{things}
		r.reopen()
		if n := count(things); n != 250 {
			t.Fatalf("%d in the index", n)
		}
		r.cfg.Collections = []*Collection{bare}
		r.reopen()
		r.commit(Mutation{Put: []Put{{bare, []byte("key 7"), []byte("7 again")}}})
	}
}

// TestForgetting: counters go after their expiry, requests after their time or beyond their number, and not before.
func TestForgetting(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotEvery, c.KeepRequests, c.KeepFor = 8, 20, time.Hour })
	spend := func(i int) Mutation {
		return Mutation{Request: &Request{Client: "c", ID: fmt.Sprint(i)}, Audit: record("r"), Spend: []Spend{{Counter: "total", N: 1},
			{Counter: fmt.Sprint("nonce/", i), N: 1, Limit: 1, Expires: r.now.Add(time.Minute)}}}
	}
	for i := range 100 {
		r.commit(spend(i))
		r.now = r.now.Add(time.Second)
	}
	if s := r.b.Stats(); s.Counters < 61 || s.Counters > 61+8+1 || s.Requests < 20 || s.Requests > 28 {
		t.Fatalf("%+v", s)
	}
	check := func() {
		r.Helper()
		again, err := r.b.Commit(t.Context(), spend(99))
		if err != nil || !again.Duplicate {
			t.Fatalf("the newest request: %+v %v", again, err)
		}
		_, err = r.b.Lookup(t.Context(), *spend(0).Request)
		r.want(err, ErrNotFound, "the oldest request")
		if n, _ := r.b.Counter(t.Context(), "total"); n != 100 {
			t.Fatalf("total %d", n)
		}
	}
	check()
	r.reopen()
	check()
	r.now = r.now.Add(2 * time.Hour)
	for i := range 10 {
		r.commit(Mutation{Audit: record(fmt.Sprint(i))})
	}
	if s := r.b.Stats(); s.Counters != 1 || s.Requests != 0 {
		t.Fatalf("after two hours: %+v", s)
	}
	r.reopen()
	if s := r.b.Stats(); s.Counters != 1 || s.Requests != 0 {
		t.Fatalf("after two hours and reopening: %+v", s)
	}
}

// TestExpiryMoves: of several expiries the latest counts, also across snapshots, and never is the latest.
func TestExpiryMoves(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotEvery = 1 })
	spend := func(name string, d time.Duration) {
		r.Helper()
		s := Spend{Counter: name, N: 1}
		if d > 0 {
			s.Expires = r.now.Add(d)
		}
		r.commit(Mutation{Audit: record("r"), Spend: []Spend{s}})
	}
	spend("later", time.Minute)
	spend("later", time.Hour)
	spend("later", time.Second)
	spend("never", time.Minute)
	spend("never", 0)
	spend("soon", time.Minute)
	r.now = r.now.Add(10 * time.Minute)
	spend("other", 0)
	spend("other", 0)
	for range 2 {
		for name, want := range map[string]uint64{"later": 3, "never": 2, "soon": 0, "other": 2} {
			if n, _ := r.b.Counter(t.Context(), name); n != want {
				t.Errorf("%s stands at %d, want %d", name, n, want)
			}
		}
		r.reopen()
	}
}

// TestDiskFull: what was acknowledged stays, what was not is an error, nothing is taken any more, and a restart mends it.
func TestDiskFull(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MmapSize, c.MaxSize = 1, 1<<20 })
	acknowledged := uint64(0)
	var failed error
	for i := 0; failed == nil; i++ {
		_, failed = r.b.Commit(t.Context(), Mutation{Put: []Put{thing(fmt.Sprint(i), string(make([]byte, 20_000)))}, Audit: record("r")})
		if failed == nil {
			acknowledged++
		}
	}
	if acknowledged == 0 || !errors.Is(failed, ErrUnavailable) && !errors.Is(failed, ErrUnknownOutcome) {
		t.Fatalf("after %d commits: %v", acknowledged, failed)
	}
	_, err := r.b.Commit(t.Context(), Mutation{Audit: record("r")})
	r.want(err, ErrReadOnly, "the next commit")
	r.want(r.b.Health(), ErrReadOnly, "health")
	r.b.SetReadOnly("")
	_, err = r.b.Resume(t.Context(), Mutation{Audit: record("r")})
	r.want(err, ErrReadOnly, "resuming")
	if _, err := r.b.Get(t.Context(), things, []byte("0")); err != nil {
		t.Fatalf("reads must go on: %v", err)
	}
	r.cfg.MaxSize = 0
	r.reopen()
	if n := r.b.State().Size; n != acknowledged {
		t.Fatalf("%d acknowledged, %d there", acknowledged, n)
	}
	r.commit(Mutation{Audit: record("r")})
}

// TestReserve: with too little space left nothing is taken and nothing is broken; with space again commits go on in the same process.
func TestReserve(t *testing.T) {
	var space atomic.Int64
	var lost atomic.Pointer[error]
	space.Store(100 << 20)
	r := newRig(t, func(c *Config) {
		c.Reserve = 64 << 20
		c.Free = func(dir string) (int64, error) {
			if dir != filepath.Dir(c.Path) {
				t.Errorf("asked for the space in %s", dir)
			}
			if err := lost.Load(); err != nil {
				return 0, *err
			}
			return space.Load(), nil
		}
	})
	r.commit(Mutation{Audit: record("r")})
	refused := func(what string, want error) {
		r.Helper()
		_, err := r.b.Commit(t.Context(), Mutation{Audit: record("r"), Spend: []Spend{{Counter: "c", N: 1}}})
		r.want(err, want, what)
		r.want(err, ErrUnavailable, what)
		r.want(r.b.Full(), want, what+": full")
		r.want(r.b.Health(), want, what+": health")
		if n := r.b.State().Size; n != 1 {
			t.Errorf("%s: %d records", what, n)
		}
	}
	space.Store(64<<20 - 1)
	refused("no space", ErrFull)
	refused("no space still", ErrFull)
	io := errors.New("input/output error")
	lost.Store(&io)
	refused("nobody can say", io)
	lost.Store(nil)
	space.Store(64 << 20)
	r.must(r.b.Full())
	r.must(r.b.Health())
	r.commit(Mutation{Audit: record("r"), Spend: []Spend{{Counter: "c", N: 1}}})
	if n, _ := r.b.Counter(t.Context(), "c"); n != 1 {
		t.Errorf("the counter stands at %d", n)
	}
}

// TestFree: the real question gives what the file system has.
func TestFree(t *testing.T) {
	n, err := free(t.TempDir())
	if err != nil || n <= 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := free(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// stuck is a rig whose writer waits inside a commit until release is called.
func stuck(t *testing.T, change ...func(*Config)) (r *rig, release func(), first <-chan error) {
	held, waiting := make(chan struct{}), make(chan struct{})
	calls := 0
	slow := &Collection{Name: "slow", Indexes: []Index{{"k", func(v []byte) ([][]byte, error) {
		if string(v) == "hold" {
			if calls++; calls == 2 { // asked for when the value is replaced, by the writer
				close(waiting)
				<-held
			}
		}
		return nil, nil
	}}}}
	r = newRig(t, append(change, func(c *Config) { c.Collections = append(c.Collections, slow) })...)
	r.commit(Mutation{Put: []Put{{slow, []byte("k"), []byte("hold")}}})
	done := make(chan error, 1)
	go func() {
		_, err := r.b.Commit(t.Context(), Mutation{Put: []Put{{slow, []byte("k"), []byte("free")}}})
		done <- err
	}()
	<-waiting
	return r, func() { close(held) }, done
}

// transaction is the number of the last committed one.
func (r *rig) transaction() (id int) {
	r.must(r.b.db.View(func(tx *bolt.Tx) error { id = tx.ID(); return nil }))
	return id
}

// TestGroup fills the queue while the writer waits: the next group holds all of it, and each has its own fate.
func TestGroup(t *testing.T) {
	r, release, first := stuck(t, func(c *Config) { c.QueueLen = 4 })
	before := r.transaction()
	type answer struct {
		name string
		err  error
	}
	answers := make(chan answer)
	ctx, cancel := context.WithCancel(t.Context())
	send := func(name string, ctx context.Context, m Mutation) {
		n := len(r.b.queue)
		go func() { _, err := r.b.Commit(ctx, m); answers <- answer{name, err} }()
		for len(r.b.queue) == n {
			runtime.Gosched()
		}
	}
	send("good", t.Context(), Mutation{Put: []Put{thing("a", "x")}, Audit: record("a")})
	send("conflict", t.Context(), Mutation{Expect: []Expect{{things, []byte("a"), 0}}, Audit: record("b")})
	send("given up", ctx, Mutation{Put: []Put{thing("b", "x")}, Audit: record("c")})
	send("second", t.Context(), Mutation{Expect: []Expect{{things, []byte("a"), 1}}, Audit: record("d")})
	_, err := r.b.Commit(t.Context(), Mutation{Audit: record("e")})
	r.want(err, ErrUnavailable, "a full queue")
	cancel()
	if a := <-answers; a.name != "given up" || !errors.Is(a.err, ErrUnavailable) || !errors.Is(a.err, context.Canceled) {
		t.Fatalf("%+v", a)
	}
	release()
	r.must(<-first)
	for range 3 {
		a := <-answers
		r.want(a.err, map[string]error{"good": nil, "second": nil, "conflict": ErrConflict}[a.name], a.name)
	}
	if n := r.b.State().Size; n != 2 {
		t.Fatalf("%d records", n)
	}
	if _, err := r.b.Get(t.Context(), things, []byte("b")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("what was given up happened: %v", err)
	}
	if n := r.transaction() - before; n != 2 {
		t.Fatalf("%d transactions, want the held one and the group's", n)
	}
}

func TestBackupWhileWriting(t *testing.T) {
	r := newRig(t)
	stop := make(chan struct{})
	wrote := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				wrote <- nil
				return
			default:
			}
			if _, err := r.b.Commit(t.Context(), Mutation{Put: []Put{thing(fmt.Sprint(i%9), "v")}, Audit: record("r"), Spend: []Spend{{Counter: "n", N: 1}}}); err != nil {
				wrote <- err
				return
			}
		}
	}()
	for range 3 {
		var buf bytes.Buffer
		r.must(r.b.Backup(t.Context(), &buf))
		path := filepath.Join(t.TempDir(), "backup")
		r.must(os.WriteFile(path, buf.Bytes(), 0o600))
		copied, err := Open(Config{Path: path, Collections: r.cfg.Collections})
		r.must(err)
		if n, _ := copied.Counter(t.Context(), "n"); n != copied.State().Size {
			t.Fatalf("counter %d, %d records", n, copied.State().Size)
		}
		r.must(copied.Close())
	}
	close(stop)
	r.must(<-wrote)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.want(r.b.Backup(ended, &bytes.Buffer{}), context.Canceled, "a backup nobody waits for")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(r.cfg.Path), ".backup-*")); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestReadOnlyFile(t *testing.T) {
	r := newRig(t)
	r.commit(Mutation{Put: []Put{thing("a", "v")}, Audit: record("r"), Spend: []Spend{{Counter: "n", N: 3}}})
	state := r.b.State()
	r.must(r.b.Close())
	sum, err := os.ReadFile(r.cfg.Path)
	r.must(err)
	cfg := r.cfg
	cfg.ReadOnly = true
	a, err := Open(cfg)
	r.must(err)
	b, err := OpenReadOnlyFile(r.cfg.Path) // beside another reader
	r.must(err)
	a.SetReadOnly("")
	_, err = a.Commit(t.Context(), Mutation{Audit: record("r")})
	r.want(err, ErrReadOnly, "commit")
	if n, _ := b.Counter(t.Context(), "n"); n != 3 || a.State() != state || b.State() != state {
		t.Fatalf("counter %d, %+v", n, b.State())
	}
	if it, err := a.Get(t.Context(), things, []byte("a")); err != nil || string(it.Value) != "v" {
		t.Fatal(it, err)
	}
	r.must(errors.Join(a.Close(), b.Close()))
	if now, _ := os.ReadFile(r.cfg.Path); !bytes.Equal(now, sum) {
		t.Fatal("reading changed the file")
	}
}
