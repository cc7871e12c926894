package placement

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func at(v float64) *float64 { return &v }

// everything is a plan with one item of each kind.
func everything() Plan {
	return Plan{
		Stamps:   []Stamp{{1, 150, 230.5, 40, 40, nil}, {2, 190, 100, 40, 40, &Rect{0, 0, 20, 40}}},
		Keywords: []Keyword{{Text: "（盖章）", Pages: Range{1, 3}, Occurrence: -1, W: 40, H: 40, DX: 5, DY: -2.5}},
		Riding:   []Riding{{Edge: Right, MaxStrips: 4, W: 40, H: 40, Margin: 1}, {Edge: Top, Pages: Range{2, 3}, W: 40, H: 40, At: at(10)}},
		Facing:   []Facing{{Pages: Range{1, 4}, W: 40, H: 40, Ratio: 0.25}},
	}
}

func TestDigest(t *testing.T) {
	for name, c := range map[string]struct {
		plan Plan
		want string
	}{
		"stamps alone": {Plan{Stamps: everything().Stamps}, "6a6b237ddbc565c06c4381d60beb1b09d2cb7e5a2313da48435af5377461589f"},
		"everything":   {everything(), "8f4faf70d14c39491e859cf031ec6ea65b4937a98ff184a5a78b0d7706fa3b29"},
	} {
		d := c.plan.Digest()
		if got := hex.EncodeToString(d[:]); got != c.want {
			t.Errorf("%s: %s, want %s, over\n%s", name, got, c.want, c.plan.text())
		}
	}
}

