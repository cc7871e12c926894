package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/stage"
)

// configure replaces a text in the stopped daemon's configuration.
func (s *scene) configure(t *testing.T, old, with string) {
	t.Helper()
	b := mustOf(os.ReadFile(s.Config))(t)
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("the configuration does not hold %q", old)
	}
	write(t, s.Config, bytes.Replace(b, []byte(old), []byte(with), 1))
}

// TestLaw07PINIsNowhere looks for the PIN in everything that a running appliance shows or leaves, with the log at its most talkative.
func TestLaw07PINIsNowhere(t *testing.T) {
	s := own(t, stage.Config{More: []string{feedsDown}})
	s.stopAnd(t, func() { s.configure(t, "log: info", "log: debug") })
	e := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.approved(t, askDigest(e.seals["01"], []byte("示例")), e.phone).sign(t, s.as(t, "department")); err != nil {
		t.Fatal(err)
	}
	pin, looked := []byte(s.Token.PIN()), 0
	look := func(what string, b []byte) {
		if looked++; bytes.Contains(b, pin) {
			t.Errorf("%s holds the PIN", what)
		}
	}
	for _, file := range []string{"environ", "cmdline"} {
		look(file, mustOf(os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.SealdPID(), file)))(t))
	}
	s.fetchAll(t, e, nil, look)
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	s.eachFile(t, "state", look)
	look("log", mustOf(os.ReadFile(filepath.Join(s.Dir, "seald.log")))(t))
	if looked < 50 {
		t.Errorf("looked at %d things only", looked)
	}
}

// TestLaw07WrongPINStopsEveryStart starts with a wrong PIN once: neither a corrected PIN file nor another start tries again, until the operator
// takes the latch away.
func TestLaw07WrongPINStopsEveryStart(t *testing.T) {
	s := own(t, stage.Config{})
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	right := mustOf(os.ReadFile(s.Token.PINFile))(t)
	const wrong = "918273645546"
	pinFile := func(b []byte) {
		if err := errors.Join(os.Remove(s.Token.PINFile), os.WriteFile(s.Token.PINFile, b, 0o400)); err != nil {
			t.Fatal(err)
		}
	}
	refuses := func(when string) {
		t.Helper()
		err := s.StartSeald(context.WithoutCancel(t.Context()))
		if err == nil {
			t.Fatalf("%s: it started", when)
		}
		if !strings.Contains(err.Error(), "latch") || strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), s.Token.PIN()) {
			t.Errorf("%s: %v", when, err)
		}
	}
	latch := filepath.Join(s.Dir, "state", "pin-latch.json")
	pinFile([]byte(wrong + "\n"))
	refuses("a wrong PIN")
	if b := mustOf(os.ReadFile(latch))(t); bytes.Contains(b, []byte(wrong)) {
		t.Error("the latch holds the PIN")
	}
	refuses("the same PIN again")
	pinFile(right)
	refuses("the right PIN behind the latch")
	if err := os.Remove(latch); err != nil {
		t.Fatal(err)
	}
	if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil || !s.ready(t) {
		t.Errorf("after the operator took the latch away: %v", err)
	}
}

// TestLaw08NoNetworkButItsOwn lists the daemon's sockets under load: the one it listens on and its callers' connections to it.
func TestLaw08NoNetworkButItsOwn(t *testing.T) {
	s := own(t, stage.Config{})
	l := newLoad(t, s)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- l.run(ctx) }()
	_, port, _ := strings.Cut(strings.TrimPrefix(s.Address, "https://"), ":")
	var number int
	fmt.Sscan(port, &number)
	listening, connected := 0, 0
	if err := until(t.Context(), "a made set under load", func() (bool, error) {
		for _, x := range s.sockets(t) {
			switch {
			case x.kind == "tcp" && x.local == number && x.state == "0A":
				listening++
			case x.kind == "tcp" && x.local == number:
				connected++
			default:
				return false, fmt.Errorf("a socket of its own: %+v", x)
			}
		}
		return l.complete.Load() > 0 && l.acknowledged.Load() > 50, nil
	}); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if listening == 0 || connected == 0 {
		t.Errorf("saw it listen %d times and connected %d times: nothing was looked at", listening, connected)
	}
}

type socket struct {
	kind, state string // tcp, tcp6, udp, udp6; 0A is listening
	local       int    // port
}

// sockets finds the daemon's network sockets: those of the host whose inode is among its open files.
func (s *scene) sockets(t testing.TB) []socket {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", s.SealdPID())
	inodes := map[string]bool{}
	for _, f := range mustOf(os.ReadDir(dir))(t) {
		target, err := os.Readlink(filepath.Join(dir, f.Name()))
		if err == nil && strings.HasPrefix(target, "socket:[") {
			inodes[strings.Trim(target, "socket:[]")] = true
		}
	}
	var all []socket
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		b, err := os.ReadFile("/proc/net/" + kind)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for line := range strings.Lines(string(b)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
			f := strings.Fields(line)
			if len(f) < 10 || !inodes[f[9]] {
				continue
			}
			x := socket{kind: kind, state: f[3]}
			_, port, _ := strings.Cut(f[1], ":")
			fmt.Sscanf(port, "%X", &x.local)
			all = append(all, x)
		}
	}
	return all
}

