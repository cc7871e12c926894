package register

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/seal/impression"
)

// Look is what looking at a filed picture gave.
type Look struct {
	Derivation string              // how the picture of the seal is derived
	Overlap    float64             // of the ink of both
	Picture    *impression.Picture // held against those of others; nil for none
}

// likeness is one owner under a key of the perceptual digest. A digest is a few hundred signs and shows nothing of the picture.
type likeness struct {
	ID     string `json:"id"`
	USCC   string `json:"uscc"`
	Person string `json:"person,omitempty"`
}

func (l likeness) same(i *Impression, person string) bool {
	return l.USCC == i.USCC || person != "" && l.Person == person
}

// bindLike claims the perceptual digest of a picture. An impression of another entity under a key that this picture may have is opened and
// compared; that is a reading for the purpose of comparison and on record. The versions of all keys are expected, so of two claims at once,
// under one key, one is decided again.
func (r *Register) bindLike(ctx context.Context, d *Draft, i *Impression, e Entry, actor audit.Actor) error {
	if e.Picture == nil {
		return nil
	}
	print, err := impression.NewPrint(e.Picture)
	if errors.Is(err, impression.ErrNoPrint) {
		return nil // a few pixels of ink: its exact digest is all there is
	}
	if err != nil {
		return err
	}
	own := print.Keys()
	var others []likeness
	for _, key := range print.Probes() {
		var at store.Version
		var under []likeness
		if at, _, err = r.lookup(ctx, byLikeness, key, &under); err != nil {
			return err
		}
		mine := false
		for _, l := range under {
			if mine = mine || l.same(i, e.Person); !l.same(i, e.Person) && !slices.ContainsFunc(others, func(o likeness) bool { return o.ID == l.ID }) {
				others = append(others, l)
			}
		}
		if slices.Contains(own, key) && !mine {
			if err := d.put(byLikeness, key, append(under, likeness{i.ID, i.USCC, e.Person}), at); err != nil {
				return err
			}
		}
	}
	return r.unlike(ctx, i, e, others, actor)
}

// unlike refuses a picture that shows the seal of one of others. Where the names on both seals are the same (one entity took over the name that
// another gave up) or nearly so (一号, 二号), no picture can tell whose it is: that is a warning.
func (r *Register) unlike(ctx context.Context, i *Impression, e Entry, others []likeness, actor audit.Actor) error {
	for _, other := range others {
		of, _, err := r.Impression(ctx, other.ID)
		if err != nil {
			return err
		}
		if nearlySame(i.Name, of.Name) && e.Person == "" || nearlySame(e.Person, other.Person) {
			i.Warnings = append(i.Warnings, "the seal may look like that of impression "+of.ID+", filed for "+of.USCC+", whose name is nearly the same")
			continue
		}
		image, err := r.Open(ctx, of.ID, CompareForFiling, actor)
		if err != nil {
			return fmt.Errorf("comparing filing %s with impression %s: %w", i.Filing, of.ID, err)
		}
		picture, err := impression.Decode(image, impression.DefaultLimits)
		if err != nil {
			return fmt.Errorf("comparing filing %s with impression %s: %w", i.Filing, of.ID, err)
		}
		if l := impression.Likeness(e.Picture, picture); l >= impression.MinLikeness {
			return fmt.Errorf("filing %s shows the seal of impression %s, likeness %.2f: %w", i.Filing, of.ID, l, ErrImpressionTaken)
		}
	}
	return nil
}

// nearlySame reports whether two names have one length and differ in hardly any place.
func nearlySame(a, b string) bool {
	x, y := []rune(a), []rune(b)
	if len(x) != len(y) || len(x) == 0 {
		return false
	}
	differ := 0
	for n := range x {
		if x[n] != y[n] {
			differ++
		}
	}
	return differ <= max(1, len(x)/6)
}
