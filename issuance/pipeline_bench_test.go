package issuance_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
)

// atOnce is how many enterprises are on their way at a time.
const atOnce = 4

// BenchmarkPipeline times whole orders, from the licence event over four filings to the set made and its messages queued, for enterprises that come
// four at a time from systems that answer at once; against the module alone doing the token work of the same sets at the same width. Pictures are
// of a few pixels, or as public security files them at 300 dpi. Both sides are timed in turn; the metrics are medians.
func BenchmarkPipeline(b *testing.B) {
	for name, real := range map[string]bool{"small": false, "filed": true} {
		b.Run(name, func(b *testing.B) { pipeline(b, real) })
	}
}

func pipeline(b *testing.B, real bool) {
	w := newWorld(b, func(c *issuance.Config) {
		for k, t := range c.Types {
			t.Template.MinDPI = 25
			c.Types[k] = t
		}
	})
	const sets = 2 * atOnce // of one round
	var orders, modules []time.Duration
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		var filings [sets][]register.Filing
		for i := range filings {
			filings[i] = w.filingsOf(n*sets+i, real)
		}
		b.StartTimer()
		orders = append(orders, timed(func() {
			var g errgroup.Group
			g.SetLimit(atOnce)
			for _, set := range filings {
				g.Go(func() error { return w.wholeOrder(set) })
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		}))
		b.StopTimer()
		modules = append(modules, timed(func() {
			var g errgroup.Group
			g.SetLimit(atOnce)
			for range sets {
				g.Go(func() error { w.tokenWork(b); return nil })
			}
			g.Wait()
		}))
		b.StartTimer()
	}
	order, module := median(orders), median(modules)
	b.ReportMetric(sets/order.Seconds(), "sets/s")
	b.ReportMetric(sets/module.Seconds(), "module-sets/s")
	b.ReportMetric(100*float64(module)/float64(order), "ratio-%")
}

// filingsOf draws the filings of an enterprise that is not there yet.
func (w *world) filingsOf(n int, real bool) []register.Filing {
	w.Helper()
	f := fields(syntheticCode(w, n))
	f.Name = fmt.Sprintf("洛阳示例商贸%d号有限公司", n)
	var out []register.Filing
	for at, k := range types {
		if real {
			out = append(out, w.engrave(f, k, 0))
			continue
		}
		size := w.cfg.Types[k].Template.Sizes[0]
		out = append(out, register.Filing{FilingNumber: fmt.Sprintf("P-%s-%d", k, n), SealType: k, USCC: f.USCC, Name: f.Name, Format: "PNG",
			WidthMM: size.WidthMM, HeightMM: size.HeightMM, Image: smallPicture(w, size, n*4+at), Engraver: "示例刻章单位",
			FiledAt: w.clock.now().Add(-time.Minute)})
	}
	return out
}

// wholeOrder takes an enterprise from its establishment to its four seals.
func (w *world) wholeOrder(set []register.Filing) error {
	f := fields(set[0].USCC)
	f.Name = set[0].Name
	e, err := w.event("established", f)
	if err != nil {
		return err
	}
	for _, filing := range set {
		if _, err := w.file(filing); err != nil {
			return err
		}
	}
	o, err := w.iss.Make(w.ctx, e.Order)
	if err == nil && o.State != register.OrderMade {
		err = fmt.Errorf("order is %s", o.State)
	}
	return err
}