// TestDigestTellsPlansApart: whatever changes in a plan changes its digest.
func TestDigestTellsPlansApart(t *testing.T) {
	base := everything().Digest()
	for name, change := range map[string]func(*Plan){
		"stamp":           func(p *Plan) { p.Stamps[0].X += 0.001 },
		"clip":            func(p *Plan) { p.Stamps[1].Clip = nil },
		"keyword":         func(p *Plan) { p.Keywords[0].Text = "(盖章)" },
		"occurrence":      func(p *Plan) { p.Keywords[0].Occurrence = 1 },
		"keyword's pages": func(p *Plan) { p.Keywords[0].Pages.To = 4 },
		"keyword's place": func(p *Plan) { p.Keywords[0].DX = 0 },
		"edge":            func(p *Plan) { p.Riding[0].Edge = Left },
		"strips":          func(p *Plan) { p.Riding[0].MaxStrips = 0 },
		"margin":          func(p *Plan) { p.Riding[0].Margin = 0 },
		"centred or not":  func(p *Plan) { p.Riding[1].At = nil },
		"ratio":           func(p *Plan) { p.Facing[0].Ratio = 0.5 },
		"order":           func(p *Plan) { p.Riding[0], p.Riding[1] = p.Riding[1], p.Riding[0] },
		"less":            func(p *Plan) { p.Facing = nil },
		"an edge with a line of its own": func(p *Plan) {
			p.Riding = p.Riding[:1]
			p.Riding[0].Edge = "right 0 0 4 40.000 40.000 - 1.000\nriding top"
		},
	} {
		p := everything()
		change(&p)
		if p.Digest() == base {
			t.Errorf("%s: the same digest", name)
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(everything())
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, everything()) {
		t.Errorf("%s came back as %+v, %v", b, back, err)
	}
}

func pages(n int) []Page {
	all := make([]Page, n)
	for i := range all {
		all[i] = Page{210, 297}
	}
	return all
}

// TestRidingOfTheSample: the numbers of a five-page riding seam made by another product, 40 mm on the right edge of A4.
func TestRidingOfTheSample(t *testing.T) {
	got, err := Plan{Riding: []Riding{{Edge: Right, W: 40, H: 40}}}.Resolve(pages(5), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range got {
		want := Stamp{i + 1, 202 - 8*float64(i), 128.5, 40, 40, &Rect{8 * float64(i), 0, 8, 40}}
		if !reflect.DeepEqual(s, want) {
			t.Errorf("page %d: %+v clip %+v, want %+v", i+1, s, s.Clip, want)
		}
	}
}

func TestEdges(t *testing.T) {
	for edge, want := range map[string][2]Stamp{
		Right:  {{1, 189.5, 128.5, 40, 40, &Rect{0, 0, 20, 40}}, {2, 169.5, 128.5, 40, 40, &Rect{20, 0, 20, 40}}},
		Left:   {{1, -19.5, 128.5, 40, 40, &Rect{20, 0, 20, 40}}, {2, 0.5, 128.5, 40, 40, &Rect{0, 0, 20, 40}}},
		Bottom: {{1, 85, 276.5, 40, 40, &Rect{0, 0, 40, 20}}, {2, 85, 256.5, 40, 40, &Rect{0, 20, 40, 20}}},
		Top:    {{1, 85, -19.5, 40, 40, &Rect{0, 20, 40, 20}}, {2, 85, 0.5, 40, 40, &Rect{0, 0, 40, 20}}},
	} {
		got, err := Plan{Riding: []Riding{{Edge: edge, W: 40, H: 40, Margin: 0.5}}}.Resolve(pages(2), nil)
		if err != nil || len(got) != 2 || !reflect.DeepEqual([2]Stamp(got), want) {
			t.Errorf("%s: %+v %+v, %v", edge, got, want, err)
		}
	}
}

// TestStripsAreThePicture: on every edge, for every number of pages and strips, the strips of one picture tile it without gap or overlap, each
// lies at the edge of its page, and every page has exactly one.
func TestStripsAreThePicture(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "pages")
		r := Riding{Edge: rapid.SampledFrom([]string{Left, Right, Top, Bottom}).Draw(t, "edge"), W: rapid.Float64Range(5, 60).Draw(t, "w"),
			H: rapid.Float64Range(5, 60).Draw(t, "h"), Margin: rapid.Float64Range(0, 3).Draw(t, "margin")}
		if rapid.Bool().Draw(t, "cut") {
			r.MaxStrips = rapid.IntRange(2, 12).Draw(t, "strips")
		}
		got, err := Plan{Riding: []Riding{r}}.Resolve(pages(n), nil)
		if err != nil || len(got) != n {
			t.Fatalf("%d stamps of %d pages: %v", len(got), n, err)
		}
		covered, whole := 0.0, r.W
		if r.Edge == Top || r.Edge == Bottom {
			whole = r.H
		}
		for i, s := range got {
			from, size, outer := s.Clip.X, s.Clip.W, s.X+s.Clip.X
			if r.Edge == Top || r.Edge == Bottom {
				from, size, outer = s.Clip.Y, s.Clip.H, s.Y+s.Clip.Y
			}
			gap := map[string]float64{Left: outer, Top: outer, Right: 210 - outer - size, Bottom: 297 - outer - size}[r.Edge]
			if s.Page != i+1 || size <= 0 || math.Abs(gap-r.Margin) > 0.002 {
				t.Fatalf("stamp %d: %+v clip %+v, %f from the edge", i, s, s.Clip, gap)
			}
			if r.Edge == Left || r.Edge == Top {
				from = whole - from - size
			}
			if math.Abs(from-covered) > 0.002 {
				t.Fatalf("stamp %d begins at %f, %f are covered", i, from, covered)
			}
			if covered += size; covered > whole-0.002 {
				covered = 0
			}
		}
		if covered != 0 {
			t.Fatalf("the last picture ends at %f of %f", covered, whole)
		}
	})
}

