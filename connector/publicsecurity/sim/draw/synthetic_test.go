package draw

import (
	"testing"

	"sealkeeper/softhsm-test/synthetic"
)

// TestSyntheticNames loads every character of the names that the generator
// makes up: the fonts must cover all of them.
func TestSyntheticNames(t *testing.T) {
	face, err := newTypeface(song)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[rune]bool{}
	for n := range 5000 {
		e := synthetic.New("glyphs", n)
		for _, r := range e.Name + e.LegalRep {
			if seen[r] {
				continue
			}
			seen[r] = true
			if _, err := face.glyph(r); err != nil {
				t.Errorf("%s, %s: %v", e.Name, e.LegalRep, err)
			}
		}
		spec := Spec{Type: TypeInvoice, Name: e.Name, TaxNumber: e.USCC, Code: e.Seals[2].Code, DPI: DefaultDPI}
		if _, err := formOf(spec); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}
