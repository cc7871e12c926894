package issuance_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"image"
	"image/color"
	"image/png"
	randv2 "math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/seal/impression"
)

// syntheticCode makes the n-th made-up code of a division.
func syntheticCode(t testing.TB, n int) string {
	t.Helper()
	const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	for _, c := range alphabet {
		code := fmt.Sprintf("91410302YYY%05d0%c", n, c)
		if _, err := licence.CheckUSCC(code); err == nil {
			return code
		}
	}
	t.Fatal("no check character fits")
	return ""
}

// BenchmarkFourSeals times the making of a set against the module alone doing the same token work: four key pairs and twelve signatures,
// each verified by both implementations. The pictures are a few pixels, so that work on them is apart; it is timed on pictures as public
// security files them. All are timed in turn; the metrics are medians in milliseconds and the ratio in percent.
func BenchmarkFourSeals(b *testing.B) {
	w := newWorld(b, func(c *issuance.Config) {
		for k, t := range c.Types {
			t.Template.MinDPI = 25
			c.Types[k] = t
		}
	})
	var drawn []register.Filing
	for _, k := range types {
		drawn = append(drawn, w.engrave(fields(uscc), k, 0))
	}
	var sets, modules, pictures []time.Duration
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		order := w.completeSmall(syntheticCode(b, n), n)
		b.StartTimer()
		sets = append(sets, timed(func() { must(w.iss.Make(w.ctx, order))(b) }))
		b.StopTimer()
		modules = append(modules, timed(func() { w.tokenWork(b) }))
		pictures = append(pictures, timed(func() { w.pictureWork(b, drawn) }))
		b.StartTimer()
	}
	set, module, picture := median(sets), median(modules), median(pictures)
	b.ReportMetric(ms(set), "set-ms")
	b.ReportMetric(ms(module), "module-ms")
	b.ReportMetric(ms(picture), "pictures-ms")
	b.ReportMetric(100*float64(module)/float64(set), "ratio-%")
}

// completeSmall takes an entity to a complete order with pictures of one pixel per millimetre.
func (w *world) completeSmall(code string, n int) string {
	w.Helper()
	order := w.establish(code)
	for at, k := range types {
		size := w.cfg.Types[k].Template.Sizes[0]
		must(w.file(register.Filing{FilingNumber: fmt.Sprintf("%s-%d", k, n), SealType: k, USCC: code, Name: name, Format: "PNG",
			WidthMM: size.WidthMM, HeightMM: size.HeightMM, Image: smallPicture(w, size, n*4+at), Engraver: "示例刻章单位",
			FiledAt: w.clock.now().Add(-time.Minute)}))(w)
	}
	return order
}

// smallPicture is a red frame with a pattern of n inside it that is like no other.
func smallPicture(t testing.TB, size impression.Size, n int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, int(size.WidthMM), int(size.HeightMM)))
	red, white := color.NRGBA{R: 220, A: 255}, color.NRGBA{255, 255, 255, 255}
	pattern := randv2.New(randv2.NewPCG(uint64(n), 1))
	r := m.Bounds()
	for y := range r.Dy() {
		for x := range r.Dx() {
			m.SetNRGBA(x, y, white)
			if x == 0 || y == 0 || x == r.Dx()-1 || y == r.Dy()-1 || pattern.IntN(3) == 0 {
				m.SetNRGBA(x, y, red)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// tokenWork is what a set cannot do without, as parallel as the making is.
func (w *world) tokenWork(b *testing.B) {
	var g errgroup.Group
	for range types {
		g.Go(func() error {
			var id hsm.ObjectID
			rand.Read(id[:])
			birth, err := w.token.Generate(w.ctx, hsm.GenerateRequest{ID: id, Label: "bench:" + id.String(), Algorithm: hsm.SM2})
			if err != nil {
				return err
			}
			key, err := gm.NewPublicKey(birth.Public)
			if err != nil {
				return err
			}
			// The third signature is the challenge that Generate itself has the new key sign and verifies.
			for range 2 {
				message := make([]byte, 1000)
				rand.Read(message)
				raw, err := w.token.Sign(w.ctx, hsm.SignRequest{Key: id, Algorithm: hsm.SM2, Digest: key.E(message)})
				if err != nil {
					return err
				}
				der, err := gm.EncodeSignature(raw)
				if err != nil {
					return err
				}
				if err := key.VerifyTwice(message, der); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// pictureWork is decoding, checking and deriving the four pictures.
func (w *world) pictureWork(b *testing.B, filings []register.Filing) {
	templates := impression.DefaultTemplates()
	var g errgroup.Group
	for _, f := range filings {
		g.Go(func() error {
			size := impression.Size{WidthMM: f.WidthMM, HeightMM: f.HeightMM}
			p, err := impression.Decode(f.Image, impression.DefaultLimits)
			if err != nil {
				return err
			}
			if _, err := impression.Check(p, size, templates[f.SealType]); err != nil {
				return err
			}
			_, err = impression.Derive(p, size)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}
