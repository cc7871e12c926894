package stage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sealkeeper/client"
)

// Process is a started program. done is closed when it ended.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start runs a program, waits for its line "… listening on URL", and returns the URL. Its log goes to a file of the stage.
func (s *Stage) start(name string, cmd *exec.Cmd) (*Process, string, error) {
	log, err := os.OpenFile(filepath.Join(s.Dir, name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives the one who started it
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	r := bufio.NewReader(out)
	line, _ := r.ReadString('\n')
	go func() {
		io.Copy(io.Discard, r)
		p.err = cmd.Wait()
		close(p.done)
	}()
	_, url, ok := strings.Cut(strings.TrimSpace(line), " listening on ")
	if !ok {
		<-p.done
		tail, _ := os.ReadFile(log.Name())
		return nil, "", fmt.Errorf("%s did not start: %v\n%s", name, p.err, tail[max(0, len(tail)-2000):])
	}
	return p, url, nil
}

// StartSeald starts the daemon and waits until it is ready, or recovering.
func (s *Stage) StartSeald(ctx context.Context) error {
	args := []string{"--config", s.Config}
	if profile := os.Getenv("SEALKEEPER_CPU_PROFILE"); profile != "" {
		args = append(args, "--cpu-profile", profile)
	}
	p, url, err := s.start("seald", s.Command(context.WithoutCancel(ctx), "seald", args...))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seald, s.Address, s.clients = p, url, map[string]*client.Client{}
	return nil
}

// SealdPID is the daemon's process id.
func (s *Stage) SealdPID() int { return s.seald.cmd.Process.Pid }

// StopSeald asks the daemon to end and waits for it.
func (s *Stage) StopSeald() error { return s.seald.stop(syscall.SIGTERM) }

// KillSeald ends the daemon at once, as a power cut would.
func (s *Stage) KillSeald() error {
	if err := s.seald.stop(syscall.SIGKILL); err != nil && !strings.Contains(err.Error(), "killed") {
		return err
	}
	return nil
}

func (p *Process) stop(sig syscall.Signal) error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil // ended already and was reported
	default:
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return p.err
}

// StartSim starts the simulators against the running daemon.
func (s *Stage) StartSim(ctx context.Context) error {
	cmd := s.Command(context.WithoutCancel(ctx), "sealsim", "serve", "--dir", filepath.Join(s.Dir, "sim"), "--server", s.Address, "--ca", s.CA(), "--audience", "sealkeeper-410300")
	p, url, err := s.start("sealsim", cmd)
	if err != nil {
		return err
	}
	s.sim, s.Sim = p, url
	return nil
}

// StopSim ends the simulators.
func (s *Stage) StopSim() error {
	err := s.sim.stop(syscall.SIGTERM)
	s.sim = nil
	return err
}

// SimError is a refusal that a simulator got from the appliance.
type SimError struct {
	Text string `json:"error"`
	Code string `json:"code"`
}

func (e *SimError) Error() string { return e.Text }

// Play asks a simulator to act: in and out are its JSON. A refusal by the appliance is *SimError.
func (s *Stage) Play(ctx context.Context, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Sim+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		e := &SimError{Text: string(body)}
		json.Unmarshal(body, e)
		return e
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}
