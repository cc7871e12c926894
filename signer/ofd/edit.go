package ofd

import (
	"bytes"
	"sort"
	"strings"
)

const (
	namespace = "http://www.ofdspec.org/2016" // also beside an OFD.xml of the older namespace, as shipped products do
	xmlHead   = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
)

// edit replaces a range of bytes by text.
type edit struct {
	at   span
	text string
}

// applyEdits returns a copy of b with edits that do not overlap.
func applyEdits(b []byte, edits []edit) []byte {
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].at.from < edits[j].at.from })
	var out bytes.Buffer
	pos := 0
	for _, e := range edits {
		out.Write(b[pos:e.at.from])
		out.WriteString(e.text)
		pos = e.at.to
	}
	out.Write(b[pos:])
	return out.Bytes()
}

// prefixAt returns the namespace prefix, with its colon, of the tag at byte at of b; "" for none.
func prefixAt(b []byte, at int) string {
	name := b[at+1:]
	if end := bytes.IndexAny(name, " \t\r\n/>"); end >= 0 {
		name = name[:end]
	}
	if colon := bytes.IndexByte(name, ':'); colon >= 0 {
		return string(name[:colon+1])
	}
	return ""
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// escape prepares text for an attribute value or an element; control characters have been refused before.
func escape(s string) string { return escaper.Replace(s) }

// enterList returns OFD.xml with the chosen DocBody naming the list; every other byte stays.
func enterList(root []byte, d docBody, loc string) []byte {
	element := "<" + d.prefix + "Signatures>" + escape(loc) + "</" + d.prefix + "Signatures>"
	at := span{d.endTag, d.endTag} // the schema's order: DocInfo, DocRoot, Versions, Signatures
	if d.emptyList != nil {
		at = *d.emptyList
	}
	return applyEdits(root, []edit{{at, element}})
}
