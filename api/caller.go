package api

import (
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"sealkeeper/access"
)

const callerKey = "sealkeeper.caller"

var (
	noCertificate = kind{nil, http.StatusUnauthorized, "no-client-certificate", "需要客户端证书", "A client certificate is needed", 0, false}
	unknownClient = kind{nil, http.StatusForbidden, "unknown-client", "客户端未登记或已停用", "The certificate's key is not a registered client", 0, true}
)

// public routes answer without a certificate; everything else demands a registered one.
var public = map[string]bool{"/livez": true, "/readyz": true, "/openapi.json": true, "/openapi.yaml": true, "/openapi-3.0.json": true, "/openapi-3.0.yaml": true,
	"/v1/verifications": true, stampPath: true, crlPath: true, "/v/:id": true, entityPath: true, "": true}

// authenticate finds the registered client of the connection's certificate. TLS has verified chain, time and possession already.
func (s *Server) authenticate(c *gin.Context) {
	t := c.Request.TLS
	if t == nil || len(t.PeerCertificates) == 0 {
		if !public[c.FullPath()] {
			refuse(c, noCertificate.problem("", requestID(c.Request.Context())))
			return
		}
		c.Next()
		return
	}
	who, _, err := s.use.Access.Client(c.Request.Context(), t.PeerCertificates[0].RawSubjectPublicKeyInfo)
	switch {
	case err == nil:
		c.Set(callerKey, who.Actor())
	case public[c.FullPath()]:
	case errors.Is(err, access.ErrNotEntitled):
		refuse(c, unknownClient.problem("", requestID(c.Request.Context())))
		return
	default:
		refuse(c, problemOf(err, requestID(c.Request.Context())))
		return
	}
	c.Next()
}

func callerOf(c *gin.Context) access.Actor {
	a, _ := c.Get(callerKey)
	actor, _ := a.(access.Actor)
	return actor
}

// Caller is embedded in every input whose route needs to know who asks.
type Caller struct {
	actor   access.Actor
	request string
}

// Resolve fills the caller in; the router calls it before the handler.
func (c *Caller) Resolve(ctx huma.Context) []error {
	c.actor = callerOf(humagin.Unwrap(ctx))
	c.request = requestID(ctx.Context())
	return nil
}

var _ huma.Resolver = (*Caller)(nil)
