package preview

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// stamp is one appearance of a seal on a page.
type stamp struct {
	boundary box // of the whole picture
	clip     box // relative to the boundary's corner
	href     string
}

type (
	signaturesXML struct {
		Signature []struct {
			BaseLoc string `xml:",attr"`
		}
	}
	signatureXML struct {
		SignedInfo struct {
			StampAnnot []struct {
				PageRef  string `xml:",attr"`
				Boundary string `xml:",attr"`
				Clip     string `xml:",attr"`
			}
			Seal struct{ BaseLoc string }
		}
		SignedValue string
	}
)

// stamps collects the appearances of every signature by page. A package without
// signatures has none.
func (a *archive) stamps(d *document, picture Picture) error {
	if d.signatures == "" {
		return nil
	}
	var list signaturesXML
	if err := a.decode(d.signatures, &list); err != nil {
		return err
	}
	for _, s := range list.Signature {
		if err := a.signature(d, a.resolve(d.signatures, s.BaseLoc), picture); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) signature(d *document, name string, picture Picture) error {
	var s signatureXML
	if err := a.decode(name, &s); err != nil {
		return err
	}
	if len(s.SignedInfo.StampAnnot) == 0 {
		return nil
	}
	ref := s.SignedInfo.Seal.BaseLoc
	if ref == "" {
		ref = s.SignedValue
	}
	href, err := a.href(a.resolve(name, ref), picture)
	if err != nil {
		return err
	}
	for _, annot := range s.SignedInfo.StampAnnot {
		boundary, ok := parseBox(annot.Boundary)
		if !ok {
			return fmt.Errorf("%w: Boundary %q in %q", ErrPackage, annot.Boundary, name)
		}
		clip, ok := parseBox(annot.Clip)
		if !ok {
			clip = box{0, 0, boundary.w, boundary.h}
		}
		d.stamps[annot.PageRef] = append(d.stamps[annot.PageRef], stamp{boundary, clip, href})
	}
	return nil
}

// href gives the seal's picture as a data URI, or nothing without a picture.
func (a *archive) href(name string, picture Picture) (string, error) {
	if picture == nil {
		return "", nil
	}
	data, err := a.read(name)
	if err != nil {
		return "", err
	}
	image, mediaType := picture(name, data)
	if len(image) == 0 {
		return "", nil
	}
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(image), nil
}

// draw writes the stamp: a window of the clip's size through which the picture
// shows. The picture is multiplied with the page, as ink on paper would be.
func (s stamp) draw(out *strings.Builder) {
	b, c := s.boundary, s.clip
	fmt.Fprintf(out, `<svg x="%g" y="%g" width="%g" height="%g" viewBox="%g %g %g %g" preserveAspectRatio="none" style="mix-blend-mode:multiply">`,
		b.x+c.x, b.y+c.y, c.w, c.h, c.x, c.y, c.w, c.h)
	if s.href == "" {
		fmt.Fprintf(out, `<rect width="%g" height="%g" fill="none" stroke="#c00" stroke-width="0.3" stroke-dasharray="1 1"/>`, b.w, b.h)
	} else {
		fmt.Fprintf(out, `<image width="%g" height="%g" preserveAspectRatio="none" href="%s"/>`, b.w, b.h, escape(s.href))
	}
	out.WriteString("</svg>")
}
