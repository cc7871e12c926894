// Package client is the Go client of the appliance's HTTP API.
//
// It imports nothing of Sealkeeper's, so a department can vendor it alone. Its one promise: a call either returns what the appliance answered or
// an error that carries the appliance's problem code; it retries nothing on its own, since an Idempotency-Key makes a retry by the caller safe.
//
// Methods named after the API's routes take and return the JSON of /openapi.json as Go structs; whatever has no method of its own is reached
// through Do. Digests are lower-case hexadecimal, times RFC 3339 UTC, bytes base64 in JSON.
//
// Limits: it judges nothing it receives; a caller who must not trust the appliance verifies signatures and proofs himself.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config says where the appliance is and who calls.
type Config struct {
	Address     string // https://host:port
	CA          string // PEM file that verifies the server
	Certificate string // PEM chain of the client; empty for the routes that need none
	Key         string // PEM key of the client
	// Identity is chain and key in place of the two files: the key may be one that is no file.
	Identity    *tls.Certificate
	Timeout     time.Duration // of one call; 60 s when zero
	Connections int           // idle connections kept; 64 when zero
}

// Client calls one appliance. Safe for concurrent use; keep one per process, since a TLS handshake costs more than a signature.
type Client struct {
	base string
	http *http.Client
}

// New reads the files of c.
func New(c Config) (*Client, error) {
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the appliance's CA: %w", err)
	}
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("reading the appliance's CA: no certificate in %s", c.CA)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
	if c.Identity != nil {
		conf.Certificates = []tls.Certificate{*c.Identity}
	} else if c.Certificate != "" {
		own, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client's certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{own}
	}
	n := c.Connections
	if n == 0 {
		n = 64
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	t := &http.Transport{TLSClientConfig: conf, MaxIdleConnsPerHost: n, MaxConnsPerHost: n, IdleConnTimeout: time.Minute}
	return &Client{base: c.Address, http: &http.Client{Transport: t, Timeout: timeout}}, nil
}

// Problem is a refusal by the appliance (RFC 9457).
type Problem struct {
	Type      string   `json:"type"`
	Code      string   `json:"code"`
	Title     string   `json:"title"`
	TitleEN   string   `json:"title_en"`
	Status    int      `json:"status"`
	Detail    string   `json:"detail"`
	Errors    []string `json:"errors"`
	RequestID string   `json:"request_id"`
	// RetryAfter is when to try again at the earliest (429, 503); zero when the appliance does not say.
	RetryAfter time.Duration `json:"-"`
}

func (p *Problem) Error() string {
	s := fmt.Sprintf("%s %s (%s", p.Title, p.TitleEN, p.Code)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	for _, e := range p.Errors {
		s += "; " + e
	}
	s += ")"
	if p.RequestID != "" {
		s += " request " + p.RequestID
	}
	return s
}

// Code returns the problem code of a refusal, or "".
func Code(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// NewKey returns a fresh Idempotency-Key, 32 hexadecimal digits.
func NewKey() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Call is one request in the raw: JSON routes that have no method of their own are reached through it.
type Call struct {
	Method, Path string
	Query        url.Values
	Key          string // Idempotency-Key of a mutating call
	ContentType  string // application/json when empty and Body is set
	Accept       string // media types of the answer; whatever the route has when empty
	Body         []byte
}

// Answer is what came back with a 2xx status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends one call. A status other than 2xx is a *Problem.
func (c *Client) Do(ctx context.Context, call Call) (*Answer, error) {
	a, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	if a.Status/100 != 2 {
		return nil, a.problem()
	}
	return a, nil
}

// send returns the answer whatever its status is.
func (c *Client) send(ctx context.Context, call Call) (*Answer, error) {
	u := c.base + call.Path
	if len(call.Query) > 0 {
		u += "?" + call.Query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, call.Method, u, bytes.NewReader(call.Body))
	if err != nil {
		return nil, fmt.Errorf("forming the call %s %s: %w", call.Method, call.Path, err)
	}
	if call.Body != nil {
		r.Header.Set("Content-Type", "application/json")
		if call.ContentType != "" {
			r.Header.Set("Content-Type", call.ContentType)
		}
	}
	if call.Accept != "" {
		r.Header.Set("Accept", call.Accept)
	}
	if call.Key != "" {
		r.Header.Set("Idempotency-Key", call.Key)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		var same *url.Error // says method and address again
		if errors.As(err, &same) {
			err = same.Err
		}
		return nil, fmt.Errorf("calling %s %s: %w", call.Method, c.base+call.Path, err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if n := resp.ContentLength; n > 0 && n < 1<<20 {
		body.Grow(int(n) + bytes.MinRead) // spares the doublings for the usual answer
	}
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", call.Method, call.Path, err)
	}
	return &Answer{resp.StatusCode, resp.Header, body.Bytes()}, nil
}

// problem reads a refusal; one that is not the appliance's own (a proxy's page) keeps its first bytes as the detail.
func (a *Answer) problem() error {
	p := &Problem{}
	if err := json.Unmarshal(a.Body, p); err != nil || p.Code == "" {
		p = &Problem{TitleEN: http.StatusText(a.Status), Code: fmt.Sprint("http-", a.Status), Detail: string(a.Body[:min(len(a.Body), 200)])}
	}
	p.Status = a.Status
	if s, err := strconv.Atoi(a.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	return p
}

// JSON sends in (nil for none) and decodes the answer into out (nil to drop it).
func (c *Client) JSON(ctx context.Context, method, path string, query url.Values, key string, in, out any) error {
	call := Call{Method: method, Path: path, Query: query, Key: key}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		call.Body = b
	}
	a, err := c.Do(ctx, call)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("decoding the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// get fetches one JSON answer.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var v T
	err := c.JSON(ctx, http.MethodGet, path, query, "", nil, &v)
	return v, err
}

// post sends one mutating call under an Idempotency-Key.
func post[T any](ctx context.Context, c *Client, path, key string, in any) (T, error) {
	var v T
	err := c.JSON(ctx, http.MethodPost, path, nil, key, in, &v)
	return v, err
}

// file fetches bytes.
func (c *Client) file(ctx context.Context, path string) ([]byte, error) {
	a, err := c.Do(ctx, Call{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, err
	}
	return a.Body, nil
}

// Page is one page of a listing; Next is the cursor of the page behind it, empty at the end.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// paging is the query of a listing; zero values are left out.
func paging(cursor string, limit int, more ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// at joins a route and an identifier, which may hold any character.
func at(route, id string, rest ...string) string {
	return route + "/" + url.PathEscape(id) + strings.Join(rest, "")
}
