package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"sealkeeper/softhsm-test/stage"
)

// TestMemory reports what the daemon itself holds (RssAnon: without the mapped store file) under a bounded load of issuance and signing. The
// figure is for people; machines differ.
func TestMemory(t *testing.T) {
	s := own(t, stage.Config{})
	before := s.residentAnonymous(t)
	l := newLoad(t, s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- l.run(ctx) }()
	most := 0
	err := until(t.Context(), "1000 answers", func() (bool, error) {
		most = max(most, s.residentAnonymous(t))
		return l.acknowledged.Load() >= 1000 || len(ran) > 0, nil
	})
	stop()
	if err == nil {
		err = <-ran
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("RssAnon of seald: %d kB after the start, at most %d kB during %d answers of every kind, %d sets made", before, most, l.acknowledged.Load(), len(l.finished))
}

// residentAnonymous reads RssAnon of the daemon, in kB.
func (s *scene) residentAnonymous(t testing.TB) (kilobytes int) {
	t.Helper()
	b := mustOf(os.ReadFile(fmt.Sprintf("/proc/%d/status", s.SealdPID())))(t)
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			fmt.Sscan(text, &kilobytes)
		}
	}
	if kilobytes == 0 {
		t.Fatal("the system tells no RssAnon")
	}
	return kilobytes
}
