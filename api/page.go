package api

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/keystore/audit"
	"sealkeeper/signer"
)

// signaturePage is what anybody who holds the paper may know: nothing of the document but its digest, nothing of who asked.
type signaturePage struct {
	Mode        string      `json:"mode"`
	Seal        string      `json:"seal" doc:"esID"`
	SealName    string      `json:"seal_name"`
	Enterprise  string      `json:"enterprise"`
	USCC        string      `json:"uscc"`
	Kind        string      `json:"kind"`
	Time        time.Time   `json:"time" doc:"by the appliance's clock"`
	TimeStamped bool        `json:"time_stamped"`
	Document    string      `json:"document_digest" doc:"of the document as it came to be signed: SM3, or the digest that came in its place"`
	Unseen      bool        `json:"unseen" doc:"未见原文: the appliance saw the digest alone"`
	LicenceThen string      `json:"licence_then" doc:"status of the licence when the seal was used, by what the appliance knew"`
	LicenceNow  string      `json:"licence_now"`
	SealNow     string      `json:"seal_now" doc:"state of the seal now"`
	Proof       audit.Proof `json:"proof" doc:"that the record stands under the latest checkpoint"`
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// pages answer whoever holds the paper or sees the screen, without a certificate. A name that was never given out and one that has no
// form get the same answer.
func (s *Server) pages() {
	s.engine.GET("/v/:id", s.showPage)
	answer := huma.SchemaFromType(s.routes.OpenAPI().Components.Schemas, typeOf[signaturePage]())
	s.routes.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: "/v/{id}", OperationID: "show-signature", Tags: []string{"pages"},
		Summary:    "The public page of a signature whose request asked for one; HTML, or JSON when Accept names application/json",
		Parameters: []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}},
		Responses: map[string]*huma.Response{"200": {Description: "The page", Content: map[string]*huma.MediaType{"text/html": {}, "application/json": {Schema: answer}}},
			"404": {Description: "No such page"}}})
}

func (s *Server) showPage(c *gin.Context) {
	ctx := c.Request.Context()
	p, err := s.page(ctx, c.Param("id"))
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	if strings.Contains(c.GetHeader("Accept"), "application/json") {
		c.JSON(http.StatusOK, p)
		return
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		refuse(c, s.problem(ctx, fmt.Errorf("writing the page: %w", err)))
		return
	}
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	c.Header("Referrer-Policy", "no-referrer")
	c.Data(http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// page gathers what the register, the licence library and the log say of a signature now.
func (s *Server) page(ctx context.Context, id string) (signaturePage, error) {
	rec, raw, err := s.use.Signer.FindPage(ctx, id)
	if errors.Is(err, signer.ErrUnknown) {
		return signaturePage{}, noPage.problem("", "")
	} else if err != nil {
		return signaturePage{}, err
	}
	seal, _, err := s.use.Register.Seal(ctx, rec.Seal)
	if err != nil {
		return signaturePage{}, err
	}
	then, err := s.use.Library.Version(ctx, rec.USCC, rec.Licence) // what was asked before the key was used, not what was learned since of that time
	if err != nil {
		return signaturePage{}, err
	}
	now, _, err := s.use.Library.Current(ctx, rec.USCC)
	if err != nil {
		return signaturePage{}, err
	}
	p := signaturePage{Mode: s.cfg.Mode, Seal: rec.Seal, SealName: seal.Name, Enterprise: then.Name, USCC: rec.USCC, Kind: rec.Kind, Time: rec.Time,
		TimeStamped: len(rec.Timestamp) > 0, Document: rec.Document, Unseen: rec.Unseen, LicenceThen: string(then.Status), LicenceNow: string(now.Status),
		SealNow: string(seal.State)}
	p.Proof, err = s.use.Log.Inclusion(ctx, raw.Index, 0)
	return p, err
}

var noPage = kind{nil, http.StatusNotFound, "no-signature-page", "没有此核验页", "No such signature page", 0, true}

// StatusText is a licence's status in Chinese.
func (p signaturePage) StatusText(s string) string { return orText(licenceTexts[s], s) }

// Path is the audit path with the leaf in front, base64.
func (p signaturePage) Path() []string {
	var all []string
	for _, h := range append([]audit.Hash{p.Proof.Leaf}, p.Proof.Hashes...) {
		b, _ := h.MarshalText() // never fails
		all = append(all, string(b))
	}
	return all
}

// SealText is a seal's state in Chinese.
func (p signaturePage) SealText() string { return orText(sealTexts[p.SealNow], p.SealNow) }

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

var (
	licenceTexts = map[string]string{"active": "存续（在营、开业、在册）", "dormant": "歇业", "revoked_open": "吊销，未注销", "cancelled": "注销", "annulled": "撤销", "moved_out": "迁出", "other": "其他，需人工核实"}
	sealTexts    = map[string]string{"made": "已制作，未领取", "active": "有效", "suspended": "暂停使用", "cancelled": "已注销", "superseded": "已换发", "expired": "已到期"}
)
