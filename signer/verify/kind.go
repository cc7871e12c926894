package verify

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kindOf looks at the first bytes; the name decides only where the bytes say nothing.
func kindOf(name string, b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return KindOFD
	case bytes.Contains(b[:min(len(b), 1024)], []byte("%PDF-")):
		return KindPDF
	}
	if k := kindOfDER(b); k != "" {
		return k
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".ofd":
		return KindOFD
	case ".esl":
		return KindSeal
	case ".pdf":
		return KindPDF
	}
	return ""
}

// kindOfDER tells the three structures apart by the first element inside the first element: a seal begins with a header, a seal
// signature with TBS_Sign and its version number, CMS with an object identifier. Lengths are not believed yet.
func kindOfDER(b []byte) string {
	const sequence, integer, oid = 0x30, 0x02, 0x06
	inner, ok := afterHeader(b, sequence)
	if !ok || len(inner) == 0 {
		return ""
	}
	if inner[0] == oid {
		return KindCMS
	}
	inner, ok = afterHeader(inner, sequence)
	if !ok || len(inner) == 0 {
		return ""
	}
	switch inner[0] {
	case sequence:
		return KindSeal
	case integer:
		return KindSESSignature
	}
	return ""
}

func afterHeader(b []byte, tag byte) ([]byte, bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, false
	}
	n := 2
	if b[1] > 0x80 {
		n += int(b[1] & 0x7f)
	}
	if n > 6+2 || n > len(b) {
		return nil, false
	}
	return b[n:], true
}

// find adds a finding about the whole file.
func (v *verifier) find(code string, result Result, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Check{code, result, clean(fmt.Sprintf(format, args...)), ""})
}

// clean makes text from a document fit for a terminal and a log: invalid UTF-8, control characters and the marks that turn the
// direction of writing are written as escapes, and the length is bounded.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > 400 {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsControl(r) || steersText(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// steersText reports the format characters that reorder or hide text (Unicode category Cf, line and paragraph separators).
func steersText(r rune) bool { return unicode.Is(unicode.Cf, r) || r == 0x2028 || r == 0x2029 }
