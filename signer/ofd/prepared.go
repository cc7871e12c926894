package ofd

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"time"
)

// Prepared returns the package with everything in it but the signature's value, and that of its integrity list. It needs no keeping beside: the
// bytes are all that OpenPrepared and Embed take.
func (d *Draft) Prepared() ([]byte, error) { return d.arc.rewrite(d.replaced, d.added, d.time) }

// Embed puts the signature's value into a package that Draft.Prepared gave, to the same bytes as Draft.Embed. A package with an integrity
// list takes the list's value first (OpenPrepared, Draft.WithEntriesValue). Errors: ErrPrepared, ErrRequest, and those of Open.
func Embed(prepared, signedValue []byte) ([]byte, error) {
	d, err := OpenPrepared(prepared, Limits{})
	if err != nil {
		return nil, err
	}
	return d.Embed(signedValue)
}

// OpenPrepared reads what Draft.Prepared gave: the draft as it was, all files that it protects unchanged. Errors: ErrPrepared, and those of Open.
func OpenPrepared(b []byte, lim Limits) (*Draft, error) {
	p, err := open(b, 1, lim, true)
	if err != nil {
		return nil, err
	}
	if len(p.waiting) != 1 {
		return nil, fmt.Errorf("%d signatures wait for their value: %w", len(p.waiting), ErrPrepared)
	}
	w := p.waiting[0]
	d := &Draft{arc: p.arc, property: "/" + w.part, valuePart: w.value, time: p.arc.byName[w.part].modified()}
	if d.signatureXML, err = p.arc.read(w.part, p.lim.PartBytes); err != nil {
		return nil, err
	}
	if w.kind == Sign.String() {
		d.kind = Sign
	} else if d.seal, err = p.arc.read(w.seal, maxSealBytes); err != nil {
		return nil, fmt.Errorf("copy of the seal: %w: %w", ErrPrepared, err)
	}
	if err := p.readEntries(d); err != nil {
		return nil, err
	}
	p.arc.inflate = nil // nothing is expanded any more
	if err := p.checkNames(d); err != nil {
		return nil, err
	}
	return d, nil
}

// readEntries reads where the value of an integrity list goes.
func (p *Package) readEntries(d *Draft) (err error) {
	if p.arc.byName[entriesPart] == nil {
		return nil
	}
	if d.entries, err = p.arc.read(entriesPart, p.lim.PartBytes); err != nil {
		return err
	}
	seen := once{}
	open := func(path []string, _ xml.StartElement, _ span) (bool, error) {
		if !is(path, "DocEntries", "SignedValueLoc") {
			return false, nil
		}
		return true, seen.more("SignedValueLoc")
	}
	closing := func(path []string, text string, _ span) (err error) {
		if is(path, "DocEntries", "SignedValueLoc") {
			d.entryPart, err = resolve(rootPart, text)
		}
		return err
	}
	if err := walkXML(entriesPart, bytes.NewReader(d.entries), "DocEntries", p.lim, visitor{open: open, close: closing}); err != nil {
		return err
	}
	if d.entryPart == "" {
		return fmt.Errorf("%s says not where its value goes: %w", entriesPart, ErrPrepared)
	}
	if p.arc.byName[d.entryPart] != nil {
		return fmt.Errorf("%s has its value already: %w", entriesPart, ErrPrepared)
	}
	return nil
}

// modified is the inverse of dosTime, for entries that this package wrote; others may date themselves to a day that is none.
func (e *entry) modified() time.Time {
	clock, date := int(le.Uint16(e.central[12:])), int(le.Uint16(e.central[14:]))
	return time.Date(1980+date>>9, time.Month(date>>5&15), date&31, clock>>11, clock>>5&63, clock&31*2, 0, time.UTC)
}
