package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

// Problem is the RFC 9457 body of every refusal: a stable code, titles in Chinese and English, and the request id to quote.
type Problem struct {
	Type    string   `json:"type" doc:"urn:sealkeeper:problem:<code>"`
	Code    string   `json:"code" doc:"stable, documented in docs/problems.md"`
	Title   string   `json:"title" doc:"Chinese title"`
	TitleEN string   `json:"title_en" doc:"English title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail,omitempty" doc:"what was being done, what is wrong, what to do"`
	Errors  []string `json:"errors,omitempty" doc:"single findings of a validation"`
	Request string   `json:"request_id"`
	retry   int
}

// Error makes a Problem an error for the router.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is the HTTP status, as the router asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is application/problem+json whatever was negotiated.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders adds Retry-After to refusals that pass.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{codeHeader: {p.Code}}
	if p.retry > 0 {
		h.Set("Retry-After", fmt.Sprint(p.retry))
	}
	return h
}

// codeHeader repeats the code in a header, for those who look at no bodies.
const codeHeader = "Sealkeeper-Code"

// kind is one row of the error table: the first sentinel that errors.Is finds decides.
type kind struct {
	is     error
	status int
	code   string
	zh, en string
	retry  int  // Retry-After in seconds
	silent bool // the detail would tell an unentitled caller something
}

// problemOf turns an error of a use case into a Problem. An error in no row is 500 with the request id and no inner text.
func problemOf(err error, request string) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		q := *p
		q.Request = request
		return &q
	}
	for _, k := range table {
		if errors.Is(err, k.is) {
			return k.problem(detail(err, k.silent), request)
		}
	}
	return internal.problem("", request)
}

var internal = kind{nil, http.StatusInternalServerError, "internal", "系统内部错误", "Internal error", 0, true}

func detail(err error, silent bool) string {
	if silent {
		return ""
	}
	return err.Error()
}

func (k kind) problem(detail, request string) *Problem {
	return &Problem{Type: "urn:sealkeeper:problem:" + k.code, Code: k.code, Title: k.zh, TitleEN: k.en, Status: k.status,
		Detail: detail, Request: request, retry: k.retry}
}

// Problems of the HTTP layer itself, by status: what the router finds before a use case is called.
var transport = map[int]kind{
	http.StatusBadRequest:            {nil, 400, "bad-request", "请求格式错误", "Malformed request", 0, false},
	http.StatusUnprocessableEntity:   {nil, 422, "invalid-fields", "请求字段不合要求", "Request fields do not fit the schema", 0, false},
	http.StatusRequestEntityTooLarge: {nil, 413, "body-too-large", "请求体过大", "Body too large", 0, false},
	http.StatusUnsupportedMediaType:  {nil, 415, "unsupported-media-type", "不支持的媒体类型", "Unsupported media type", 0, false},
	http.StatusNotAcceptable:         {nil, 406, "not-acceptable", "无法按所要求的格式应答", "Not acceptable", 0, false},
	http.StatusNotFound:              {nil, 404, "no-such-route", "没有此接口", "No such route", 0, false},
	http.StatusMethodNotAllowed:      {nil, 405, "method-not-allowed", "不允许的请求方法", "Method not allowed", 0, false},
}

// newProblem is what the router calls for its own refusals.
func newProblem(c huma.Context, status int, msg string, errs ...error) huma.StatusError {
	k, ok := transport[status]
	if !ok {
		k = internal
		msg = ""
	}
	if strings.Contains(msg, "body is too large") {
		k = transport[http.StatusRequestEntityTooLarge]
	}
	p := k.problem(msg, "")
	for _, e := range errs {
		if e != nil {
			p.Errors = append(p.Errors, e.Error())
		}
	}
	if c == nil { // the router asks for an example while it describes a route
		return p
	}
	p.Request = requestID(c.Context())
	for name, v := range p.GetHeaders() {
		c.SetHeader(name, v[0])
	}
	return p
}

// refuse ends a gin request with a Problem.
func refuse(c *gin.Context, p *Problem) {
	for name, v := range p.GetHeaders() {
		c.Header(name, v[0])
	}
	c.Header("Content-Type", "application/problem+json")
	c.AbortWithStatusJSON(p.Status, p)
}

type requestKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
