// Package dataset writes a made-up city as files: licence events with histories and defects, filed impressions, and what is to come of them.
//
// Its one promise is that a size and a seed give the same bytes on every machine; every line is visibly synthetic (示例, 演示数据, YYY in the
// code). The messages are signed by keys that are made from the seed, unless others are given: such keys are known to everybody.
//
// It works in blocks of a few hundred enterprises, so its memory does not grow with the city. Pictures are drawn by public security's simulator
// alone (同章同模), and for a whole city not at all.
package dataset

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
)

// Size says how many enterprises there are, and whether their impressions are drawn.
type Size struct {
	Enterprises int
	DPI         int // of the impressions; zero: none
}

// Sizes by name.
var Sizes = map[string]Size{"tiny": {20, 300}, "small": {2000, 300}, "city": {300_000, 0}}

// Config says what to write.
type Config struct {
	Size     Size
	Seed     string
	Dir      string       // is made, and must be empty
	Events   *softkey.Key // of the registration system; nil: made from the seed
	Filings  *softkey.Key // of public security; nil: made from the seed
	Progress func(done int)
}

// Summary is what was written; summary.json holds it.
type Summary struct {
	Note        string         `json:"note"`
	Seed        string         `json:"seed"`
	Enterprises int            `json:"enterprises"`
	Events      int            `json:"events"`   // lines of licences.jsonl
	Taken       int            `json:"taken"`    // of them
	Repeated    int            `json:"repeated"` // of them
	Rejected    int            `json:"rejected"` // of them
	Statuses    map[string]int `json:"statuses"` // of the enterprises in the end
	Changed     map[string]int `json:"changed"`  // histories by what changed
	Filings     int            `json:"filings"`  // lines of filings.jsonl
	Late        int            `json:"late"`     // lines of filings-late.jsonl
	Defective   map[string]int `json:"defective_filings"`
}

// ErrNotEmpty: the directory holds something.
var ErrNotEmpty = errors.New("the directory of a data set must be empty")

const block = 256 // enterprises made at once

// Write writes licences.jsonl, filings.jsonl, filings-late.jsonl, expected.jsonl, summary.json and the public keys to pin.
func Write(ctx context.Context, c Config) (Summary, error) {
	if err := c.prepare(); err != nil {
		return Summary{}, err
	}
	w := writer{Config: c, sum: Summary{Note: "演示数据 synthetic data", Seed: c.Seed, Enterprises: c.Size.Enterprises,
		Statuses: map[string]int{}, Changed: map[string]int{}, Defective: map[string]int{}}}
	if err := w.open(); err != nil {
		return w.sum, errors.Join(err, w.close())
	}
	err := w.all(ctx)
	if err = errors.Join(err, w.close()); err != nil {
		return w.sum, err
	}
	return w.sum, w.finish()
}

func (c *Config) prepare() (err error) {
	if c.Events == nil {
		c.Events, err = softkey.FromSeed("sealkeeper demo registration " + c.Seed)
	}
	if c.Filings == nil && err == nil {
		c.Filings, err = softkey.FromSeed("sealkeeper demo public-security " + c.Seed)
	}
	if err != nil {
		return err
	}
	c.Events, c.Filings = c.Events.Repeatable(), c.Filings.Repeatable()
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	found, err := os.ReadDir(c.Dir)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("%s: %w", c.Dir, ErrNotEmpty)
	}
	return err
}

// names are the files with a line for each message or enterprise.
var names = [...]string{"licences.jsonl", "filings.jsonl", "filings-late.jsonl", "expected.jsonl"}

type writer struct {
	Config
	sum   Summary
	files [len(names)]*os.File
	out   [len(names)]*bufio.Writer
}

func (w *writer) open() (err error) {
	for i, name := range names {
		if w.files[i], err = os.Create(filepath.Join(w.Dir, name)); err != nil {
			return err
		}
		w.out[i] = bufio.NewWriterSize(w.files[i], 256<<10)
	}
	return nil
}

func (w *writer) close() (err error) {
	for i, f := range w.files {
		if f != nil {
			err = errors.Join(err, w.out[i].Flush(), f.Close())
		}
	}
	return err
}

// all makes block after block, each by all processors, and writes it in its order.
func (w *writer) all(ctx context.Context) error {
	made := make([]made, block)
	for from := 1; from <= w.Size.Enterprises; from += block {
		n := min(block, w.Size.Enterprises-from+1)
		g, in := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i := range n {
			g.Go(func() (err error) {
				if err := in.Err(); err != nil {
					return err
				}
				made[i], err = w.make(from + i)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("making enterprises from %d: %w", from, err)
		}
		for i := range n {
			if err := w.put(&made[i]); err != nil {
				return err
			}
		}
		if w.Progress != nil {
			w.Progress(from + n - 1)
		}
	}
	return nil
}

func (w *writer) put(m *made) error {
	for i, lines := range m.lines {
		for _, l := range lines {
			if _, err := w.out[i].Write(append(l, '\n')); err != nil {
				return err
			}
		}
	}
	s, e := &w.sum, m.expected
	s.Events, s.Filings, s.Late = s.Events+len(m.lines[0]), s.Filings+len(m.lines[1]), s.Late+len(m.lines[2])
	s.Taken, s.Repeated, s.Rejected = s.Taken+e.Taken, s.Repeated+e.Repeated, s.Rejected+e.Rejected
	s.Statuses[e.Status]++
	if e.Changed != "" {
		s.Changed[e.Changed]++
	}
	for _, f := range e.Filings {
		if f.Defect != "" {
			s.Defective[f.Defect]++
		}
	}
	return nil
}

func (w *writer) finish() error {
	text, err := json.MarshalIndent(w.sum, "", "  ")
	if err != nil {
		return err
	}
	pin := func(k *softkey.Key) []byte { return []byte(hex.EncodeToString(k.Public().Point()) + "\n") }
	for name, b := range map[string][]byte{"summary.json": append(text, '\n'), "registration.pin": pin(w.Events), "public-security.pin": pin(w.Filings)} {
		if err := os.WriteFile(filepath.Join(w.Dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// signed is an envelope as a line.
func signed(kind string, v any, key *softkey.Key) ([]byte, error) {
	e, err := envelope.Seal(kind, v, key.Sign)
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}
