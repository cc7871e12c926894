package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sealkeeper/access"
)

// Config is how the HTTP side behaves.
type Config struct {
	Mode    string // production or demo; demo marks every page and answer 演示数据
	Version string
	Limits  Limits
	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// Server is the HTTP API over the use cases.
type Server struct {
	cfg    Config
	use    Services
	engine *gin.Engine
	routes huma.API
	gate   *gate
	budget *budget
	meter  *meter
}

// New builds the routes.
func New(cfg Config, use Services) *Server {
	gin.SetMode(gin.ReleaseMode)
	huma.NewErrorWithContext = newProblem
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Server{cfg: cfg, use: use, engine: gin.New(), gate: newGate(cfg.Limits), budget: newBudget(cfg.Limits), meter: newMeter(cfg.Metrics)}
	s.engine.HandleMethodNotAllowed, s.engine.RedirectTrailingSlash = true, false // every refusal is a problem, none a redirection
	s.engine.Use(s.identify, s.observe, s.recover, s.record, s.authenticate, s.gate.middleware, s.deadline)
	s.engine.NoRoute(s.fallback(http.StatusNotFound))
	s.engine.NoMethod(s.fallback(http.StatusMethodNotAllowed))
	s.routes = humagin.New(s.engine, openapi(cfg))
	s.register()
	return s
}

// Handler serves the API.
func (s *Server) Handler() http.Handler { return s.engine }

// OpenAPI returns the document that /openapi.json serves.
func (s *Server) OpenAPI() *huma.OpenAPI { return s.routes.OpenAPI() }

func openapi(cfg Config) huma.Config {
	c := huma.DefaultConfig("Sealkeeper 掌印", cfg.Version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "/openapi", "", ""
	c.CreateHooks = nil // no $schema links in answers
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Electronic seals and licences of enterprises. Mutual TLS; every mutating call takes Idempotency-Key."
	if cfg.Mode == "demo" {
		c.Info.Description += " 演示数据: this appliance runs in demo mode."
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"mtls": {Type: "mutualTLS", Description: "P-256 client certificate of this appliance's client CA"}}
	return c
}

// TLS is the server's side of the P-256 hierarchy: TLS 1.3 only; a client certificate is verified when shown, and demanded by the
// routes that need a caller, so that health and verification answer without one.
func TLS(own tls.Certificate, clientCA *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientCAs: clientCA,
		ClientAuth: tls.VerifyClientCertIfGiven, NextProtos: []string{"h2", "http/1.1"}}
}

// HTTP returns a server with the time-outs of the limits; the caller listens, best through Gather.
func (s *Server) HTTP(t *tls.Config) *http.Server {
	return &http.Server{Handler: s.engine, TLSConfig: t, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * s.cfg.Limits.Timeout,
		WriteTimeout: 2 * s.cfg.Limits.Timeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, ConnContext: withGathered,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug)}
}

// identify gives every request its id.
func (s *Server) identify(c *gin.Context) {
	var b [8]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), requestKey{}, id))
	c.Header("X-Request-Id", id)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Cache-Control", "no-store")
	if s.cfg.Mode == "demo" {
		c.Header("Sealkeeper-Mode", "demo")
	}
	c.Next()
}

// observe writes one line and one measurement per request.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	c.Next()
	took := time.Since(start)
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	s.meter.request(c.Request.Method, route, c.Writer.Status(), took)
	s.cfg.Log.InfoContext(c.Request.Context(), "request", slog.String("id", requestID(c.Request.Context())),
		slog.String("method", c.Request.Method), slog.String("route", route), slog.Int("status", c.Writer.Status()),
		slog.String("client", short(callerOf(c).Client)), slog.Duration("took", took))
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// recover turns a panic into a 500 and a log line; the process goes on.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Log.ErrorContext(c.Request.Context(), "panic in handler", slog.Any("value", v), slog.String("id", requestID(c.Request.Context())))
			refuse(c, internal.problem("", requestID(c.Request.Context())))
		}
	}()
	c.Next()
}

func (s *Server) deadline(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.Limits.Timeout)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}

func (s *Server) fallback(status int) gin.HandlerFunc {
	return func(c *gin.Context) {
		refuse(c, transport[status].problem(c.Request.Method+" "+c.Request.URL.Path, requestID(c.Request.Context())))
	}
}

// metrics are for operators: a scraper gets an operator's certificate.
func (s *Server) metrics() {
	h := promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{})
	s.engine.GET("/metrics", func(c *gin.Context) {
		if err := s.use.Access.Allow(callerOf(c), access.ApplianceRead, access.Resource{}); err != nil {
			refuse(c, s.problem(c.Request.Context(), err))
			return
		}
		h.ServeHTTP(c.Writer, c.Request)
	})
}
