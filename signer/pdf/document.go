package pdf

import (
	"errors"
	"fmt"
	"math"

	"sealkeeper/signer/placement"
)

// Document is an opened PDF. It keeps the bytes given to Open, which must not change. It is not safe for concurrent use.
type Document struct {
	f     *file
	root  dict
	pages []page
	form  dict // the AcroForm, empty when there is none
	names map[string]bool
	signs []dict // signature dictionaries of the fields, in field order
	locks []dict // their fields' Lock
}

// page is a leaf of the page tree.
type page struct {
	id     ref
	dict   dict
	box    box // visible part in user space
	rotate int // 0, 90, 180, 270, clockwise
	unit   float64
	double bool // the same object is met twice
}

// box is a rectangle in user space.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) w() float64 { return b.x1 - b.x0 }
func (b box) h() float64 { return b.y1 - b.y0 }

// Open reads a document. The errors are those named above.
func Open(b []byte, lim Limits) (*Document, error) {
	lim = lim.withDefaults()
	f, err := openFile(b, lim)
	if err != nil {
		return nil, err
	}
	d := &Document{f: f, names: map[string]bool{}}
	o, err := f.resolve(f.trailer.get("Root"))
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	ok := false
	if d.root, ok = o.(dict); !ok || d.root.get("Type") != name("Catalog") {
		return nil, fmt.Errorf("catalog: %w", ErrObject)
	}
	if err := d.readPages(); err != nil {
		return nil, err
	}
	return d, d.readForm()
}

// Pages returns the visible sizes of the pages in order, as they are shown (turned, cropped).
func (d *Document) Pages() []placement.Page {
	out := make([]placement.Page, len(d.pages))
	for i, p := range d.pages {
		out[i] = p.size()
	}
	return out
}

// Signatures returns how many signature fields of the document have a value.
func (d *Document) Signatures() int { return len(d.signs) }

// pointsPerMM is user space units for one millimetre when UserUnit is 1.
const pointsPerMM = 72 / 25.4

func (p page) size() placement.Page {
	w, h := p.box.w()*p.unit/pointsPerMM, p.box.h()*p.unit/pointsPerMM
	if p.rotate%180 == 90 {
		w, h = h, w
	}
	return placement.Page{WidthMM: w, HeightMM: h}
}

// inherited is what a page takes from above it.
type inherited struct {
	media, crop, rotate object
}

func (i inherited) under(d dict) inherited {
	for _, x := range []struct {
		key name
		to  *object
	}{{"MediaBox", &i.media}, {"CropBox", &i.crop}, {"Rotate", &i.rotate}} {
		if d.has(x.key) {
			*x.to = d.get(x.key)
		}
	}
	return i
}

func (d *Document) readPages() error {
	w := treeWalk{d: d, on: map[int]bool{}, seen: map[int]int{}}
	top, ok := d.root.get("Pages").(ref)
	if !ok {
		return fmt.Errorf("catalog without page tree: %w", ErrPageTree)
	}
	if err := w.node(top, inherited{null{}, null{}, null{}}, 0); err != nil {
		return err
	}
	if len(d.pages) == 0 {
		return fmt.Errorf("no pages: %w", ErrPageTree)
	}
	return nil
}

type treeWalk struct {
	d    *Document
	on   map[int]bool // nodes above this one
	seen map[int]int  // pages by object
}

func (w *treeWalk) node(r ref, in inherited, depth int) error {
	if depth > w.d.f.lim.Depth {
		return fmt.Errorf("page tree: %w", ErrDepth)
	}
	if w.on[r.num] {
		return fmt.Errorf("page tree leads back to object %d: %w", r.num, ErrPageTree)
	}
	o, err := w.d.f.resolve(r)
	if err != nil {
		return fmt.Errorf("page tree: %w", err)
	}
	n, ok := o.(dict)
	if !ok {
		return fmt.Errorf("object %d is no page: %w", r.num, ErrPageTree)
	}
	in = in.under(n)
	if !n.has("Kids") {
		return w.page(r, n, in)
	}
	w.on[r.num] = true
	defer delete(w.on, r.num)
	return w.kids(n, in, depth)
}

