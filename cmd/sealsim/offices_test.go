package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/connector/person"
	"sealkeeper/connector/registration"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance"
	"sealkeeper/licence"
)

func openTest(t *testing.T, dir string) (*world, *httptest.Server) {
	t.Helper()
	load := func(name string) *softkey.Key {
		k, err := softkey.Load(filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	w := &world{dir: dir}
	var err error
	if w.offices, err = openOffices(dir, load("registration"), load("public-security"), w.enterprise); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w.routes())
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return w, srv
}

func post(t *testing.T, url string, in any) int {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

func dial(t *testing.T, base string) *wire.Client {
	t.Helper()
	cl, err := wire.New(wire.Config{Base: base, Timeout: time.Second, MaxAnswer: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// TestOffices: every office answers its connector under one address, misbehaves when the switch says so and not longer, and a restart keeps keys,
// anchor and what was told.
func TestOffices(t *testing.T) {
	dir := t.TempDir()
	if err := makeKeys(dir); err != nil {
		t.Fatal(err)
	}
	_, srv := openTest(t, dir)
	f := licence.Fields{USCC: "91410302YYY00002X7", Name: "洛阳老城示例商贸有限公司", EntityType: "有限责任公司", LegalRep: "欧阳测甲", Established: "2026-01-05",
		Address: "老城区示例路1号", Division: "410302"}
	if code := post(t, srv.URL+"/registration/tell", eventOrder{licence.KindEstablished, f}); code != http.StatusOK {
		t.Fatalf("telling: %d", code)
	}
	source := registration.Source{Client: dial(t, srv.URL+"/offices/registration")}
	for _, c := range []struct {
		mood string
		want error
	}{{"down", wire.ErrDown}, {"hang", wire.ErrDown}, {"garbage", wire.ErrGarbage}, {"twice", wire.ErrGarbage}, {"refuse", wire.ErrRefused}, {"well", nil}} {
		if code := post(t, srv.URL+"/faults", map[string]any{"office": "registration", "mood": c.mood}); code != http.StatusOK {
			t.Errorf("switching to %s: %d", c.mood, code)
		}
		if _, err := source.Page(t.Context(), 0, 10); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.mood, err)
		}
	}
	for _, wrong := range []map[string]any{{"office": "bakery", "mood": "hang"}, {"office": "notice", "mood": "sulky"}, {"office": "notice"}} {
		if code := post(t, srv.URL+"/faults", wrong); code == http.StatusOK {
			t.Errorf("%v was taken", wrong)
		}
	}
	anchor, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	if err != nil {
		t.Fatal(err)
	}
	w, again := openTest(t, dir)
	page, err := registration.Source{Client: dial(t, again.URL+"/offices/registration")}.Page(t.Context(), 0, 10)
	if err != nil || page.Last != 1 || len(page.Items) != 1 || page.Items[0].Seq != 1 {
		t.Errorf("after a restart: %+v, %v", page, err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "authority.pem")); err != nil || !bytes.Equal(now, anchor) {
		t.Errorf("the anchor changed: %v", err)
	}
	if got, err := w.enterprise(f.USCC); err != nil || got.Name != f.Name {
		t.Errorf("the enterprise: %+v, %v", got, err)
	}
	key, err := softkey.Load(filepath.Join(dir, "person-check.key"))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := person.LoadCodes("")
	if err != nil {
		t.Fatal(err)
	}
	con := person.Connector{Client: dial(t, again.URL+"/offices/person-check"), Pinned: []*gm.PublicKey{key.Public()}, Codes: codes, Now: time.Now}
	if _, err := con.Check(t.Context(), issuance.PersonQuestion{USCC: f.USCC, Person: f.LegalRep, Role: "legal-representative", Assertion: "示例", Device: "00"}); err != nil {
		t.Errorf("checking a person: %v", err)
	}
}
