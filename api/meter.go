package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meter holds the HTTP metrics. Labels are bounded: methods, routes as registered, status codes.
type meter struct {
	seconds *prometheus.HistogramVec
}

func newMeter(r *prometheus.Registry) *meter {
	m := &meter{prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sealkeeper_http_seconds", Help: "Time of HTTP requests.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}}, []string{"method", "route", "status"})}
	r.MustRegister(m.seconds)
	return m
}

func (m *meter) request(method, route string, status int, took time.Duration) {
	switch method { // a caller without a certificate can invent methods for ever
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	m.seconds.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}
