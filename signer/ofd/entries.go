package ofd

import (
	"fmt"
	"strings"

	"sealkeeper/internal/gm"
)

// The integrity list of GM/T 0099-2020 and its value; only the list's name is fixed.
const (
	entriesPart = "OFDEntries.xml"
	entriesSign = "signedvalue.dat"
)

// layEntries writes the list of every file that the package will have, the list itself and its value excepted. It names files and holds no
// digests, so its signature does not depend on the other one: both can be made at the same time. Signature.xml protects the list; what protects
// the list's value is the value itself.
func (p *Package) layEntries(d *Draft, req Request) {
	d.entryPart = entriesSign
	var names []string
	for _, e := range p.arc.entries {
		if !e.dir() {
			names = append(names, e.name)
		}
	}
	for _, n := range d.added {
		names = append(names, n.name)
	}
	names = append(names, strings.TrimPrefix(d.property, "/"), d.valuePart)
	var b strings.Builder
	fmt.Fprintf(&b, `%s<ofd:DocEntries xmlns:ofd="%s" ID="1" CreatorName="%s"`, xmlHead, namespace, escape(req.ProviderName))
	if req.ProviderVersion != "" {
		b.WriteString(` Version="` + escape(req.ProviderVersion) + `"`)
	}
	fmt.Fprintf(&b, ` CreationDate="%s"><ofd:SignedValueLoc>/%s</ofd:SignedValueLoc><ofd:FileList>`, d.time.Format("2006-01-02"), d.entryPart)
	for i, name := range names {
		fmt.Fprintf(&b, `<ofd:File ID="%d" FileLoc="/%s"/>`, i+2, escape(name))
	}
	b.WriteString("</ofd:FileList></ofd:DocEntries>")
	d.entries = []byte(b.String())
	d.added = append(d.added, newEntry{entriesPart, d.entries})
}

// Entries returns the exact bytes of OFDEntries.xml, which must not be modified; nil when no integrity list was asked for.
func (d *Draft) Entries() []byte { return d.entries }

// EntriesHash returns SM3 of Entries: the messageDigest of the detached SignedData (GB/T 35275) that becomes the list's value.
func (d *Draft) EntriesHash() [32]byte { return gm.SM3(d.entries) }

// WithEntriesValue returns the draft with the value of its integrity list, which Embed then writes, too. ErrRequest where there is no list.
func (d *Draft) WithEntriesValue(value []byte) (*Draft, error) {
	if d.entries == nil || len(value) == 0 || len(value) > maxSealBytes {
		return nil, fmt.Errorf("value of %d bytes for an integrity list: %w", len(value), ErrRequest)
	}
	out := *d
	out.entry = append([]byte(nil), value...)
	return &out, nil
}
