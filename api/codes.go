package api

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
	"github.com/skip2/go-qrcode"

	"sealkeeper/access"
	"sealkeeper/licence/onecode"
)

const entityPath = "/c/:id"

// codes: by which an enterprise shows itself (一码). The owner's wishes come through the licence system, signed by the bound device.
func (s *Server) codes() {
	const one = "/v1/enterprises/{uscc}/code"
	route(s, "POST", one, "issue-entity-code", "codes", "Give an enterprise its static code, or answer with the one it has", s.issueCode)
	route(s, "GET", one, "get-entity-code", "codes", "The static code of an enterprise", s.getCode)
	route(s, "POST", "/v1/presentations", "make-presentation", "codes", "Make a presentation code from a wish that the bound device signed", s.present)
	route(s, "POST", "/v1/presentations/redeem", "redeem-presentation", "codes", "Redeem a presentation code, once, for a purpose; the holder sees who", s.redeem)
	route(s, "GET", "/v1/enterprises/{uscc}/presentations", "list-presentations", "codes", "Presentation codes of an enterprise, the newest first, and who redeemed them", s.listPresentations)
	s.codePicture()
	s.entityPage()
}

type issueCodeInput struct {
	Caller
	Key  string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"128" pattern:"^[!-~]+$"`
	USCC string `path:"uscc" maxLength:"18"`
}

func (s *Server) issueCode(ctx context.Context, in *issueCodeInput) (onecode.Code, error) {
	req := bind(in.actor.Client, in.Key, "POST", "/v1/enterprises/"+in.USCC+"/code", nil)
	return s.use.Codes.Issue(ctx, req, in.actor, in.USCC)
}

type codeInput struct {
	Caller
	USCC string `path:"uscc" maxLength:"18"`
}

func (s *Server) getCode(ctx context.Context, in *codeInput) (onecode.Code, error) {
	return s.use.Codes.Code(ctx, in.actor, in.USCC)
}

// codePicture serves the static code as an image to be printed.
func (s *Server) codePicture() {
	const kind = "image/png"
	op := huma.Operation{Method: "GET", Path: "/v1/enterprises/{uscc}/code/qr", OperationID: "get-entity-code-picture", Tags: []string{"codes"}, Errors: errorStatuses,
		Summary: "The static code of an enterprise as a QR code, PNG", Security: []map[string][]string{{"mtls": {}}},
		Responses: map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{kind: {}}}}}
	huma.Register(s.routes, op, func(ctx context.Context, in *codeInput) (*file, error) {
		c, err := s.use.Codes.Code(ctx, in.actor, in.USCC)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		b, err := qrcode.Encode(c.URL, qrcode.Medium, 512)
		if err != nil {
			return nil, s.problem(ctx, fmt.Errorf("drawing the code: %w", err))
		}
		return &file{kind, b}, nil
	})
}

type presentInput struct {
	Keyed
	Body access.SignedPresentation
}

func (s *Server) present(ctx context.Context, in *presentInput) (onecode.Presented, error) {
	return s.use.Codes.Present(ctx, in.request("POST", "/v1/presentations"), in.actor, in.Body)
}

type redeemInput struct {
	Keyed
	Body onecode.Redemption
}

func (s *Server) redeem(ctx context.Context, in *redeemInput) (onecode.Shown, error) {
	return s.use.Codes.Redeem(ctx, in.request("POST", "/v1/presentations/redeem"), in.actor, in.Body)
}

type presentationsInput struct {
	Caller
	Paged
	USCC string `path:"uscc" maxLength:"18"`
}

func (s *Server) listPresentations(ctx context.Context, in *presentationsInput) (page[onecode.Presentation], error) {
	items, next, err := s.use.Codes.Presentations(ctx, in.actor, in.USCC, in.Cursor, in.Limit)
	return paged(items, next), err
}

// entityPage is what anybody who scans a static code sees.
type entityPage struct {
	Mode string `json:"mode"`
	onecode.Page
}

// StatusText is the licence's status in Chinese.
func (p entityPage) StatusText() string { return orText(licenceTexts[p.Status], p.Status) }

//go:embed entity.html
var entityText string

var entityTemplate = template.Must(template.New("entity").Parse(entityText))

// entityPage answers without a certificate, at a measured pace. A name that was never given out and one that has no form get the same answer.
func (s *Server) entityPage() {
	s.engine.GET(entityPath, newPace().paced, s.showEntity)
	answer := huma.SchemaFromType(s.routes.OpenAPI().Components.Schemas, typeOf[entityPage]())
	s.routes.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: "/c/{id}", OperationID: "show-entity", Tags: []string{"codes"},
		Summary:    "The public page of an enterprise: name, status, titles of certificates; HTML, or JSON when Accept names application/json",
		Parameters: []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}},
		Responses: map[string]*huma.Response{"200": {Description: "The page", Content: map[string]*huma.MediaType{"text/html": {}, "application/json": {Schema: answer}}},
			"404": {Description: "No such code"}, "429": {Description: "Too many requests from this address"}}})
}

func (s *Server) showEntity(c *gin.Context) {
	ctx := c.Request.Context()
	found, err := s.use.Codes.Public(ctx, c.Param("id"))
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	p := entityPage{s.cfg.Mode, found}
	if strings.Contains(c.GetHeader("Accept"), "application/json") {
		c.JSON(http.StatusOK, p)
		return
	}
	var b bytes.Buffer
	if err := entityTemplate.Execute(&b, p); err != nil {
		refuse(c, s.problem(ctx, fmt.Errorf("writing the page: %w", err)))
		return
	}
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	c.Header("Referrer-Policy", "no-referrer")
	c.Data(http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}
