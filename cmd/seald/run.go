package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sealkeeper/api"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
)

// run serves until ctx ends, then drains: no new requests, the last checkpoint, token and store closed.
func run(ctx context.Context, cfg *Config) error {
	log := logger(cfg.Log)
	if err := gm.SelfTest(); err != nil {
		return err
	}
	a, err := build(ctx, cfg, log)
	if err != nil {
		return err
	}
	err = a.serve(ctx)
	log.InfoContext(ctx, "stopping")
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, a.close(end))
}

// serve runs the HTTPS server and what works in the background. Each of them ends when ctx does.
func (a *appliance) serve(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	own, err := tls.LoadX509KeyPair(a.cfg.TLS.Certificate, a.cfg.TLS.Key)
	if err != nil {
		return fmt.Errorf("reading the server's certificate: %w", err)
	}
	pool, err := clientPool(a.cfg.TLS.ClientCA)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	a.measure(metrics)
	srv := api.New(api.Config{Mode: a.cfg.Mode, Version: version, Limits: a.cfg.Limits, Log: a.log, Metrics: metrics}, a.services()).HTTP(api.TLS(own, pool))
	fmt.Fprintf(os.Stdout, "seald listening on https://%s\n", l.Addr())
	return a.together(ctx, srv, l)
}

func (a *appliance) together(ctx context.Context, srv *http.Server, l net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.ServeTLS(api.Gather(l), "", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { tendHeap(ctx); return nil })
	g.Go(func() error { a.issuance.Run(ctx); return nil })
	g.Go(func() error { a.clerk.Run(ctx); return nil })
	g.Go(func() error { return a.audit.Run(ctx) })
	g.Go(func() error { a.settleTokens(ctx, settleEvery); return nil })
	g.Go(func() error { a.rewrap(ctx); return nil })
	if a.backups != nil {
		g.Go(func() error { a.backups.run(ctx); return nil })
	}
	for _, work := range a.works() {
		g.Go(func() error { work(ctx); return nil })
	}
	g.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		return srv.Shutdown(drain)
	})
	return g.Wait()
}

// start does what must happen before the first request, unless the store is recovering: then nothing is destroyed and nothing made.
func (a *appliance) start(ctx context.Context) error {
	if why := a.audit.Recovering(); why != "" {
		a.log.WarnContext(ctx, "recovering: reads only until two operators re-synchronise", slog.String("reason", why))
		return nil
	}
	r, err := a.keys.Reconcile(ctx, self)
	if errors.Is(err, keystore.ErrClock) { // nothing can be decided on record before an operator accepts the clock; a later start does it
		a.log.WarnContext(ctx, "token not reconciled: the clock is in doubt", slog.String("error", err.Error()))
		return nil
	} else if err != nil {
		return err
	}
	a.log.InfoContext(ctx, "token reconciled", slog.Int("destroyed", len(r.Destroyed)), slog.Int("cleared", len(r.Cleared)),
		slog.Int("unknown", len(r.Orphans)), slog.Int("missing", len(r.Missing)),
		slog.Any("away", r.Away))
	a.unsettled = r.Away
	a.noteLabels(r)
	if len(r.Missing) > 0 {
		a.log.ErrorContext(ctx, "keys of this store are not in the token", slog.Int("count", len(r.Missing)))
	}
	return nil
}

func clientPool(path string) (*x509.CertPool, error) {
	ders, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		pool.AddCert(c)
	}
	return pool, nil
}
