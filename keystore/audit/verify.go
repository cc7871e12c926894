package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/keystore/store"
)

// Options of VerifyFile.
type Options struct {
	FormerKeys  []*gm.PublicKey     // audit keys that signed older checkpoints of this log
	Checkpoints [][]byte            // signed notes from outside the file: the anchor, a witness's copy, a printed one
	Collections []*store.Collection // whose indexes are compared with their values
	Progress    func(done, total uint64)
}

// Report is what VerifyFile found. The file is good when Bad is nil; what no checkpoint covers (Records minus Covered) is consistent with
// itself but signed by nobody.
type Report struct {
	Log         string    `json:"log"`
	Hash        string    `json:"hash"`
	Records     uint64    `json:"records"`
	Covered     uint64    `json:"covered"` // records under the newest good checkpoint
	Root        Hash      `json:"root"`
	First       time.Time `json:"first,omitzero"`
	Last        time.Time `json:"last,omitzero"`
	Checkpoints int       `json:"checkpoints"` // that are signed and agree
	Bad         *Finding  `json:"bad,omitempty"`
}

// Finding is the first thing that is wrong. When it is in the records, From is the first bad record, or the first of those among which it
// is, and To the one behind the last of them; otherwise both are zero.
type Finding struct {
	Part    string `json:"part"` // file, record, tile, head, checkpoint, counter, request, index
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Problem string `json:"problem"`
}

func (f *Finding) Error() string {
	switch {
	case f.To > f.From+1:
		return fmt.Sprintf("%s %d to %d: %s", f.Part, f.From, f.To-1, f.Problem)
	case f.To > f.From:
		return fmt.Sprintf("%s %d: %s", f.Part, f.From, f.Problem)
	}
	return f.Part + ": " + f.Problem
}

// VerifyFile rebuilds the log from the store file alone and compares everything in it with the audit public key given from outside: each
// record's form, order, time and request, every leaf, tile and range, the root at every checkpoint, counters and requests of the
// snapshot, indexes. It reads only. An error means that it could not judge (store.ErrInUse while a daemon runs); damage is in the report.
func VerifyFile(ctx context.Context, path string, key *gm.PublicKey, opts Options) (Report, error) {
	f, err := store.OpenFile(path)
	if err != nil {
		return damaged(Report{}, err)
	}
	defer f.Close()
	v := &verifier{ctx: ctx, file: f, keys: append([]*gm.PublicKey{key}, opts.FormerKeys...), opts: opts}
	err = v.run()
	return damaged(v.report, err)
}

// damaged moves damage from the error into the report.
func damaged(r Report, err error) (Report, error) {
	var bad *Finding
	switch {
	case errors.As(err, &bad):
		r.Bad = bad
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrSchema):
		r.Bad = &Finding{Part: "file", Problem: err.Error()}
	case err != nil:
		return r, fmt.Errorf("verifying the log: %w", err)
	}
	return r, nil
}

// verifier is one run over a file.
type verifier struct {
	ctx    context.Context
	file   *store.File
	keys   []*gm.PublicKey
	opts   Options
	report Report

	head     store.Head
	hasher   *merkle.Hasher
	edge     *merkle.Edge
	tile     []byte     // stored tile that the present record belongs to
	unsigned *Finding   // records that are not those signed for, to be narrowed down at the end
	suspect  *Finding   // a record that differs from its tile, until a signed root says which is wrong
	tiles    uint64     // tiles that must be there
	notes    []labelled // checkpoints not reached yet, by size
	events   events     // order of records
	books    books      // counters and requests
	err      error      // from a callback that cannot return one
}

// labelled is a signed checkpoint and where it came from.
type labelled struct {
	Checkpoint
	from string
}

func (v *verifier) run() error {
	for _, step := range []func() error{v.open, v.loadNotes, v.walk, v.finish, v.indexes} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) open() (err error) {
	if v.head, err = v.file.Head(); err != nil {
		return err
	}
	if v.hasher, err = merkle.ByName(v.head.Hash); err != nil {
		return err
	}
	v.edge = merkle.NewEdge(v.hasher)
	v.report.Log, v.report.Hash = v.head.Log, v.head.Hash
	return v.books.load(v.ctx, v.file, v.head)
}

