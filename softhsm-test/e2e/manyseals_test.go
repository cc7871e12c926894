package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// TestManySeals reports how long the daemon takes to start, from the token's being open to its being ready, and what it then holds in memory, with very many
// wrapped seals in its store; and that its real ones still sign. The others are copies of the real records under numbers and identifiers of their own: they
// weigh the same and cannot sign. 3,000 by default; SEALKEEPER_SEALS=1000000 is the design's measure. The figures are for people.
func TestManySeals(t *testing.T) {
	n := 3000
	if text := os.Getenv("SEALKEEPER_SEALS"); text != "" {
		n = mustOf(strconv.Atoi(text))(t)
	}
	s := own(t, stage.Config{More: []string{"custody: {seals: wrapped}"}})
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	e := mustOf(s.establish(t.Context()))(t)
	sign := func() {
		t.Helper()
		for sealType, esid := range e.seals {
			a := s.approved(t, askOFD(esid, ofdgen.Document("示例文件（演示数据）", 1)), e.phone)
			if _, err := a.sign(t, s.as(t, "department")); err != nil {
				t.Errorf("seal %s: %v", sealType, err)
			}
		}
	}
	sign()
	few := s.restarted(t, func() {})
	t.Logf("4 seals: ready %v after the token was open, RssAnon %d kB", few, s.residentAnonymous(t))
	many := s.restarted(t, func() { s.multiply(t, n) })
	t.Logf("%d seals: ready %v after the token was open, RssAnon %d kB", n, many, s.residentAnonymous(t))
	sign()
	t.Logf("after the first signatures: RssAnon %d kB", s.residentAnonymous(t))
}

// restarted stops the daemon, lets meanwhile happen, starts it, and returns the time from the token's being open to its being ready.
func (s *scene) restarted(t *testing.T, meanwhile func()) time.Duration {
	t.Helper()
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := s.StartSeald(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := time.Now()
	var opened time.Time
	for line := range strings.Lines(string(mustOf(os.ReadFile(filepath.Join(s.Dir, "seald.log")))(t))) {
		var r struct {
			Time time.Time `json:"time"`
			Msg  string    `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &r) == nil && r.Msg == "token open" {
			opened = r.Time
		}
	}
	if opened.IsZero() {
		t.Fatal("the log does not say when the token was open")
	}
	return ready.Sub(opened)
}

// multiply writes n seals with their keys into the store of a daemon that is down.
func (s *scene) multiply(t *testing.T, n int) {
	t.Helper()
	all := append(register.Collections(), keystore.Collections()...)
	st := mustOf(store.Open(store.Config{Path: filepath.Join(s.Dir, "state", "sealkeeper.db"), Collections: all}))(t)
	named := map[string]*store.Collection{}
	for _, c := range all {
		named[c.Name] = c
	}
	seals, keys := named["seal"], named["wrapped-key"]
	real := mustOf(st.List(t.Context(), seals, "", nil, "", 4))(t)
	for at := 0; at < n; {
		var m store.Mutation
		for ; at < n && len(m.Put) < 2000; at++ {
			it := real.Items[at%len(real.Items)]
			var seal register.Seal
			if err := json.Unmarshal(it.Value, &seal); err != nil {
				t.Fatal(err)
			}
			key := mustOf(st.Get(t.Context(), keys, seal.Key[:]))(t)
			var id keystore.ID
			binary.BigEndian.PutUint64(id[:], uint64(at+1))
			esid := fmt.Sprintf("419999%08d", at)
			other := strings.NewReplacer(seal.ESID, esid, seal.Key.String(), id.String())
			m.Put = append(m.Put, store.Put{Collection: seals, Key: []byte(esid), Value: []byte(other.Replace(string(it.Value)))},
				store.Put{Collection: keys, Key: id[:], Value: []byte(other.Replace(string(key.Value)))})
		}
		if _, err := st.Commit(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
