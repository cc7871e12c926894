package draw

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

const enterprise = "洛阳示例瀍河云帆科技有限公司"

// specs are the pictures held by the golden file.
var specs = []struct {
	name string
	spec Spec
}{
	{"name", Spec{Type: TypeName, Name: enterprise, Code: "4103020000001"}},
	{"name-transparent", Spec{Type: TypeName, Name: enterprise, Code: "4103020000001", Transparent: true}},
	{"name-without-code", Spec{Type: TypeName, Name: "示例某某公司"}},
	{"name-long", Spec{Type: TypeName, Name: "洛阳洛龙示例云帆智能装备制造与技术服务（河南）股份有限公司第一分公司", Code: "4103110000002"}},
	{"name-latin", Spec{Type: TypeName, Name: "洛阳示例ABC 123科技(河南)有限公司", Code: "4103110000003"}},
	{"name-300dpi", Spec{Type: TypeName, Name: enterprise, Code: "4103020000001", DPI: 300}},
	{"finance", Spec{Type: TypeFinance, Name: enterprise, Code: "4103020000004"}},
	{"invoice", Spec{Type: TypeInvoice, Name: enterprise, TaxNumber: "91410302YYY00002X7", Code: "4103020000005"}},
	{"person-3", Spec{Type: TypePerson, Person: "赵测甲"}},
	{"person-2", Spec{Type: TypePerson, Person: "王测"}},
	{"person-4", Spec{Type: TypePerson, Person: "欧阳测乙"}},
	{"person-dotted", Spec{Type: TypePerson, Person: "阿测·艾示例"}},
	{"blue", Spec{Type: TypeName, Name: enterprise, Defect: DefectBlue}},
	{"size", Spec{Type: TypeInvoice, Name: enterprise, TaxNumber: "91410302YYY00002X7", Defect: DefectSize}},
	{"rotated", Spec{Type: TypePerson, Person: "赵测甲", Defect: DefectRotated}},
}

