package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/signer/verify"
)

// verifications judge a file. No certificate is needed and nothing is kept; the verifier has its own parsers (law 6).
func (s *Server) verifications() {
	s.engine.POST("/v1/verifications", s.verify)
	report := huma.SchemaFromType(s.routes.OpenAPI().Components.Schemas, typeOf[verify.Report]())
	s.routes.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodPost, Path: "/v1/verifications", OperationID: "verify", Tags: []string{"verifications"},
		Summary:     "Judge a sealed document, a seal or a signature value",
		Parameters:  []*huma.Param{{Name: "name", In: "query", Description: "file name, for the report alone", Schema: &huma.Schema{Type: "string"}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}},
		Responses:   map[string]*huma.Response{"200": {Description: "The report", Content: map[string]*huma.MediaType{"application/json": {Schema: report}}}}})
}

func (s *Server) verify(c *gin.Context) {
	ctx := c.Request.Context()
	b, give, err := s.readDocument(c, s.cfg.Limits.Document)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	defer give()
	name := c.Query("name")
	if len(name) > 256 {
		name = name[:256]
	}
	c.JSON(http.StatusOK, verify.Document(ctx, name, b, s.use.Judge()))
}
