package onecode

import (
	"errors"
	"strings"
	"testing"
)

func FuzzParseCode(f *testing.F) {
	f.Add(formCode(newName(), [32]byte{1, 2, 3}, "sealkeeper-410300"))
	f.Add("SK1.a.b.c")
	f.Add(strings.Repeat(".", 500))
	f.Fuzz(func(t *testing.T, s string) {
		id, sum, appliance, err := parseCode(s)
		if err != nil {
			if !errors.Is(err, ErrCode) {
				t.Error(err)
			}
			return
		}
		if formCode(id, sum, appliance) != s {
			t.Errorf("%q reads as %q", s, formCode(id, sum, appliance))
		}
	})
}
