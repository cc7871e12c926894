package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"sealkeeper/hsm"
)

// dot is a rate at one degree of concurrency: sessions of the token, clients of the service.
type dot struct {
	At  int     `json:"at"`
	Ops float64 `json:"ops"`
	CPU float64 `json:"cpu_us_per_op"` // of the program that signs
}

// curve is rate against concurrency.
type curve struct {
	mechanism hsm.Algorithm
	token     bool
	Name      string
	Dots      []dot
}

// top is the dot with the highest rate.
func (c curve) top() dot {
	return slices.MaxFunc(c.Dots, func(a, b dot) int { return int(a.Ops - b.Ops) })
}

type curves []curve

// best is the number of sessions that served the token best.
func (c curves) best(m hsm.Algorithm) int {
	for _, v := range c {
		if v.token && v.mechanism == m {
			return v.top().At
		}
	}
	return 1
}

func (c curves) of(m hsm.Algorithm) []dot {
	for _, v := range c {
		if v.token && v.mechanism == m {
			return v.Dots
		}
	}
	return nil
}

// curves measures the token over sessions 1, 2, 4 … up to its pool, and single requests over clients 1, 4, 16 … in short spans.
func (b *benchmark) curves(ctx context.Context, token *ceiling, sides []*side, status io.Writer) (out curves, err error) {
	step, stop := progress(status, "concurrency")
	defer stop()
	short := b.span / 3
	add := func(c curve, most, factor int, l load, one func(context.Context) (int, error)) error {
		for _, n := range ladder(most, factor) {
			l.workers = n
			s, err := l.run(ctx, one)
			if err != nil {
				return err
			}
			cpu := s.cpu
			if c.token {
				cpu = s.own
			}
			c.Dots = append(c.Dots, dot{n, s.rate, cpu})
		}
		out = append(out, c)
		step(uint64(len(out)), uint64(len(token.keys)+len(sides)))
		return nil
	}
	for _, m := range token.mechanisms() {
		if err := add(curve{mechanism: m, token: true, Name: curveOf(m, "")}, token.sessions, 2, load{ramp: short / 4, span: short}, token.signer(m)); err != nil {
			return nil, err
		}
	}
	for _, x := range sides {
		if x.batch > 1 {
			continue
		}
		if err := add(curve{mechanism: x.mechanism, Name: curveOf(x.mechanism, x.kind)}, x.clients, 4, load{ramp: short / 4, span: short, pid: b.pid}, x.one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ladder climbs from 1 by the factor and ends at most.
func ladder(most, factor int) (out []int) {
	for n := 1; n < most; n *= factor {
		out = append(out, n)
	}
	return append(out, most)
}

// show draws the curves with bars.
func (c curves) show(w io.Writer) {
	const width = 40
	for _, v := range c {
		unit, most := "CLIENTS", v.top().Ops
		if v.token {
			unit = "SESSIONS"
		}
		fmt.Fprintf(w, "\n%s\t%s\t/s\n", strings.ToUpper(v.Name), unit)
		for _, d := range v.Dots {
			fmt.Fprintf(w, "%s\t%d\t%.0f\n", strings.Repeat("█", max(1, int(width*d.Ops/most))), d.At, d.Ops)
		}
	}
}
