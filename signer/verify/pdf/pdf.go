// Package pdf reads PDF documents for judging their signatures: what each signature covers, and what was changed after it.
//
// Its one promise is that a file is read in one way or not at all: whatever two readers could understand differently is refused by
// name. It shares no code with the package that signs (law 6), and decodes no page content, font or picture.
//
//	Open ─► Document ─ Revisions ─► where each saved state ends
//	                 ├ Signatures ─► fields with their ranges, Contents and permissions
//	                 ├ Changes(signature) ─► what the later revisions changed, classified
//	                 └ Layout ─► bytes that no cross-reference section accounts for
//
// Limits: encrypted documents, and cross-reference or object streams under another filter than FlateDecode, are refused as
// unsupported; a damaged cross-reference is never rebuilt. The input is shared and must not be modified. Memory held stays under 20
// times the input or 64 MiB, whichever is larger; so does the work, by a budget of steps. A Document is not safe for concurrent use.
package pdf

import (
	"bytes"
	"context"
	"fmt"
)

// Refusal is why a document, or a part of it, is not read any further.
type Refusal struct {
	Code        string // stable, "pdf-" and a word
	Detail      string // English; text of the document in it is not made harmless yet
	Unsupported bool   // this reader cannot do it; the document may be sound
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

func unsupported(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...), Unsupported: true}
}

// Document is an opened file.
type Document struct {
	Version string // of the header, such as 1.7

	ctx       context.Context
	src       []byte
	revisions []*Revision // oldest first
	entries   int         // of all cross-reference sections
	work      int64       // steps that are left
	cache     map[place]cached
	cached    int                     // elements in cache
	streams   map[int64]*objectStream // by the offset of the object
	decoded   int                     // bytes in streams
}

// Revision is one saved state of the document: what ends with its own startxref and %%EOF.
type Revision struct {
	Start, End int64 // extent in the file; End lies behind %%EOF, before the line end
	sections   []*section
	trailer    Dict
}

// Open reads the structure of a document: header, every cross-reference section and trailer. Errors are *Refusal, or the context's.
func Open(ctx context.Context, b []byte) (*Document, error) {
	d := &Document{ctx: ctx, src: b, work: 64<<20 + 16*int64(len(b)), cache: map[place]cached{}, streams: map[int64]*objectStream{}}
	if err := d.header(); err != nil {
		return nil, err
	}
	if err := d.readRevisions(); err != nil {
		return nil, err
	}
	return d, nil
}

// header demands %PDF-n.m as the first bytes: everything is addressed from there, and products disagree what an offset means where it
// is not (ISO 32000-1 7.5.2).
func (d *Document) header() error {
	at := bytes.Index(d.src[:min(len(d.src), 1024)], []byte("%PDF-"))
	switch {
	case at < 0:
		return refuse("pdf-header", "no %%PDF- in the first 1024 bytes")
	case at > 0:
		return refuse("pdf-header", "%d bytes stand before the header", at)
	}
	v := d.src[5:min(len(d.src), 9)]
	if len(v) < 3 || v[0] < '0' || v[0] > '9' || v[1] != '.' || v[2] < '0' || v[2] > '9' || len(v) > 3 && !isSpace(v[3]) && v[3] != '%' {
		return refuse("pdf-header", "version %.8q", v)
	}
	d.Version = string(v[:3])
	return nil
}

// Revisions are the saved states, oldest first.
func (d *Document) Revisions() []*Revision { return d.revisions }

// spend takes n steps from the budget of work and ends it when the caller gave up.
func (d *Document) spend(n int) error {
	before := d.work
	if d.work -= int64(n); d.work < 0 {
		return unsupported("pdf-limits", "reading it takes more work than a document of %d bytes may", len(d.src))
	}
	if before>>16 != d.work>>16 {
		return d.ctx.Err()
	}
	return nil
}
