package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

// Command is the argument that makes a binary a worker: its main, or a test's, calls Main then.
const Command = "token-worker"

// socketFD is where the child finds its end of the socket pair.
const socketFD = 3

// Main serves the parent over the inherited socket until it goes or says so, and returns the exit code. Only a parent's Token can use it: started by
// hand it has no socket and returns 2.
func Main() int {
	conn, err := inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "token worker: started by seald alone:", err)
		return 2
	}
	if err := harden(); err != nil {
		fmt.Fprintln(os.Stderr, "token worker:", err)
		return 1
	}
	if err := serve(conn); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "token worker:", err)
		return 1
	}
	return 0
}

func inherited() (net.Conn, error) {
	syscall.CloseOnExec(socketFD)
	f := os.NewFile(socketFD, "parent")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	if _, ok := conn.(*net.UnixConn); !ok {
		return nil, errors.Join(errors.New("the inherited descriptor is no socket pair"), conn.Close())
	}
	return conn, nil
}

// child is the worker's side.
type child struct {
	conn    net.Conn
	writing sync.Mutex
	module  *hsm.Module

	mu    sync.Mutex
	calls map[uint64]context.CancelFunc
}

// serve answers one parent.
func serve(conn net.Conn) error {
	defer conn.Close()
	c := &child{conn: conn, calls: map[uint64]context.CancelFunc{}}
	first, err := readFrame(conn)
	if err == nil && first.kind == kindIdentify {
		return c.identify(first)
	}
	if err != nil || first.kind != kindOpen {
		return errors.Join(err, errFrame)
	}
	if c.module, err = c.open(first.body); err != nil {
		return c.reply(first.id, nil, err)
	}
	info, err := c.module.Info(context.Background())
	if err := c.answer(first.id, info, err); err != nil {
		return err
	}
	r := bufio.NewReader(conn) // not before: the first message, with the PIN, stays out of its buffer
	for {
		f, err := readFrame(r)
		if err != nil {
			return err // the parent is gone, and the kernel closes what the module has open
		}
		if f.kind == kindClose {
			return c.reply(f.id, nil, c.module.Close())
		}
		if err := c.take(f); err != nil {
			return err
		}
	}
}

// open opens the module. It keeps the PIN for logins that are lost later, in memory that is neither swapped nor dumped, and clears the message.
func (c *child) open(b []byte) (*hsm.Module, error) {
	defer clear(b)
	h, pin, err := decodeHello(b)
	if err != nil {
		return nil, err
	}
	kept := bytes.Clone(pin)
	if err := syscall.Mlock(kept); err != nil {
		slog.Debug("the PIN's memory is not locked", "error", err.Error()) // a limit of the service; core dumps are off all the same
	}
	profile := new(firmware.Profile)
	if err := json.Unmarshal(h.Profile, profile); err != nil {
		return nil, fmt.Errorf("reading the profile: %w: %w", hsm.ErrConfig, err)
	}
	return hsm.Open(context.Background(), hsm.Config{Module: h.Module, Allowed: h.Allowed, Profile: profile, Serial: h.Serial, Label: h.Label,
		PIN: func() ([]byte, error) { return bytes.Clone(kept), nil }, LatchFile: h.LatchFile, MaxSessions: h.MaxSessions, Opened: h.Opened, Proven: h.Proven,
		Log: slog.New(slog.NewJSONHandler(logWriter{c}, &slog.HandlerOptions{Level: slog.Level(h.LogLevel)}))})
}

