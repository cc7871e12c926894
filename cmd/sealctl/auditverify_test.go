package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAuditVerifyOfARunningStore: a file that the daemon holds is not judged, and the user is told what to check instead.
func TestAuditVerifyOfARunningStore(t *testing.T) {
	o, err := newOffice(time.Now().UTC().Add(-time.Hour).Truncate(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	st, log, err := o.open(t.Context(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"audit", "verify", "--file", filepath.Join(dir, "store.db"), "--key", string(pointHex(o.auditKey))}, &out, &errs)
	if code != exitUsage || out.Len() > 0 || !strings.Contains(errs.String(), "check a copy or a backup") {
		t.Errorf("exit %d\n%s%s", code, out.String(), errs.String())
	}
	if err := errors.Join(log.Close(t.Context()), st.Close()); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := run(t.Context(), []string{"audit", "verify", "--file", filepath.Join(dir, "store.db"), "--key", string(pointHex(o.auditKey))}, &out, &errs); code != exitDone {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}
