package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/hsm"
)

// benchmark measures the token's own ceilings and then the service over them, in interleaved rounds, so that whatever else the machine does
// falls on both.
type benchmark struct {
	*settings
	token                        tokenFlags
	pid                          int
	request                      client.SignatureRequest
	kinds                        []string
	clients, batchClients, batch int
	rounds                       int
	ramp, span                   time.Duration
	withoutSingles, withoutBatch bool
	plot                         string
}

func (s *settings) bench() *cobra.Command {
	b := &benchmark{settings: s, ramp: time.Second}
	cmd := &cobra.Command{Use: "bench --config seald.yaml --seal ESID --purpose TEXT --delegation ID", Short: "measure the token's ceilings and the service over them", Args: args(),
		Long: `Measure how fast the token signs by itself (C_Sign with throw-away keys that are destroyed afterwards; SM2, ECDSA P-256, RSA-2048, over sessions from 1 to the
pool's size), and then how fast the service signs over it: a complete signature over a document digest, mutual TLS, delegation checked, one durable record each; single
requests and batches of each kind. Rounds are interleaved, the token runs in each with several numbers of sessions, the strongest of which counts, and medians are printed. Both sides run on
this machine and share its processors with this program.

The token is opened a second time, beside the daemon: SoftHSM2 allows that; many devices do not. SOFTHSM2_CONF must name the same token for both.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) }}
	b.token.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&b.pid, "pid", 0, "process of seald, for its processor time and memory")
	f.StringVar(&b.request.Seal, "seal", "", "esID of a collected seal")
	f.StringVar(&b.request.Purpose, "purpose", "", "purpose as granted and delegated")
	f.StringVar(&b.request.Delegation, "delegation", "", "registered delegation for the kinds, with a count that lasts")
	f.StringSliceVar(&b.kinds, "kinds", []string{"digest"}, "what is signed, kind or kind:profile: digest, cms, cms:gm-rfc (SM2), cms:rfc, cms:pades (P-256)")
	f.IntVar(&b.clients, "clients", 64, "clients at once, each with its own connection")
	f.IntVar(&b.batchClients, "batch-clients", 8, "clients at once that send batches; 8 keep 800 signatures in flight")
	f.IntVar(&b.batch, "batch", 100, "signatures in one batch")
	f.IntVar(&b.rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&b.span, "span", 3*time.Second, "length of one measurement; long requests lengthen it")
	f.BoolVar(&b.withoutSingles, "batches-only", false, "leave single requests out")
	f.BoolVar(&b.withoutBatch, "singles-only", false, "leave batches out")
	f.StringVar(&b.plot, "plot", "", "file for a drawing (SVG) of rate against concurrency")
	require(cmd, "seal", "purpose", "delegation")
	cmd.MarkFlagsMutuallyExclusive("batches-only", "singles-only")
	return cmd
}

func (b *benchmark) check() error {
	switch {
	case b.clients < 1 || b.batchClients < 1 || b.rounds < 1:
		return errors.New("--clients, --batch-clients and --rounds are at least 1")
	case b.batch < 1 || b.batch > 100:
		return errors.New("--batch is 1 to 100")
	case b.span < 100*time.Millisecond:
		return errors.New("--span is at least 100ms")
	}
	for _, k := range b.kinds {
		if mechanismOf(k) == "" {
			return fmt.Errorf("--kinds %.40q: want digest, cms, cms:gm, cms:gm-rfc, cms:rfc or cms:pades", k)
		}
	}
	b.ramp = min(b.ramp, b.span/2)
	return nil
}

// mechanismOf is the algorithm behind kind or kind:profile, empty for what takes no digest.
func mechanismOf(kind string) hsm.Algorithm {
	switch kind {
	case "digest", "cms", "cms:gm", "cms:gm-rfc":
		return hsm.SM2
	case "cms:rfc", "cms:pades":
		return hsm.ECDSAP256
	}
	return ""
}

// side is one of the things measured in turn.
type side struct {
	mechanism      hsm.Algorithm
	kind           string // of the service's sides
	clients, batch int
	signature      int                                                   // bytes of one
	one            func(ctx context.Context) (signatures int, err error) // one request
	took           []sample
}

func (b *benchmark) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := b.check(); err != nil {
		return err
	}
	sides, err := b.sides(ctx)
	if err != nil {
		return err
	}
	token, err := b.token.open(ctx)
	if err != nil {
		return err
	}
	r, err := b.measure(ctx, token, sides, cmd.ErrOrStderr())
	if err := errors.Join(err, token.close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	if b.plot != "" {
		if err := writePlot(b.plot, r.curves); err != nil {
			return err
		}
	}
	return b.show(cmd, r.rows, func(w io.Writer) { r.show(w) })
}

// sides tries one signature of each kind and says what is to be measured.
func (b *benchmark) sides(ctx context.Context) (all []*side, err error) {
	calls, err := client.New(client.Config{Address: b.server, CA: b.ca, Certificate: b.cert, Key: b.settings.key, Connections: max(b.clients, b.batchClients)})
	if err != nil {
		return nil, err
	}
	for _, kind := range b.kinds {
		r := b.request
		r.Kind, r.Profile, _ = strings.Cut(kind, ":")
		s := &service{calls: calls, request: r, batch: b.batch}
		if err := s.try(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		if !b.withoutSingles {
			all = append(all, &side{mechanism: mechanismOf(kind), kind: kind, clients: b.clients, batch: 1, one: s.single, signature: s.signature})
		}
		if !b.withoutBatch {
			all = append(all, &side{mechanism: mechanismOf(kind), kind: kind, clients: b.batchClients, batch: b.batch, one: s.many, signature: s.signature})
		}
	}
	return all, nil
}

// candidates are the numbers of sessions with which the token runs in every round: the best of the short spans of its curve, which chance may have
// chosen, the whole pool, and twice the processors. The strongest over all rounds is the ceiling.
func candidates(best, pool, processors int) []int {
	all := []int{best, pool, min(pool, 2*processors)}
	slices.Sort(all)
	return slices.Compact(all)
}

// measure looks for the best number of sessions first, then takes the token and each side in turn, round after round.
func (b *benchmark) measure(ctx context.Context, token *ceiling, sides []*side, status io.Writer) (result, error) {
	curves, err := b.curves(ctx, token, sides, status)
	if err != nil {
		return result{}, err
	}
	var own []*side
	for _, m := range token.mechanisms() {
		if !slices.ContainsFunc(sides, func(x *side) bool { return x.mechanism == m }) {
			continue
		}
		for _, n := range candidates(curves.best(m), token.sessions, runtime.GOMAXPROCS(0)) {
			own = append(own, &side{mechanism: m, clients: n, one: token.signer(m)})
		}
	}
	step, stop := progress(status, "rounds")
	defer stop()
	for round := range b.rounds {
		for _, x := range slices.Concat(own, sides) {
			s, err := load{x.clients, b.ramp, b.span, b.pid}.run(ctx, x.one)
			if err != nil {
				return result{}, err
			}
			x.took = append(x.took, s)
		}
		step(uint64(round+1), uint64(b.rounds))
	}
	return result{rows(own, sides, curves), curves}, nil
}
