package wire

import "unicode/utf8"

// Cut shortens text of another system to n characters for logs and records, with a space for what is no text.
func Cut(s string, n int) string {
	var r []rune
	for _, c := range s {
		if len(r) == n {
			break
		}
		if c == utf8.RuneError || c < ' ' {
			c = ' '
		}
		r = append(r, c)
	}
	return string(r)
}
