package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	dir := flag.String("dir", "build/interop", "where the material, the classes and the documents go")
	rounds := flag.Int("rounds", 200, "documents to seal for the comparison of processor time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, *dir, *rounds)
	if errors.Is(err, errNoJava) {
		fmt.Println("SKIPPED:", err)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// run makes the material, asks both sides, and compares.
func run(ctx context.Context, dir string, rounds int) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	j, err := newJava(ctx, dir)
	if err != nil {
		return err
	}
	m, err := newMaterial(dir)
	if err != nil {
		return err
	}
	theirs, err := m.judgeTheirs(ctx, j)
	if err != nil {
		return err
	}
	ours, err := m.judgeOurs(ctx, j)
	if err != nil {
		return err
	}
	if err := m.measure(ctx, j, rounds); err != nil {
		return err
	}
	if bad := theirs + ours; bad > 0 {
		return fmt.Errorf("%d disagreements", bad)
	}
	return nil
}
