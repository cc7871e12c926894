package hsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrModule: the library is not on the list, is another one than the list means, or can be exchanged by somebody who is neither root nor this
// user. Nothing was loaded. It comes with ErrConfig.
var ErrModule = errors.New("PKCS#11 module is not allowed")

// Allowed is one library that may be loaded.
type Allowed struct {
	Path   string `yaml:"path" json:"path"`     // absolute; symbolic links are followed
	SHA256 string `yaml:"sha256" json:"sha256"` // hexadecimal digest of the file; empty is any
}

// checkModule holds the resolved path against the list, and against everybody who could put another file in its place.
func (c Config) checkModule() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w: %w", ErrConfig, ErrModule, fmt.Errorf(format, args...))
	}
	for p := c.Module; ; p = filepath.Dir(p) {
		if err := onlyOurs(p); err != nil {
			return refuse("%w", err)
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	if len(c.Allowed) == 0 {
		return nil
	}
	for _, a := range c.Allowed {
		path, err := filepath.EvalSymlinks(a.Path)
		if err != nil || !filepath.IsAbs(a.Path) || path != c.Module {
			continue
		}
		if a.SHA256 == "" {
			return nil
		}
		have, err := fileSHA256(path)
		if err == nil && !strings.EqualFold(have, a.SHA256) {
			err = fmt.Errorf("%s has SHA-256 %s, the list says %s", path, have, a.SHA256)
		}
		if err != nil {
			return refuse("%w", err)
		}
		return nil
	}
	return refuse("%s is not on the list of modules", c.Module)
}

// onlyOurs refuses what somebody else than root and this user can write or replace. In a folder with the sticky bit only owners can.
func onlyOurs(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: who owns it cannot be told", path)
	}
	mode := info.Mode()
	sticky := mode.IsDir() && mode&os.ModeSticky != 0
	switch {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user (uid %d)", path, st.Uid)
	case mode.Perm()&0o002 != 0 && !sticky:
		return fmt.Errorf("%s can be written by everybody (%v)", path, mode)
	case mode.Perm()&0o020 != 0 && !sticky && st.Gid != 0 && int(st.Gid) != os.Getegid():
		return fmt.Errorf("%s can be written by another group (gid %d)", path, st.Gid)
	}
	return nil
}