// loadNotes reads the checkpoints of the file and those from outside. A note in the file that no key signed is a finding.
func (v *verifier) loadNotes() error {
	err := v.file.Items(v.ctx, checkpoints, func(it store.Item) error {
		return v.addNote(it.Value, "checkpoint in the file")
	})
	if err != nil {
		return err
	}
	for _, b := range v.opts.Checkpoints {
		if err := v.addNote(b, "checkpoint from outside"); err != nil {
			return err
		}
	}
	slices.SortStableFunc(v.notes, func(a, b labelled) int { return cmp.Compare(a.Size, b.Size) })
	return nil
}

func (v *verifier) addNote(b []byte, from string) error {
	c, err := openAny(b, v.keys)
	if err != nil {
		return &Finding{Part: "checkpoint", Problem: fmt.Sprintf("%s: %v", from, err)}
	}
	if origin := Origin(store.State{Log: v.head.Log, Hash: v.head.Hash}); c.Origin != origin {
		return &Finding{Part: "checkpoint", Problem: fmt.Sprintf("%s is of log %q, the file holds %q", from, c.Origin, origin)}
	}
	v.notes = append(v.notes, labelled{c, from})
	return nil
}

// walk visits every record.
func (v *verifier) walk() error {
	if err := v.reached(); err != nil {
		return err
	}
	err := v.file.Records(v.ctx, func(index uint64, raw []byte) error {
		if index != v.edge.Size() {
			return v.first(record(v.edge.Size(), "is missing"))
		}
		if v.opts.Progress != nil && index%4096 == 0 {
			v.opts.Progress(index, v.head.Size)
		}
		return v.record(index, raw)
	})
	if err == nil && v.opts.Progress != nil {
		v.opts.Progress(v.edge.Size(), v.head.Size)
	}
	return err
}

func record(index uint64, format string, args ...any) *Finding {
	return &Finding{Part: "record", From: index, To: index + 1, Problem: fmt.Sprintf(format, args...)}
}

// first returns the earliest one of a finding, the records that were not signed for and the record under suspicion.
func (v *verifier) first(f *Finding) error {
	if v.unsigned != nil {
		return v.unsigned
	}
	if v.suspect != nil {
		return v.suspect
	}
	return f
}

func (v *verifier) record(index uint64, raw []byte) error {
	leaf := v.hasher.Leaf(raw)
	if err := v.compareTile(index, leaf); err != nil {
		return err
	}
	r, err := store.ParseRecord(index, raw)
	if err != nil {
		return v.first(record(index, "%v", err))
	}
	if bad := v.events.next(v.head, r); bad != nil {
		return v.first(bad)
	}
	if bad := v.books.next(r); bad != nil {
		return v.first(bad)
	}
	if index == 0 {
		v.report.First = r.Time
	}
	v.report.Records, v.report.Last = index+1, r.Time
	if err := v.edge.Append(leaf, v.full); err != nil {
		return err
	}
	if v.err != nil {
		return v.err
	}
	return v.reached()
}

// compareTile compares a leaf with the stored full tile that holds it. A difference is kept as a suspicion: record or tile may be the one
// that was changed, and the next signed root tells.
func (v *verifier) compareTile(index uint64, leaf merkle.Hash) (err error) {
	at := index % merkle.TileWidth * merkle.HashSize
	if at == 0 {
		if v.tile, err = v.file.Tile(0, index/merkle.TileWidth); err != nil {
			return err
		}
	}
	if v.tile == nil || v.suspect != nil {
		return nil
	}
	if len(v.tile) != merkle.TileSize {
		return &Finding{Part: "tile", Problem: fmt.Sprintf("tile 0/%d has %d bytes", index/merkle.TileWidth, len(v.tile))}
	}
	if !bytes.Equal(v.tile[at:at+merkle.HashSize], leaf[:]) {
		v.suspect = record(index, "is not the one whose hash is in tile 0/%d", index/merkle.TileWidth)
	}
	return nil
}

// full compares a tile that the records filled with the stored one.
func (v *verifier) full(t merkle.Tile, hashes []byte) {
	v.tiles++
	stored, err := v.file.Tile(t.Level, t.Index)
	switch {
	case err != nil:
		v.err = err
	case stored == nil:
		v.err = v.first(&Finding{Part: "tile", Problem: fmt.Sprintf("tile %d/%d is missing", t.Level, t.Index)})
	case t.Level > 0 && v.suspect == nil && !bytes.Equal(stored, hashes):
		v.err = &Finding{Part: "tile", Problem: fmt.Sprintf("tile %d/%d is not made of the tiles below it", t.Level, t.Index)}
	}
}

