package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	"sealkeeper/api"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/backup"
	"sealkeeper/keystore/store"
)

// BackupConfig is where encrypted copies of the store go. Whoever holds a recipient's private key can read everything but the keys in the tokens.
type BackupConfig struct {
	// Folder for the copies, best on another machine's disk. Default: none, and no copy is made.
	Folder string `yaml:"folder"`
	// Recipients are age recipients (age1…) whose private keys are kept elsewhere (sealctl backup identity makes one).
	Recipients []string `yaml:"recipients"`
	// Every is how often a copy is made. Default 24h; with -1s only when an operator asks.
	Every time.Duration `yaml:"every"`
	// Keep is how many copies stay in the folder. Default 14; -1 keeps all.
	Keep int `yaml:"keep"`
}

func (c *BackupConfig) check(need func(ok bool, what string)) {
	if c.Folder == "" {
		need(len(c.Recipients) == 0, "backup.recipients without backup.folder")
		return
	}
	_, err := backup.Recipients(c.Recipients)
	need(err == nil, "backup.recipients: at least one, each an age recipient (age1…)")
	need(c.Every == -time.Second || c.Every >= time.Minute, "backup.every must be a minute or more, or -1s")
	need(c.Keep == -1 || c.Keep > 0, "backup.keep must be positive, or -1")
}

// backups makes copies, one at a time.
type backups struct {
	a  *appliance
	to []age.Recipient

	mu    sync.Mutex
	state api.BackupState // guarded by mu
}

// openBackups reads the recipients; without a folder there is nothing to do.
func (a *appliance) openBackups(context.Context) (err error) {
	c := a.cfg.Backup
	if c.Folder == "" {
		return nil
	}
	b := &backups{a: a, state: api.BackupState{Folder: c.Folder}}
	if b.to, err = backup.Recipients(c.Recipients); err != nil {
		return err
	}
	if b.state.Newest, err = backup.Newest(c.Folder, a.store.State().Log); errors.Is(err, os.ErrNotExist) {
		return errors.New("backup.folder does not exist: " + c.Folder)
	}
	a.backups = b
	return err
}

// Now begins a copy unless one is being made, and says how it stands.
func (b *backups) Now(ctx context.Context, by audit.Actor) api.BackupState {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.state.Running {
		b.state.Running, b.state.Error = true, ""
		go b.make(context.WithoutCancel(ctx), by)
	}
	return b.state
}

// State says how it stands.
func (b *backups) State() api.BackupState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

func (b *backups) make(ctx context.Context, by audit.Actor) {
	began := time.Now()
	w, err := b.write(ctx, by)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Running = false
	if err != nil {
		b.state.Error = err.Error()
		b.a.log.ErrorContext(ctx, "no backup", slog.String("error", err.Error()))
		return
	}
	b.state.Last, b.state.Newest = &w, w.Taken
	b.a.log.InfoContext(ctx, "backup written", slog.String("file", w.File), slog.Uint64("records", w.Records), slog.Int64("bytes", w.Bytes), slog.Duration("took", time.Since(began)))
}

// write makes the copy and records that there is one, who asked for it and what it is.
func (b *backups) write(ctx context.Context, by audit.Actor) (backup.Written, error) {
	a := b.a
	key, err := a.keys.ByPurpose(ctx, keystore.PurposeAudit)
	if err != nil {
		return backup.Written{}, err
	}
	if _, err := a.audit.Sign(ctx); err != nil { // what was acknowledged before is under a checkpoint, and in the copy
		return backup.Written{}, err
	}
	former, err := b.former(ctx)
	if err != nil {
		return backup.Written{}, err
	}
	from := backup.Source{Store: a.store, Key: key.Public(), Former: former, Checkpoint: a.audit.Checkpoint, Dir: filepath.Dir(a.cfg.Store.Path)}
	w, err := backup.WriteTo(ctx, a.cfg.Backup.Folder, a.cfg.Backup.Keep, from, b.to)
	if err != nil {
		return w, err
	}
	body, err := audit.Event{Kind: "backup", Actor: by, Subject: filepath.Base(w.File), Detail: struct {
		SHA256     string   `json:"sha256"`
		Records    uint64   `json:"records"`
		Root       string   `json:"root"`
		Recipients []string `json:"recipients"`
	}{w.SHA256, w.Records, w.Root, a.cfg.Backup.Recipients}}.Body()
	if err != nil {
		return w, err
	}
	_, err = a.store.Commit(ctx, store.Mutation{Audit: [][]byte{body}})
	return w, err
}

// former are the audit keys that signed older checkpoints, also those that were destroyed since: their signatures stay in the log.
func (b *backups) former(ctx context.Context) ([]*gm.PublicKey, error) {
	all, err := b.a.keys.OfPurpose(ctx, keystore.PurposeAudit)
	if err != nil {
		return nil, err
	}
	var former []*gm.PublicKey
	for _, k := range all {
		if k.Retired == nil {
			continue
		}
		birth, err := b.a.keys.Birth(ctx, k.ID)
		if err != nil {
			return nil, err
		}
		pub, err := gm.NewPublicKey(birth.Public)
		if err != nil {
			return nil, err
		}
		former = append(former, pub)
	}
	return former, nil
}

// run makes copies at their times. One that fails is tried again after a tenth of the interval.
func (b *backups) run(ctx context.Context) {
	every := b.a.cfg.Backup.Every
	if every <= 0 {
		return
	}
	for {
		wait := time.Until(b.State().Newest.Add(every))
		if b.State().Error != "" {
			wait = every / 10
		}
		t := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if !b.State().Running && b.a.audit.Recovering() == "" {
			b.mu.Lock()
			b.state.Running, b.state.Error = true, ""
			b.mu.Unlock()
			b.make(ctx, self)
		}
	}
}

// measure shows how old the newest copy is.
func (b *backups) measure(r *prometheus.Registry) {
	gauge := func(name, help string, v func(api.BackupState) float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return v(b.State()) }))
	}
	gauge("sealkeeper_backup_newest_seconds", "When the newest backup was taken, in Unix seconds; 0 for none.", func(s api.BackupState) float64 {
		if s.Newest.IsZero() {
			return 0
		}
		return float64(s.Newest.Unix())
	})
	gauge("sealkeeper_backup_failed", "1 when the last attempt failed.", func(s api.BackupState) float64 {
		if s.Error != "" {
			return 1
		}
		return 0
	})
}
