package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

const (
	crlPath = "/v1/revocation-list"
	crlType = "application/pkix-crl" // RFC 2585 §4.2
)

// revocationList answers without a certificate: whoever verifies a document must be able to ask.
func (s *Server) revocationList() {
	s.engine.GET(crlPath, s.showRevocations)
	s.routes.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: crlPath, OperationID: "revocation-list", Tags: []string{"seals"},
		Summary: "The revocation list (CRL) of seal certificates: seals cancelled or superseded, from the moment they were",
		Parameters: []*huma.Param{{Name: "authority", In: "query", Description: "key of an issuing authority that took the first one's place; its certificates give this address",
			Schema: &huma.Schema{Type: huma.TypeString}}},
		Responses: map[string]*huma.Response{"200": {Description: "CertificateList, DER", Content: map[string]*huma.MediaType{crlType: {}}}}})
}

func (s *Server) showRevocations(c *gin.Context) {
	ctx := c.Request.Context()
	der, err := s.use.Issuance.RevocationList(ctx, c.Query("authority"))
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	c.Data(http.StatusOK, crlType, der)
}
