package timestamp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify/signeddata"
)

var (
	// ErrClient says that a Client cannot be made of its configuration.
	ErrClient = errors.New("configuration of the time-stamp client is not usable")
	// ErrUnavailable says that no answer came: no connection, no reply in time, or a status of HTTP that is not 200.
	ErrUnavailable = errors.New("the time-stamp authority is not available")
	// ErrAnswer says that an answer came and is worthless: not a reply, too large, or a token that fails a check. What failed is in the
	// chain: the errors below, or those of package signeddata (ErrImprint, ErrSignature, ErrESS, ErrPurpose, ErrExpired …).
	ErrAnswer = errors.New("the time-stamp authority's answer is not acceptable")
	// ErrNonce says that the token does not repeat the nonce that was sent.
	ErrNonce = errors.New("the nonce is another")
	// ErrPolicy says that the token was issued under a policy that is not allowed here.
	ErrPolicy = errors.New("the policy is not allowed")
	// ErrClock says that the stamped time is too far from this machine's clock.
	ErrClock = errors.New("the stamped time is too far from this clock")
	// ErrTrust says that the authority's certificate leads to no configured root.
	ErrTrust = errors.New("the authority's certificate leads to no trusted root")
)

// ClientConfig names an authority outside and what is expected of it.
type ClientConfig struct {
	URL           string        // http or https
	HTTP          *http.Client  // for TLS settings; nil is one of its own. Redirects are never followed
	Timeout       time.Duration // for one whole exchange; zero is 10 s
	Policy        string        // asked for in the request; empty leaves it open
	Policies      []string      // accepted; empty accepts Policy alone, or any where that is empty too
	Roots         *gm.CertPool  // trust anchors; required, the system's are never used
	Intermediates [][]byte      // certificates that the token may leave out
	Skew          time.Duration // how far GenTime may lie from Now, the stated accuracy apart; zero is 1 min
	Now           func() time.Time
}

// Client asks an authority outside. It is safe for concurrent use.
type Client struct {
	cfg  ClientConfig
	http http.Client
}

// NewClient checks the configuration. Errors: ErrClient.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("URL: %w", ErrClient)
	}
	if cfg.Roots == nil || cfg.Now == nil || cfg.Timeout < 0 || cfg.Skew < 0 {
		return nil, fmt.Errorf("roots, clock, time-out or skew: %w", ErrClient)
	}
	if _, err := parseOID(cfg.Policy); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClient, err)
	}
	if len(cfg.Policies) == 0 && cfg.Policy != "" {
		cfg.Policies = []string{cfg.Policy}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Skew == 0 {
		cfg.Skew = time.Minute
	}
	c := &Client{cfg: cfg}
	if cfg.HTTP != nil {
		c.http = *cfg.HTTP
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Stamp asks once for a token over a digest and returns it verbatim after every check of RFC 3161 §2.4.2. Errors: ErrQuery,
// ErrUnavailable, ErrRefused, ErrAnswer.
func (c *Client) Stamp(ctx context.Context, alg Imprint, digest []byte) ([]byte, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, fmt.Errorf("drawing a nonce: %w", err)
	}
	q := Query{Imprint: alg, Digest: digest, Policy: c.cfg.Policy, Nonce: nonce, CertReq: true}
	query, err := q.Marshal()
	if err != nil {
		return nil, err
	}
	body, err := c.exchange(ctx, query)
	if err != nil {
		return nil, err
	}
	reply, err := ParseReply(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if reply.Token == nil {
		return nil, &Refusal{reply.Status, reply.Failure, reply.Text}
	}
	if err := c.check(q, reply.Token); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return reply.Token, nil
}

func (c *Client) exchange(ctx context.Context, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL, bytes.NewReader(query))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r.Header.Set("Content-Type", TypeQuery)
	r.Header.Set("Accept", TypeReply)
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d: %w", answer.StatusCode, ErrUnavailable)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != TypeReply {
		return nil, fmt.Errorf("content type %q: %w", answer.Header.Get("Content-Type"), ErrAnswer)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxReply+1))
	if err != nil {
		return nil, fmt.Errorf("reading the reply: %w: %w", ErrUnavailable, err)
	}
	if len(body) > MaxReply {
		return nil, fmt.Errorf("more than %d bytes: %w", MaxReply, ErrAnswer)
	}
	return body, nil
}

// check judges a token against the query it answers.
func (c *Client) check(q Query, der []byte) error {
	t, err := signeddata.ParseToken(der)
	if err != nil {
		return err
	}
	if err := t.CoversDigest(q.Imprint.OID(), q.Digest); err != nil {
		return err
	}
	if t.Nonce == nil || t.Nonce.Cmp(q.Nonce) != 0 {
		return ErrNonce
	}
	if len(c.cfg.Policies) > 0 && !slices.Contains(c.cfg.Policies, t.Policy) {
		return fmt.Errorf("policy %s: %w", t.Policy, ErrPolicy)
	}
	if away := t.GenTime.Sub(c.cfg.Now()).Abs(); away > c.cfg.Skew+t.Accuracy {
		return fmt.Errorf("%v away: %w", away, ErrClock)
	}
	if err := t.Verify(); err != nil {
		return err
	}
	return c.trust(t)
}

func (c *Client) trust(t *signeddata.Token) error {
	leaf, err := t.Signed.Signer().Signatory()
	if err != nil {
		return err
	}
	between := gm.NewCertPool()
	for _, der := range slices.Concat(t.Signed.Certificates, c.cfg.Intermediates) {
		if x, err := gm.ParseCertificate(der); err == nil {
			between.AddCert(x)
		}
	}
	_, err = leaf.X509.Verify(gm.VerifyOptions{Roots: c.cfg.Roots, Intermediates: between, CurrentTime: t.GenTime,
		KeyUsages: []gm.ExtKeyUsage{gm.ExtKeyUsageAny}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTrust, err)
	}
	return nil
}
