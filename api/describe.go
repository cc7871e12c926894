package api

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// describe enters a POST route that gin serves into the OpenAPI document.
func (s *Server) describe(path, id, summary string, content map[string]*huma.MediaType, done *huma.Response) {
	op := &huma.Operation{Method: http.MethodPost, Path: path, OperationID: id, Summary: summary, Tags: []string{"signatures"},
		RequestBody: &huma.RequestBody{Required: true, Content: content}, Responses: map[string]*huma.Response{"200": done}}
	op.Parameters = []*huma.Param{{Name: "Idempotency-Key", In: "header", Required: true, Schema: &huma.Schema{Type: "string"}}}
	op.Security = []map[string][]string{{"mtls": {}}}
	problem := huma.SchemaFromType(s.routes.OpenAPI().Components.Schemas, typeOf[Problem]())
	for _, status := range errorStatuses {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status),
			Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}}
	}
	s.routes.OpenAPI().AddOperation(op)
}
