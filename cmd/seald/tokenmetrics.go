package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"sealkeeper/keystore"
)

// tokenMetrics shows one series per configured token and counter, named by serial and label. It asks no token: what a scrape waits for must not
// hang with one.
type tokenMetrics struct{ keys *keystore.Keystore }

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"serial", "label"}, nil)
}

var (
	tokenUp        = describe("sealkeeper_token_up", "1 unless the last call found the token away.")
	tokenKeys      = describe("sealkeeper_token_keys", "Living keys in the token.")
	tokenSigns     = describe("sealkeeper_token_signs_total", "C_Sign calls.")
	tokenFinds     = describe("sealkeeper_token_find_objects_total", "C_FindObjects calls; must not grow with signatures.")
	tokenEvictions = describe("sealkeeper_token_evictions_total", "Sessions dropped after an error.")
	tokenRelogins  = describe("sealkeeper_token_relogins_total", "Logins restored.")
	tokenUnwraps   = describe("sealkeeper_token_unwraps_total", "Wrapped keys that were opened.")
	tokenUnwrapped = describe("sealkeeper_token_keys_open", "Wrapped keys that are open now.")
	tokenIdle      = describe("sealkeeper_token_sessions_idle", "Sessions waiting in the pool.")
)

func (m tokenMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{tokenUp, tokenKeys, tokenSigns, tokenFinds, tokenEvictions, tokenRelogins, tokenUnwraps, tokenUnwrapped, tokenIdle} {
		ch <- d
	}
}

func (m tokenMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, t := range m.keys.Tokens() {
		show := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, t.Serial, t.Label)
		}
		up := 1.0
		if t.Away != nil {
			up = 0
		}
		show(tokenUp, prometheus.GaugeValue, up)
		show(tokenKeys, prometheus.GaugeValue, float64(t.Keys))
		show(tokenSigns, prometheus.CounterValue, float64(t.Stats.Signs))
		show(tokenFinds, prometheus.CounterValue, float64(t.Stats.FindObjects))
		show(tokenEvictions, prometheus.CounterValue, float64(t.Stats.Evictions))
		show(tokenRelogins, prometheus.CounterValue, float64(t.Stats.Relogins))
		show(tokenUnwraps, prometheus.CounterValue, float64(t.Stats.Unwraps))
		show(tokenUnwrapped, prometheus.GaugeValue, float64(t.Stats.Unwrapped))
		show(tokenIdle, prometheus.GaugeValue, float64(t.Stats.Idle))
	}
}
