package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// BenchmarkAnswer times what HTTP and TLS cost for one answer of 20 kB to 64 callers in this process, both ends, with records written one by one and
// gathered, in turns; the metrics are medians of processor time in microseconds.
func BenchmarkAnswer(b *testing.B) {
	ways := map[bool]func() float64{}
	for _, gather := range []bool{false, true} {
		ways[gather] = answering(b, gather)
	}
	spent := map[bool][]float64{}
	for n := 0; b.Loop(); n++ {
		for _, gather := range []bool{n%2 == 0, n%2 != 0} {
			spent[gather] = append(spent[gather], ways[gather]())
		}
	}
	for gather, all := range spent {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], fmt.Sprintf("gathered-%v-us", gather))
	}
}

// answering returns a round of calls that says what each of them cost.
func answering(b *testing.B, gather bool) (round func() float64) {
	body := []byte(strings.Repeat("0123456789abcdef", 20<<6))
	e := gin.New()
	e.POST("/", func(c *gin.Context) {
		io.Copy(io.Discard, c.Request.Body)
		whole(c, "application/octet-stream", body)
	})
	s := httptest.NewUnstartedServer(e)
	if gather {
		s.Listener = Gather(s.Listener)
	}
	s.Config.ConnContext = withGathered
	s.StartTLS()
	b.Cleanup(s.Close)
	t := s.Client().Transport.(*http.Transport)
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 64, 64
	const calls = 100 // of each caller
	return func() float64 {
		var all sync.WaitGroup
		before := processTime(b)
		for range 64 {
			all.Go(func() {
				for range calls {
					resp, err := s.Client().Post(s.URL, "application/json", strings.NewReader(`{"kind":"digest"}`))
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		all.Wait()
		return float64((processTime(b) - before).Microseconds()) / (64 * calls)
	}
}

// processTime is the processor time of this process so far.
func processTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
