package elicence_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/elicence"
	licencesim "sealkeeper/connector/elicence/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/licence"
	"sealkeeper/licence/presented"
)

const (
	uscc     = "91410300YYY0001A0X" // the connector does not judge codes
	audience = "示例一体机"
)

// line is a connector with the office at its other end.
type line struct {
	*elicence.Connector
	office *licencesim.Office
	key    []byte // a device's
	at     time.Time
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{at: time.Now().UTC().Truncate(time.Second)}
	key := fresh(t)
	var err error
	if l.office, err = licencesim.NewOffice(key, time.Now); err != nil {
		t.Fatal(err)
	}
	l.key = fresh(t).Public().Point()
	srv := httptest.NewServer(l.office.Routes())
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	l.Connector = connect(t, srv.URL, key.Public())
	return l
}

func connect(t *testing.T, url string, pinned *gm.PublicKey) *elicence.Connector {
	t.Helper()
	client, err := wire.New(wire.Config{Base: url, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	codes, err := elicence.LoadCodes("")
	if err != nil {
		t.Fatal(err)
	}
	return elicence.New(elicence.Config{Client: client, Pinned: []*gm.PublicKey{pinned}, Codes: codes, Audience: audience, Now: time.Now})
}

func fresh(t *testing.T) *softkey.Key {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestCheckFile: what the office knows, what it does not, and each status by its code.
func TestCheckFile(t *testing.T) {
	l := newLine(t)
	file, err := l.office.Issue(uscc, "示例外省有限公司")
	if err != nil {
		t.Fatal(err)
	}
	sm3 := licence.FileSM3(file)
	for code, want := range map[string]licence.Status{"1": licence.Active, "2": licence.RevokedOpen, "4": licence.Cancelled, "5": licence.Annulled, "6": licence.MovedOut, "7": licence.Dormant} {
		l.office.SetStatus(uscc, code)
		a, err := l.CheckFile(t.Context(), sm3, file)
		if err != nil || a.Word != presented.Genuine || a.USCC != uscc || a.Status != want || a.Version != 1 || a.Current != 1 {
			t.Errorf("code %s: %+v, %v", code, a, err)
		}
	}
	if a, err := l.CheckFile(t.Context(), licence.FileSM3([]byte("x")), []byte("x")); err != nil || a.Word != presented.Unknown {
		t.Errorf("a stray file: %+v, %v", a, err)
	}
	l.office.SetStatus(uscc, "77")
	if _, err := l.CheckFile(t.Context(), sm3, file); !errors.Is(err, elicence.ErrCode) {
		t.Errorf("an unknown code: %v", err)
	}
}

// TestAuthenticate: the assertion is for this person's enterprise, device and appliance, by the pinned key, now; a ticket counts once.
func TestAuthenticate(t *testing.T) {
	l := newLine(t)
	l.office.Ticket(uscc, "t1")
	e, err := l.Authenticate(t.Context(), uscc, "t1", access.AlgSM2, l.key)
	if err != nil {
		t.Fatal(err)
	}
	var a access.Assertion
	if err := envelope.Open(e, access.AssertionKind, []*gm.PublicKey{l.office.Key.Public()}, &a); err != nil || a.USCC != uscc || !bytes.Equal(a.DeviceKey, l.key) || a.Audience != audience {
		t.Errorf("%+v, %v", a, err)
	}
	for ticket, want := range map[string]error{"t1": wire.ErrRefused, "none": wire.ErrRefused} {
		if _, err := l.Authenticate(t.Context(), uscc, ticket, access.AlgSM2, l.key); !errors.Is(err, want) {
			t.Errorf("ticket %s: %v", ticket, err)
		}
	}
	for what, spoil := range map[string]func(*elicence.Authentication){
		"another enterprise": func(q *elicence.Authentication) { q.USCC = "91410300YYY0002B0X" },
		"another device":     func(q *elicence.Authentication) { q.DeviceKey = fresh(t).Public().Point() },
		"another appliance":  func(q *elicence.Authentication) { q.Audience = "别处" },
	} {
		l.office.Ticket(uscc, what)
		l.office.SpoilAssertion = spoil
		if _, err := l.Authenticate(t.Context(), uscc, what, access.AlgSM2, l.key); !errors.Is(err, wire.ErrGarbage) {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.office.SpoilAssertion = nil
	l.office.Ticket(uscc, "late")
	l.office.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	if _, err := l.Authenticate(t.Context(), uscc, "late", access.AlgSM2, l.key); !errors.Is(err, wire.ErrGarbage) {
		t.Errorf("an old assertion: %v", err)
	}
}

// TestSign: the value is over this digest, under a certificate whose holder is the enterprise.
func TestSign(t *testing.T) {
	l := newLine(t)
	digest := gm.SM3([]byte("示例文件"))
	l.office.Ticket(uscc, "t")
	a, err := l.Sign(t.Context(), uscc, "t", "演示", digest)
	if err != nil || a.SM3 != hex.EncodeToString(digest[:]) {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := l.Sign(t.Context(), uscc, "t", "演示", digest); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("a spent ticket: %v", err)
	}
	other := gm.SM3([]byte("x"))
	for what, spoil := range map[string]func(*elicence.SignatureAnswer){
		"another question":    func(a *elicence.SignatureAnswer) { a.ID = "0" },
		"another document":    func(a *elicence.SignatureAnswer) { a.SM3 = hex.EncodeToString(other[:]) },
		"another purpose":     func(a *elicence.SignatureAnswer) { a.Purpose = "别的" },
		"a broken value":      func(a *elicence.SignatureAnswer) { a.Value[len(a.Value)-1] ^= 1 },
		"no value":            func(a *elicence.SignatureAnswer) { a.Value = nil },
		"no certificate":      func(a *elicence.SignatureAnswer) { a.Certificate = []byte("x") },
		"another's holder":    func(a *elicence.SignatureAnswer) { a.Certificate = l.office.Maker.Raw },
		"an old signature":    func(a *elicence.SignatureAnswer) { a.SignedAt = a.SignedAt.Add(-time.Hour) },
		"before its validity": func(a *elicence.SignatureAnswer) { a.SignedAt = a.SignedAt.AddDate(-1, 0, 0) },
	} {
		l.office.Ticket(uscc, what)
		l.office.SpoilSignature = spoil
		if s, err := l.Sign(t.Context(), uscc, what, "演示", digest); !errors.Is(err, wire.ErrGarbage) || s.Value != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestMoods: no mood of the other side gives an answer, in any of the three calls.
func TestMoods(t *testing.T) {
	l := newLine(t)
	file, err := l.office.Issue(uscc, "示例外省有限公司")
	if err != nil {
		t.Fatal(err)
	}
	for _, mood := range append(slices.Clone(sim.Moods), sim.Refuse) {
		l.office.Behave(mood, -1)
		for what, call := range map[string]func(ctx context.Context) error{
			"check": func(ctx context.Context) error { _, err := l.CheckFile(ctx, licence.FileSM3(file), file); return err },
			"authenticate": func(ctx context.Context) error {
				l.office.Ticket(uscc, string(mood)+"a")
				_, err := l.Authenticate(ctx, uscc, string(mood)+"a", access.AlgSM2, l.key)
				return err
			},
			"sign": func(ctx context.Context) error {
				l.office.Ticket(uscc, string(mood)+"s")
				_, err := l.Sign(ctx, uscc, string(mood)+"s", "演示", gm.SM3(file))
				return err
			},
		} {
			if err := call(t.Context()); !errors.Is(err, wire.ErrDown) && !errors.Is(err, wire.ErrGarbage) && !errors.Is(err, wire.ErrRefused) {
				t.Errorf("%s, %s: %v", mood, what, err)
			}
		}
	}
}

// TestUnsigned: answers by another key, of another kind, or put off, are none.
func TestUnsigned(t *testing.T) {
	l := newLine(t)
	file, err := l.office.Issue(uscc, "示例外省有限公司")
	if err != nil {
		t.Fatal(err)
	}
	pinned := l.office.Key.Public()
	l.office.Key = fresh(t)
	if _, err := l.CheckFile(t.Context(), licence.FileSM3(file), file); !errors.Is(err, envelope.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	for what, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"put off":      {http.StatusAccepted, `{}`, wire.ErrDown},
		"another kind": {http.StatusOK, `{"kind":"x/1","payload":"e30=","signature":"AA=="}`, envelope.ErrUnsigned},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			w.Write([]byte(c.body))
		}))
		if _, err := connect(t, srv.URL, pinned).CheckFile(t.Context(), licence.FileSM3(file), file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		srv.Close()
	}
}

func TestCodesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no yaml":        "{",
		"unknown key":    "file: {\"0\": genuine}\nstatus: {\"1\": active}\nmore: 1\n",
		"a word made up": "file: {\"0\": fine}\nstatus: {\"1\": active}\n",
		"no genuine":     "file: {\"0\": altered}\nstatus: {\"1\": active}\n",
		"no status":      "file: {\"0\": genuine}\n",
		"status made up": "file: {\"0\": genuine}\nstatus: {\"1\": asleep}\n",
	} {
		path := filepath.Join(t.TempDir(), "codes.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := elicence.LoadCodes(path); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := elicence.LoadCodes(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
