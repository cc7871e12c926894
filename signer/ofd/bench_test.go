package ofd

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkSeal is everything this package does for one document, per document and per megabyte of page content.
func BenchmarkSeal(b *testing.B) {
	text := strings.Repeat(`<ofd:TextObject ID="21" Boundary="20 20 120 10" Font="3" Size="5"><ofd:TextCode X="0" Y="5">测试文档 test document</ofd:TextCode></ofd:TextObject>`, 100)
	page := `<ofd:Page xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Content><ofd:Layer ID="20">` + text + `</ofd:Layer></ofd:Content></ofd:Page>`
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("pages=%d", n), func(b *testing.B) {
			var pages strings.Builder
			var files []file
			for i := range n {
				fmt.Fprintf(&pages, `<ofd:Page ID="%d" BaseLoc="P/%d.xml"/>`, i+1, i)
				files = append(files, file{fmt.Sprintf("Doc_0/P/%d.xml", i), page})
			}
			document := fixtureDocument[:strings.Index(fixtureDocument, "<ofd:Pages>")] + "<ofd:Pages>" + pages.String() + "</ofd:Pages></ofd:Document>"
			doc := fixture(b, append(files, file{"Doc_0/Document.xml", document})...)
			b.SetBytes(int64(n * len(page)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sealOnce(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
