package pdf_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sealkeeper/signer/verify/pdf"
	"sealkeeper/softhsm-test/pdfgen"
)

// everything reads all that a verifier asks of a document.
func everything(ctx context.Context, b []byte) error {
	d, err := pdf.Open(ctx, b)
	if err != nil {
		return err
	}
	if _, err := d.Layout(); err != nil {
		return err
	}
	signatures, err := d.Signatures()
	if err != nil {
		return err
	}
	for _, s := range signatures {
		if s.Problem != nil {
			continue
		}
		parts := d.Ranges(s)
		if start, end := d.Uncovered(s); start > end || len(parts[0]) == 0 {
			return errors.New("ranges outside the file")
		}
		if _, err := d.Changes(s); err != nil {
			return err
		}
	}
	return nil
}

func FuzzOpen(f *testing.F) {
	f.Add(pdfgen.Document("x", 2, "a line"))
	names, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "samples", "documents", "*", "*.pdf"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := everything(t.Context(), b)
		runtime.ReadMemStats(&after)
		var r *pdf.Refusal
		if err != nil && !errors.As(err, &r) && !errors.Is(err, context.Canceled) {
			t.Errorf("unnamed error %v", err)
		}
		if used, bound := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+1000*len(b)); used > bound {
			t.Errorf("%d bytes allocated for %d", used, len(b))
		}
	})
}