func TestKeywords(t *testing.T) {
	find := func(text string, page int) ([]Rect, error) {
		if text == "无" {
			return nil, nil
		}
		return []Rect{{10, 20 * float64(page), 30, 5}, {100, 20 * float64(page), 30, 5}}, nil
	}
	k := Keyword{Text: "盖章", W: 40, H: 20, DX: 1, DY: -1}
	for name, c := range map[string]struct {
		change func(*Keyword)
		want   []Stamp
		err    error
	}{
		"every one of a page": {func(k *Keyword) { k.Pages = Range{2, 2} }, []Stamp{{2, 6, 31.5, 40, 20, nil}, {2, 96, 31.5, 40, 20, nil}}, nil},
		"the first":           {func(k *Keyword) { k.Occurrence = 1 }, []Stamp{{1, 6, 11.5, 40, 20, nil}}, nil},
		"the third":           {func(k *Keyword) { k.Occurrence = 3 }, []Stamp{{2, 6, 31.5, 40, 20, nil}}, nil},
		"the last":            {func(k *Keyword) { k.Occurrence = -1 }, []Stamp{{3, 96, 51.5, 40, 20, nil}}, nil},
		"the seventh of six":  {func(k *Keyword) { k.Occurrence = 7 }, nil, ErrKeywordNotFound},
		"not there":           {func(k *Keyword) { k.Text = "无" }, nil, ErrKeywordNotFound},
		"no text":             {func(k *Keyword) { k.Text = "" }, nil, ErrPlan},
		"no size":             {func(k *Keyword) { k.W = 0 }, nil, ErrPlan},
		"no number":           {func(k *Keyword) { k.DX = math.NaN() }, nil, ErrPlan},
		"no such page":        {func(k *Keyword) { k.Pages = Range{2, 9} }, nil, ErrPage},
	} {
		k := k
		c.change(&k)
		got, err := Plan{Keywords: []Keyword{k}}.Resolve(pages(3), find)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	broken := errors.New("the text layer is broken")
	if _, err := (Plan{Keywords: []Keyword{k}}).Resolve(pages(1), func(string, int) ([]Rect, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an error of the container: %v", err)
	}
}

func TestFacing(t *testing.T) {
	got, err := Plan{Facing: []Facing{{W: 40, H: 40, Ratio: 0.25, At: at(100)}}}.Resolve(pages(5), nil)
	want := []Stamp{{1, 200, 100, 40, 40, &Rect{0, 0, 10, 40}}, {2, -10, 100, 40, 40, &Rect{10, 0, 30, 40}},
		{3, 200, 100, 40, 40, &Rect{0, 0, 10, 40}}, {4, -10, 100, 40, 40, &Rect{10, 0, 30, 40}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		plan Plan
		err  error
	}{
		"nothing":                  {Plan{}, ErrPlan},
		"no such edge":             {Plan{Riding: []Riding{{Edge: "inner", W: 40, H: 40}}}, ErrPlan},
		"one page":                 {Plan{Riding: []Riding{{Edge: Left, Pages: Range{2, 2}, W: 40, H: 40}}}, ErrPlan},
		"one strip":                {Plan{Riding: []Riding{{Edge: Left, MaxStrips: 1, W: 40, H: 40}}}, ErrPlan},
		"margin outside":           {Plan{Riding: []Riding{{Edge: Left, Margin: -1, W: 40, H: 40}}}, ErrPlan},
		"size that is no number":   {Plan{Riding: []Riding{{Edge: Left, W: math.Inf(1), H: 40}}}, ErrPlan},
		"range backwards":          {Plan{Riding: []Riding{{Edge: Left, Pages: Range{3, 2}, W: 40, H: 40}}}, ErrPlan},
		"page beyond":              {Plan{Riding: []Riding{{Edge: Left, Pages: Range{2, 7}, W: 40, H: 40}}}, ErrPage},
		"the whole on one page":    {Plan{Facing: []Facing{{W: 40, H: 40, Ratio: 1}}}, ErrPlan},
		"facing one page":          {Plan{Facing: []Facing{{W: 40, H: 40, Pages: Range{1, 1}}}}, ErrPlan},
		"a keyword, but no finder": {Plan{Keywords: []Keyword{{Text: "x", W: 1, H: 1}}}, ErrPlan},
		"too many items":           {Plan{Riding: make([]Riding, MaxItems+1)}, ErrPlan},
		"too many stamps":          {Plan{Stamps: make([]Stamp, MaxStamps+1)}, ErrTooMany},
	} {
		if got, err := c.plan.Resolve(pages(4), nil); !errors.Is(err, c.err) || got != nil {
			t.Errorf("%s: %d stamps, %v, want %v", name, len(got), err, c.err)
		}
	}
}
