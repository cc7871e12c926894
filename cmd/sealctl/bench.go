package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// benchmark measures the token's own ceiling and then the service over it, in interleaved rounds, so that whatever else the machine does
// falls on both.
type benchmark struct {
	*settings
	token                        tokenFlags
	pid                          int
	request                      client.SignatureRequest
	clients, batchClients, batch int
	rounds                       int
	ramp, span                   time.Duration
	withoutSingles, withoutBatch bool
}

// row is one line of the result. Rates are per second; everything is the median of the rounds.
type row struct {
	Mechanism  string  `json:"mechanism"`
	Clients    int     `json:"clients"`
	Batch      int     `json:"batch"`       // signatures in one request
	TokenOps   float64 `json:"token_ops"`   // C_Sign through package hsm in this process, nothing around it
	ServiceOps float64 `json:"service_ops"` // signatures over HTTPS: checked, recorded durably, answered
	Ratio      float64 `json:"ratio"`       // of the two in the same round
	P50        float64 `json:"p50_ms"`      // of one request
	P99        float64 `json:"p99_ms"`
	CPU        float64 `json:"cpu_us_per_op,omitempty"` // of the daemon, user and system; needs --pid
	OwnCPU     float64 `json:"client_cpu_us_per_op"`    // of this program, on the same processors
	RSSAnon    float64 `json:"rss_anon_mb,omitempty"`   // of the daemon at the end of the round; needs --pid
	Signature  int     `json:"signature_bytes"`         // size of one SES_Signature, which holds the whole seal
}

func (s *settings) bench() *cobra.Command {
	b := &benchmark{settings: s, request: client.SignatureRequest{Kind: "digest"}, ramp: time.Second}
	cmd := &cobra.Command{Use: "bench --config seald.yaml --seal ESID --purpose TEXT --delegation ID", Short: "measure the token's ceiling and the service over it", Args: args(),
		Long: `Measure how fast the token signs by itself (C_Sign with a throw-away SM2 key that is destroyed afterwards), and then how fast the service signs over it:
a full SES_Signature over a document digest, mutual TLS, delegation checked, one durable record each; single requests and batches. Rounds are interleaved and
medians are printed. Both sides run on this machine and share its processors with this program.

The token is opened a second time, beside the daemon: SoftHSM2 allows that; many devices do not. SOFTHSM2_CONF must name the same token for both.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) }}
	b.token.flags(cmd)
	f := cmd.Flags()
	f.IntVar(&b.pid, "pid", 0, "process of seald, for its processor time and memory")
	f.StringVar(&b.request.Seal, "seal", "", "esID of a collected seal")
	f.StringVar(&b.request.Purpose, "purpose", "", "purpose as granted and delegated")
	f.StringVar(&b.request.Delegation, "delegation", "", "registered delegation for kind digest with a count that lasts")
	f.IntVar(&b.clients, "clients", 64, "clients at once, each with its own connection")
	f.IntVar(&b.batchClients, "batch-clients", 8, "clients at once that send batches; 8 keep 800 signatures in flight")
	f.IntVar(&b.batch, "batch", 100, "signatures in one batch")
	f.IntVar(&b.rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&b.span, "span", 3*time.Second, "length of one measurement; long requests lengthen it")
	f.BoolVar(&b.withoutSingles, "batches-only", false, "leave single requests out")
	f.BoolVar(&b.withoutBatch, "singles-only", false, "leave batches out")
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
	b.ramp = min(b.ramp, b.span/2)
	return nil
}

// side is one of the things measured in turn.
type side struct {
	clients, batch int
	one            func(ctx context.Context) (signatures int, err error) // one request
	took           []sample
}

func (b *benchmark) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := b.check(); err != nil {
		return err
	}
	service, err := b.openService(ctx)
	if err != nil {
		return err
	}
	token, err := b.token.open(ctx)
	if err != nil {
		return err
	}
	rows, err := b.measure(ctx, token, service, cmd.ErrOrStderr())
	if err := errors.Join(err, token.close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return b.show(cmd, rows, func(w io.Writer) { showRows(w, rows) })
}

// measure takes the token and each side in turn, round after round.
func (b *benchmark) measure(ctx context.Context, token *ceiling, service *service, status io.Writer) ([]row, error) {
	own := &side{clients: max(b.clients, b.batchClients), one: token.sign}
	var sides []*side
	if !b.withoutSingles {
		sides = append(sides, &side{clients: b.clients, batch: 1, one: service.single})
	}
	if !b.withoutBatch {
		sides = append(sides, &side{clients: b.batchClients, batch: b.batch, one: service.many})
	}
	step, stop := progress(status, "rounds")
	defer stop()
	for round := range b.rounds {
		for _, x := range append([]*side{own}, sides...) {
			s, err := load{x.clients, b.ramp, b.span, b.pid}.run(ctx, x.one)
			if err != nil {
				return nil, err
			}
			x.took = append(x.took, s)
		}
		step(uint64(round+1), uint64(b.rounds))
	}
	var rows []row
	for _, x := range sides {
		rows = append(rows, x.row(own, service.signature))
	}
	return rows, nil
}

// row takes medians over the rounds.
func (x *side) row(token *side, signature int) row {
	of := func(value func(i int) float64) float64 {
		var all []float64
		for i := range x.took {
			all = append(all, value(i))
		}
		return median(all)
	}
	return row{Mechanism: "sm2", Clients: x.clients, Batch: x.batch, Signature: signature,
		TokenOps:   of(func(i int) float64 { return token.took[i].rate }),
		ServiceOps: of(func(i int) float64 { return x.took[i].rate }),
		Ratio:      of(func(i int) float64 { return x.took[i].rate / token.took[i].rate }),
		P50:        of(func(i int) float64 { return x.took[i].p50 }),
		P99:        of(func(i int) float64 { return x.took[i].p99 }),
		CPU:        of(func(i int) float64 { return x.took[i].cpu }),
		OwnCPU:     of(func(i int) float64 { return x.took[i].own }),
		RSSAnon:    of(func(i int) float64 { return x.took[i].rss }),
	}
}

// median of at least one value.
func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func showRows(w io.Writer, rows []row) {
	fmt.Fprintln(w, "MECHANISM\tCLIENTS\tBATCH\tTOKEN/s\tSERVICE/s\tRATIO\tp50 ms\tp99 ms\tCPU µs/op\tCLIENT µs/op\tRssAnon MB\tSIGNATURE B")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.0f\t%.0f %%\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t%d\n", r.Mechanism, r.Clients, r.Batch, r.TokenOps, r.ServiceOps, 100*r.Ratio, r.P50, r.P99,
			r.CPU, r.OwnCPU, r.RSSAnon, r.Signature)
	}
}
