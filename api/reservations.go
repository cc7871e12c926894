package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/signer"
)

// offerAnswer is what the holder of a seal's key lays the same signature out from.
type offerAnswer struct {
	Reservation string          `json:"reservation,omitempty" doc:"absent: the request was answered before; POST /v1/signatures with the same body and Idempotency-Key gives the answer again"`
	Until       time.Time       `json:"until,omitzero"`
	Seal        string          `json:"seal,omitempty"`
	Key         string          `json:"key,omitempty" doc:"CKA_ID of the seal's key in its owner's token"`
	Token       string          `json:"token,omitempty" doc:"serial of that token"`
	Time        time.Time       `json:"time,omitzero" doc:"signing time"`
	Provider    signer.Provider `json:"provider,omitzero"`
	Options     signer.Options  `json:"options,omitzero"`
	ESL         []byte          `json:"esl,omitempty"`
	Certificate []byte          `json:"certificate,omitempty"`
	Chain       [][]byte        `json:"chain,omitempty"`
	Contents    []string        `json:"contents,omitempty" doc:"SM3 of what is to be signed, which the holder builds itself"`
}

type releaseRequest struct {
	Signatures [][]byte `json:"signatures" minItems:"1" maxItems:"2" doc:"DER SEQUENCE{r,s} each, in the order of contents"`
}

// reservations are the two calls of a signature with a key in its owner's token.
func (s *Server) reservations() {
	s.engine.POST("/v1/signatures/reservations", s.reserve)
	s.engine.POST("/v1/signatures/reservations/:id", s.release)
	reg := s.routes.OpenAPI().Components.Schemas
	request := huma.SchemaFromType(reg, typeOf[signatureRequest]())
	s.describe("/v1/signatures/reservations", "reserve-signature", "Decide on a signature whose key is in its owner's token: everything is checked, nothing is written; the body of POST /v1/signatures", map[string]*huma.MediaType{
		"application/json": {Schema: request},
		"multipart/form-data": {Schema: &huma.Schema{Type: "object", Required: []string{"request", "document"}, Properties: map[string]*huma.Schema{
			"request": request, "document": {Type: "string", Format: "binary"}}}},
	}, &huma.Response{Description: "What the owner's token is to sign, for two minutes", Content: map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(reg, typeOf[offerAnswer]())}}})
	s.describe("/v1/signatures/reservations/{id}", "release-signature", "Bring the signature that the owner's token made; Idempotency-Key is that of the reservation, which serves one call", map[string]*huma.MediaType{
		"application/json": {Schema: huma.SchemaFromType(reg, typeOf[releaseRequest]())},
	}, &huma.Response{Description: "As of POST /v1/signatures", Content: map[string]*huma.MediaType{"application/ofd": {}, "application/pdf": {}, "application/pkcs7-mime": {},
		"application/json": {Schema: huma.SchemaFromType(reg, typeOf[signatureAnswer]())}}})
}

func (s *Server) reserve(c *gin.Context) {
	ctx, who := c.Request.Context(), callerOf(c)
	give, err := s.reserveBody(c, s.cfg.Limits.Document+s.cfg.Limits.JSON)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	defer give()
	r, err := s.readSignature(c)
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	o, err := s.use.Signer.Reserve(ctx, who, r)
	if err != nil {
		c.Set(recordedKey, signer.Recorded(err))
		refuse(c, s.problem(ctx, err))
		return
	}
	a := offerAnswer{Reservation: o.Reservation, Until: o.Until, Seal: o.Seal, Key: o.Key, Token: o.Token, Time: o.Time, Provider: o.Provider, Options: o.Options,
		ESL: o.ESL, Certificate: o.Certificate, Chain: o.Chain}
	for _, d := range o.Contents {
		a.Contents = append(a.Contents, hex.EncodeToString(d[:]))
	}
	c.JSON(http.StatusOK, a)
}

func (s *Server) release(c *gin.Context) {
	ctx := c.Request.Context()
	key, err := idempotencyKey(c)
	var in releaseRequest
	if err == nil {
		var raw []byte
		if raw, err = s.readBody(c, s.cfg.Limits.JSON); err == nil {
			err = strictJSON(raw, &in)
		}
	}
	if err != nil {
		refuse(c, s.problem(ctx, err))
		return
	}
	rel, err := s.use.Signer.Release(ctx, callerOf(c), key, c.Param("id"), in.Signatures)
	if err != nil {
		c.Set(recordedKey, signer.Recorded(err))
		refuse(c, s.problem(ctx, err))
		return
	}
	s.released(c, rel)
}

// offerInput is a key in its owner's token, offered for one seal of an order.
type offerInput struct {
	Keyed
	ID   string `path:"id" maxLength:"128"`
	Body struct {
		Type    string         `json:"type" minLength:"2" maxLength:"2" doc:"seal type"`
		Birth   keystore.Birth `json:"birth" doc:"the key's attributes as the officer's machine read them"`
		Request []byte         `json:"request" doc:"PKCS#10, DER, signed by the key, common name order/ID/TYPE"`
	}
}

func (s *Server) offerKey(ctx context.Context, in *offerInput) (register.Order, error) {
	return s.use.Issuance.Offer(ctx, in.request("POST", fmt.Sprintf("/v1/orders/%s/keys", in.ID)), in.actor, in.ID, in.Body.Type, in.Body.Birth, in.Body.Request)
}
