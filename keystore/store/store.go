// Package store is the records engine: collections of versioned values, spent counters, an outbox and one append-only log, all
// changed by the same all-or-nothing commit.
//
// Its one promise: when Commit returns a receipt, everything in the mutation is durable, and when it returns an error other than
// ErrUnknownOutcome, nothing of it happened. Mutations are data, never callbacks, so one writer can group what is waiting, and a second
// engine (PostgreSQL) can take its place. No transaction, bucket or cursor type crosses this seam. bbolt is the embedded engine
// and this package its only importer.
//
// Limits: what bbolt would give by accident is not promised: no snapshot across calls, no order across nodes, no free scans.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors of Commit and the readers. Callers must handle all of them, also those the embedded engine never returns.
var (
	// ErrConflict: an expectation did not hold (another commit came first). Nothing happened.
	ErrConflict = errors.New("the record was changed by someone else meanwhile")
	// ErrRequestReused: the request id was used before with another body. Nothing happened.
	ErrRequestReused = errors.New("the request id was used before for something else")
	// ErrLimit: a counter would pass its limit. Nothing happened.
	ErrLimit = errors.New("the limit is spent")
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("no such record")
	// ErrLate: the mutation waited beyond its NotAfter. Nothing happened; it is an ErrConflict, since deciding again mends it.
	ErrLate = fmt.Errorf("the mutation came too late: %w", ErrConflict)
	// ErrUnavailable: the engine cannot commit now (queue full, shutting down, disk error before the write). Nothing happened.
	ErrUnavailable = errors.New("the store is not available")
	// ErrFull: too little space is left on the disk; an ErrUnavailable. Nothing happened, and commits go on by themselves when there is space.
	ErrFull = fmt.Errorf("the disk is full: %w", ErrUnavailable)
	// ErrUnknownOutcome: the connection or the disk failed during the commit. Ask again by request id before repeating.
	ErrUnknownOutcome = errors.New("the outcome of the commit is unknown")
	// ErrFenced: another node has taken over this log.
	ErrFenced = errors.New("another writer has taken over")
	// ErrClock: the clock is behind the last record or jumped against the monotonic clock by more than 5 s (law 8).
	ErrClock = errors.New("the clock is not to be trusted until an operator accepts it")
	// ErrReadOnly: the store is recovering (law 12) or stopped after a disk error; reads go on.
	ErrReadOnly = errors.New("the store is read-only")
	// ErrSchema: the file was written by another schema version.
	ErrSchema = errors.New("the store has another schema version")
	// ErrCorrupt: stored bytes contradict each other.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrMutation: the mutation is malformed (a name, key or size out of bounds, records missing). Nothing happened.
	ErrMutation = errors.New("the mutation is malformed")
	// ErrInUse: another process holds the file.
	ErrInUse = errors.New("the store file is in use by another process")
	// ErrCursor: the cursor does not belong to this listing.
	ErrCursor = errors.New("not a cursor of this listing")
)

// Collection declares a kind of record. Each owner package declares its own, once, as a package variable, and passes it to Open.
type Collection struct {
	// Name is stable for ever and unique: lower-case words, for example "seal".
	Name string
	// Codec is the version of the value's encoding, stored with every value; readers see it in Item.Codec.
	Codec byte
	// Indexes are maintained by the store in the same commit as the value.
	Indexes []Index
}

// Index is a second way to find records. Keys must be a pure function of the value bytes.
type Index struct {
	Name string
	// Keys returns the index keys of a value, none to leave it out. Keys longer than 256 bytes are refused.
	Keys func(value []byte) ([][]byte, error)
}

// Version counts the changes of one record from 1. Zero means absent.
type Version uint64

// Item is one record as read.
type Item struct {
	Key     []byte
	Value   []byte // a copy
	Version Version
	Codec   byte
}

// Request names the call that a mutation answers, for idempotency: the same client and id with the same digest gives the first receipt
// again, with another digest ErrRequestReused. It rides in the first audit record of the mutation, so a mutation with a Request
// carries at least one.
//
// A request is remembered for 24 hours, or until 1,000,000 newer ones came (both configurable); after that the same id is a new
// request. What must never happen twice is guarded by a counter, not by the request id.
type Request struct {
	Client string   // who asked: hexadecimal SHA-256 of the certificate's key, or an internal name
	ID     string   // Idempotency-Key, 1..128 printable ASCII characters
	Digest [32]byte // SM3 over method, path and body
}

// Expect requires a record to have a version at commit time; zero means that it must not exist. A record that is only read (a licence,
// a seal that must still be active) is expected too: that is how an earlier suspension always wins (law 3).
type Expect struct {
	Collection *Collection
	Key        []byte
	Version    Version
}

// Put writes a value; the version moves on by one. A nil Value deletes.
type Put struct {
	Collection *Collection
	Key        []byte
	Value      []byte
}

// Spend adds N to a counter, which must not pass Limit. Counters live in memory with the writer and are rebuilt from snapshot and log;
// the movement rides in the first audit record of the mutation, so a mutation with a Spend carries at least one.
type Spend struct {
	Counter string // for example "nonce/<hex>" with Limit 1, "delegation/<id>", "grant/<id>"
	N       uint64
	Limit   uint64 // 0 means no limit: count only
	// Expires is when the counter may be forgotten, zero for never. The latest one given counts. It must be the end of validity of
	// what the counter guards: a Spend whose Expires lies before the time up to which counters were forgotten is ErrLimit, so
	// forgetting never lets a spent nonce through.
	Expires time.Time
}

