package store

import (
	"errors"
	"fmt"
	"testing"
)

// TestDecoded: memory counts for the very version alone, is bounded, and damage is never kept.
func TestDecoded(t *testing.T) {
	var d Decoded[map[string]int]
	item := func(key string, v Version, value string) Item {
		return Item{Key: []byte(key), Version: v, Value: []byte(value)}
	}
	for _, c := range []struct {
		name string
		it   Item
		want int
		err  error
	}{
		{"first", item("a", 1, `{"n":1}`), 1, nil},
		{"from memory", item("a", 1, `unread`), 1, nil},
		{"next version", item("a", 2, `{"n":2}`), 2, nil},
		{"earlier version", item("a", 1, `{"n":3}`), 3, nil},
		{"damaged", item("b", 1, `{`), 0, ErrCorrupt},
		{"repaired", item("b", 1, `{"n":4}`), 4, nil},
	} {
		v, err := d.Of(c.it)
		if v["n"] != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v (%v), want %d", c.name, v, err, c.want)
		}
	}
	for i := range 2 * maxDecoded {
		if _, err := d.Of(item(fmt.Sprint(i), 1, `{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.kept) > maxDecoded {
		t.Errorf("%d values kept, at most %d wanted", len(d.kept), maxDecoded)
	}
}
