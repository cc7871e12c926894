package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"sealkeeper/keystore/audit/merkle"
)

// Schema is the version of the file's layout; Open refuses any other with ErrSchema.
const Schema = 1

// Config says which file to open and how. Path is required; every other field has a default.
type Config struct {
	Path        string
	Create      bool          // make the file when it is missing; without it a missing file is an error
	ReadOnly    bool          // open without the right to write, beside other readers but not beside a writer
	Collections []*Collection // everything that will be read or written
	// Now is the clock of records; default time.Now. Keep its monotonic reading, the jump check uses it. Monotonic overrides that
	// reading in tests.
	Now       func() time.Time
	Monotonic func() time.Duration
	Log       *slog.Logger
	// Hash of the tree when the file is made: "sm3" (default) or "sha256". Never changes afterwards.
	Hash          string
	QueueLen      int           // commits that may wait, default 1024; more are ErrUnavailable
	SnapshotEvery int           // records between snapshots of counters and requests, default 8192
	KeepRequests  int           // newest requests remembered, default 1,000,000
	KeepFor       time.Duration // how long a request is remembered at least, unless KeepRequests newer ones came; default 24 h
	MmapSize      int           // address space reserved for the file in bytes, default 8 GiB: growing past it waits for readers
	MaxSize       int           // largest file in bytes, default no limit
	// Reserve is how many bytes must be free beside the file for a commit to begin (ErrFull); default 0, which asks nobody. Above it the file may grow
	// by 16 MiB at a time. Free overrides how that is found out in tests.
	Reserve int64
	Free    func(dir string) (int64, error)
}

// Buckets. The collections have their own: see collection.go.
var (
	bucketMeta    = []byte("meta")
	bucketRecord  = []byte("record")  // sequence (8 bytes) → record
	bucketTile    = []byte("tile")    // level (1 byte), index (8 bytes) → full tile
	bucketCounter = []byte("counter") // expiry (8 bytes), name → value
	bucketRequest = []byte("request") // first record (8 bytes) → request key, time
	bucketOutbox  = []byte("outbox")  // message id (8 bytes) → message
	bucketDue     = []byte("due")     // queue, 0, due time (8 bytes), message id (8 bytes) → nothing

	keySchema   = []byte("schema")
	keyLog      = []byte("log")
	keyHash     = []byte("hash")
	keyHead     = []byte("head")     // size, time of the last record, range hashes
	keySnapshot = []byte("snapshot") // records covered, time up to which counters were forgotten
)

// Bolt is the embedded engine: one bbolt file and one writer. It meets Store.
type Bolt struct {
	cfg    Config
	db     *bolt.DB
	log    *slog.Logger
	id     string
	hasher *merkle.Hasher

	collections map[string]*kind // by name; never changes after Open

	queue    chan *item
	gate     sync.RWMutex // guards closed and sending into queue
	closed   bool
	finished chan struct{} // closed when the writer has ended

	state    atomic.Pointer[State]
	edge     atomic.Pointer[merkle.Edge] // never changed once published
	readOnly atomic.Pointer[string]      // reason, nil when writing is allowed
	broken   atomic.Pointer[error]       // set by a failed write: a restart is needed
	doubt    atomic.Pointer[error]       // why the clock is in doubt
	full     atomic.Bool                 // there was no room when it was asked for last

	changed   chan struct{}
	changedMu sync.Mutex

	committing atomic.Int64 // bbolt's number of the transaction that is being committed and published, 0 for none
	published  sync.RWMutex // held by the writer while committing is set

	live   live
	leases leases
	w      writer // belongs to the writer goroutine
}

var _ Store = (*Bolt)(nil)

// Open opens or makes the file. Errors: ErrSchema, ErrCorrupt (the tree's edge does not match the stored head), ErrInUse, fs.ErrNotExist.
func Open(cfg Config) (*Bolt, error) {
	cfg = cfg.withDefaults()
	if err := ensureFile(cfg); err != nil {
		return nil, err
	}
	db, err := openFile(cfg.Path, cfg)
	if err != nil {
		return nil, err
	}
	b := &Bolt{cfg: cfg, db: db, log: cfg.Log, queue: make(chan *item, cfg.QueueLen), finished: make(chan struct{}), changed: make(chan struct{})}
	if err := guarded(b.load); err != nil {
		db.Close()
		return nil, fmt.Errorf("opening store %s: %w", cfg.Path, err)
	}
	if cfg.ReadOnly {
		b.SetReadOnly("opened for reading only")
	}
	go b.run()
	return b, nil
}

// OpenReadOnlyFile opens a store for offline checks. It takes a shared lock: while a daemon runs it fails with ErrInUse.
func OpenReadOnlyFile(path string) (*Bolt, error) {
	return Open(Config{Path: path, ReadOnly: true})
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Hash == "" {
		c.Hash = merkle.SM3.Name()
	}
	if c.Free == nil {
		c.Free = free
	}
	defaultTo(&c.QueueLen, 1024)
	defaultTo(&c.SnapshotEvery, 8192)
	defaultTo(&c.KeepRequests, 1_000_000)
	defaultTo(&c.KeepFor, 24*time.Hour)
	defaultTo(&c.MmapSize, 8<<30)
	return c
}

