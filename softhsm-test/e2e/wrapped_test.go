package e2e

import (
	"strings"
	"testing"

	"sealkeeper/access"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// TestWrappedSeals: an appliance whose seals are wrapped makes a set of four, none of which is in the token, signs with each over HTTPS, and after
// the daemon was killed and started again signs with each once more.
func TestWrappedSeals(t *testing.T) {
	s := own(t, stage.Config{More: []string{"custody: {seals: wrapped, open_keys: 2}"}})
	before, _ := s.sealKeys(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	e := mustOf(s.establish(t.Context()))(t)
	if len(e.seals) != 4 {
		t.Fatalf("seals %v", e.seals)
	}
	document := ofdgen.Document("示例文件（演示数据）", 1)
	sign := func(round int) {
		for sealType, esid := range e.seals {
			if _, err := s.approved(t, askOFD(esid, document), e.phone).sign(t, s.as(t, "department")); err != nil {
				t.Errorf("round %d, seal %s: %v", round, sealType, err)
			}
		}
	}
	sign(1)
	sign(2)
	if after, _ := s.sealKeys(t); len(after) != len(before) {
		t.Errorf("the token holds %d keys of seals, %d before", len(after), len(before))
	}
	if err := s.KillSeald(); err != nil {
		t.Fatal(err)
	}
	if err := s.StartSeald(t.Context()); err != nil {
		t.Fatal(err)
	}
	sign(3)
	opened := 0.0
	for name, v := range mustOf(s.metrics(t.Context()))(t) {
		if strings.HasPrefix(name, "sealkeeper_token_keys_open{") {
			opened += v
		}
	}
	if opened < 1 || opened > 3 {
		t.Errorf("%v wrapped keys are open, 2 are to stay so", opened)
	}
}
