package hsm_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// BenchmarkUnwrapLeak reports how many bytes the process keeps of every key it unwrapped, in the first thousands of unwraps and in as many after them: without
// an end, and with the epoch renewed every thousand, which is what the quirk unwrap-leaks asks for.
//
//	go test ./hsm -run - -bench UnwrapLeak -benchtime 1x
func BenchmarkUnwrapLeak(b *testing.B) {
	const n = 5000
	for name, renew := range map[string]int{"never renewed": -1, "renewed every 1000": 1000} {
		b.Run(name, func(b *testing.B) {
			cfg := config(b, softhsmtest.New(b), "softhsm2-sm2")
			cfg.Log, cfg.Opened = nil, hsm.Opened{Keys: 1, Renew: renew}
			m := open(b, cfg)
			w := wrapping(b, m)
			keys := []hsm.WrappedBirth{generateWrapped(b, m, w), generateWrapped(b, m, w)}
			half := func() float64 {
				from, before := anonymous(b), m.Stats().Unwraps
				for i := range n {
					signWrapped(b, m, keys[i%2]) // with room for one, each is opened anew
				}
				return float64(anonymous(b)-from) / float64(m.Stats().Unwraps-before)
			}
			for b.Loop() {
				half()
			}
			b.ReportMetric(half(), "B/unwrap")
			b.ReportMetric(float64(m.Stats().Epoch), "epochs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// anonymous reads RssAnon in bytes.
func anonymous(b *testing.B) (n int) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			fmt.Sscan(v, &n)
		}
	}
	return n * 1024
}
