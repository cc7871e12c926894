package account_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/connector/account"
	"sealkeeper/connector/account/sim"
	"sealkeeper/connector/delivery"
	manners "sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/issuance"
	"sealkeeper/keystore/store"
)

const uscc = "91410302YYY00002X7"

func connect(t *testing.T, h http.Handler) *account.Connector {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	cl, err := wire.New(wire.Config{Base: srv.URL, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "store"), Create: true, Collections: account.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return &account.Connector{Client: cl, Store: st, Now: time.Now}
}

func message(t *testing.T, key, kind string, version int) delivery.Message {
	t.Helper()
	body, err := json.Marshal(issuance.AccountMessage{Kind: kind, USCC: uscc, Name: "洛阳老城示例商贸有限公司", LegalRep: "欧阳测甲", Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return delivery.Message{ID: "0000000000000001", Key: key, Kind: kind, Entity: uscc, Body: body}
}

// TestAccount: what the other side said is kept, once; a version that comes late is refused there and changes nothing here.
func TestAccount(t *testing.T) {
	var o sim.Office
	c := connect(t, o.Routes())
	if _, err := c.Get(t.Context(), uscc); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("before the first message: %v", err)
	}
	for _, mood := range manners.Moods {
		o.Behave(mood, -1) // the HTTP client itself repeats what carries a key when a kept connection closes
		if err := c.Deliver(t.Context(), message(t, "k1", "open", 1)); err == nil || errors.Is(err, wire.ErrRefused) {
			t.Errorf("%s: %v", mood, err)
		}
		if a, err := c.Get(t.Context(), uscc); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: kept %+v, %v", mood, a, err)
		}
	}
	o.Behave(manners.Well, 0)
	for key, kind := range []string{"open", "open", "change", "close"} {
		m := message(t, "k1", kind, 1)
		if kind != "open" {
			m = message(t, "k"+string(rune('1'+key)), kind, key)
		}
		if err := c.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Deliver(t.Context(), message(t, "k9", "change", 1)); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("an older version: %v", err)
	}
	a, err := c.Get(t.Context(), uscc)
	if err != nil || a.Account != "YSB-"+uscc || a.State != "closed" || a.Licence != 3 || o.Taken() != 3 {
		t.Errorf("account %+v, %v; %d messages taken there", a, err, o.Taken())
	}
}

// TestAnswersRefused: an answer that names no account, or no state that there is, is none.
func TestAnswersRefused(t *testing.T) {
	for name, in := range map[string]any{"no account": account.Incoming{State: "open"}, "no state": account.Incoming{Account: "YSB-1", State: "maybe"},
		"text": account.Incoming{Account: "YSB 1\n", State: "open"}, "more": map[string]string{"account": "YSB-1", "state": "open", "password": "x"}} {
		c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { manners.Answer(w, http.StatusOK, in) }))
		if err := c.Deliver(t.Context(), message(t, "k1", "open", 1)); !errors.Is(err, wire.ErrGarbage) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Get(t.Context(), uscc); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%s: kept, %v", name, err)
		}
	}
}
