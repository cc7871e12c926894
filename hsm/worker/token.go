package worker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"sealkeeper/hsm"
)

// Config is that of package hsm and how to run the child.
type Config struct {
	hsm.Config

	// Hang is how long one call may be inside the module before the child is killed. Zero means 30 s; a device that makes RSA keys slowly needs more.
	Hang time.Duration

	// Command starts the child. Default: this binary with the argument of the constant Command.
	Command []string
}

const defaultHang = 30 * time.Second

func (c Config) checked() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: %w", hsm.ErrConfig, fmt.Errorf(format, args...))
	}
	switch {
	case c.Profile == nil:
		return bad("no firmware profile")
	case (c.PIN == nil) == (c.PINFile == ""):
		return bad("exactly one of PIN and PIN file")
	case c.LatchFile == "":
		return bad("no latch file")
	case c.MayBeAway && c.Serial == "":
		return bad("a token that may be away is named by its serial")
	case c.ManualLogin:
		return bad("manual login: %w", hsm.ErrUnsupported)
	}
	return c.run()
}

// run fills in how a child is started.
func (c Config) run() (Config, error) {
	if c.Hang < 0 {
		return Config{}, fmt.Errorf("%w: hang of %v", hsm.ErrConfig, c.Hang)
	}
	if c.Hang == 0 {
		c.Hang = defaultHang
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return Config{}, fmt.Errorf("%w: finding this binary: %w", hsm.ErrConfig, err)
		}
		c.Command = []string{self, Command}
	}
	return c, nil
}

// Token is a token whose module runs in a child. Its methods are those of keystore.Token; all are safe for concurrent use.
type Token struct {
	cfg  Config
	turn chan struct{} // held by whoever starts or ends a child

	mu       sync.Mutex // guards the fields down to before
	cur      *process   // nil between children
	closed   bool
	attempts uint64    // of starting a child
	lastErr  error     // of the latest attempt
	earliest time.Time // of the next attempt
	before   hsm.Stats // of the children that are gone

	// Written under turn.
	serial   string
	failures int      // since a child last lived for a while
	proofKey [32]byte // random; under it proof is the digest of the PIN that logged in
	proof    []byte
}

// tokens are the tokens that this process has open by way of a child.
var tokens = struct {
	sync.Mutex
	open map[string]bool
}{open: map[string]bool{}}

// Open starts a child and has it open the token. Its errors are those of hsm.Open, and so is what MayBeAway forgives.
func Open(ctx context.Context, cfg Config) (*Token, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	t := &Token{cfg: cfg, turn: make(chan struct{}, 1)}
	rand.Read(t.proofKey[:]) // never returns an error
	if _, err := t.enter(ctx); err != nil && !cfg.Forgives(err) {
		return nil, err
	}
	return t, nil
}

// enter returns the present child and starts one where there is none. It waits as long as ctx does.
func (t *Token) enter(ctx context.Context) (*process, error) {
	t.mu.Lock()
	p, before := t.living(), t.attempts
	t.mu.Unlock()
	if p != nil {
		return p, nil
	}
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the token's worker: %w: %w", hsm.ErrTokenGone, context.Cause(ctx))
	}
	t.mu.Lock()
	p, closed, after, err := t.living(), t.closed, t.attempts, t.lastErr
	t.mu.Unlock()
	switch {
	case p != nil:
		err = nil
	case closed:
		err = fmt.Errorf("token is closed: %w", hsm.ErrTokenGone)
	case after != before && err != nil: // somebody tried while this call waited
	default:
		return t.begin(ctx)
	}
	<-t.turn
	return p, err
}

// living returns the present child unless it is dead. The caller holds mu.
func (t *Token) living() *process {
	if t.cur == nil {
		return nil
	}
	select {
	case <-t.cur.dead:
		return nil
	default:
		return t.cur
	}
}

// begin starts a child. The caller holds turn, which begin gives back when it is done; a caller whose context ends before leaves it to the next one.
func (t *Token) begin(ctx context.Context) (*process, error) {
	type result struct {
		p   *process
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-t.turn }()
		p, err := t.restart()
		done <- result{p, err}
	}()
	select {
	case r := <-done:
		return r.p, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the token's worker: %w: %w", hsm.ErrTokenGone, context.Cause(ctx))
	}
}

// restart buries the last child and starts another. After failures it waits, ever longer up to five seconds, and meanwhile answers with the
// last error, so that a module that crashes at every call does not keep the machine busy with starting it.
func (t *Token) restart() (*process, error) {
	t.bury()
	t.mu.Lock()
	pause, last := time.Until(t.earliest), t.lastErr
	t.mu.Unlock()
	if pause > 0 && last != nil {
		return nil, last
	}
	time.Sleep(pause)
	p, err := t.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cur, t.lastErr = p, err
	t.attempts++
	return p, err
}

// settled is how long a child must have lived for its death to be no sign of another.
const settled = 10 * time.Second

// bury adds up what a dead child had counted.
func (t *Token) bury() {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.cur
	if p == nil {
		return
	}
	t.cur = nil
	s := p.counters()
	t.before = sum(t.before, s)
	if time.Since(p.born) > settled {
		t.failures = 0
	}
	t.postpone()
	level := slog.LevelWarn
	if t.closed {
		level = slog.LevelDebug
	}
	t.cfg.Log.Log(context.Background(), level, "token worker ended", "serial", t.serial, "worker", p.cmd.Process.Pid, "cause", p.obituary().Error())
}