// take starts what a frame asks for. An error means that the two sides do not understand each other.
func (c *child) take(f frame) error {
	switch f.kind {
	case kindPing:
		return c.write(frame{kindPong, f.id, age(c.module.Oldest())})
	case kindCancel:
		c.mu.Lock()
		defer c.mu.Unlock()
		if cancel := c.calls[f.id]; cancel != nil {
			cancel()
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.calls[f.id] = cancel
	c.mu.Unlock()
	go func() {
		defer func() {
			c.mu.Lock()
			delete(c.calls, f.id)
			c.mu.Unlock()
			cancel()
		}()
		if err := c.do(ctx, f); err != nil {
			c.conn.Close() // the parent is gone; the reading side ends the process
		}
	}()
	return nil
}

// do carries one call out and answers it.
func (c *child) do(ctx context.Context, f frame) error {
	switch f.kind {
	case kindSign:
		r, err := decodeSign(f.body)
		if err != nil {
			return c.reply(f.id, nil, err)
		}
		sig, err := c.module.Sign(ctx, r)
		return c.reply(f.id, sig, err)
	case kindInfo:
		info, err := c.module.Info(ctx)
		return c.answer(f.id, info, err)
	case kindGenerate:
		return serveJSON(c, ctx, f, c.module.Generate)
	case kindEncrypt:
		return serveJSON(c, ctx, f, c.module.Encrypt)
	case kindDecrypt:
		return serveJSON(c, ctx, f, c.module.Decrypt)
	case kindAttributes:
		return serveJSON(c, ctx, f, c.module.Attributes)
	case kindDestroy:
		return serveJSON(c, ctx, f, func(ctx context.Context, id hsm.ObjectID) (struct{}, error) {
			return struct{}{}, c.module.Destroy(ctx, id)
		})
	case kindObjects:
		all, err := c.module.Objects(ctx)
		return c.answer(f.id, all, err)
	case kindSetData:
		return serveJSON(c, ctx, f, func(ctx context.Context, d dataBody) (struct{}, error) {
			return struct{}{}, c.module.SetData(ctx, d.Label, d.Value)
		})
	case kindData:
		return serveJSON(c, ctx, f, func(ctx context.Context, d dataBody) ([]byte, error) { return c.module.Data(ctx, d.Label) })
	case kindSignWrapped:
		return serveJSON(c, ctx, f, c.module.Sign)
	case kindGenerateWrapped:
		return serveJSON(c, ctx, f, c.module.GenerateWrapped)
	case kindRewrap:
		return serveJSON(c, ctx, f, c.module.Rewrap)
	case kindExport:
		return serveJSON(c, ctx, f, c.module.Export)
	case kindImport:
		return serveJSON(c, ctx, f, c.module.Import)
	case kindLock:
		return serveJSON(c, ctx, f, c.module.Lock)
	case kindRandom:
		return serveJSON(c, ctx, f, c.module.Random)
	}
	return c.reply(f.id, nil, fmt.Errorf("frame of kind %d: %w", f.kind, errFrame))
}

// serveJSON decodes the argument of a call, makes it and answers.
func serveJSON[A, R any](c *child, ctx context.Context, f frame, call func(context.Context, A) (R, error)) error {
	var arg A
	if err := json.Unmarshal(f.body, &arg); err != nil {
		return c.reply(f.id, nil, fmt.Errorf("reading a call: %w", errFrame))
	}
	result, err := call(ctx, arg)
	return c.answer(f.id, result, err)
}

// answer replies with a result in JSON.
func (c *child) answer(id uint64, result any, err error) error {
	var b []byte
	if err == nil {
		b, err = json.Marshal(result)
	}
	return c.reply(id, b, err)
}

func (c *child) reply(id uint64, body []byte, err error) error {
	k := kindAnswer
	if err != nil {
		k, body = kindError, encodeFault(err)
	}
	c.writing.Lock() // the counters on the wire never go back
	defer c.writing.Unlock()
	var s hsm.Stats
	if c.module != nil {
		s = c.module.Stats()
	}
	_, werr := c.conn.Write(frame{k, id, append(counters(s), body...)}.encode())
	return werr
}

func (c *child) write(f frame) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.conn.Write(f.encode())
	return err
}

// logWriter sends log records to the parent, who has the log.
type logWriter struct{ c *child }

func (w logWriter) Write(b []byte) (int, error) {
	return len(b), w.c.write(frame{kind: kindLog, body: b})
}
