// Package wire is the one way out: an HTTP client that reaches a single configured address.
//
// Its one promise is that nothing outside can steer or swamp it: it follows no redirect, asks no proxy, reads no more than it was told to, waits no
// longer than it was told to, and says of each failure whether repeating may help. What an answer means is its caller's business.
package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

var (
	// ErrRefused: the other side understood and said no; repeating the same changes nothing.
	ErrRefused = errors.New("the outside system refused the message")
	// ErrDown: no answer, or one that asks for patience; repeating may help.
	ErrDown = errors.New("the outside system does not answer")
	// ErrGarbage: an answer that is not what the contract says. What happened there is not known; repeating may help.
	ErrGarbage = errors.New("the outside system's answer is not what the contract says")
)

// Config names one outside system. Who controls its address or its keys sees what is sent there; what comes back counts by its own signature.
type Config struct {
	Base        string        // http or https address; nothing outside it is reached
	CA          string        // PEM file that verifies the server; empty means the system's
	Certificate string        // PEM chain of the client, with Key; empty means none
	Key         string        // PEM file of the client's key
	Timeout     time.Duration // of one call, from dialling to the last byte; default 10 s
	MaxAnswer   int64         // bytes; default 1 MiB
}

// Client calls one outside system. It is safe for concurrent use.
type Client struct {
	base *url.URL
	http *http.Client
	max  int64
	sign Sign // nil: requests are not signed
}

// New reads the files and checks the address.
func New(c Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(c.Base, "/"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("address %q of an outside system: want http(s)://host[:port][/path]", c.Base)
	}
	t, err := c.tls()
	if err != nil {
		return nil, fmt.Errorf("outside system %s: %w", base.Host, err)
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxAnswer <= 0 {
		c.MaxAnswer = 1 << 20
	}
	transport := &http.Transport{TLSClientConfig: t, Proxy: nil, MaxIdleConnsPerHost: 8, MaxConnsPerHost: 16, IdleConnTimeout: time.Minute,
		ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: c.Timeout}
	return &Client{base: base, max: c.MaxAnswer, http: &http.Client{Transport: transport, Timeout: c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("reading its authority: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s holds no certificate", c.CA)
		}
	}
	if (c.Certificate == "") != (c.Key == "") {
		return nil, errors.New("a client certificate and its key go together")
	}
	if c.Certificate != "" {
		own, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{own}
	}
	return t, nil
}

// Call is one request. Path is joined to the base; In goes out as JSON; Key makes a repetition known as one.
type Call struct {
	Method string
	Path   string // begins with a slash, escaped
	Query  url.Values
	Key    string // Idempotency-Key
	In     any    // nil for none
}

// Do sends a call and decodes the answer into out, strictly; status 202 leaves out alone and is told. Errors: ErrRefused, ErrDown, ErrGarbage.
func (c *Client) Do(ctx context.Context, call Call, out any) (status int, err error) {
	what := call.Method + " " + c.base.Host + call.Path
	r, err := c.request(ctx, call)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %w", what, ErrDown, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.max+1))
	switch {
	case err != nil:
		return resp.StatusCode, fmt.Errorf("%s: reading the answer: %w: %w", what, ErrDown, err)
	case int64(len(body)) > c.max:
		return resp.StatusCode, fmt.Errorf("%s: more than %d bytes: %w", what, c.max, ErrGarbage)
	}
	if err := judge(resp.StatusCode, body); err != nil {
		return resp.StatusCode, fmt.Errorf("%s: %w", what, err)
	}
	if resp.StatusCode == http.StatusAccepted || out == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, decode(what, body, out)
}

func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	var body io.Reader
	var b []byte
	if call.In != nil {
		var err error
		if b, err = json.Marshal(call.In); err != nil {
			return nil, fmt.Errorf("encoding the message: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := *c.base
	u.Path, u.RawPath = "", ""
	address := u.String() + c.base.EscapedPath() + call.Path
	if len(call.Query) > 0 {
		address += "?" + call.Query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, call.Method, address, body)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(call.Path, "/") || r.URL.Host != c.base.Host || r.URL.Scheme != c.base.Scheme {
		return nil, fmt.Errorf("path %.60q leaves the configured address", call.Path)
	}
	r.Header.Set("Accept", "application/json")
	if call.In != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if call.Key != "" {
		r.Header.Set("Idempotency-Key", call.Key)
	}
	return r, c.seal(r, b)
}

// judge sorts the status codes: those that ask for patience, those that say no, and those that the contract does not know.
func judge(status int, body []byte) error {
	switch {
	case status == http.StatusOK || status == http.StatusCreated || status == http.StatusAccepted:
		return nil
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return fmt.Errorf("status %d: %w", status, ErrDown)
	case status >= 400:
		return fmt.Errorf("status %d, %s: %w", status, excerpt(body), ErrRefused)
	}
	return fmt.Errorf("status %d: %w", status, ErrGarbage)
}

// excerpt is what a refusal says, fit for a record.
func excerpt(body []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, string(body[:min(len(body), 200)]))
	return strings.TrimSpace(s)
}

func decode(what string, body []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return fmt.Errorf("%s: decoding the answer: %w: %w", what, ErrGarbage, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: bytes behind the answer: %w", what, ErrGarbage)
	}
	return nil
}
