package licence

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// MaxFile bounds one licence file in bytes; a page with its seal has a tenth of it.
const MaxFile = 4 << 20

// Origin says where a licence file comes from.
type Origin string

// The origins.
const (
	OriginIssued   Origin = "issued"   // made and sealed here
	OriginReceived Origin = "received" // from elsewhere; the national system knew it
)

// Source is what the national system said of a file from elsewhere when it was taken.
type Source struct {
	Name      string    `json:"name"`
	Status    Status    `json:"status"`
	Current   int       `json:"current_version"`
	CheckedAt time.Time `json:"checked_at"`
	Authority string    `json:"authority,omitempty"`
}

// File is a licence file (电子营业执照文件) in the archive. Its bytes are kept apart, so that looking one up reads a small record.
type File struct {
	SM3        string    `json:"sm3"` // of the whole file, 64 hexadecimal digits
	USCC       string    `json:"uscc"`
	Version    int       `json:"version"` // of the licence; of a file from elsewhere the national system's count
	Origin     Origin    `json:"origin"`
	Size       int       `json:"size"`
	ArchivedAt time.Time `json:"archived_at"`
	Source     *Source   `json:"source,omitempty"` // of a file from elsewhere
}

// FileNote says what a file is.
type FileNote struct {
	USCC    string
	Version int
	Origin  Origin
	Source  *Source
}

var (
	// ErrFileSize: a licence file is empty or larger than the archive takes.
	ErrFileSize = errors.New("licence file is empty or too large")
	// ErrFileKnown: the archive holds the same bytes as the file of another licence or version.
	ErrFileKnown = errors.New("the archive holds this file as another licence's")
	// ErrNoFile: the archive holds no such file.
	ErrNoFile = errors.New("no such licence file")
	// ErrFileNote: a file without a licence, a version or an origin.
	ErrFileNote = errors.New("not a complete note of a licence file")
)

// The archive: "licence-file" holds a File per digest, written once; "licence-file-bytes" the bytes themselves.
var (
	files     = &store.Collection{Name: "licence-file", Codec: 1, Indexes: []store.Index{{Name: byVersion, Keys: fileVersion}}}
	fileBytes = &store.Collection{Name: "licence-file-bytes", Codec: 1}
)

const byVersion = "version"

func fileVersion(value []byte) ([][]byte, error) {
	var f File
	if err := json.Unmarshal(value, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return [][]byte{[]byte(versionKey(f.USCC, f.Version))}, nil
}

// FileChange is a file's entry into the archive as pieces of the caller's commit. When Repeated is true it is there already, and there is
// nothing to commit.
type FileChange struct {
	File     File
	Repeated bool
	Put      []store.Put
	Expect   []store.Expect
	Audit    [][]byte
}

// Mutation is the entry as a commit of its own.
func (c FileChange) Mutation() store.Mutation {
	return store.Mutation{Put: c.Put, Expect: c.Expect, Audit: c.Audit}
}

// FileSM3 is how the archive names a file.
func FileSM3(b []byte) string {
	d := gm.SM3(b)
	return hex.EncodeToString(d[:])
}

// ArchiveFile works out the entry of a file. Nothing is stored, and nothing that is stored ever changes. Whether the bytes are a sound licence is
// the caller's to know. Errors: ErrFileSize, ErrFileNote, ErrFileKnown, ErrUSCC, and ErrUnknown for one issued here without such a version.
func (l *Library) ArchiveFile(ctx context.Context, n FileNote, b []byte, by audit.Actor) (FileChange, error) {
	if len(b) == 0 || len(b) > MaxFile {
		return FileChange{}, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxFile, ErrFileSize)
	}
	if err := l.checkNote(ctx, n); err != nil {
		return FileChange{}, err
	}
	f := File{SM3: FileSM3(b), USCC: n.USCC, Version: n.Version, Origin: n.Origin, Size: len(b), ArchivedAt: l.cfg.Now().UTC().Truncate(time.Second), Source: n.Source}
	was, err := l.File(ctx, f.SM3)
	if err == nil {
		if was.USCC != f.USCC || was.Version != f.Version || was.Origin != f.Origin {
			return FileChange{}, fmt.Errorf("file %s is version %d of %s: %w", f.SM3, was.Version, was.USCC, ErrFileKnown)
		}
		return FileChange{File: was, Repeated: true}, nil
	}
	if !errors.Is(err, ErrNoFile) {
		return FileChange{}, err
	}
	return f.enter(b, by)
}

func (l *Library) checkNote(ctx context.Context, n FileNote) error {
	if _, err := CheckUSCC(n.USCC); err != nil {
		return err
	}
	switch {
	case n.Version < 1 || n.Origin != OriginIssued && n.Origin != OriginReceived || (n.Source != nil) != (n.Origin == OriginReceived):
		return fmt.Errorf("version %d, origin %.20q: %w", n.Version, n.Origin, ErrFileNote)
	case n.Origin == OriginReceived:
		return l.cfg.Mode.check(n.USCC)
	}
	_, err := l.Version(ctx, n.USCC, n.Version)
	return err
}

func (f File) enter(b []byte, by audit.Actor) (FileChange, error) {
	c := FileChange{File: f}
	value, err := json.Marshal(f)
	if err != nil {
		return c, fmt.Errorf("encoding the note of file %s: %w", f.SM3, err)
	}
	body, err := audit.Event{Kind: audit.KindLicenceFile, Actor: by, Subject: f.USCC, Detail: f}.Body()
	if err != nil {
		return c, fmt.Errorf("recording file %s: %w", f.SM3, err)
	}
	key := []byte(f.SM3)
	c.Audit = [][]byte{body}
	c.Put = []store.Put{{Collection: files, Key: key, Value: value}, {Collection: fileBytes, Key: key, Value: b}}
	c.Expect = []store.Expect{{Collection: files, Key: key}, {Collection: fileBytes, Key: key}}
	return c, nil
}

// File finds a file by its digest. ErrNoFile.
func (l *Library) File(ctx context.Context, sm3 string) (File, error) {
	var f File
	it, err := l.st.Get(ctx, files, []byte(sm3))
	if errors.Is(err, store.ErrNotFound) {
		return f, fmt.Errorf("file %.64q: %w", sm3, ErrNoFile)
	}
	if err := decode(it, err, &f); err != nil {
		return f, fmt.Errorf("reading the note of file %.64q: %w", sm3, err)
	}
	return f, nil
}

// FileBytes returns a file as it was archived; bytes that are no longer those are store.ErrCorrupt. ErrNoFile.
func (l *Library) FileBytes(ctx context.Context, sm3 string) ([]byte, error) {
	it, err := l.st.Get(ctx, fileBytes, []byte(sm3))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("file %.64q: %w", sm3, ErrNoFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading file %.64q: %w", sm3, err)
	}
	if FileSM3(it.Value) != sm3 {
		return nil, fmt.Errorf("file %s has another digest: %w", sm3, store.ErrCorrupt)
	}
	return it.Value, nil
}

// FilesOf lists the files of one version of a licence, of both origins.
func (l *Library) FilesOf(ctx context.Context, uscc string, version int) ([]File, error) {
	p, err := l.st.List(ctx, files, byVersion, []byte(versionKey(uscc, version)), "", maxPage)
	if err != nil {
		return nil, fmt.Errorf("listing the files of %.20q: %w", uscc, err)
	}
	out := make([]File, len(p.Items))
	for i, it := range p.Items {
		if err := json.Unmarshal(it.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("file %s: %w: %w", it.Key, store.ErrCorrupt, err)
		}
	}
	return out, nil
}