func defaultTo[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// openFile applies the measured settings: the freelist is synced so that opening takes no scan, and the address space is reserved so
// that growth does not wait for readers.
func openFile(path string, cfg Config) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, InitialMmapSize: cfg.MmapSize,
		MaxSize: cfg.MaxSize, ReadOnly: cfg.ReadOnly})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening %s: %w", path, ErrInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("opening %s: %w: %w", path, ErrCorrupt, err)
	default:
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
}

// ensureFile makes the file if it may. The new file appears under its name only when it is complete.
func ensureFile(cfg Config) error {
	_, err := os.Stat(cfg.Path)
	switch {
	case err == nil && !cfg.ReadOnly:
		return os.Chmod(cfg.Path, 0o600)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist) || !cfg.Create || cfg.ReadOnly:
		return fmt.Errorf("opening store: %w", err)
	}
	fresh := cfg.Path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("making store: %w", err)
	}
	if err := makeFile(fresh, cfg); err != nil {
		os.Remove(fresh)
		return fmt.Errorf("making store %s: %w", cfg.Path, err)
	}
	if err := os.Rename(fresh, cfg.Path); err != nil {
		return fmt.Errorf("making store: %w", err)
	}
	return syncDir(filepath.Dir(cfg.Path))
}

func makeFile(path string, cfg Config) error {
	h, err := merkle.ByName(cfg.Hash)
	if err != nil {
		return err
	}
	db, err := openFile(path, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	id := make([]byte, 16)
	rand.Read(id)
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketRecord, bucketTile, bucketCounter, bucketRequest, bucketOutbox, bucketDue} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		return errors.Join(meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, Schema)), meta.Put(keyLog, []byte(hex.EncodeToString(id))),
			meta.Put(keyHash, []byte(h.Name())), meta.Put(keyHead, head{}.encode()), meta.Put(keySnapshot, cover{}.encode()))
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// State returns the log's present size and root.
func (b *Bolt) State() State { return *b.state.Load() }

// Changed is closed at the next commit.
func (b *Bolt) Changed() <-chan struct{} {
	b.changedMu.Lock()
	defer b.changedMu.Unlock()
	return b.changed
}

// SetReadOnly stops commits with ErrReadOnly and the reason, or lets them go on when the reason is empty. A commit that is being written
// is seen through. It cannot undo a stop after a disk error, nor a Config.ReadOnly.
func (b *Bolt) SetReadOnly(reason string) {
	if b.cfg.ReadOnly {
		reason = "opened for reading only"
	}
	if reason == "" {
		b.readOnly.Store(nil)
		return
	}
	b.readOnly.Store(&reason)
}

// Health returns nil when commits can go on, else ErrReadOnly, ErrFull or ErrClock with the reason.
func (b *Bolt) Health() error {
	if err := b.writable(); err != nil {
		return err
	}
	if err := b.room(); err != nil {
		return err
	}
	if err := b.doubt.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *Bolt) writable() error {
	if err := b.broken.Load(); err != nil {
		return fmt.Errorf("%w: a write failed, restart needed: %w", ErrReadOnly, *err)
	}
	if reason := b.readOnly.Load(); reason != nil {
		return fmt.Errorf("%w: %s", ErrReadOnly, *reason)
	}
	return nil
}

// Stats are figures for metrics.
type Stats struct {
	Queue     int   // commits waiting
	FreePages int   // pages on the free list; above 20,000 every commit slows down and the file should be compacted
	FileSize  int64 // bytes
	Counters  int   // in memory
	Requests  int   // in memory
}

// Stats returns figures for metrics.
func (b *Bolt) Stats() Stats {
	s := Stats{Queue: len(b.queue), FreePages: b.db.Stats().FreePageN}
	if info, err := os.Stat(b.cfg.Path); err == nil {
		s.FileSize = info.Size()
	}
	b.live.mu.RLock()
	defer b.live.mu.RUnlock()
	s.Counters, s.Requests = len(b.live.counters), len(b.live.requests)
	return s
}

// Backup writes a consistent copy. The copy is made in a file beside the store first, so that a slow w never holds a read transaction open.
func (b *Bolt) Backup(ctx context.Context, w io.Writer) error {
	tmp, err := os.CreateTemp(filepath.Dir(b.cfg.Path), ".backup-*")
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	err = b.db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(tmp)
		return err
	})
	if err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	if _, err := io.Copy(w, reader{ctx, tmp}); err != nil {
		return fmt.Errorf("sending backup: %w", err)
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Close stops the intake, commits what waits, writes a snapshot and closes the file. Commits that come later are ErrUnavailable.
func (b *Bolt) Close() error {
	b.gate.Lock()
	if b.closed {
		b.gate.Unlock()
		<-b.finished
		return nil
	}
	b.closed = true
	close(b.queue)
	b.gate.Unlock()
	<-b.finished
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("closing store: %w", err)
	}
	return nil
}