// TestGolden holds pixels and files. Pixels must never change unasked; when
// they stand and a file differs, a new Go release compresses differently. It
// also passes with GOARCH=386, and with GOAMD64=v3, where the compiler fuses
// multiplications with additions.
func TestGolden(t *testing.T) {
	const path = "testdata/golden.txt"
	var got strings.Builder
	for _, c := range specs {
		file := seal(t, c.spec)
		fmt.Fprintf(&got, "%s pixels %x file %x\n", c.name, sha256.Sum256(pixelsOf(t, file)), sha256.Sum256(file))
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(string(want), "\n")
	gotLines := strings.Split(got.String(), "\n")
	if len(wantLines) != len(gotLines) {
		t.Fatalf("golden file has %d lines, the test made %d", len(wantLines), len(gotLines))
	}
	for i, line := range gotLines {
		if line != wantLines[i] {
			t.Errorf("got  %s\nwant %s", line, wantLines[i])
		}
	}
}

func TestSizes(t *testing.T) {
	cases := []struct {
		spec         Spec
		w, h, pw, ph int
		most         int // bytes
	}{
		{Spec{Type: TypeName, Name: enterprise}, 40, 40, 945, 945, 21000},
		{Spec{Type: TypeFinance, Name: enterprise}, 38, 38, 898, 898, 21000},
		{Spec{Type: TypeInvoice, Name: enterprise, TaxNumber: "91410302YYY00002X7"}, 40, 30, 945, 709, 22000},
		{Spec{Type: TypePerson, Person: "赵测甲"}, 20, 20, 472, 472, 6000},
		{Spec{Type: TypeName, Name: enterprise, DPI: 300}, 40, 40, 472, 472, 12000},
		{Spec{Type: TypeName, Name: enterprise, Defect: DefectSize}, 48, 48, 1134, 1134, 26000},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s at %d defect %d", c.spec.Type, c.spec.DPI, c.spec.Defect), func(t *testing.T) {
			c.spec.Code = "4103020000001"
			file, w, h, err := Seal(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := png.DecodeConfig(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if w != c.w || h != c.h || cfg.Width != c.pw || cfg.Height != c.ph {
				t.Errorf("%d×%d mm, %d×%d pixels; want %d×%d mm, %d×%d", w, h, cfg.Width, cfg.Height, c.w, c.h, c.pw, c.ph)
			}
			if len(file) > c.most {
				t.Errorf("%d bytes, at most %d wanted", len(file), c.most)
			}
		})
	}
}

// TestResolution reads the pHYs chunk where PNG wants it, before the palette.
func TestResolution(t *testing.T) {
	file := seal(t, Spec{Type: TypePerson, Person: "赵测甲"})
	at := bytes.Index(file, []byte("pHYs"))
	if at < 0 || at > bytes.Index(file, []byte("PLTE")) {
		t.Fatalf("pHYs at %d", at)
	}
	x := binary.BigEndian.Uint32(file[at+4:])
	if y := binary.BigEndian.Uint32(file[at+8:]); x != 23622 || y != 23622 || file[at+12] != 1 {
		t.Errorf("resolution %d × %d unit %d, want 23622 per metre", x, y, file[at+12])
	}
}

// TestInk looks where a person would: border, star and paper.
func TestInk(t *testing.T) {
	full := color.NRGBA{0xE6, 0x00, 0x12, 0xFF}
	white := color.NRGBA{0xFF, 0xFF, 0xFF, 0xFF}
	clear := color.NRGBA{0xE6, 0x00, 0x12, 0x00}
	name := Spec{Type: TypeName, Name: enterprise}
	see := name
	see.Transparent = true
	blued := name
	blued.Defect = DefectBlue
	cases := []struct {
		name string
		spec Spec
		x, y int
		want color.NRGBA
	}{
		{"star", name, 472, 472, full},
		{"top of the border", name, 472, 5, full},
		{"corner", name, 0, 0, white},
		{"between star and text", name, 472, 270, white},
		{"clear corner", see, 0, 0, clear},
		{"inked star", see, 472, 472, full},
		{"blue star", blued, 472, 472, blue},
		{"frame", Spec{Type: TypePerson, Person: "赵测甲"}, 236, 10, full},
		{"finance without ink below the star", Spec{Type: TypeFinance, Name: enterprise}, 449, 600, white},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			img := decode(t, seal(t, c.spec))
			if got := color.NRGBAModel.Convert(img.At(c.x, c.y)); got != c.want {
				t.Errorf("(%d, %d) is %v, want %v", c.x, c.y, got, c.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name string
		spec Spec
		want error
	}{
		{"unknown type", Spec{Type: "04", Name: enterprise}, ErrType},
		{"no type", Spec{Name: enterprise}, ErrType},
		{"no name", Spec{Type: TypeName}, ErrText},
		{"name too long", Spec{Type: TypeFinance, Name: strings.Repeat("示", 41)}, ErrText},
		{"name with a space before", Spec{Type: TypeName, Name: " 示例公司"}, ErrText},
		{"code of 12 digits", Spec{Type: TypeName, Name: enterprise, Code: "410302000000"}, ErrText},
		{"code with a letter", Spec{Type: TypeName, Name: enterprise, Code: "41030200000X1"}, ErrText},
		{"no tax number", Spec{Type: TypeInvoice, Name: enterprise}, ErrText},
		{"tax number in small letters", Spec{Type: TypeInvoice, Name: enterprise, TaxNumber: "91410302yyy00002x7"}, ErrText},
		{"no person", Spec{Type: TypePerson}, ErrText},
		{"person with an empty part", Spec{Type: TypePerson, Person: "阿测··艾"}, ErrText},
		{"character in no font", Spec{Type: TypePerson, Person: "王𬎆"}, ErrGlyph},
		{"character outside the subset", Spec{Type: TypeName, Name: "示例한公司"}, ErrGlyph},
		{"resolution too low", Spec{Type: TypeName, Name: enterprise, DPI: 72}, ErrDPI},
		{"resolution too high", Spec{Type: TypeName, Name: enterprise, DPI: 9600}, ErrDPI},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file, _, _, err := Seal(c.spec)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if file != nil {
				t.Errorf("%d bytes came with the refusal", len(file))
			}
		})
	}
}

// TestRareCharacters draws what GB 2312 lacks and Luoyang needs.
func TestRareCharacters(t *testing.T) {
	for _, r := range "瀍喆堃昇珺㛃䶮" {
		seal(t, Spec{Type: TypePerson, Person: "王" + string(r), DPI: 150})
	}
}

func TestDefects(t *testing.T) {
	spec := Spec{Type: TypeName, Name: enterprise}
	good := seal(t, spec)
	defective := func(d Defect) []byte {
		s := spec
		s.Defect = d
		return seal(t, s)
	}
	for _, c := range []struct {
		defect Defect
		format string
	}{{DefectJPEG, "jpeg"}, {DefectGIF, "gif"}} {
		if _, format, err := image.Decode(bytes.NewReader(defective(c.defect))); format != c.format || err != nil {
			t.Errorf("defect %d decodes as %q, %v; want %s", c.defect, format, err, c.format)
		}
	}
	if _, err := png.Decode(bytes.NewReader(defective(DefectTruncated))); err == nil {
		t.Error("truncated file decodes")
	}
	huge := defective(DefectHuge)
	cfg, err := png.DecodeConfig(bytes.NewReader(huge))
	if err != nil || cfg.Width != 10000 || cfg.Height != 10000 || len(huge) > 100000 {
		t.Errorf("huge picture: %v, %d × %d in %d bytes", err, cfg.Width, cfg.Height, len(huge))
	}
	askew := defective(DefectRotated)
	if a, b := inked(t, good), inked(t, askew); a == 0 || b < a*98/100 || b > a*102/100 {
		t.Errorf("turning changed the ink from %d to %d pixels", a, b)
	}
	if bytes.Equal(pixelsOf(t, good), pixelsOf(t, askew)) {
		t.Error("turning changed nothing")
	}
}

// TestConcurrent draws the same seal from several goroutines.
func TestConcurrent(t *testing.T) {
	spec := Spec{Type: TypePerson, Person: "赵测甲"}
	want := seal(t, spec)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got, _, _, err := Seal(spec); err != nil || !bytes.Equal(got, want) {
				t.Errorf("another goroutine drew something else: %v", err)
			}
		})
	}
	group.Wait()
}

func BenchmarkSeal(b *testing.B) {
	for _, c := range specs[:1] {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, _, err := Seal(c.spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// drawn keeps what the sequential tests drew already: the compressor takes its
// time, above all under the race detector.
var drawn = map[Spec][]byte{}

func seal(t testing.TB, spec Spec) []byte {
	t.Helper()
	if drawn[spec] == nil {
		file, _, _, err := Seal(spec)
		if err != nil {
			t.Fatalf("%+v: %v", spec, err)
		}
		drawn[spec] = file
	}
	return drawn[spec]
}

func decode(t testing.TB, file []byte) *image.Paletted {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	p, ok := img.(*image.Paletted)
	if !ok {
		t.Fatalf("picture is a %T, want a palette", img)
	}
	return p
}

// pixelsOf is what the golden file digests: width, height, palette, indexes.
func pixelsOf(t testing.TB, file []byte) []byte {
	img := decode(t, file)
	out := []byte(fmt.Sprintln(img.Rect, img.Palette))
	return append(out, img.Pix...)
}

func inked(t testing.TB, file []byte) int {
	n := 0
	for _, i := range decode(t, file).Pix {
		if i == shades-1 {
			n++
		}
	}
	return n
}
