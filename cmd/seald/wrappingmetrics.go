package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sealkeeper/keystore"
)

// wrappingMetrics shows the room under the wrapping keys and how re-wrapping goes. It asks no token.
type wrappingMetrics struct{ keys *keystore.Keystore }

var (
	wrappingPlaces = prometheus.NewDesc("sealkeeper_wrapping_places_left", "Keys that may still be born under the wrapping keys in use.", nil, nil)
	rewrapMoved    = prometheus.NewDesc("sealkeeper_rewrap_moved_total", "Keys that moved away from a retired wrapping key since the start.", nil, nil)
	rewrapFailed   = prometheus.NewDesc("sealkeeper_rewrap_failed", "Keys that do not move away from a retired wrapping key.", nil, nil)
)

func (m wrappingMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{wrappingPlaces, rewrapMoved, rewrapFailed} {
		ch <- d
	}
}

func (m wrappingMetrics) Collect(ch chan<- prometheus.Metric) {
	if left, err := m.keys.Places(context.Background()); err != nil {
		ch <- prometheus.NewInvalidMetric(wrappingPlaces, err)
	} else {
		ch <- prometheus.MustNewConstMetric(wrappingPlaces, prometheus.GaugeValue, float64(left))
	}
	var sum keystore.Progress
	for _, p := range m.keys.Progress() {
		sum.Moved, sum.Failed = sum.Moved+p.Moved, sum.Failed+p.Failed
	}
	ch <- prometheus.MustNewConstMetric(rewrapMoved, prometheus.CounterValue, float64(sum.Moved))
	ch <- prometheus.MustNewConstMetric(rewrapFailed, prometheus.GaugeValue, float64(sum.Failed))
}
