package wire

import "testing"

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{{"名称不符", 2, "名称"}, {"a\x01b\xffc\nd", 10, "a b c d"}, {"", 3, ""}, {"短", 3, "短"}} {
		if got := Cut(c.text, c.n); got != c.want {
			t.Errorf("%q to %d: %q, want %q", c.text, c.n, got, c.want)
		}
	}
}