// TestLaw08ClockBehindTheLastRecord starts an appliance whose last record was written an hour ahead. It reads, signs nothing and records
// nothing, until a system operator accepts the clock.
func TestLaw08ClockBehindTheLastRecord(t *testing.T) {
	s := own(t, stage.Config{})
	e := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	s.stopAnd(t, func() { s.writeAhead(t, time.Hour) })
	sign := func() error {
		_, err := s.approved(t, askDigest(e.seals["01"], []byte("示例")), e.phone).sign(t, s.as(t, "department"))
		return err
	}
	if err := sign(); client.Code(err) != "clock" {
		t.Errorf("signing with a clock in doubt: %v", err)
	}
	if released, _ := s.signatures(t); released != 0 {
		t.Errorf("%v signatures released", released)
	}
	if err := s.tell(t.Context(), s.newEnterprise(), licence.KindEstablished, time.Hour); client.Code(err) != "clock" {
		t.Errorf("an event with a clock in doubt: %v", err)
	}
	if r := mustOf(s.as(t, "system").Ready(t.Context()))(t); r.Ready || len(r.Faults) != 1 || r.Faults[0].Part != "clock" {
		t.Errorf("with a clock in doubt: %+v", r)
	}
	if all, err := s.sealsOf(t.Context(), e.USCC); err != nil || len(all) != len(set) {
		t.Errorf("reading: %v", err)
	}
	if _, err := s.as(t, "security").AcceptClock(t.Context(), client.NewKey()); client.Code(err) != "not-entitled" {
		t.Errorf("a security officer accepts the clock: %v", err)
	}
	if _, err := s.as(t, "system").AcceptClock(t.Context(), client.NewKey()); err != nil {
		t.Fatal(err)
	}
	if err := sign(); err != nil {
		t.Errorf("after the operator accepted the clock: %v", err)
	}
	if err := until(t.Context(), "a new checkpoint", func() (bool, error) { r, err := s.as(t, "system").Ready(t.Context()); return r.Ready, err }); err != nil {
		t.Error(err)
	}
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	logHolds(t, s)
}

// writeAhead enters a record into the stopped appliance's log, as a clock that runs ahead would have it.
func (s *scene) writeAhead(t *testing.T, by time.Duration) {
	t.Helper()
	var all []*store.Collection
	for _, of := range [][]*store.Collection{keystore.Collections(), register.Collections(), licence.Collections(), access.Collections(), audit.Collections()} {
		all = append(all, of...)
	}
	st := mustOf(store.Open(store.Config{Path: s.storePath(), Collections: all, Now: func() time.Time { return time.Now().Add(by) }}))(t)
	body := mustOf(audit.Event{Kind: audit.KindRefusal, Actor: audit.Appliance("e2e"), Subject: "ahead"}.Body())(t)
	if _, err := st.Commit(t.Context(), store.Mutation{Audit: [][]byte{body}}); err != nil {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLaw10UnknownKeyStopsTheStart adds a key that nobody knows to a good configuration: neither the check nor the start takes it, and the
// message names it.
func TestLaw10UnknownKeyStopsTheStart(t *testing.T) {
	s := own(t, stage.Config{})
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	check := func() (string, int) {
		out, err := s.Command(t.Context(), "seald", "--check-config", "--config", s.Config).CombinedOutput()
		return string(out), exitCode(t, err)
	}
	if out, code := check(); code != 0 {
		t.Fatalf("the good configuration: exit %d\n%s", code, out)
	}
	before := mustOf(os.ReadFile(s.storePath()))(t)
	for _, c := range []struct{ old, with, name string }{
		{"mode: demo", "mode: demo\ncolour: red", "colour"},
		{"  label:", "  slot: 0\n  label:", "slot"},
		{"log: info", "log: info\nlog: debug", "log"},
	} {
		good := mustOf(os.ReadFile(s.Config))(t)
		s.configure(t, c.old, c.with)
		if out, code := check(); code != 1 || !strings.Contains(out, c.name) {
			t.Errorf("--check-config with %s: exit %d\n%s", c.name, code, out)
		}
		if err := s.StartSeald(context.WithoutCancel(t.Context())); err == nil || !strings.Contains(err.Error(), c.name) {
			t.Errorf("start with %s: %v", c.name, err)
		}
		write(t, s.Config, good)
	}
	if !slices.Equal(before, mustOf(os.ReadFile(s.storePath()))(t)) {
		t.Error("a start that was stopped has changed the store")
	}
}

// TestLaw12UnknownKeysAreLeftAlone puts keys into the token that no record of the store accounts for, one of them named like a seal's: starts
// list them and destroy nothing.
func TestLaw12UnknownKeysAreLeftAlone(t *testing.T) {
	s := own(t, stage.Config{})
	mustOf(s.establish(t.Context()))(t)
	s.stopAnd(t, func() {
		for id, label := range map[string]string{"e2e0": "somebody-elses", "e2e1": "seal-41030299999999"} {
			s.pkcs11(t, "--keypairgen", "--key-type", "EC:prime256v1", "--id", id, "--label", label)
		}
	})
	s.stopAnd(t, func() {})
	list := s.pkcs11(t, "-O", "--type", "privkey")
	for _, id := range []string{"e2e0", "e2e1"} {
		if !strings.Contains(list, id) {
			t.Errorf("key %s of another owner is gone", id)
		}
	}
	if log := mustOf(os.ReadFile(filepath.Join(s.Dir, "seald.log")))(t); !bytes.Contains(log, []byte("somebody-elses")) {
		t.Error("the start did not list the unknown key")
	}
	mustOf(s.establish(t.Context()))(t)
}
