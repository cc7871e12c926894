package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// Bounds of one call of an import: the appliance takes 1,000 events and 1 MiB of JSON.
const (
	importLines = 500
	importBytes = 640 << 10
)

func (s *settings) licenceImport() *cobra.Command {
	var fresh bool
	cmd := &cobra.Command{Use: "import FILE", Short: "send signed licence events of enterprises older than the library, one envelope a line; goes on where it stopped", Args: args("FILE"),
		RunE: func(cmd *cobra.Command, a []string) error {
			im, err := s.openImport(a[0], fresh)
			if err != nil {
				return err
			}
			defer im.close()
			err = im.run(cmd)
			if shown := s.show(cmd, im.state, im.table); err == nil {
				err = shown
			}
			return err
		}}
	cmd.Flags().BoolVar(&fresh, "from-start", false, "begin at the first line though an earlier import got further (what was taken is recognised)")
	return cmd
}

// importState is what FILE.progress holds: everything before Offset is settled.
type importState struct {
	Size     int64 `json:"size"` // of FILE, which must stay as it is
	Offset   int64 `json:"offset"`
	Lines    int   `json:"lines"`
	Settled  int   `json:"settled"`
	Rejected int   `json:"rejected"`
}

// licenceImport is one import on its way.
type licenceImport struct {
	s       *settings
	name    string
	file    *os.File
	rejects *os.File
	state   importState
}

// errImportFile: FILE is not the one that the progress was of.
var errImportFile = errors.New("the file has changed since the import began; --from-start begins anew")

func (s *settings) openImport(name string, fresh bool) (*licenceImport, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the events: %w", err)
	}
	im := &licenceImport{s: s, name: name, file: f}
	if err := im.resume(fresh); err != nil {
		f.Close()
		return nil, err
	}
	return im, nil
}

func (im *licenceImport) resume(fresh bool) error {
	info, err := im.file.Stat()
	if err != nil {
		return err
	}
	mode := os.O_APPEND
	b, err := os.ReadFile(im.name + ".progress")
	if fresh || errors.Is(err, os.ErrNotExist) {
		im.state, mode = importState{Size: info.Size()}, os.O_TRUNC
	} else if err != nil {
		return err
	} else if err := json.Unmarshal(b, &im.state); err != nil || im.state.Size != info.Size() || im.state.Offset > info.Size() {
		return fmt.Errorf("%s: %w", im.name, errImportFile)
	}
	if _, err := im.file.Seek(im.state.Offset, io.SeekStart); err != nil {
		return err
	}
	im.rejects, err = os.OpenFile(im.name+".rejects", os.O_CREATE|os.O_WRONLY|mode, 0o600)
	return err
}

func (im *licenceImport) close() {
	im.file.Close()
	im.rejects.Close()
}

func (im *licenceImport) table(w io.Writer) {
	fmt.Fprintf(w, "lines\t%d\nsettled\t%d\nrejected\t%d\n", im.state.Lines, im.state.Settled, im.state.Rejected)
	if im.state.Rejected > 0 {
		fmt.Fprintf(w, "see\t%s.rejects\n", im.name)
	}
}

// run sends batch after batch. Progress is written when the appliance has answered, so a batch may be sent twice and is then recognised.
func (im *licenceImport) run(cmd *cobra.Command) error {
	cl, err := im.s.client()
	if err != nil {
		return err
	}
	step, stop := progress(cmd.ErrOrStderr(), "importing")
	defer stop()
	for lines := bufio.NewReaderSize(im.file, 1<<20); ; {
		b, err := im.batch(lines)
		if err != nil {
			return err
		}
		if b.size == 0 {
			return nil
		}
		if err := im.send(cmd, cl, b); err != nil {
			return err
		}
		step(uint64(im.state.Offset), uint64(im.state.Size))
	}
}

// importBatch is some lines: the events among them, and those that are none.
type importBatch struct {
	size   int64
	lines  int
	at     []int // line of each event
	text   [][]byte
	events []client.Envelope
	bad    []importReject
}

// importReject is a line of FILE.rejects.
type importReject struct {
	Line   int    `json:"line"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	Event  string `json:"event,omitempty"` // the line as it came
}

func (im *licenceImport) batch(r *bufio.Reader) (importBatch, error) {
	var b importBatch
	for b.lines < importLines && b.size < importBytes {
		text, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return b, fmt.Errorf("reading %s: %w", im.name, err)
		}
		if len(text) == 0 {
			return b, nil
		}
		b.size += int64(len(text))
		b.lines++
		b.add(im.state.Lines+b.lines, bytes.TrimSpace(text))
	}
	return b, nil
}

func (b *importBatch) add(n int, text []byte) {
	var e client.Envelope
	if len(text) == 0 {
		return
	}
	if err := json.Unmarshal(text, &e); err != nil || e.Kind == "" || len(text) > importBytes/2 {
		b.bad = append(b.bad, importReject{Line: n, Code: "licence-line", Title: "不是签名事件", Detail: "no envelope of kind, payload and signature"})
		return
	}
	b.at, b.text, b.events = append(b.at, n), append(b.text, text), append(b.events, e)
}

func (im *licenceImport) send(cmd *cobra.Command, cl *client.Client, b importBatch) error {
	bad := b.bad
	if len(b.events) > 0 {
		t, err := cl.ImportLicences(cmd.Context(), client.NewKey(), b.events)
		if err != nil {
			return fmt.Errorf("after %d lines (run the same command to go on): %w", im.state.Lines, err)
		}
		im.state.Settled += t.Settled
		for _, r := range t.Rejected {
			if r.Index < 0 || r.Index >= len(b.at) {
				return fmt.Errorf("the answer names event %d of %d", r.Index, len(b.at))
			}
			bad = append(bad, importReject{b.at[r.Index], r.Problem.Code, r.Problem.Title, r.Problem.Detail, string(b.text[r.Index])})
		}
	}
	for _, r := range bad {
		if err := json.NewEncoder(im.rejects).Encode(r); err != nil {
			return fmt.Errorf("writing the rejects: %w", err)
		}
	}
	im.state.Rejected += len(bad)
	im.state.Lines += b.lines
	im.state.Offset += b.size
	return im.save()
}

// save replaces FILE.progress whole.
func (im *licenceImport) save() error {
	b, err := json.Marshal(im.state)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(im.name), ".progress-*")
	if err != nil {
		return fmt.Errorf("writing the progress: %w", err)
	}
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing the progress: %w", err), os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), im.name+".progress")
}
