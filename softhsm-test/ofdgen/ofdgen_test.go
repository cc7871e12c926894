package ofdgen

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.txt anew")

// TestGolden holds contents and files. Contents must never change unasked; when
// they stand and a file differs, a new Go release compresses differently.
func TestGolden(t *testing.T) {
	const path = "testdata/golden.txt"
	var got strings.Builder
	for _, c := range []struct {
		name string
		ofd  []byte
	}{
		{"one", Document("电子印章申请表", 1)},
		{"three", Document("电子印章使用申请与承诺书", 3)},
		{"lines", Document("A & B <测试>", 2, "第一段。", "第二段。", "第三段 with Latin text & 1234567890。")},
		{"sixty", Document("六十页", 60)},
	} {
		sum := sha256.New()
		for _, p := range unpack(t, c.ofd) {
			fmt.Fprintf(sum, "%s\x00%s\x00", p.name, p.content)
		}
		fmt.Fprintf(&got, "%s content %x file %x\n", c.name, sum.Sum(nil), sha256.Sum256(c.ofd))
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
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestPackage(t *testing.T) {
	parts := unpack(t, Document("电子印章申请表", 3))
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
		wellFormed(t, p)
	}
	want := []string{
		"OFD.xml", "Doc_0/Document.xml", "Doc_0/PublicRes.xml", "Doc_0/DocumentRes.xml",
		"Doc_0/Pages/Page_0/Content.xml", "Doc_0/Pages/Page_1/Content.xml", "Doc_0/Pages/Page_2/Content.xml",
	}
	if !slices.Equal(names, want) {
		t.Errorf("package holds %q, want %q", names, want)
	}
	for i, p := range parts[4:] {
		for _, text := range []string{"演示数据", fmt.Sprintf("第 %d 页　共 3 页", i+1)} {
			if !strings.Contains(p.content, text) {
				t.Errorf("page %d lacks %q", i+1, text)
			}
		}
		if has := strings.Contains(p.content, "申请单位（盖章）："); has != (i == 2) {
			t.Errorf("page %d asks for a seal: %v", i+1, has)
		}
	}
}

// TestIdentifiers: GB/T 33190 wants every identifier once in a document, and
// MaxUnitID not below any of them.
func TestIdentifiers(t *testing.T) {
	seen := map[string]string{}
	highest := 0
	var declared int
	for _, p := range unpack(t, Document("标识", 5)) {
		for _, m := range regexp.MustCompile(`<ofd:(\w+) ID="(\d+)"`).FindAllStringSubmatch(p.content, -1) {
			if m[1] == "Page" {
				continue // named again by the list of pages alone
			}
			if other, ok := seen[m[2]]; ok {
				t.Errorf("%s in %s has the identifier of %s", m[0], p.name, other)
			}
			seen[m[2]] = p.name
			var id int
			if _, err := fmt.Sscan(m[2], &id); err != nil {
				t.Fatal(err)
			}
			highest = max(highest, id)
		}
		if m := regexp.MustCompile(`<ofd:MaxUnitID>(\d+)<`).FindStringSubmatch(p.content); m != nil {
			if _, err := fmt.Sscan(m[1], &declared); err != nil {
				t.Fatal(err)
			}
		}
	}
	if declared < highest || highest == 0 {
		t.Errorf("MaxUnitID %d, highest identifier %d", declared, highest)
	}
}

func TestPages(t *testing.T) {
	long := slices.Repeat([]string{strings.Repeat("示例 Abc", 40)}, 30)
	cases := []struct {
		name  string
		pages int
		lines []string
		want  int
	}{
		{"none asked", 0, nil, 1},
		{"negative", -3, nil, 1},
		{"three of sample text", 3, nil, 3},
		{"forty of sample text", 40, nil, 40},
		{"fewer lines than pages", 4, []string{"One", "Two"}, 4},
		{"more text than fits", 2, long, 8},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			parts := unpack(t, Document("页数", c.pages, c.lines...))
			if got := len(parts) - 4; got != c.want {
				t.Errorf("%d pages, want %d", got, c.want)
			}
			var got, want [128]int
			for _, p := range parts[4:] {
				for _, m := range regexp.MustCompile(`<ofd:TextCode[^>]*>([^<]*)<`).FindAllStringSubmatch(p.content, -1) {
					count(&got, m[1])
				}
			}
			count(&want, strings.Join(c.lines, ""))
			if c.lines != nil && got != want {
				t.Errorf("letters on the pages %v, in the text %v", got, want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	cases := []struct {
		name, text string
		want       []string
	}{
		{"short", "示例。", []string{"示例。"}},
		{"empty", "", []string{""}},
		{"full line", strings.Repeat("示", 36), []string{strings.Repeat("示", 36)}},
		{"one more", strings.Repeat("示", 37), []string{strings.Repeat("示", 36), "示"}},
		{"mark hangs", strings.Repeat("示", 36) + "。例", []string{strings.Repeat("示", 36) + "。", "例"}},
		{"Latin is half as wide", strings.Repeat("a", 73), []string{strings.Repeat("a", 72), "a"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, line := range wrap(c.text) {
				got = append(got, line.text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("lines %q, want %q", got, c.want)
			}
		})
	}
}

func TestDeltaX(t *testing.T) {
	cases := []struct {
		text, want string
		width      float64
	}{
		{"", "", 0},
		{"示", "", 4},
		{"示例", ` DeltaX="4"`, 8},
		{"示例文字", ` DeltaX="g 3 4"`, 16},
		{"示例ab c文", ` DeltaX="4 4 g 4 2"`, 20},
	}
	for _, c := range cases {
		if got, width := deltaX(c.text, 4); got != c.want || width != c.width {
			t.Errorf("deltaX(%q) = %q, %g; want %q, %g", c.text, got, width, c.want, c.width)
		}
	}
}

// TestEscaping: no title can break out of its element.
func TestEscaping(t *testing.T) {
	const title = `</ofd:Title>&amp;"<>` + "\x00"
	for _, p := range unpack(t, Document(title, 1, title)) {
		wellFormed(t, p)
		if strings.Count(p.content, "</ofd:Title>") > 1 {
			t.Errorf("%s: the title broke out", p.name)
		}
	}
}

// count counts Latin letters, of which a page has none of its own.
func count(letters *[128]int, text string) {
	for _, r := range text {
		if r >= 'A' && r <= 'z' {
			letters[r]++
		}
	}
}

func unpack(t *testing.T, ofd []byte) []part {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(ofd), int64(len(ofd)))
	if err != nil {
		t.Fatal(err)
	}
	var out []part
	for _, f := range r.File {
		if !f.Modified.Equal(created) {
			t.Errorf("%s was modified %s", f.Name, f.Modified)
		}
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, part{f.Name, string(data)})
	}
	return out
}

func wellFormed(t *testing.T, p part) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(p.content))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Space != "http://www.ofdspec.org/2016" {
			t.Errorf("%s: element %s is in namespace %q", p.name, e.Name.Local, e.Name.Space)
		}
	}
}
