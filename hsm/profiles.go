package hsm

import (
	"fmt"
	"os"
	"path/filepath"

	firmware "sealkeeper/firmware-profiles"
)

// Profiles reads the shipped firmware profiles and those of a folder, "" for none. ErrConfig when the folder, a folder above it, or a profile in it
// can be written by somebody who is neither root nor this user: a profile says how the token is spoken to, and what its word is worth.
func Profiles(folder string) (*firmware.Set, error) {
	if folder == "" {
		return firmware.Embedded()
	}
	refuse := func(err error) error { return fmt.Errorf("%w: firmware profiles: %w", ErrConfig, err) }
	path, err := filepath.Abs(folder)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, refuse(err)
	}
	files, err := filepath.Glob(filepath.Join(path, "*.yaml"))
	for p := path; err == nil; p = filepath.Dir(p) {
		err = onlyOurs(p)
		if p == filepath.Dir(p) {
			break
		}
	}
	for _, f := range files {
		if err == nil {
			err = onlyOurs(f)
		}
	}
	if err != nil {
		return nil, refuse(err)
	}
	set, err := firmware.Load(os.DirFS(path))
	if err != nil {
		return nil, refuse(err)
	}
	return set, nil
}
