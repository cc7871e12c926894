package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify"
	"sealkeeper/signer/verify/trust"
)

// judging is whom POST /v1/verifications trusts: this appliance's own anchors, and files of others that are read again when they change.
type judging struct {
	cfg VerificationConfig
	log *slog.Logger
	own verify.Options

	mu    sync.Mutex
	seen  []stamped // what the files were when they were read
	given verify.Options
}

// stamped tells one state of a file from another.
type stamped struct {
	size int64
	at   time.Time
}

// openJudging reads what configuration names; a file that cannot be read, or a list by another publisher, keeps the daemon from starting.
func (a *appliance) openJudging(ctx context.Context) error {
	j := &judging{cfg: a.cfg.Verification, log: a.log}
	for i, into := range []*[]*gm.Certificate{&j.own.Roots, &j.own.Intermediates, &j.own.Makers} { // as a.issued
		c, err := gm.ParseCertificate(a.issued[i])
		if err != nil {
			return fmt.Errorf("certificate %d of the SM2 hierarchy: %w", i+1, err)
		}
		*into = append(*into, c)
	}
	j.own.Roots = append(j.own.Roots, a.sealAnchors()...)
	former, err := a.formerMakers(ctx)
	if err != nil {
		return err
	}
	j.own.Makers = append(j.own.Makers, former...)
	authorities, err := a.formerAuthorities()
	if err != nil {
		return err
	}
	j.own.Intermediates = append(j.own.Intermediates, authorities...)
	for i, der := range a.tls.Chain() { // issuing, root
		c, err := gm.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d of the P-256 hierarchy: %w", i+1, err)
		}
		if i == 0 {
			j.own.Intermediates = append(j.own.Intermediates, c)
			continue
		}
		j.own.DocumentRoots = append(j.own.DocumentRoots, c)
		j.own.TimestampRoots = append(j.own.TimestampRoots, c, j.own.Roots[0])
	}
	j.own.SealStatus, j.own.MaxBytes = a.sealStatus, int(a.cfg.Limits.Document)
	j.seen = j.look()
	if j.given, err = j.read(); err != nil {
		return err
	}
	a.judge = j
	return nil
}

// options are those of one verification.
func (j *judging) options() verify.Options {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := j.look(); !slices.Equal(now, j.seen) {
		given, err := j.read()
		j.seen = now
		if err != nil {
			j.log.Warn("trust of verifications stays as it was", "error", err.Error())
		} else {
			j.given = given
			j.log.Info("trust of verifications was read again", "lists", len(given.TrustLists), "crls", len(given.CRLs))
		}
	}
	o := j.own
	o.Now = time.Now()
	o.TimestampRoots = slices.Concat(o.TimestampRoots, j.given.TimestampRoots)
	o.CRLs, o.TrustLists = j.given.CRLs, j.given.TrustLists
	return o
}

func (j *judging) files() []string {
	return slices.Concat(j.cfg.TrustLists, j.cfg.TrustSigners, j.cfg.RevocationLists, j.cfg.TimestampRoots)
}

func (j *judging) look() []stamped {
	var out []stamped
	for _, name := range j.files() {
		var s stamped
		if info, err := os.Stat(name); err == nil {
			s = stamped{info.Size(), info.ModTime()}
		}
		out = append(out, s)
	}
	return out
}

func (j *judging) read() (o verify.Options, err error) {
	if o.TimestampRoots, err = parsed(j.cfg.TimestampRoots); err != nil {
		return o, err
	}
	publishers, err := parsed(j.cfg.TrustSigners)
	if err != nil {
		return o, err
	}
	for _, name := range j.cfg.TrustLists {
		b, err := os.ReadFile(name)
		if err != nil {
			return o, fmt.Errorf("reading trust list: %w", err)
		}
		l, err := trust.Parse(b, publishers)
		if err != nil {
			return o, fmt.Errorf("reading trust list %s: %w", name, err)
		}
		if older := j.newer(l); older > l.Version {
			return o, fmt.Errorf("reading trust list %s: version %d is older than version %d, which counted before", name, l.Version, older)
		}
		o.TrustLists = append(o.TrustLists, l)
	}
	for _, name := range j.cfg.RevocationLists {
		b, err := os.ReadFile(name)
		if err != nil {
			return o, fmt.Errorf("reading revocation list: %w", err)
		}
		if block, _ := pem.Decode(b); block != nil {
			b = block.Bytes
		}
		if _, err := gm.ParseRevocationList(b); err != nil {
			return o, fmt.Errorf("reading revocation list %s: %w", name, err)
		}
		o.CRLs = append(o.CRLs, b)
	}
	return o, nil
}

// newer is the version of a list that counts now, 0 when there is none of its region and name.
func (j *judging) newer(l *trust.List) uint64 {
	for _, old := range j.given.TrustLists {
		if old.Region == l.Region && old.Name == l.Name {
			return old.Version
		}
	}
	return 0
}

func parsed(files []string) ([]*gm.Certificate, error) {
	var all []*gm.Certificate
	for _, name := range files {
		ders, err := readCertificates(name)
		if err != nil {
			return nil, err
		}
		if len(ders) == 0 {
			return nil, fmt.Errorf("%s holds no PEM certificate", name)
		}
		for _, der := range ders {
			c, err := gm.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", name, err)
			}
			all = append(all, c)
		}
	}
	return all, nil
}
