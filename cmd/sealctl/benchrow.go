package main

import (
	"fmt"
	"io"
	"slices"

	"sealkeeper/hsm"
)

// row is one line of the result. Rates are per second; everything is the median of the rounds. What was not measured is null: no service signs with
// RSA, so its ceiling stands alone.
type row struct {
	Mechanism  string   `json:"mechanism"`
	Kind       string   `json:"kind,omitempty"` // kind, or kind:profile
	Clients    int      `json:"clients"`
	Batch      int      `json:"batch"`       // signatures in one request
	TokenOps   float64  `json:"token_ops"`   // C_Sign through package hsm in this process, nothing around it
	Sessions   int      `json:"sessions"`    // with which the token did that, the best of those tried
	ServiceOps *float64 `json:"service_ops"` // signatures over HTTPS: checked, recorded durably, answered
	Ratio      *float64 `json:"ratio"`       // of the two in the same round
	P50        *float64 `json:"p50_ms"`      // of one request
	P99        *float64 `json:"p99_ms"`
	CPU        *float64 `json:"cpu_us_per_op"`               // of the daemon, user and system; needs --pid
	OwnCPU     float64  `json:"client_cpu_us_per_op"`        // of this program, on the same processors
	TokenCPU   float64  `json:"token_cpu_us_per_op"`         // of this program while it measured the ceiling
	RSSAnon    float64  `json:"rss_anon_mb,omitempty"`       // of the daemon at the end of the round; needs --pid
	Signature  int      `json:"signature_bytes,omitempty"`   // size of one signature; SES_Signature holds the whole seal
	BySessions []dot    `json:"token_by_sessions,omitempty"` // the ceiling over sessions
}

// result is what a benchmark came to.
type result struct {
	rows   []row
	curves curves
}

// rows pairs each side with its mechanism's ceiling; a mechanism without a side gets a row of its own.
func rows(own, sides []*side, c curves) (out []row) {
	for _, x := range sides {
		if token := strongest(own, x.mechanism); token != nil { // else the token has no such mechanism, so no signature came either
			out = append(out, x.row(token, c))
		}
	}
	for _, v := range c {
		if v.token && !slices.ContainsFunc(sides, func(x *side) bool { return x.mechanism == v.mechanism }) {
			best := v.top()
			out = append(out, row{Mechanism: string(v.mechanism), Clients: best.At, Batch: 1, TokenOps: best.Ops, Sessions: best.At, TokenCPU: best.CPU, BySessions: v.Dots})
		}
	}
	return out
}

// strongest is the token's side of a mechanism with the highest median rate; nil when there is none.
func strongest(own []*side, m hsm.Algorithm) (best *side) {
	for _, o := range own {
		if o.mechanism == m && (best == nil || o.rate() > best.rate()) {
			best = o
		}
	}
	return best
}

// rate is the median over the rounds.
func (x *side) rate() float64 {
	var all []float64
	for _, s := range x.took {
		all = append(all, s.rate)
	}
	return median(all)
}

// row takes medians over the rounds.
func (x *side) row(token *side, c curves) row {
	of := func(value func(i int) float64) *float64 {
		var all []float64
		for i := range x.took {
			all = append(all, value(i))
		}
		m := median(all)
		return &m
	}
	r := row{Mechanism: string(x.mechanism), Kind: x.kind, Clients: x.clients, Batch: x.batch, Signature: x.signature, Sessions: token.clients, BySessions: c.of(x.mechanism),
		TokenOps:   *of(func(i int) float64 { return token.took[i].rate }),
		TokenCPU:   *of(func(i int) float64 { return token.took[i].own }),
		ServiceOps: of(func(i int) float64 { return x.took[i].rate }),
		Ratio:      of(func(i int) float64 { return x.took[i].rate / token.took[i].rate }),
		P50:        of(func(i int) float64 { return x.took[i].p50 }),
		P99:        of(func(i int) float64 { return x.took[i].p99 }),
		OwnCPU:     *of(func(i int) float64 { return x.took[i].own }),
		RSSAnon:    *of(func(i int) float64 { return x.took[i].rss }),
	}
	if cpu := of(func(i int) float64 { return x.took[i].cpu }); *cpu > 0 {
		r.CPU = cpu
	}
	return r
}

// median of at least one value.
func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (r result) show(w io.Writer) {
	fmt.Fprintln(w, "MECHANISM\tKIND\tCLIENTS\tBATCH\tTOKEN/s\tSESSIONS\tSERVICE/s\tRATIO\tp50 ms\tp99 ms\tCPU µs/op\tCLIENT µs/op\tTOKEN µs/op\tRssAnon MB\tSIGNATURE B")
	for _, x := range r.rows {
		if x.ServiceOps == nil {
			fmt.Fprintf(w, "%s\t-\t%d\t-\t%.0f\t%d\t-\t-\t-\t-\t-\t-\t%.0f\t-\t-\n", x.Mechanism, x.Clients, x.TokenOps, x.Sessions, x.TokenCPU)
			continue
		}
		cpu := "-"
		if x.CPU != nil {
			cpu = fmt.Sprintf("%.0f", *x.CPU)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.0f\t%d\t%.0f\t%.0f %%\t%.1f\t%.1f\t%s\t%.0f\t%.0f\t%.0f\t%d\n", x.Mechanism, x.Kind, x.Clients, x.Batch, x.TokenOps, x.Sessions,
			*x.ServiceOps, 100**x.Ratio, *x.P50, *x.P99, cpu, x.OwnCPU, x.TokenCPU, x.RSSAnon, x.Signature)
	}
	r.curves.show(w)
}

// curveOf names a token's curve or a service's.
func curveOf(m hsm.Algorithm, kind string) string {
	if kind == "" {
		return string(m) + " token"
	}
	return string(m) + " service, " + kind
}