// reached compares the root with every checkpoint of the present size.
func (v *verifier) reached() error {
	for len(v.notes) > 0 && v.notes[0].Size == v.edge.Size() {
		c := v.notes[0]
		v.notes = v.notes[1:]
		if c.Root != v.edge.Root() {
			if v.suspect != nil {
				return v.suspect
			}
			if v.unsigned == nil {
				v.unsigned = &Finding{Part: "record", From: v.report.Covered, To: c.Size,
					Problem: fmt.Sprintf("one of them is not the one that was signed for (%s of size %d)", c.from, c.Size)}
			}
			continue
		}
		if v.suspect != nil { // the records are the signed ones, so the tile is wrong
			return &Finding{Part: "tile", Problem: fmt.Sprintf("the tile with record %d is not made of the signed records", v.suspect.From)}
		}
		v.report.Covered = c.Size
		v.report.Checkpoints++
	}
	return nil
}

// finish compares what the whole log must add up to.
func (v *verifier) finish() error {
	size := v.edge.Size()
	v.report.Root = Hash(v.edge.Root())
	if v.unsigned != nil {
		return v.narrow()
	}
	if v.suspect != nil {
		return v.suspect
	}
	switch stored, err := v.file.Tiles(v.ctx); {
	case err != nil:
		return err
	case size != v.head.Size:
		return &Finding{Part: "head", Problem: fmt.Sprintf("it says %d records, there are %d", v.head.Size, size)}
	case !slices.Equal(v.edge.Range(), v.head.Range):
		return v.edgeFinding()
	case !v.head.Time.Equal(v.report.Last):
		return &Finding{Part: "head", Problem: "it has another time than the last record"}
	case stored != v.tiles:
		return &Finding{Part: "tile", Problem: fmt.Sprintf("%d tiles are stored, %d belong to the records", stored, v.tiles)}
	case v.events.open > 0:
		return record(size-1, "%d records of its mutation are missing behind it", v.events.open)
	case len(v.notes) > 0:
		return &Finding{Part: "checkpoint", Problem: fmt.Sprintf("%s is signed for %d records, there are %d", v.notes[0].from, v.notes[0].Size, size)}
	}
	return v.books.finish(v.ctx, v.file)
}

// narrow looks among the records that were not signed for at those whose hash in the head differs: if the head was left alone, it tells
// more exactly.
func (v *verifier) narrow() error {
	if v.edge.Size() != v.head.Size || slices.Equal(v.edge.Range(), v.head.Range) {
		return v.unsigned
	}
	var near *Finding
	if errors.As(v.edgeFinding(), &near) && near.From < v.unsigned.To && near.To > v.unsigned.From {
		v.unsigned.From, v.unsigned.To = max(near.From, v.unsigned.From), min(near.To, v.unsigned.To)
	}
	return v.unsigned
}

// edgeFinding names the records of the first range hash that differs: the part of the tree that no full tile holds yet.
func (v *verifier) edgeFinding() error {
	from := uint64(0)
	have := v.edge.Range()
	for i, level := 0, 63; level >= 0; level-- {
		if v.head.Size>>level&1 == 0 {
			continue
		}
		if i >= len(v.head.Range) || have[i] != v.head.Range[i] {
			if from+1<<level <= v.report.Covered {
				return &Finding{Part: "head", Problem: fmt.Sprintf("its hash of records %d to %d is not that of the signed ones", from, from+1<<level-1)}
			}
			return &Finding{Part: "record", From: from, To: from + 1<<level, Problem: "one of them is not the one whose hash is in the head"}
		}
		from += 1 << level
		i++
	}
	return &Finding{Part: "head", Problem: "it has another number of range hashes"}
}

func (v *verifier) indexes() error {
	for _, c := range v.opts.Collections {
		if err := v.file.CheckIndexes(v.ctx, c); err != nil {
			if errors.Is(err, store.ErrCorrupt) {
				return &Finding{Part: "index", Problem: err.Error()}
			}
			return err
		}
	}
	return nil
}
