package api

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

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
		Description: "OFD, PDF, SignedData, seals (.esl) and seal signatures. No certificate is needed, and nothing is kept.",
		Parameters: []*huma.Param{{Name: "name", In: "query", Description: "file name, for the report alone", Schema: &huma.Schema{Type: "string"}},
			{Name: "digest", In: "query", Description: "what a detached signature is over, where that stays with the caller: sm3:HEX or sha256:HEX, repeated",
				Schema: &huma.Schema{Type: "array", Items: &huma.Schema{Type: "string"}}}},
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
	opts := s.use.Judge()
	if opts.Digests, err = digests(c.QueryArray("digest")); err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	c.JSON(http.StatusOK, verify.Document(ctx, name, b, opts))
}

// digestOIDs are the algorithms of the parameter digest.
var digestOIDs = map[string]string{"sm3": "1.2.156.10197.1.401", "sha256": "2.16.840.1.101.3.4.2.1"}

func digests(given []string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, g := range given {
		name, digits, _ := strings.Cut(g, ":")
		d, err := hex.DecodeString(digits)
		oid, known := digestOIDs[name]
		if !known || err != nil || len(d) != 32 || out[oid] != nil {
			return nil, badRequest(fmt.Sprintf("digest %.80q: want sm3:HEX or sha256:HEX, 64 digits, each once", g))
		}
		out[oid] = d
	}
	return out, nil
}
