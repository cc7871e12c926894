package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"html/template"
	"os"

	"sealkeeper/hsm"
	"sealkeeper/seal"
	"sealkeeper/softhsm-test/ofdgen/preview"
)

//go:embed index.html.tmpl
var pageFiles embed.FS

type card struct {
	ESID, Type, Name, Until string
	Picture                 template.URL
	Attributes              []hsm.Attribute
	Evidence                string
}

// page writes index.html: the seals, the pages with the stamps where they stand, the report and the proof.
func (s *show) page(_ context.Context, r *result) error {
	t, err := template.ParseFS(pageFiles, "index.html.tmpl")
	if err != nil {
		return err
	}
	pages, err := preview.Pages(r.document, picture)
	if err != nil {
		return err
	}
	var drawn []template.HTML
	for _, p := range pages {
		drawn = append(drawn, template.HTML(p.SVG)) // made here from text and numbers, every text escaped
	}
	data := map[string]any{"Enterprise": r.f, "Pages": drawn, "Report": string(r.report), "Proof": string(r.proof), "Receipts": r.receipts, "Address": s.Address}
	var cards []card
	for _, x := range r.seals {
		b, err := os.ReadFile(s.path("impression-" + x.Seal.Type + ".png"))
		if err != nil {
			return err
		}
		cards = append(cards, card{x.Seal.ESID, x.Seal.Type, x.Seal.Name, x.Seal.NotAfter.Format("2006-01-02"),
			template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b)), x.Key.Attributes, string(x.Key.Token.Evidence)})
	}
	data["Seals"] = cards
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return err
	}
	s.say("index.html shows seals, pages, report and proof")
	return s.write("index.html", out.Bytes())
}

// picture takes the picture out of the seal inside the package, as any reader would.
func picture(_ string, data []byte) ([]byte, string) {
	e, err := seal.Parse(data)
	if err != nil {
		return nil, ""
	}
	return e.Info.Picture.Data, "image/png"
}