// Message is queued for delivery to an outside system in the same commit.
type Message struct {
	Queue string // for example "filing"
	Body  []byte
}

// Mutation is everything that one act changes. It must not be modified before Commit returns.
type Mutation struct {
	Request *Request
	Expect  []Expect
	Put     []Put
	Spend   []Spend
	Audit   [][]byte // bodies of audit records, built by package audit; the store wraps each in a Record and gives it its place
	Outbox  []Message
	// NotAfter, unless zero, is the latest time the commit may have; later it is ErrLate. What sorts by a time that was taken before the
	// commit (a feed of changes) is complete up to a bound only when that time cannot lie arbitrarily far back.
	NotAfter time.Time
}

// Receipt is the proof of a durable commit.
type Receipt struct {
	Log       string     `json:"log"`       // identifier of this store's log, "" when the mutation had no records
	First     uint64     `json:"first"`     // index of the first record
	Leaves    [][32]byte `json:"leaves"`    // leaf hashes of the records, in order
	Time      time.Time  `json:"time"`      // the commit's time, as in its records
	Duplicate bool       `json:"duplicate"` // the request was answered before; everything here is of the first answer
	Spent     []uint64   `json:"spent"`     // counter values after each Spend
}

// Record is one entry of the log. Leaf hashes cover exactly Raw.
type Record struct {
	Index   uint64
	Time    time.Time
	Request *Request // only on the first record of its mutation
	Spent   []Spent  // only on the first record of its mutation
	Part    int      // which record of its mutation this is, from 0
	Of      int      // how many records the mutation has; only on the first
	Body    []byte
	Raw     []byte
}

// Spent is a counter's movement as recorded.
type Spent struct {
	Counter string
	N       uint64
	After   uint64
	Expires time.Time // zero for never
}

// Job is a claimed outbox message.
type Job struct {
	ID      uint64
	Queue   string
	Body    []byte
	Tries   int
	Created time.Time
}

// Page is a slice of a listing; Next is empty at the end.
type Page struct {
	Items []Item
	Next  string
}

// State is what the log looks like right after a commit.
type State struct {
	Log  string // 32 hexadecimal digits, drawn when the store was made
	Hash string // of the tree, fixed when the store was made: "sm3" or "sha256"
	Size uint64
	Root [32]byte
	Time time.Time // of the last record
}

// Store is met by the embedded engine here and by a server engine later; one conformance suite runs over both.
type Store interface {
	// Commit applies m whole or not at all and returns when it is durable. A Commit whose context ends while waiting in the queue
	// returns ErrUnavailable; once it is being written it is seen through.
	Commit(ctx context.Context, m Mutation) (Receipt, error)
	// CommitAll applies several mutations, each whole or not at all and refused by itself, with one durable write.
	CommitAll(ctx context.Context, ms []Mutation) []Result
	// Get reads one record.
	Get(ctx context.Context, c *Collection, key []byte) (Item, error)
	// List pages through a collection by primary key (index "") or by an index, over keys that begin with prefix, in key order.
	List(ctx context.Context, c *Collection, index string, prefix []byte, cursor string, limit int) (Page, error)
	// ListFrom pages through a collection by primary key (index "") or by an index, from the given key on to the end, in key order. The
	// cursor goes on from a page; it belongs to the collection and index.
	ListFrom(ctx context.Context, c *Collection, index string, from []byte, cursor string, limit int) (Page, error)
	// Counter returns a counter's value; unknown counters are zero.
	Counter(ctx context.Context, name string) (uint64, error)
	// Lookup finds the first receipt of a request, or ErrNotFound, or ErrRequestReused when the digest differs.
	Lookup(ctx context.Context, r Request) (Receipt, error)
	// Records reads log entries from an index.
	Records(ctx context.Context, from uint64, limit int) ([]Record, error)
	// Tile returns a tile: 256 hashes of 32 bytes at level 0, 8, 16 … (as transparency logs cut them), fewer at the right edge;
	// ErrNotFound beyond it.
	Tile(ctx context.Context, level int, index uint64) ([]byte, error)
	// State returns the log's present size and root.
	State() State
	// Changed is closed at the next commit; ask again for the one after.
	Changed() <-chan struct{}
	// Claim hands out up to n messages of a queue for the length of the lease; Done removes one; Later gives one back with a delay.
	Claim(ctx context.Context, queue string, n int, lease time.Duration) ([]Job, error)
	Done(ctx context.Context, j Job) error
	Later(ctx context.Context, j Job, after time.Duration) error
	// AcceptClock takes the clock as it is now for right and commits m, the operator's decision, as the first mutation under it. Its
	// record, and that of a Resume, are the only ones whose time may lie before that of the record in front of them.
	AcceptClock(ctx context.Context, m Mutation) (Receipt, error)
	// SetReadOnly stops commits with ErrReadOnly and the reason, or lets them go on when the reason is empty.
	SetReadOnly(reason string)
	// Resume commits m while the store is read-only by SetReadOnly and lets commits go on from then: nothing comes between. It also
	// accepts a clock in doubt.
	Resume(ctx context.Context, m Mutation) (Receipt, error)
	// Backup writes a consistent copy.
	Backup(ctx context.Context, w io.Writer) error
	Close() error
}