// postpone sets when the next child may start. The caller holds mu and turn.
func (t *Token) postpone() {
	const first, longest = 10 * time.Millisecond, 5 * time.Second
	t.earliest = time.Now().Add(min(longest, first<<min(t.failures, 16)))
	t.failures++
}

// sum adds counters of one life after another; what is momentary is the latter's.
func sum(a, b hsm.Stats) hsm.Stats {
	return hsm.Stats{Signs: a.Signs + b.Signs, FindObjects: a.FindObjects + b.FindObjects, Evictions: a.Evictions + b.Evictions,
		Relogins: a.Relogins + b.Relogins, Epoch: a.Epoch + b.Epoch, Idle: b.Idle,
		Unwraps: a.Unwraps + b.Unwraps, Unwrapped: b.Unwrapped}
}

// open starts a child and hands it configuration and PIN.
func (t *Token) open() (*process, error) {
	if err := hsm.Latched(t.cfg.LatchFile); err != nil {
		return nil, err
	}
	pin, err := t.cfg.ReadPIN()
	if err != nil {
		return nil, err
	}
	defer clear(pin)
	proof := t.prove(pin)
	if t.proof != nil && !hmac.Equal(proof, t.proof) {
		return nil, fmt.Errorf("the PIN is another than the one this process logged in with, so it is not tried: %w", hsm.ErrLoggedOut)
	}
	p, err := spawn(t.cfg.Command, t.cfg.Log)
	if err != nil {
		return nil, err
	}
	info, err := t.greet(p, pin)
	if err == nil {
		err = t.claim(info.Serial)
	}
	if err != nil {
		p.kill(err)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.postpone()
		return nil, err
	}
	if t.proof != nil {
		t.mu.Lock()
		t.before.Relogins++
		t.mu.Unlock()
	}
	t.proof = proof
	go p.watch(t.cfg.Hang)
	return p, nil
}

func (t *Token) prove(pin []byte) []byte {
	h := hmac.New(sha256.New, t.proofKey[:])
	h.Write(pin)
	return h.Sum(nil)
}

// claim takes the token for this process: a second child would log in to it as well.
func (t *Token) claim(serial string) error {
	if t.serial != "" {
		return nil
	}
	tokens.Lock()
	defer tokens.Unlock()
	key := t.cfg.Module + "|" + serial
	if tokens.open[key] {
		return fmt.Errorf("token %q is already open in this process: %w", serial, hsm.ErrConfig)
	}
	tokens.open[key] = true
	t.serial = serial
	return nil
}

// greet sends the first message and waits for the token to be open.
func (t *Token) greet(p *process, pin []byte) (hsm.TokenInfo, error) {
	var info hsm.TokenInfo
	level := slog.LevelError
	for _, l := range []slog.Level{slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if t.cfg.Log.Enabled(context.Background(), l) {
			level = l
		}
	}
	h := hello{Module: t.cfg.Module, Allowed: t.cfg.Allowed, Profile: t.cfg.Profile.Canonical(), Serial: t.cfg.Serial, Label: t.cfg.Label,
		LatchFile: t.cfg.LatchFile, MaxSessions: t.cfg.MaxSessions, Opened: t.cfg.Opened, Proven: t.proof != nil || t.cfg.Proven, LogLevel: int(level)}
	if t.serial != "" {
		h.Serial = t.serial // a token is never exchanged for another of its label
	}
	body, err := h.encode(pin)
	if err != nil {
		return info, err
	}
	defer clear(body)
	ctx, cancel := context.WithTimeout(context.Background(), 3*t.cfg.Hang)
	defer cancel()
	b, err := p.first(ctx, kindOpen, body)
	if ctx.Err() != nil {
		return info, fmt.Errorf("the module did not open the token within %v: %w", 3*t.cfg.Hang, hsm.ErrTokenGone)
	}
	if errors.Is(err, hsm.ErrInterrupted) {
		return info, fmt.Errorf("opening the token: %w: %w", hsm.ErrTokenGone, err)
	}
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return info, fmt.Errorf("reading the worker's answer: %w", errFrame)
	}
	return info, nil
}

// closeWait bounds the child's own end. Its calls inside have ten seconds there.
const closeWait = 12 * time.Second

// Close ends the child. The token's objects stay.
func (t *Token) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return fmt.Errorf("closing token: %w", hsm.ErrBusy)
	}
	t.mu.Lock()
	p, was := t.living(), t.closed
	t.closed = true
	t.mu.Unlock()
	if was {
		return nil
	}
	tokens.Lock()
	delete(tokens.open, t.cfg.Module+"|"+t.serial)
	tokens.Unlock()
	if p == nil {
		return nil
	}
	_, err := p.call(ctx, kindClose, nil)
	p.kill(errClosed)
	t.bury()
	if err != nil && !errors.Is(err, errDead) {
		return fmt.Errorf("closing token: %w", err)
	}
	return nil
}

var errClosed = errors.New("the token was closed")
