package pdf

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"strconv"

	"sealkeeper/signer/placement"
)

// tolerance is how far a stamp may leave its page, in millimetres: page sizes are often converted from points.
const tolerance = 0.01

// Image is a picture as PDF holds it: colours, and transparency as a soft mask, both compressed. It is immutable; making one takes longer
// than signing a page, so who signs often with one picture keeps it.
type Image struct {
	w, h          int
	colours, mask []byte // mask is nil where nothing is transparent
}

// NewImage reads a PNG of at most limits.Pixels. Errors: ErrRequest.
func NewImage(b []byte, limits Limits) (*Image, error) {
	conf, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("picture: %w: %w", ErrRequest, err)
	}
	if conf.Width <= 0 || conf.Height <= 0 || conf.Width > limits.withDefaults().Pixels/conf.Height {
		return nil, fmt.Errorf("picture of %d × %d: %w", conf.Width, conf.Height, ErrRequest)
	}
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("picture: %w: %w", ErrRequest, err)
	}
	colours, alpha, clear := split(m)
	i := &Image{w: conf.Width, h: conf.Height, colours: compressed(colours)}
	if clear {
		i.mask = compressed(alpha)
	}
	return i, nil
}

// addPicture makes the image objects.
func (v *revision) addPicture(i *Image) ref {
	d := imageDict(i.w, i.h, "DeviceRGB")
	if i.mask != nil {
		d = d.with("SMask", v.new(packed(imageDict(i.w, i.h, "DeviceGray"), i.mask)))
	}
	return v.new(packed(d, i.colours))
}

func imageDict(w, h int, space name) dict {
	return dict{[]entry{{"Type", name("XObject")}, {"Subtype", name("Image")}, {"Width", w}, {"Height", h}, {"ColorSpace", space},
		{"BitsPerComponent", 8}}}
}

// split separates colours from transparency; clear is whether anything is transparent.
func split(m image.Image) (colours, alpha []byte, clear bool) {
	r := m.Bounds()
	colours, alpha = make([]byte, 0, 3*r.Dx()*r.Dy()), make([]byte, 0, r.Dx()*r.Dy())
	n, direct := m.(*image.NRGBA)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			var c color.NRGBA
			if direct {
				c = n.NRGBAAt(x, y)
			} else {
				c = color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			}
			if c.A == 0 {
				c = color.NRGBA{255, 255, 255, 0} // what cannot be seen compresses best as white
			}
			colours, alpha = append(colours, c.R, c.G, c.B), append(alpha, c.A)
			clear = clear || c.A != 255
		}
	}
	return colours, alpha, clear
}

// deflated compresses what is worth it.
func deflated(d dict, data []byte) stream {
	if len(data) < 512 {
		return stream{d.with("Length", len(data)), data}
	}
	return packed(d, compressed(data))
}

func packed(d dict, b []byte) stream {
	return stream{d.with("Filter", name("FlateDecode")).with("Length", len(b)), b}
}

func compressed(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write(data) // into memory: no error
	z.Close()
	return bytes.Clone(b.Bytes())
}

// place is a rectangle of a page in millimetres as it is shown, and what it is in user space.
type spot struct {
	page page
	box  box
	k    float64 // user space units for a millimetre
}

// spot checks that a rectangle lies on its page and finds it in user space.
func (v *revision) spot(pageNo int, x, y, w, h float64) (spot, error) {
	if pageNo < 1 || pageNo > len(v.d.pages) {
		return spot{}, fmt.Errorf("page %d of %d: %w", pageNo, len(v.d.pages), ErrPage)
	}
	p := v.d.pages[pageNo-1]
	if p.double {
		return spot{}, fmt.Errorf("page %d is shown twice in the document: %w", pageNo, ErrPage)
	}
	size := p.size()
	if x < -tolerance || y < -tolerance || x+w > size.WidthMM+tolerance || y+h > size.HeightMM+tolerance {
		return spot{}, fmt.Errorf("%s on a page of %s mm: %w", placement.Fixed(x, y, w, h), placement.Fixed(size.WidthMM, size.HeightMM), ErrStampOutside)
	}
	k := pointsPerMM / p.unit
	ax, ay := p.user(x*k, y*k)
	bx, by := p.user((x+w)*k, (y+h)*k)
	return spot{p, box{math.Min(ax, bx), math.Min(ay, by), math.Max(ax, bx), math.Max(ay, by)}, k}, nil
}

