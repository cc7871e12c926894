package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"sealkeeper/hsm"
)

// process is the parent's view of one child.
type process struct {
	conn net.Conn
	cmd  *exec.Cmd
	log  *slog.Logger
	born time.Time
	gone chan struct{} // closed when the process was waited for

	writing sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan answer
	stats   hsm.Stats
	cause   error // why it is dead
	dead    chan struct{}
}

type answer struct {
	body []byte
	err  error
}

// spawn starts a child with one end of a socket pair. Its thread is kept for as long as the child lives: the kernel takes the death of the thread that
// started a child for the death of the parent.
func spawn(command []string, log *slog.Logger) (*process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "parent")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
	p := &process{conn: conn, cmd: cmd, log: log, gone: make(chan struct{}), dead: make(chan struct{}), pending: map[uint64]chan answer{}, born: time.Now()}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the state says how it ended
		}
		close(p.gone)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("starting the token's worker: %w", err), conn.Close())
	}
	go p.read()
	return p, nil
}

// read takes what the child says until it is gone or talks nonsense.
func (p *process) read() {
	r := bufio.NewReaderSize(p.conn, 16<<10)
	for {
		f, err := readFrame(r)
		if err == nil {
			err = p.take(f)
		}
		if err != nil {
			p.kill(err)
			return
		}
	}
}

func (p *process) take(f frame) error {
	switch f.kind {
	case kindAnswer, kindError:
		stats, body, err := decodeCounters(f.body)
		if err != nil {
			return err
		}
		a := answer{body: body}
		if f.kind == kindError {
			a = answer{err: decodeFault(body)}
		}
		p.mu.Lock()
		p.stats = stats
		p.mu.Unlock()
		p.deliver(f.id, a)
		return nil
	case kindPong:
		p.deliver(f.id, answer{body: f.body})
		return nil
	case kindLog:
		p.retell(f.body)
		return nil
	}
	return fmt.Errorf("frame of kind %d from the worker: %w", f.kind, errFrame)
}

func (p *process) deliver(id uint64, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch := p.pending[id]; ch != nil { // else its caller left
		ch <- a
		delete(p.pending, id)
	}
}

// retell writes a log record of the child's into our log.
func (p *process) retell(b []byte) {
	var r map[string]any
	if json.Unmarshal(b, &r) != nil {
		return
	}
	var level slog.Level
	text, _ := r[slog.LevelKey].(string)
	if level.UnmarshalText([]byte(text)) != nil {
		level = slog.LevelWarn
	}
	message, _ := r[slog.MessageKey].(string)
	attrs := []slog.Attr{slog.Int("worker", p.cmd.Process.Pid)}
	for k, v := range r {
		if k != slog.LevelKey && k != slog.MessageKey && k != slog.TimeKey {
			attrs = append(attrs, slog.Any(k, v))
		}
	}
	p.log.LogAttrs(context.Background(), level, message, attrs...)
}

// call sends a frame and waits for its answer. A caller who leaves is answered at once, as far as the child can.
func (p *process) call(ctx context.Context, k kind, body []byte) ([]byte, error) {
	id, ch, err := p.expect()
	if err != nil {
		return nil, err
	}
	if err := p.write(frame{k, id, body}); err != nil {
		p.kill(err)
	}
	select {
	case a := <-ch:
		return a.body, a.err
	case <-p.dead:
		select {
		case a := <-ch: // its last word
			return a.body, a.err
		default:
			return nil, p.obituary()
		}
	case <-ctx.Done():
		return nil, p.leave(ctx, id, ch)
	}
}

// first sends a child its first frame. One that ended before it could be asked is told of like one that ended over the question.
func (p *process) first(ctx context.Context, k kind, body []byte) ([]byte, error) {
	b, err := p.call(ctx, k, body)
	if errors.Is(err, errDead) {
		<-p.dead
		err = p.obituary()
	}
	return b, err
}

// leaveWait is how long a leaving caller waits to hear what he was waiting for.
const leaveWait = 100 * time.Millisecond

func (p *process) leave(ctx context.Context, id uint64, ch chan answer) error {
	if err := p.write(frame{kind: kindCancel, id: id}); err != nil {
		p.kill(err)
	}
	why := fmt.Errorf("leaving a call to the token: %w", context.Cause(ctx))
	t := time.NewTimer(leaveWait)
	defer t.Stop()
	select {
	case a := <-ch:
		if a.err != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), a.err)
		}
	case <-p.dead:
	case <-t.C:
		p.mu.Lock()
		delete(p.pending, id)
		p.mu.Unlock()
	}
	return why
}

// errDead: the child was dead before the call was sent, so another child may have it.
var errDead = errors.New("the worker is gone already")

func (p *process) expect() (uint64, chan answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != nil {
		return 0, nil, errDead
	}
	p.next++
	ch := make(chan answer, 1)
	p.pending[p.next] = ch
	return p.next, ch, nil
}

func (p *process) write(f frame) error {
	b := f.encode()
	p.writing.Lock()
	defer p.writing.Unlock()
	_, err := p.conn.Write(b)
	if f.kind == kindOpen {
		clear(b) // it holds the PIN
	}
	return err
}

// kill ends the child, for the first cause given, and everybody who waits for it.
func (p *process) kill(cause error) {
	p.mu.Lock()
	first := p.cause == nil
	if first {
		p.cause = cause
	}
	p.mu.Unlock()
	if !first {
		<-p.dead
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.conn.Close()
	<-p.gone
	p.mu.Lock()
	p.cause = fmt.Errorf("%w (%s)", p.cause, p.cmd.ProcessState)
	p.mu.Unlock()
	close(p.dead)
}

// obituary is what a call gets that was inside.
func (p *process) obituary() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%w: %w", hsm.ErrInterrupted, p.cause)
}

func (p *process) counters() hsm.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// watch kills the child when a call has been inside for longer than hang, or when it does not answer at all.
func (p *process) watch(hang time.Duration) {
	tick := time.NewTicker(max(hang/8, 5*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.dead:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		body, err := p.call(ctx, kindPing, nil)
		late := ctx.Err() != nil
		cancel()
		act, inside, derr := decodeAge(body)
		switch {
		case late:
			p.kill(fmt.Errorf("the worker did not answer for %v", hang))
		case err == nil && derr == nil && inside > hang:
			p.kill(fmt.Errorf("%s: inside the module for more than %v", act, hang))
		}
	}
}
