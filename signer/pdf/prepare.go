package pdf

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/placement"
)

// Request says what one signature shows and states.
type Request struct {
	Stamps    []placement.Stamp // where the picture stands; none for a signature that shows nothing
	Picture   []byte            // PNG, with or without transparency; this or Image is needed when there are stamps
	Image     *Image            // the same, made before
	Time      time.Time         // /M, whole seconds UTC
	Filter    string            // for example Adobe.PPKLite
	SubFilter string            // for example ETSI.CAdES.detached
	Name      string            // of the signatory; may be empty, like the next two
	Reason    string
	Location  string
	Field     string // name of the field; the next free SignatureN when empty
	Reserve   int    // bytes for the value; 16 KiB when 0
	Certify   int    // 0: no certification; 1..3: P of DocMDP
	Extra     []Mark // further pictures beside the stamps, part of the same appearance
}

// Mark is a picture of dark squares, such as a QR code, on a page: lines of equal length, true is dark.
type Mark struct {
	Page       int
	X, Y, W, H float64
	Squares    [][]bool
}

// Bounds of a request.
const (
	defaultReserve = 16 << 10
	maxReserve     = 16 << 20
	maxText        = 1024
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,127}$`)

// Draft is a document on the way to being signed. It is immutable until Embed.
type Draft struct {
	prepared []byte
	gap      [2]int // of the value: from < to behind >
}

// ByteRange returns the ranges as the document states them.
func (d *Draft) ByteRange() [4]int64 {
	return [4]int64{0, int64(d.gap[0]), int64(d.gap[1]), int64(len(d.prepared) - d.gap[1])}
}

// Covered returns the bytes that are signed, in two parts that must not be modified.
func (d *Draft) Covered() [2][]byte {
	return [2][]byte{d.prepared[:d.gap[0]], d.prepared[d.gap[1]:]}
}

// Prepared returns the document with its empty place, for package function Embed; it must not be modified.
func (d *Draft) Prepared() []byte { return d.prepared }

// Embed returns the signed document, in the draft's own bytes: what Prepared gave is no longer empty, and a document is not held a third time.
// ErrReserve when the value does not fit, and nothing is changed; nothing is cut off.
func (d *Draft) Embed(contents []byte) ([]byte, error) {
	return fill(d.prepared, d.gap, contents)
}

// fill writes a value into its place, zeros behind it.
func fill(out []byte, gap [2]int, contents []byte) ([]byte, error) {
	if room := (gap[1] - gap[0] - 2) / 2; len(contents) == 0 || len(contents) > room {
		return nil, fmt.Errorf("%d bytes into %d: %w", len(contents), room, ErrReserve)
	}
	const digits = "0123456789ABCDEF"
	at := gap[0] + 1
	for _, c := range contents {
		out[at], out[at+1] = digits[c>>4], digits[c&15]
		at += 2
	}
	for ; at < gap[1]-1; at++ {
		out[at] = '0'
	}
	return out, nil
}

var lastRange = regexp.MustCompile(`^/ByteRange \[0 (\d{10}) (\d{10}) (\d{10})\]`)

// Embed fills the empty place of a document that Prepared gave, and of no other: ErrPrepared, ErrReserve.
func Embed(prepared, contents []byte) ([]byte, error) {
	i := bytes.LastIndex(prepared, []byte("/ByteRange [0 "))
	if i < 0 {
		return nil, fmt.Errorf("no ByteRange: %w", ErrPrepared)
	}
	m := lastRange.FindSubmatch(prepared[i:min(len(prepared), i+64)])
	if m == nil {
		return nil, fmt.Errorf("ByteRange: %w", ErrPrepared)
	}
	from, _ := strconv.Atoi(string(m[1])) // ten digits
	to, _ := strconv.Atoi(string(m[2]))
	rest, _ := strconv.Atoi(string(m[3]))
	if from < i || to <= from+2 || to+rest != len(prepared) || prepared[from] != '<' || prepared[to-1] != '>' ||
		len(bytes.Trim(prepared[from+1:to-1], "0")) > 0 {
		return nil, fmt.Errorf("ByteRange names no empty place: %w", ErrPrepared)
	}
	return fill(bytes.Clone(prepared), [2]int{from, to}, contents)
}

func (r *Request) check() error {
	if r.Reserve == 0 {
		r.Reserve = defaultReserve
	}
	switch {
	case !nameForm.MatchString(r.Filter) || !nameForm.MatchString(r.SubFilter):
		return fmt.Errorf("names Filter %.40q or SubFilter %.40q: %w", r.Filter, r.SubFilter, ErrRequest)
	case r.Field != "" && !nameForm.MatchString(r.Field) || bytes.ContainsRune([]byte(r.Field), '.'):
		return fmt.Errorf("field %.40q: %w", r.Field, ErrRequest)
	case r.Time.IsZero() || r.Time.Year() < 1 || r.Time.UTC().Year() > 9999:
		return fmt.Errorf("time: %w", ErrRequest)
	case len(r.Name) > maxText || len(r.Reason) > maxText || len(r.Location) > maxText:
		return fmt.Errorf("name, reason or location beyond %d bytes: %w", maxText, ErrRequest)
	case r.Reserve < 0 || r.Reserve > maxReserve || r.Certify < 0 || r.Certify > 3:
		return fmt.Errorf("reserve %d, certify %d: %w", r.Reserve, r.Certify, ErrRequest)
	case len(r.Stamps) > placement.MaxStamps || len(r.Stamps) > 0 && len(r.Picture) == 0 && r.Image == nil:
		return fmt.Errorf("%d stamps, picture of %d bytes: %w", len(r.Stamps), len(r.Picture), ErrRequest)
	}
	return nil
}

// Prepare appends the revision. Nothing in the Document changes.
func (d *Document) Prepare(r Request) (*Draft, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := d.allows(); err != nil {
		return nil, err
	}
	if r.Certify > 0 && len(d.signs) > 0 {
		return nil, ErrCertify
	}
	if r.Field == "" {
		for n := 1; ; n++ {
			if r.Field = "Signature" + strconv.Itoa(n); !d.names[r.Field] {
				break
			}
		}
	} else if d.names[r.Field] {
		return nil, fmt.Errorf("field %q exists: %w", r.Field, ErrRequest)
	}
	rev := &revision{d: d, r: r, next: d.f.highest + 1, objects: map[int]object{}, pages: map[int]dict{}, gens: map[int]int{}}
	if err := rev.build(); err != nil {
		return nil, err
	}
	return rev.draft()
}

// revision is the objects of one appended revision.
type revision struct {
	d       *Document
	r       Request
	next    int
	objects map[int]object
	gens    map[int]int
	pages   map[int]dict // changed pages by index
	picture ref
	sig     ref
	field   ref
}

func (v *revision) new(o object) ref {
	v.objects[v.next] = o
	v.next++
	return ref{v.next - 1, 0}
}

// replace writes an object of the document anew.
func (v *revision) replace(r ref, o object) {
	v.objects[r.num], v.gens[r.num] = o, r.gen
}

func (v *revision) build() error {
	if len(v.r.Stamps) > 0 {
		if v.r.Image == nil {
			image, err := NewImage(v.r.Picture, v.d.f.lim)
			if err != nil {
				return err
			}
			v.r.Image = image
		}
		v.picture = v.addPicture(v.r.Image)
	}
	v.sig, v.field = v.new(nil), v.new(nil)
	widgets, err := v.widgets()
	if err != nil {
		return err
	}
	v.addField(widgets)
	if err := v.annotate(widgets); err != nil {
		return err
	}
	v.objects[v.sig.num] = v.signature()
	return v.catalog()
}

// widget is one place where the field shows.
type widget struct {
	page int // index
	id   ref
	dict dict
}

// widgets makes a widget for each stamp and mark; a signature that shows nothing has an empty one on the first page.
func (v *revision) widgets() ([]widget, error) {
	var all []widget
	for i, s := range v.r.Stamps {
		w, err := v.stamp(s)
		if err != nil {
			return nil, fmt.Errorf("stamp %d: %w", i+1, err)
		}
		all = append(all, w)
	}
	for i, m := range v.r.Extra {
		w, err := v.mark(m)
		if err != nil {
			return nil, fmt.Errorf("mark %d: %w", i+1, err)
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		all = []widget{{page: 0, dict: v.widgetOf(v.d.pages[0], box{}, nil)}}
	}
	return all, nil
}

// addField joins the first place with the field. The others are stamp annotations of the same revision: poppler takes a signature field with
// several widgets below it for one without a value.
func (v *revision) addField(widgets []widget) {
	field := dict{[]entry{{"FT", name("Sig")}, {"T", literal(v.r.Field)}, {"V", v.sig}}}
	field.entries = append(field.entries, widgets[0].dict.entries...)
	v.objects[v.field.num], widgets[0].id = field, v.field
	for i := range widgets[1:] {
		w := &widgets[i+1]
		w.id = v.new(w.dict.with("Subtype", name("Stamp")))
	}
}

// annotate enters the widgets into their pages.
func (v *revision) annotate(widgets []widget) error {
	byPage := map[int]array{}
	for _, w := range widgets {
		byPage[w.page] = append(byPage[w.page], w.id)
	}
	for _, i := range slices.Sorted(maps.Keys(byPage)) {
		p := v.d.pages[i]
		old, err := v.d.f.resolve(p.dict.get("Annots"))
		if err != nil {
			return fmt.Errorf("page %d: %w", i+1, err)
		}
		list, ok := old.(array)
		if _, none := old.(null); !ok && !none {
			return fmt.Errorf("page %d: Annots is no array: %w", i+1, ErrObject)
		}
		list = append(slices.Clone(list), byPage[i]...)
		if r, indirect := p.dict.get("Annots").(ref); indirect && ok && v.sole(r) {
			v.replace(r, list)
		} else {
			v.replace(p.id, p.dict.with("Annots", list))
		}
	}
	return nil
}

// sole reports whether no other page shares an Annots array.
func (v *revision) sole(r ref) bool {
	n := 0
	for _, p := range v.d.pages {
		if p.dict.get("Annots") == object(r) {
			n++
		}
	}
	return n == 1
}

// catalog enters the field into the form, and the form and a certification into the catalog.
func (v *revision) catalog() error {
	d := v.d
	old, err := d.f.resolve(d.form.get("Fields"))
	if err != nil {
		return fmt.Errorf("form: %w", err)
	}
	list, _ := old.(array)
	list = append(slices.Clone(list), v.field)
	form := d.form.with("SigFlags", number("3"))
	if r, indirect := d.form.get("Fields").(ref); indirect {
		v.replace(r, list)
	} else {
		form = form.with("Fields", list)
	}
	root := d.root
	if r, indirect := d.root.get("AcroForm").(ref); indirect && len(d.form.entries) > 0 {
		v.replace(r, form)
	} else {
		root = root.with("AcroForm", form)
	}
	if v.r.Certify > 0 {
		o, err := d.f.resolve(d.root.get("Perms"))
		if err != nil {
			return fmt.Errorf("permissions: %w", err)
		}
		perms, _ := o.(dict)
		root = root.with("Perms", perms.with("DocMDP", v.sig))
	}
	if r := d.f.trailer.get("Root").(ref); !sameEntries(root, d.root) {
		v.replace(r, root)
	}
	return nil
}

func sameEntries(a, b dict) bool {
	return len(a.entries) == len(b.entries) && len(a.entries) > 0 && &a.entries[0] == &b.entries[0]
}

const rangeText = "/ByteRange [0 0000000000 0000000000 0000000000]"

// placeholder is written as it is: a token of fixed width that is filled later.
type placeholder string

// signature is the dictionary of the value, still empty.
func (v *revision) signature() object {
	r := v.r
	var b bytes.Buffer
	b.WriteString("<< /Type /Sig /Filter ")
	writeName(&b, name(r.Filter))
	b.WriteString(" /SubFilter ")
	writeName(&b, name(r.SubFilter))
	b.WriteString(" " + rangeText + " /Contents <")
	b.Write(bytes.Repeat([]byte{'0'}, 2*r.Reserve))
	b.WriteString(">")
	fmt.Fprintf(&b, " /M (D:%s)", r.Time.UTC().Format("20060102150405Z"))
	for _, t := range []struct{ key, value string }{{"Name", r.Name}, {"Reason", r.Reason}, {"Location", r.Location}} {
		if t.value != "" {
			fmt.Fprintf(&b, " /%s ", t.key)
			b.Write(literal(t.value))
		}
	}
	if r.Certify > 0 {
		fmt.Fprintf(&b, " /Reference [<< /Type /SigRef /TransformMethod /DocMDP /TransformParams << /Type /TransformParams /P %d /V /1.2 >> >>]", r.Certify)
	}
	b.WriteString(" >>")
	return placeholder(b.String())
}

// draft writes the revision behind the document.
func (v *revision) draft() (*Draft, error) {
	b := bytes.NewBuffer(make([]byte, 0, len(v.d.f.b)+v.size()))
	b.Write(v.d.f.b)
	if n := len(v.d.f.b); v.d.f.b[n-1] != '\n' && v.d.f.b[n-1] != '\r' {
		b.WriteByte('\n')
	}
	offsets := map[int]int{}
	var gap [2]int
	for _, n := range slices.Sorted(maps.Keys(v.objects)) {
		offsets[n] = b.Len()
		fmt.Fprintf(b, "%d %d obj\n", n, v.gens[n])
		if p, ok := v.objects[n].(placeholder); ok {
			at := b.Len() + bytes.Index([]byte(p), []byte("/Contents <")) + len("/Contents ")
			gap = [2]int{at, at + 2*v.r.Reserve + 2}
			b.WriteString(string(p))
		} else {
			write(b, v.objects[n])
		}
		b.WriteString("\nendobj\n")
	}
	v.crossReference(b, offsets)
	out := b.Bytes()
	if len(out) > 9_999_999_999 {
		return nil, fmt.Errorf("%d bytes: %w", len(out), ErrLimit)
	}
	text := fmt.Sprintf("/ByteRange [0 %010d %010d %010d]", gap[0], gap[1], len(out)-gap[1])
	copy(out[offsets[v.sig.num]+bytes.Index(out[offsets[v.sig.num]:], []byte(rangeText)):], text)
	return &Draft{out, gap}, nil
}

// size is about what the revision takes.
func (v *revision) size() int {
	n := 4096 + 2*v.r.Reserve + 64*len(v.objects)
	for _, o := range v.objects {
		if s, ok := o.(stream); ok {
			n += len(s.raw)
		}
	}
	return n
}

// crossReference writes the section, of the kind that the last one has.
func (v *revision) crossReference(b *bytes.Buffer, offsets map[int]int) {
	at := b.Len()
	old := v.d.f.trailer
	size := max(v.next, v.d.f.highest+1)
	if v.d.f.asStream {
		offsets[size], size = at, size+1
	}
	t := dict{[]entry{{"Size", size}, {"Prev", v.d.f.start}}}
	for _, k := range []name{"Root", "Info"} {
		if old.has(k) {
			t = t.with(k, old.get(k))
		}
	}
	t = t.with("ID", v.id(old))
	nums := slices.Sorted(maps.Keys(offsets))
	if v.d.f.asStream {
		v.sectionStream(b, t, nums, offsets)
	} else {
		v.sectionTable(b, t, nums, offsets)
	}
	fmt.Fprintf(b, "startxref\n%d\n%%%%EOF\n", at)
}

// id keeps the first identifier of the file and derives the second from what is appended to what.
func (v *revision) id(old dict) array {
	first := object(nil)
	if o, err := v.d.f.resolve(old.get("ID")); err == nil {
		if a, ok := o.(array); ok && len(a) == 2 {
			first = a[0]
		}
	}
	d := gm.SM3(fmt.Appendf(nil, "%d %d %s %s %v", len(v.d.f.b), v.d.f.start, v.r.Field, v.r.Time.UTC(), first))
	fresh := text(fmt.Appendf(nil, "<%X>", d[:16]))
	if first == nil {
		first = fresh
	}
	return array{first, fresh}
}

func (v *revision) sectionTable(b *bytes.Buffer, t dict, nums []int, offsets map[int]int) {
	b.WriteString("xref\n")
	for i := 0; i < len(nums); {
		n := run(nums[i:])
		fmt.Fprintf(b, "%d %d\n", nums[i], n)
		for _, num := range nums[i : i+n] {
			fmt.Fprintf(b, "%010d %05d n\r\n", offsets[num], v.gens[num])
		}
		i += n
	}
	b.WriteString("trailer\n")
	write(b, t)
	b.WriteByte('\n')
}

func (v *revision) sectionStream(b *bytes.Buffer, t dict, nums []int, offsets map[int]int) {
	var index array
	var rows []byte
	for i := 0; i < len(nums); {
		n := run(nums[i:])
		index = append(index, nums[i], n)
		for _, num := range nums[i : i+n] {
			o, g := offsets[num], v.gens[num]
			rows = append(rows, 1, byte(o>>32), byte(o>>24), byte(o>>16), byte(o>>8), byte(o), byte(g>>8), byte(g))
		}
		i += n
	}
	t = t.with("Type", name("XRef")).with("W", array{1, 5, 2}).with("Index", index).with("Length", len(rows))
	fmt.Fprintf(b, "%d 0 obj\n", nums[len(nums)-1])
	write(b, stream{t, rows})
	b.WriteString("\nendobj\n")
}

// run is how many numbers follow one another.
func run(nums []int) int {
	n := 1
	for n < len(nums) && nums[n] == nums[0]+n {
		n++
	}
	return n
}