// user turns a point of the page as it is shown (from the top left corner, y downwards) into user space.
func (p page) user(x, y float64) (float64, float64) {
	switch p.rotate {
	case 90:
		return p.box.x0 + y, p.box.y0 + x
	case 180:
		return p.box.x1 - x, p.box.y0 + y
	case 270:
		return p.box.x1 - y, p.box.y1 - x
	}
	return p.box.x0 + x, p.box.y1 - y
}

// upright turns an appearance so that it is upright on a turned page.
var upright = map[int]array{
	90:  {0, 1, -1, 0, 0, 0},
	180: {-1, 0, 0, -1, 0, 0},
	270: {0, -1, 1, 0, 0, 0},
}

func (v *revision) stamp(s placement.Stamp) (widget, error) {
	for _, mm := range []float64{s.X, s.Y, s.W, s.H} {
		if _, ok := placement.Micrometres(mm); !ok {
			return widget{}, fmt.Errorf("%s: %w", placement.Fixed(s.X, s.Y, s.W, s.H), ErrStamp)
		}
	}
	c := placement.Rect{W: s.W, H: s.H}
	if s.Clip != nil {
		c = *s.Clip
	}
	if !(s.W > 0 && s.H > 0 && c.W > 0 && c.H > 0 && c.X >= -tolerance && c.Y >= -tolerance && c.X+c.W <= s.W+tolerance && c.Y+c.H <= s.H+tolerance) {
		return widget{}, fmt.Errorf("%s clip %s: %w", placement.Fixed(s.X, s.Y, s.W, s.H), placement.Fixed(c.X, c.Y, c.W, c.H), ErrStamp)
	}
	at, err := v.spot(s.Page, s.X+c.X, s.Y+c.Y, c.W, c.H)
	if err != nil {
		return widget{}, err
	}
	k := at.k
	content := fmt.Sprintf("q %s 0 0 %s %s %s cm /Im Do Q", points(s.W*k), points(s.H*k), points(-c.X*k), points(-(s.H-c.Y-c.H)*k))
	resources := dict{[]entry{{"XObject", dict{[]entry{{"Im", v.picture}}}}}}
	form := v.form(at, c.W*k, c.H*k, content, resources)
	return widget{page: s.Page - 1, dict: v.widgetOf(at.page, at.box, form)}, nil
}

// mark draws squares as one path.
func (v *revision) mark(m Mark) (widget, error) {
	if len(m.Squares) == 0 || len(m.Squares) > 200 || !(m.W > 0 && m.H > 0) {
		return widget{}, fmt.Errorf("%d lines, %s: %w", len(m.Squares), placement.Fixed(m.X, m.Y, m.W, m.H), ErrStamp)
	}
	at, err := v.spot(m.Page, m.X, m.Y, m.W, m.H)
	if err != nil {
		return widget{}, err
	}
	var b bytes.Buffer
	w, h := m.W*at.k, m.H*at.k
	fmt.Fprintf(&b, "1 g 0 0 %s %s re f 0 g", points(w), points(h))
	dy := h / float64(len(m.Squares))
	for i, line := range m.Squares {
		dx := w / float64(max(len(line), 1))
		for j, dark := range line {
			if dark {
				fmt.Fprintf(&b, " %s %s %s %s re", points(float64(j)*dx), points(h-float64(i+1)*dy), points(dx), points(dy))
			}
		}
	}
	b.WriteString(" f")
	form := v.form(at, w, h, b.String(), dict{})
	return widget{page: m.Page - 1, dict: v.widgetOf(at.page, at.box, form)}, nil
}

// form is an appearance stream of w × h units.
func (v *revision) form(at spot, w, h float64, content string, resources dict) object {
	d := dict{[]entry{{"Type", name("XObject")}, {"Subtype", name("Form")}, {"BBox", array{0, 0, number(points(w)), number(points(h))}}}}
	if m, turned := upright[at.page.rotate]; turned {
		d = d.with("Matrix", m)
	}
	return v.new(deflated(d.with("Resources", resources), []byte(content)))
}

// widgetOf makes the annotation: printed, locked, with its appearance.
func (v *revision) widgetOf(p page, b box, appearance object) dict {
	d := dict{[]entry{{"Type", name("Annot")}, {"Subtype", name("Widget")}, {"F", 132}, {"P", p.id},
		{"Rect", array{number(points(b.x0)), number(points(b.y0)), number(points(b.x1)), number(points(b.y1))}}}}
	if appearance != nil {
		d = d.with("AP", dict{[]entry{{"N", appearance}}})
	}
	return d
}

// points writes a coordinate with at most four decimals.
func points(v float64) string {
	s := strconv.FormatFloat(math.Round(v*1e4)/1e4, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}
