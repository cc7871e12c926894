package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sealkeeper/api"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/signer/verify"
)

// services hands the floors to the HTTP layer.
func (a *appliance) services() api.Services {
	s := api.Services{Access: a.access, Library: a.library, Certificates: a.certificates, Codes: a.codes, Register: a.register, Issuance: a.issuance, Signer: a.signer, Keys: a.keys, Log: a.audit, Ceremonies: a.ceremonies,
		Presented: a.presented, Receipts: a.receipts,
		Certify: func(_ context.Context, csr []byte, name string) (string, string, error) {
			return certify(a.tls, csr, name)
		},
		Judge: a.judge.options, Ready: a.ready, AcceptClock: a.audit.AcceptClock, Resynchronise: a.resynchronise(), Outside: a.outside, Reconcile: a.reconciliation().Run}
	if a.backups != nil {
		s.Backups = a.backups
	}
	if a.stamps != nil {
		s.TimeStamp = a.stamps.Answer
	}
	return s
}

func (a *appliance) sealStatus(ctx context.Context, esid string) (verify.SealState, error) {
	s, _, err := a.register.Seal(ctx, esid)
	if errors.Is(err, register.ErrUnknown) {
		return verify.SealState{}, fmt.Errorf("%w: %w", verify.ErrSealUnknown, err)
	}
	if err != nil {
		return verify.SealState{}, err
	}
	return verify.SealState{State: string(s.State), Since: stateSince(s), SHA256: s.ESLSHA256}, nil
}

// stateSince is when a seal's present state began.
func stateSince(s register.Seal) time.Time {
	switch {
	case !s.EndedAt.IsZero():
		return s.EndedAt
	case len(s.Holds) > 0:
		return s.Holds[0].At
	case !s.CollectedAt.IsZero():
		return s.CollectedAt
	}
	return s.MadeAt
}

// ready names what keeps the appliance from signing.
func (a *appliance) ready(ctx context.Context) []api.Fault {
	var faults []api.Fault
	ask, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	away := a.keys.Ask(ask)
	for _, t := range a.keys.Tokens() { // in their order
		if err := away[t.Serial]; err != nil {
			faults = append(faults, api.Fault{Part: "token", Detail: err.Error()})
		}
	}
	if why := a.audit.Recovering(); why != "" {
		return append(faults, api.Fault{Part: "log", Detail: "recovering: " + why})
	}
	if err := a.store.Health(); errors.Is(err, keystore.ErrClock) {
		return append(faults, api.Fault{Part: "clock", Detail: err.Error()}) // the log waits for the same decision
	} else if err != nil {
		faults = append(faults, api.Fault{Part: "store", Detail: err.Error()})
	}
	if err := a.audit.Health(); err != nil {
		faults = append(faults, api.Fault{Part: "log", Detail: err.Error()})
	}
	return faults
}

// measure registers what /metrics shows beside HTTP.
func (a *appliance) measure(r *prometheus.Registry) {
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, v func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, v))
	}
	counter := func(name, help string, v func() uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(v()) }))
	}
	r.MustRegister(tokenMetrics{a.keys}, wrappingMetrics{a.keys})
	a.outside.measure(r)
	if a.backups != nil {
		a.backups.measure(r)
	}
	counter("sealkeeper_signatures_released_total", "Signatures released.", func() uint64 { return a.signer.Stats().Released })
	counter("sealkeeper_signatures_discarded_total", "Signatures made and not released.", func() uint64 { return a.signer.Stats().Discarded })
	counter("sealkeeper_signatures_refused_total", "Signing requests refused.", func() uint64 { return a.signer.Stats().Refused })
	gauge("sealkeeper_store_free_pages", "Pages on the free list; above 20,000 every commit slows down.", func() float64 { return float64(a.store.Stats().FreePages) })
	gauge("sealkeeper_store_queue", "Commits waiting.", func() float64 { return float64(a.store.Stats().Queue) })
	gauge("sealkeeper_log_size", "Records in the log.", func() float64 { return float64(a.store.State().Size) })
}
