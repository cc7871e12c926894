package api

import (
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/keystore/audit"
)

const (
	stampQuery   = "application/timestamp-query" // RFC 3161 §3.4
	stampReply   = "application/timestamp-reply"
	maxQuery     = 16 << 10
	roleAnybody  = "anonymous" // of a caller without a certificate, in records
	stampPath    = "/tsa"
	stampSummary = "Time-stamp authority (RFC 3161): SM3 imprints are answered with the SM2 key, SHA-256 imprints with the P-256 key"
)

var noStamps = kind{nil, http.StatusNotFound, "no-time-stamps", "本机不提供时间戳", "This appliance stamps no time", 0, false}

// timeStamps answers without a certificate, like every time-stamp authority; callers without one share one allowance. What is wrong with a
// question is said in the reply itself, as RFC 3161 wants it; a problem is what keeps the appliance from answering at all.
func (s *Server) timeStamps() {
	s.engine.POST(stampPath, s.timeStamp)
	s.routes.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodPost, Path: stampPath, OperationID: "time-stamp", Tags: []string{"time stamps"}, Summary: stampSummary,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{stampQuery: {}}},
		Responses:   map[string]*huma.Response{"200": {Description: "TimeStampResp; its status says whether a token is in it", Content: map[string]*huma.MediaType{stampReply: {}}}}})
}

func (s *Server) timeStamp(c *gin.Context) {
	ctx := c.Request.Context()
	if s.use.TimeStamp == nil {
		refuse(c, noStamps.problem("", requestID(ctx)))
		return
	}
	if kind, _, _ := mime.ParseMediaType(c.GetHeader("Content-Type")); kind != stampQuery {
		refuse(c, s.problem(ctx, transport[http.StatusUnsupportedMediaType].problem("want "+stampQuery, "")))
		return
	}
	query, err := s.readBody(c, maxQuery)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	who := audit.Actor{Role: roleAnybody}
	if a := callerOf(c); a.Client != "" {
		who = a.Audit()
	}
	reply, err := s.use.TimeStamp(ctx, who, query)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	c.Data(http.StatusOK, stampReply, reply)
}
