package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/access"
	"sealkeeper/licence"
	"sealkeeper/licence/presented"
	archived "sealkeeper/licence/receipt"
)

const verifyLicencePath = "/v1/licences/verify"

// archive enters what departments do with licence files.
func (s *Server) archive() {
	s.engine.POST(verifyLicencePath, s.verifyLicence)
	report := huma.SchemaFromType(s.routes.OpenAPI().Components.Schemas, typeOf[presented.LicenceReport]())
	s.routes.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodPost, Path: verifyLicencePath, OperationID: "verify-licence", Tags: []string{"licences"},
		Summary: "Judge a licence file against the library, and against the national system when it is from elsewhere",
		Description: "The body is the OFD file. One from elsewhere that the national system vouches for is archived; while that system does not answer, the verdict is indeterminate. " +
			"Repeating it changes nothing.",
		Parameters:  []*huma.Param{{Name: "name", In: "query", Description: "file name, for the report alone", Schema: &huma.Schema{Type: "string"}}},
		Security:    []map[string][]string{{"mtls": {}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}},
		Responses:   map[string]*huma.Response{"200": {Description: "The report", Content: map[string]*huma.MediaType{"application/json": {Schema: report}}}}})
	route(s, "POST", "/v1/licences/archive-receipts", "make-archive-receipt", "licences",
		"A time-stamped receipt, signed in the token, for a licence file of the archive: which version it is and what the licence was worth", s.archiveReceipt)
	route(s, "GET", "/v1/licences/archived/changes", "list-archived-changes", "licences", "Licences that changed after the caller archived them, up to 40 seconds ago", s.archivedChanges)
}

func (s *Server) verifyLicence(c *gin.Context) {
	ctx, who := c.Request.Context(), callerOf(c)
	if err := s.use.Access.Allow(who, access.LicenceVerify, access.Resource{Client: who.Client}); err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	b, give, err := s.readDocument(c, min(s.cfg.Limits.Document, licence.MaxFile))
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	defer give()
	name := c.Query("name")
	r, err := s.use.Presented.Judge(ctx, who.Audit(), name[:min(len(name), 256)], b)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	c.JSON(http.StatusOK, r)
}

type receiptInput struct {
	Keyed
	Body archived.ArchiveRequest
}

func (s *Server) archiveReceipt(ctx context.Context, in *receiptInput) (archived.ArchiveReceipt, error) {
	return s.use.Receipts.Make(ctx, *in.request("POST", "/v1/licences/archive-receipts"), in.actor, in.Body)
}

type archivedInput struct {
	Caller
	Paged
	Since time.Time `query:"since" doc:"RFC 3339; from the beginning when left out"`
}

// archivedChanges is a page of a client's own feed.
type archivedChanges struct {
	page[archived.ArchivedChange]
	Until time.Time `json:"until,omitzero" doc:"all changes up to here are given; absent while there is more: ask with next"`
}

func (s *Server) archivedChanges(ctx context.Context, in *archivedInput) (archivedChanges, error) {
	c, err := s.use.Receipts.Changed(ctx, in.actor, in.Since, in.Cursor, in.Limit)
	return archivedChanges{paged(c.Items, c.Next), c.Until}, err
}
