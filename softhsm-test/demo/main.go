// Command demo drives the real binaries through the appliance's main job over HTTP and leaves what it made for people to look at.
//
//	demo -dir demo          run the main job and exit (make demo)
//	demo -run -dir run      start a development appliance and say what to try (make run)
//	demo -bench -dir …      measure a fresh appliance as JSON (make bench-json)
//
// Its promise: exit code 0 only if every step held. Everything it makes is 演示数据.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"sealkeeper/softhsm-test/stage"
)

func main() {
	dir := flag.String("dir", "demo", "directory to make; one made by an earlier run is replaced")
	build := flag.String("build", "build", "directory of seald, sealctl and sealsim")
	keep := flag.Bool("run", false, "start a development appliance and wait")
	bench := flag.Bool("bench", false, "measure and print JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	job := mainJob
	if *keep {
		job = development
	} else if *bench {
		job = measure
	}
	if err := play(ctx, *dir, *build, job); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// show is one performance.
type show struct {
	*stage.Stage
	step  int
	start time.Time
	quiet bool
}

func play(ctx context.Context, dir, build string, job func(context.Context, *show) error) error {
	if _, err := os.Stat(filepath.Join(dir, stage.Marker)); err == nil {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	s := &show{start: time.Now(), quiet: os.Getenv("SEALKEEPER_QUIET") != ""}
	s.say("fresh token and appliance in %s", dir)
	st, err := stage.New(ctx, stage.Config{Dir: dir, Build: build, Say: func(l string) { s.note("%s", l) }})
	if err != nil {
		return err
	}
	s.Stage = st
	if err := errors.Join(s.open(ctx)); err != nil {
		return errors.Join(err, st.Close())
	}
	return errors.Join(job(ctx, s), st.Close())
}

func (s *show) open(ctx context.Context) error {
	if err := s.StartSeald(ctx); err != nil {
		return err
	}
	if err := s.StartSim(ctx); err != nil {
		return err
	}
	s.say("seald %s  sealsim %s", s.Address, s.Sim)
	return nil
}

// say prints a numbered line, note a line under it.
func (s *show) say(format string, args ...any) {
	s.step++
	fmt.Fprintf(os.Stderr, "%2d  %s\n", s.step, fmt.Sprintf(format, args...))
}

func (s *show) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "    %s\n", fmt.Sprintf(format, args...))
}

func (s *show) path(name ...string) string {
	return filepath.Join(append([]string{s.Dir}, name...)...)
}

func (s *show) write(name string, b []byte) error {
	return os.WriteFile(s.path(name), b, 0o600)
}
