package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"os"

	"sealkeeper/hsm"
	"sealkeeper/seal"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/ofdgen/preview"
)

//go:embed index.html.tmpl
var pageFiles embed.FS

type card struct {
	ESID, Type, Name, Until string
	Height                  float64 // of the picture on the page, in rem: the seals keep their true proportions
	Picture                 template.URL
	Attributes              []hsm.Attribute
	Evidence                string
}

// heights of the physical seals in millimetres.
var heights = map[string]float64{"01": 40, "02": 38, "03": 30, "05": 20}

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
	var reports []verify.Report
	if err := json.Unmarshal(r.report, &reports); err != nil || len(reports) != 1 {
		return fmt.Errorf("reading the report: %w", err)
	}
	var proof bytes.Buffer
	if err := json.Indent(&proof, r.proof, "", "  "); err != nil {
		return err
	}
	data := map[string]any{"Enterprise": r.f, "Pages": drawn, "Report": reports[0], "JSON": string(r.report), "Proof": proof.String()}
	var cards []card
	for _, x := range r.seals {
		b, err := os.ReadFile(s.path("impression-" + x.Seal.Type + ".png"))
		if err != nil {
			return err
		}
		cards = append(cards, card{x.Seal.ESID, x.Seal.Type, x.Seal.Name, x.Seal.NotAfter.Format("2006-01-02"), heights[x.Seal.Type] * 0.22,
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
