package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/internal/gm"
)

// Module is one open token. Its methods are those of keystore.Token; all are safe for concurrent use and answer with the sentinels of
// this package.
type Module struct {
	cfg        Config
	suites     []*suite
	sha256     string // of the module's file
	profileSM3 string
	turn       chan struct{} // held by whoever starts or ends an epoch
	inside     inside        // calls that are in the module now
	writing    sync.Mutex    // one SetData at a time; with the quirk writes-alone, one write of any object

	mu       sync.Mutex // guards the fields down to closed
	cur      *epoch     // nil between epochs
	old      *epoch     // ended, not yet shut
	attempts uint64     // of starting an epoch
	lastErr  error      // of the latest attempt
	closed   bool

	// Written in the first epoch and under turn, read afterwards.
	serial   string
	n        uint64   // epochs so far
	proofKey [32]byte // random; under it proof is the digest of the PIN that logged in
	proof    [32]byte
	proven   bool

	signs, finds, evictions, relogins, unwraps atomic.Uint64
}

// tokens are the tokens open in this process: a second login would succeed with any PIN, so there is none.
var tokens = struct {
	sync.Mutex
	open map[string]bool
}{open: map[string]bool{}}

// Open opens the token and logs in once. It returns ErrPINLatched while the latch exists or the token itself reports that its PIN is
// locked or has one try left; ErrConfig when module, profile, token and configuration do not go together; ErrTokenGone when the token is
// not there. With MayBeAway the first and the last are no errors of Open, but of every call until the token is to be had.
func Open(ctx context.Context, cfg Config) (*Module, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	m := &Module{cfg: cfg, suites: suitesOf(cfg.Profile), turn: make(chan struct{}, 1)}
	rand.Read(m.proofKey[:]) // never returns an error
	if m.sha256, err = fileSHA256(cfg.Module); err != nil {
		return nil, fmt.Errorf("%w: reading module: %w", ErrConfig, err)
	}
	sum := gm.SM3(cfg.Profile.Canonical())
	m.profileSM3 = fmt.Sprintf("%x", sum)
	m.settle()
	if _, err := m.enter(ctx); err != nil && !cfg.Forgives(err) {
		m.moveOut()
		return nil, err
	}
	return m, nil
}

// enter returns the present epoch and starts one where there is none. It waits as long as ctx does.
func (m *Module) enter(ctx context.Context) (*epoch, error) {
	m.mu.Lock()
	e, before := m.cur, m.attempts
	m.mu.Unlock()
	if e != nil {
		return e, nil
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the token to open again: %w: %w", ErrTokenGone, context.Cause(ctx))
	}
	m.mu.Lock()
	e, closed, after, err := m.cur, m.closed, m.attempts, m.lastErr
	m.mu.Unlock()
	switch {
	case e != nil:
	case closed:
		err = fmt.Errorf("module is closed: %w", ErrTokenGone)
	case after != before && err != nil: // somebody tried while this call waited
	case m.n > 0 && m.cfg.ManualLogin:
		err = fmt.Errorf("waiting for an operator to log in again: %w", ErrLoggedOut)
	default:
		return m.start(ctx)
	}
	<-m.turn
	if e != nil {
		return e, nil
	}
	return nil, err
}

// drainWait bounds how long a new epoch waits for calls that are still inside the module.
const drainWait = 5 * time.Second

// renewWait is the same for an epoch that ended for no fault of the token's. A device may take long over an RSA key.
const renewWait = time.Minute

// start shuts the old epoch and begins a new one. The caller holds turn, which start gives back when it is done; a caller whose context ends
// before leaves it to the next one.
func (m *Module) start(ctx context.Context) (*epoch, error) {
	type result struct {
		e   *epoch
		err error
	}
	done := make(chan result, 1)
	begin := func() {
		defer func() { <-m.turn }()
		e, err := m.restart()
		done <- result{e, err}
	}
	if ctx.Done() == nil {
		begin()
	} else {
		go begin()
	}
	select {
	case r := <-done:
		return r.e, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the token to open: %w: %w", ErrTokenGone, context.Cause(ctx))
	}
}

// restart does the work of start.
func (m *Module) restart() (*epoch, error) {
	m.mu.Lock()
	old := m.old
	m.mu.Unlock()
	if old != nil {
		wait := drainWait
		if old.renewed { // nothing is wrong with what is inside
			wait = renewWait
		}
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := old.shut(ctx); err != nil {
			return nil, err
		}
	}
	e, err := m.openPatiently()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cur, m.old, m.lastErr = e, nil, err
	m.attempts++
	return e, err
}

// openPatiently opens the token. Some go on counting sessions for a moment after they were closed, and a library that was finalised
// underneath is to be let go of by all who share it. The list of slots may grow while it is asked for (CKR_BUFFER_TOO_SMALL), when another token comes.
func (m *Module) openPatiently() (*epoch, error) {
	defer m.inside.enter("opening the token")()
	for wait := 25 * time.Millisecond; ; wait *= 2 {
		e, err := m.openAndLogIn()
		passing := classify(err) == classCapacity || classify(err) == classModule && m.evacuate(err) || errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL))
		if !passing || wait > 200*time.Millisecond {
			return e, err
		}
		time.Sleep(wait)
	}
}

