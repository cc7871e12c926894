package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"sealkeeper/client"
)

// metric reads one figure from /metrics.
func (s *scene) metric(ctx context.Context, name string) (float64, error) {
	c, err := s.Client("system")
	if err != nil {
		return 0, err
	}
	a, err := c.Do(ctx, client.Call{Method: "GET", Path: "/metrics"})
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(a.Body)); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

func (s *scene) logSize(t testing.TB) uint64 {
	t.Helper()
	return uint64(mustOf(s.metric(t.Context(), "sealkeeper_log_size"))(t))
}