func (w *treeWalk) kids(n dict, in inherited, depth int) error {
	o, err := w.d.f.resolve(n.get("Kids"))
	if err != nil {
		return fmt.Errorf("page tree: %w", err)
	}
	kids, ok := o.(array)
	if !ok {
		return fmt.Errorf("entry Kids is no array: %w", ErrPageTree)
	}
	for _, k := range kids {
		r, ok := k.(ref)
		if !ok {
			return fmt.Errorf("a page is no object of its own: %w", ErrPageTree)
		}
		if err := w.node(r, in, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWalk) page(r ref, n dict, in inherited) error {
	if len(w.d.pages) >= w.d.f.lim.Pages {
		return fmt.Errorf("more than %d pages: %w", w.d.f.lim.Pages, ErrLimit)
	}
	p := page{id: r, dict: n, unit: 1}
	if first, again := w.seen[r.num]; again {
		w.d.pages[first].double, p.double = true, true
	}
	w.seen[r.num] = len(w.d.pages)
	if err := w.d.measure(&p, in); err != nil {
		return fmt.Errorf("page %d: %w", len(w.d.pages)+1, err)
	}
	w.d.pages = append(w.d.pages, p)
	return nil
}

// measure works out what of a page is visible, and how it is turned.
func (d *Document) measure(p *page, in inherited) error {
	media, ok := d.box(in.media)
	if !ok {
		return fmt.Errorf("MediaBox: %w", ErrPageBox)
	}
	p.box = media
	if crop, ok := d.box(in.crop); ok {
		p.box = box{max(media.x0, crop.x0), max(media.y0, crop.y0), min(media.x1, crop.x1), min(media.y1, crop.y1)}
	}
	if o, err := d.f.resolve(in.rotate); err != nil {
		return err
	} else if v, ok := integer(o); ok && v%90 == 0 {
		p.rotate = int((v%360 + 360) % 360)
	} else if _, none := o.(null); !none {
		return fmt.Errorf("entry Rotate: %w", ErrPageBox)
	}
	if o, err := d.f.resolve(p.dict.get("UserUnit")); err != nil {
		return err
	} else if u, ok := real(o); ok {
		p.unit = u
	}
	s := p.size()
	for _, mm := range []float64{s.WidthMM, s.HeightMM} {
		if !(mm > 0.1 && mm <= d.f.lim.PageMM) { // also what is no number
			return fmt.Errorf("%s mm: %w", placement.Fixed(s.WidthMM, s.HeightMM), ErrPageBox)
		}
	}
	return nil
}

func (d *Document) box(o object) (box, bool) {
	o, err := d.f.resolve(o)
	a, ok := o.(array)
	if err != nil || !ok || len(a) != 4 {
		return box{}, false
	}
	var v [4]float64
	for i := range v {
		if o, err = d.f.resolve(a[i]); err != nil {
			return box{}, false
		}
		if v[i], ok = real(o); !ok {
			return box{}, false
		}
	}
	return box{math.Min(v[0], v[2]), math.Min(v[1], v[3]), math.Max(v[0], v[2]), math.Max(v[1], v[3])}, true
}

// readForm looks at the AcroForm: names of its fields and the signatures that it has.
func (d *Document) readForm() error {
	o, err := d.f.resolve(d.root.get("AcroForm"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	if _, none := o.(null); none {
		return nil
	}
	form, ok := o.(dict)
	if !ok {
		return fmt.Errorf("AcroForm: %w", ErrForm)
	}
	if form.has("XFA") {
		return fmt.Errorf("form: %w", ErrXFA)
	}
	d.form = form
	fields, err := d.f.resolve(form.get("Fields"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	list, ok := fields.(array)
	if _, none := fields.(null); !ok && !none {
		return fmt.Errorf("entry Fields is no array: %w", ErrForm)
	}
	w := fieldWalk{d: d, seen: map[int]bool{}}
	for _, f := range list {
		if err := w.field(f, dict{}, "", true, 0); err != nil {
			return err
		}
	}
	return nil
}

type fieldWalk struct {
	d    *Document
	seen map[int]bool
}

// field reads one field and those below it. Type and value are inherited.
func (w *fieldWalk) field(o object, above dict, prefix string, top bool, depth int) error {
	if r, ok := o.(ref); ok {
		if w.seen[r.num] {
			return fmt.Errorf("fields lead back to object %d: %w", r.num, ErrForm)
		}
		w.seen[r.num] = true
	}
	if depth > w.d.f.lim.Depth {
		return fmt.Errorf("form: %w", ErrDepth)
	}
	o, err := w.d.f.resolve(o)
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	f, ok := o.(dict)
	if !ok {
		return nil // a reference to nothing: other products leave them behind
	}
	full := prefix
	if t, ok := f.get("T").(text); ok {
		full = prefix + "." + string(t)
		if top {
			w.d.names[plainText(t)] = true
		}
	}
	for _, k := range []name{"FT", "V", "Lock"} {
		if !f.has(k) && above.has(k) {
			f = f.with(k, above.get(k))
		}
	}
	kids, err := w.d.f.resolve(f.get("Kids"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	if list, ok := kids.(array); ok && w.hasFields(list) {
		for _, k := range list {
			if err := w.field(k, f, full, false, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return w.value(f)
}

// hasFields reports whether kids are fields: those of a terminal field are widgets, which have no name of their own.
func (w *fieldWalk) hasFields(kids array) bool {
	for _, k := range kids {
		o, err := w.d.f.resolve(k)
		if d, ok := o.(dict); err == nil && ok && d.has("T") {
			return true
		}
	}
	return false
}

func (w *fieldWalk) value(f dict) error {
	kind, err := w.d.f.resolve(f.get("FT"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	v, err := w.d.f.resolve(f.get("V"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	sig, ok := v.(dict)
	if kind != name("Sig") || !ok {
		return nil
	}
	lock, err := w.d.f.resolve(f.get("Lock"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	l, _ := lock.(dict)
	w.d.signs, w.d.locks = append(w.d.signs, sig), append(w.d.locks, l)
	return nil
}

// plainText decodes a string object as far as names of fields need it.
func plainText(t text) string {
	if len(t) >= 2 && t[0] == '(' {
		return string(t[1 : len(t)-1])
	}
	b, err := unhex(t[1:])
	if err != nil {
		return string(t)
	}
	return string(b)
}

// allows refuses a further signature where an earlier one forbids it: a certification with P 1, or a lock with P 1.
func (d *Document) allows() error {
	perms, err := d.f.resolve(d.root.get("Perms"))
	if err != nil {
		return fmt.Errorf("permissions: %w", err)
	}
	if p, ok := perms.(dict); ok && p.has("DocMDP") {
		sig, err := d.f.resolve(p.get("DocMDP"))
		if err != nil {
			return fmt.Errorf("permissions: %w", err)
		}
		if s, ok := sig.(dict); ok {
			if err := d.certified(s); err != nil {
				return err
			}
		}
	}
	for i, s := range d.signs {
		if v, ok := integer(d.locks[i].get("P")); ok && v == 1 {
			return fmt.Errorf("lock of a signature field: %w", ErrDocMDP)
		}
		if err := d.certified(s); err != nil {
			return err
		}
	}
	return nil
}

// certified looks at the transform that a signature carries.
func (d *Document) certified(sig dict) error {
	refs, err := d.f.list(sig.get("Reference"))
	if err != nil {
		return nil // more references than anybody writes: not a certification that a reader would follow
	}
	for _, o := range refs {
		r, ok := o.(dict)
		if !ok || r.get("TransformMethod") != name("DocMDP") {
			continue
		}
		o, err := d.f.resolve(r.get("TransformParams"))
		if err != nil {
			return errors.Join(ErrDocMDP, err)
		}
		params, _ := o.(dict)
		if v, ok := integer(params.get("P")); ok && v == 1 {
			return fmt.Errorf("certification allows no changes: %w", ErrDocMDP)
		}
	}
	return nil
}