func (m *Module) openAndLogIn() (*epoch, error) {
	if err := m.checkLatch(); err != nil {
		return nil, err
	}
	e, err := m.open()
	if err != nil {
		return nil, err
	}
	if err := m.logIn(e); err != nil {
		e.closeModule()
		return nil, err
	}
	m.n++
	e.n = m.n
	m.cfg.Log.Info("token open", "label", m.cfg.Label, "serial", m.serial, "epoch", e.n, "profile", m.cfg.Profile.ID,
		"sessions", cap(e.pool.permits))
	return e, nil
}

// claim takes the token for this process in the first epoch.
func (m *Module) claim(serial string) error {
	if m.serial != "" {
		return nil
	}
	tokens.Lock()
	defer tokens.Unlock()
	key := m.cfg.Module + "|" + serial
	if tokens.open[key] {
		return fmt.Errorf("token %q is already open in this process: %w", serial, ErrConfig)
	}
	tokens.open[key] = true
	m.serial = serial
	return nil
}

func (m *Module) unclaim() {
	tokens.Lock()
	defer tokens.Unlock()
	delete(tokens.open, m.cfg.Module+"|"+m.serial)
}

// end closes the door of an epoch that went bad. The next call starts another.
func (m *Module) end(e *epoch, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cur != e {
		return // somebody else saw it first
	}
	m.cur, m.old = nil, e
	e.end()
	level := slog.LevelWarn
	if errors.Is(cause, errRenewal) {
		level, e.renewed = slog.LevelInfo, true
	}
	m.cfg.Log.Log(context.Background(), level, "token epoch ended", "serial", m.serial, "epoch", e.n, "cause", cause.Error())
}

// Reopen starts a new epoch after ErrLoggedOut under ManualLogin, by an operator's decision. With an epoch in place it does nothing.
func (m *Module) Reopen(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	m.mu.Lock()
	e, closed := m.cur, m.closed
	m.mu.Unlock()
	if e != nil || closed {
		<-m.turn
		return nil
	}
	_, err := m.start(ctx)
	return err
}

const closeWait = 10 * time.Second

// Close ends the epoch and waits up to ten seconds for calls that are still inside the module. The token's objects stay.
func (m *Module) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return fmt.Errorf("closing token: %w", ErrBusy)
	}
	m.mu.Lock()
	e, was := m.cur, m.closed
	m.closed = true
	if e != nil {
		m.cur, m.old = nil, e
		e.end()
	}
	old := m.old
	m.mu.Unlock()
	if was {
		return nil
	}
	m.unclaim()
	m.moveOut()
	if old == nil {
		return nil
	}
	if err := old.shut(ctx); err != nil {
		return fmt.Errorf("closing token: %w", err)
	}
	return nil
}

// Info describes the token; it asks the device.
func (m *Module) Info(ctx context.Context) (TokenInfo, error) {
	var info TokenInfo
	err := m.onDesk(ctx, "asking token", func(e *epoch) error {
		t, err := e.raw.GetTokenInfo(e.slot)
		if err == nil {
			info = m.describe(e, t)
		}
		return err
	})
	return info, err
}

func (m *Module) describe(e *epoch, t pkcs11.TokenInfo) TokenInfo {
	return TokenInfo{
		Label: t.Label, Serial: t.SerialNumber, Manufacturer: t.ManufacturerID, Model: t.Model, Firmware: e.facts.Firmware.String(),
		Library:      fmt.Sprintf("%s, %s %s", e.facts.LibraryManufacturer, e.facts.LibraryDescription, e.facts.LibraryVersion),
		ModuleSHA256: m.sha256, Profile: m.cfg.Profile.ID, ProfileSM3: m.profileSM3, Evidence: m.evidence(e),
		Sessions: cap(e.pool.permits), Epoch: e.n,
		NeedsMessage: m.cfg.Profile.SM2 != nil && m.cfg.Profile.SM2.Sign[m.cfg.Profile.SM2.Use].WantsMessage(),
		PINTriesLow:  t.Flags&(pkcs11.CKF_USER_PIN_COUNT_LOW|pkcs11.CKF_USER_PIN_FINAL_TRY) != 0,
	}
}

// evidence is the profile's, unless the library says of itself that it is a simulator.
func (m *Module) evidence(e *epoch) Evidence {
	for _, s := range []string{e.facts.LibraryManufacturer, e.facts.LibraryDescription, e.facts.TokenManufacturer, e.facts.TokenModel} {
		if strings.Contains(strings.ToLower(s), "simulat") {
			return Simulated
		}
	}
	switch m.cfg.Profile.Evidence.Level {
	case firmware.Guessed:
		return Guessed
	case firmware.Simulated:
		return Simulated
	case firmware.Verified:
		return Device
	}
	return Documented
}

// Stats returns counters since start.
func (m *Module) Stats() Stats {
	s := Stats{Signs: m.signs.Load(), FindObjects: m.finds.Load(), Evictions: m.evictions.Load(), Relogins: m.relogins.Load(),
		Unwraps: m.unwraps.Load()}
	m.mu.Lock()
	e := m.cur
	m.mu.Unlock()
	if e != nil {
		s.Epoch, s.Idle, s.Unwrapped = e.n, e.pool.idleCount(), e.opened.len()
	}
	return s
}

// writeAlone keeps object writes apart where the profile's quirk asks for it; the result undoes it.
func (m *Module) writeAlone() func() {
	if !m.cfg.Profile.Has(firmware.QuirkWritesAlone) {
		return func() {}
	}
	m.writing.Lock()
	return m.writing.Unlock
}
