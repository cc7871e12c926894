package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/ofdgen"
)

// measure seals one page on both sides and prints the processor time of each, all threads counted, signature by a software key included.
func (m *material) measure(ctx context.Context, j *java, rounds int) error {
	page := ofdgen.Document("互操作（演示数据）", 1)
	if err := m.write(map[string][]byte{"page.ofd": page}); err != nil {
		return err
	}
	all, err := j.run(ctx, "measure", m.dir, m.path("page.ofd"), strconv.Itoa(rounds))
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return errors.New("the other side measured nothing")
	}
	theirs, err := strconv.ParseFloat(all[0].rest, 64)
	if err != nil {
		return err
	}
	var before time.Duration
	for i := range 2 * rounds { // as many to warm up
		if i == rounds {
			before = processorTime()
		}
		if _, err := m.sealed(page, ofd.Request{Stamps: []ofd.Stamp{{Page: 1, X: 50, Y: 50, W: 40, H: 40}}}); err != nil {
			return err
		}
	}
	ours := float64((processorTime() - before).Microseconds()) / float64(rounds)
	fmt.Printf("one-page OFD sealed, processor time: ofdrw (warm) %.0f µs, Sealkeeper %.0f µs, ratio %.1f\n", theirs, ours, theirs/ours)
	return nil
}

// processorTime is what this process has used, user and system.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the only error is a bad argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
