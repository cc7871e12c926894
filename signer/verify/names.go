package verify

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

const maxName = 512 // bytes of an entry's name

// checkNames demands names that every reader maps to the same, distinct places.
func checkNames(entries []*entry) *refusal {
	seen := make(map[string]string, len(entries))
	for _, e := range entries {
		if r := checkName(e.name); r != nil {
			return r
		}
		key := fold(strings.TrimSuffix(e.name, "/"))
		if other, taken := seen[key]; taken {
			if other == e.name {
				return refuse("zip-duplicate-name", "two entries are called %q", e.name)
			}
			return refuse("zip-similar-names", "entries %q and %q differ by case alone", other, e.name)
		}
		seen[key] = e.name
	}
	for _, e := range entries {
		for dir := path.Dir(strings.TrimSuffix(e.name, "/")); dir != "."; dir = path.Dir(dir) {
			if other, taken := seen[fold(dir)]; taken && !strings.HasSuffix(other, "/") {
				return refuse("zip-similar-names", "entry %q is a file and a folder", other)
			}
		}
	}
	return nil
}

// textName reads a stored name that is not UTF-8 as GB 18030, of which GBK is a part: FileRef and every other location is text, and
// Chinese producers store names so. What is neither stays as it is and can be named by no location.
func textName(stored string) string {
	if utf8.ValidString(stored) {
		return stored
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().String(stored)
	if err != nil || strings.ContainsRune(text, utf8.RuneError) {
		return stored
	}
	return text
}

// fold maps names that a case-insensitive reader takes for one to the same key. Names in another encoding than UTF-8 fold their
// ASCII letters alone.
func fold(name string) string {
	if utf8.ValidString(name) {
		return strings.ToLower(name)
	}
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func checkName(name string) *refusal {
	bad := func(why string) *refusal { return refuse("zip-name", "entry name %.80q %s", name, why) }
	plain := strings.TrimSuffix(name, "/")
	switch {
	case plain == "":
		return bad("is empty")
	case len(name) > maxName:
		return bad("is too long")
	case strings.HasPrefix(name, "/"):
		return bad("is absolute")
	case strings.Contains(name, `\`):
		return bad("holds a backslash")
	case len(name) > 1 && name[1] == ':':
		return bad("names a drive")
	case path.Clean(plain) != plain || plain == ".." || strings.HasPrefix(plain, "../"):
		return bad("is not in normal form")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || steersText(r) }) && utf8.ValidString(name):
		return bad("holds control characters")
	case !utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0:
		return bad("holds control characters")
	}
	return nil
}

// resolve finds the entry name that an ST_Loc means: absolute from the package root, else from the folder of the file that holds it.
// The result may name nothing; a path that leaves the package is a refusal.
func resolve(from, loc string) (string, *refusal) {
	loc = strings.TrimSpace(loc)
	if loc == "" || len(loc) > maxName || strings.ContainsAny(loc, "\\\x00") {
		return "", refuse("ofd-path", "%.80q in %s is no path", loc, from)
	}
	parts := strings.Split(path.Dir(from), "/")
	if strings.HasPrefix(loc, "/") || parts[0] == "." {
		parts = nil
	}
	for part := range strings.SplitSeq(loc, "/") {
		switch part {
		case "", ".":
		case "..":
			if len(parts) == 0 {
				return "", refuse("ofd-path", "%.80q in %s leaves the package", loc, from)
			}
			parts = parts[:len(parts)-1]
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), nil
}
