package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sealkeeper/client"
	"sealkeeper/keystore/audit"
	"sealkeeper/softhsm-test/stage"
)

// ballast is what a test fills the disk with; others use the disk too, so it is far more than they will meanwhile.
const ballast = 4 << 30

// TestDiskFull: while clients sign, the disk fills up. Signing stops with disk-full before the store could be hurt, health says why, everything that
// was acknowledged is there; when space returns signing goes on without a restart, and the log verifies.
func TestDiskFull(t *testing.T) {
	s := own(t, stage.Config{})
	e := granted(t, s)
	pid, dir := s.SealdPID(), filepath.Join(s.Dir, "state")
	free := space(t, dir)
	if free < ballast*2 {
		t.Skipf("SKIPPED: %d MB are free, the test takes %d for a moment", free>>20, ballast>>20)
	}
	s.stopAnd(t, func() { s.configure(t, "reserve_mb: 256", fmt.Sprintf("reserve_mb: %d", (free-ballast/2)>>20)) })
	if pid == s.SealdPID() {
		t.Fatal("not started again")
	}
	pid = s.SealdPID()
	var stop atomic.Bool
	var mu sync.Mutex
	acknowledged, refused := map[string][]byte{}, 0
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				a := s.approved(t, askDigest(e.seals["01"], fmt.Appendf(nil, "示例 %d %d", c, n)), e.phone)
				r, err := a.sign(t, s.as(t, "department"))
				mu.Lock()
				switch {
				case err == nil:
					acknowledged[a.key] = r.bytes
				case client.Code(err) == "disk-full":
					refused++
				default:
					t.Errorf("signing: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	count := func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged), refused
	}
	wait := func(what string, ok func(signed, refused int) bool) {
		t.Helper()
		if err := until(t.Context(), what, func() (bool, error) { return ok(count()) || t.Failed(), nil }); err != nil {
			t.Error(err)
		}
	}
	wait("signatures", func(n, _ int) bool { return n > 20 })
	full := fill(t, dir)
	wait("refusals", func(_, r int) bool { return r > 20 })
	stopped, _ := count()
	faults := ""
	for _, f := range mustOf(s.as(t, "system").Ready(t.Context()))(t).Faults {
		faults += f.Part + ": " + f.Detail + "\n"
	}
	if !strings.Contains(faults, "store: the disk is full") {
		t.Errorf("/readyz: %s", faults)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	wait("signatures when there is space again", func(n, _ int) bool { return n > stopped+20 })
	stop.Store(true)
	wg.Wait()
	signed, refusals := count()
	t.Logf("%d signatures, %d refusals while the disk was full", signed, refusals)
	if s.SealdPID() != pid {
		t.Error("the daemon was started again")
	}
	onRecord := 0
	for _, x := range mustOf(s.entries(t.Context(), 0))(t) {
		if x.Kind == audit.KindSignature && x.Subject == e.seals["01"] {
			onRecord++
		}
	}
	if onRecord != signed {
		t.Errorf("%d signatures were acknowledged, %d are on record", signed, onRecord)
	}
	s.stopAnd(t, func() { logHolds(t, s) })
}

func space(t *testing.T, dir string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// fill takes space with a file beside the store.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	if err := errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, ballast), f.Close()); err != nil {
		t.Skipf("SKIPPED: this file system does not set space aside: %v", err)
	}
	return path
}
