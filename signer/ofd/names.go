package ofd

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/unicode/norm"
)

// decodeName turns a stored entry name into text. Without the UTF-8 flag, bytes that are not UTF-8 are read as GB 18030 (a superset
// of GBK), which is what Chinese producers write; the stored bytes themselves are never changed.
func decodeName(raw []byte, utf8Flag bool) (string, error) {
	if utf8.Valid(raw) {
		return string(raw), nil
	}
	if utf8Flag {
		return "", fmt.Errorf("name %.80q is not UTF-8: %w", raw, ErrEntryName)
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(raw)
	if err != nil || strings.ContainsRune(string(text), utf8.RuneError) {
		return "", fmt.Errorf("name %.80q is neither UTF-8 nor GB 18030: %w", raw, ErrEntryName)
	}
	return string(text), nil
}

// checkName accepts a relative path of plain segments; a directory's name ends with a slash. XML could not even name the others.
func checkName(name string, limit int) error {
	bad := func(why string) error { return fmt.Errorf("entry %.80q: %s: %w", name, why, ErrEntryName) }
	if name == "" || len(name) > limit {
		return bad(fmt.Sprintf("%d bytes long", len(name)))
	}
	if strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' {
		return bad("absolute")
	}
	for _, r := range name {
		if r == '\\' || r == utf8.RuneError || r >= 0xFFFE && r <= 0xFFFF || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return bad("backslash, control or formatting character")
		}
	}
	for _, s := range strings.Split(strings.TrimSuffix(name, "/"), "/") {
		if s == "" || s == "." || s == ".." {
			return bad("empty or relative segment")
		}
	}
	return nil
}

// nameSet holds the names of a package the way the least careful file system would see them.
type nameSet struct {
	files map[string]bool   // folded
	dirs  map[string]string // folded, to the spelling first seen
	seen  map[string]bool   // directory entries already listed
}

func newNameSet() nameSet {
	return nameSet{map[string]bool{}, map[string]string{}, map[string]bool{}}
}

// add refuses a name that collides with an earlier one.
func (n nameSet) add(name string) error {
	twice := fmt.Errorf("entry %.80q: %w", name, ErrDuplicate)
	dir := strings.HasSuffix(name, "/")
	name = strings.TrimSuffix(name, "/")
	key := fold(name)
	if n.files[key] || dir && n.seen[key] {
		return twice
	}
	if _, isDir := n.dirs[key]; isDir && !dir {
		return twice
	}
	if dir {
		n.seen[key] = true
		name += "/"
	} else {
		n.files[key] = true
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		k := fold(name[:i])
		if spelled, known := n.dirs[k]; n.files[k] || known && spelled != name[:i] {
			return twice
		}
		n.dirs[k] = name[:i]
	}
	return nil
}

func (n nameSet) file(name string) bool { return n.files[fold(name)] }

// fold maps names that some file system takes for one to one key: regardless of case, of composed or decomposed characters, of dots
// and blanks that trail a segment.
func fold(name string) string {
	name = norm.NFC.String(name)
	folded := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return unicode.ToLower(r)
		}
		low := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			low = min(low, f)
		}
		if low < utf8.RuneSelf {
			return unicode.ToLower(low)
		}
		return low
	}, name)
	if !strings.Contains(folded, "./") && !strings.Contains(folded, " /") && !strings.HasSuffix(folded, ".") && !strings.HasSuffix(folded, " ") {
		return folded
	}
	segments := strings.Split(folded, "/")
	for i, s := range segments {
		segments[i] = strings.TrimRight(s, ". ")
	}
	return strings.Join(segments, "/")
}

// resolve turns an ST_Loc found in the part named by into an entry name: absolute from the package root, else relative to by's folder.
func resolve(by, loc string) (string, error) {
	bad := fmt.Errorf("location %.80q in %s: %w", loc, by, ErrPath)
	loc = strings.TrimSpace(loc)
	if loc == "" || strings.ContainsAny(loc, "\\\x00") || !utf8.ValidString(loc) {
		return "", bad
	}
	var at []string
	if dir := path.Dir(by); !strings.HasPrefix(loc, "/") && dir != "." {
		at = strings.Split(dir, "/")
	}
	for _, s := range strings.Split(loc, "/") {
		switch {
		case s == "" || s == ".":
		case s == ".." && len(at) == 0:
			return "", bad
		case s == "..":
			at = at[:len(at)-1]
		default:
			at = append(at, s)
		}
	}
	if len(at) == 0 {
		return "", bad
	}
	return strings.Join(at, "/"), nil
}
