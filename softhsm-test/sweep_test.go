package softhsmtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Only what a dead process left, and left long ago, is swept.
func TestSweep(t *testing.T) {
	child := exec.CommandContext(t.Context(), "true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	dead, alive := child.Process.Pid, os.Getpid()
	base := t.TempDir()
	for _, c := range []struct {
		name string
		age  time.Duration
		gone bool
	}{
		{fmt.Sprintf("%s%d-1", directoryPrefix, dead), 2 * time.Hour, true},
		{fmt.Sprintf("%s%d-2", directoryPrefix, dead), time.Minute, false},
		{fmt.Sprintf("%s%d-3", directoryPrefix, alive), 2 * time.Hour, false},
		{directoryPrefix + "unnumbered", 2 * time.Hour, false},
		{fmt.Sprintf("other-%d-1", dead), 2 * time.Hour, false},
	} {
		dir := filepath.Join(base, c.name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-c.age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
		sweep(base)
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) != c.gone {
			t.Errorf("%s of age %s: gone %v, want %v", c.name, c.age, !c.gone, c.gone)
		}
	}
}
