package publicsecurity_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/delivery"
	"sealkeeper/connector/feed"
	"sealkeeper/connector/publicsecurity"
	"sealkeeper/connector/publicsecurity/sim"
	manners "sealkeeper/connector/sim"
	"sealkeeper/connector/wire"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
)

// clerk notes what the connector brings, in place of package issuance.
type clerk struct {
	answers []string
	filings int
	err     error
	notices int
}

func (c *clerk) File(context.Context, *keystore.Request, access.Actor, envelope.Envelope) (issuance.FilingOutcome, error) {
	c.filings++
	return issuance.FilingOutcome{}, c.err
}

func (c *clerk) SealNotice(context.Context, *keystore.Request, access.Actor, envelope.Envelope) (issuance.NoticeOutcome, error) {
	c.notices++
	return issuance.NoticeOutcome{}, c.err
}

func (c *clerk) AnswerFiling(_ context.Context, _ *keystore.Request, by access.Actor, esid string, s register.FilingState, ref string) error {
	c.answers = append(c.answers, string(by.Role)+" "+esid+" "+string(s)+" "+ref)
	return c.err
}

type room struct {
	office *sim.Office
	clerk  *clerk
	*publicsecurity.Connector
}

func newRoom(t *testing.T, h func(*sim.Office) http.Handler) *room {
	t.Helper()
	key := newKey(t)
	r := &room{office: &sim.Office{System: sim.System{Key: key}}, clerk: &clerk{}}
	srv := httptest.NewServer(h(r.office))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	cl, err := wire.New(wire.Config{Base: srv.URL, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	codes, err := publicsecurity.LoadCodes("")
	if err != nil {
		t.Fatal(err)
	}
	r.Connector = publicsecurity.New(publicsecurity.Config{Client: cl, Pinned: []*gm.PublicKey{key.Public()}, Codes: codes, Issuance: r.clerk})
	return r
}

func newKey(t *testing.T) *softkey.Key {
	t.Helper()
	k, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const esid = "41030200000001"

var made = delivery.Message{ID: "0000000000000001", Key: "k1", Kind: "seal-made", Entity: "91410302YYY00002X7",
	Body: []byte(`{"kind":"seal-made","at":"2026-01-02T03:04:05Z","uscc":"91410302YYY00002X7","esid":"` + esid + `","type":"01"}`)}

// TestAnswers: only a signed answer about this very seal, with a code that the table knows, counts as one.
func TestAnswers(t *testing.T) {
	stranger := newKey(t)
	answer := func(k *softkey.Key, kind string, a publicsecurity.Answer) publicsecurity.Incoming {
		e, err := envelope.Seal(kind, a, k.Sign)
		if err != nil {
			t.Fatal(err)
		}
		return publicsecurity.Incoming{Answer: &e}
	}
	at := time.Now().UTC()
	for name, c := range map[string]struct {
		answer func(o *sim.Office) any
		want   error
		told   string
	}{
		"filed": {func(o *sim.Office) any {
			return answer(o.Key, publicsecurity.AnswerKind, publicsecurity.Answer{ESID: esid, State: "03", Reference: "BA-1", At: at})
		}, nil, "filed BA-1"},
		"refused": {func(o *sim.Office) any {
			return answer(o.Key, publicsecurity.AnswerKind, publicsecurity.Answer{ESID: esid, State: "10", Reference: "印模不符", At: at})
		}, nil, "refused 印模不符"},
		"pending": {func(o *sim.Office) any {
			return answer(o.Key, publicsecurity.AnswerKind, publicsecurity.Answer{ESID: esid, State: "01", At: at})
		}, nil, ""},
		"unknown code": {func(o *sim.Office) any {
			return answer(o.Key, publicsecurity.AnswerKind, publicsecurity.Answer{ESID: esid, State: "77", At: at})
		}, publicsecurity.ErrCode, ""},
		"another seal": {func(o *sim.Office) any {
			return answer(o.Key, publicsecurity.AnswerKind, publicsecurity.Answer{ESID: "41030200000002", State: "03", At: at})
		}, wire.ErrGarbage, ""},
		"another signer": {func(*sim.Office) any {
			return answer(stranger, publicsecurity.AnswerKind, publicsecurity.Answer{ESID: esid, State: "03", At: at})
		}, envelope.ErrSignature, ""},
		"another kind": {func(o *sim.Office) any {
			return answer(o.Key, register.FilingKind, publicsecurity.Answer{ESID: esid, State: "03", At: at})
		}, envelope.ErrUnsigned, ""},
		"no answer":      {func(*sim.Office) any { return publicsecurity.Incoming{} }, wire.ErrGarbage, ""},
		"something else": {func(*sim.Office) any { return []string{"filed"} }, wire.ErrGarbage, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, func(o *sim.Office) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { manners.Answer(w, 200, c.answer(o)) })
			})
			err := r.Deliver(t.Context(), made)
			if !errors.Is(err, c.want) || errors.Is(err, wire.ErrRefused) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if got := strings.Join(r.clerk.answers, "; "); (got == "") != (c.told == "") || !strings.HasSuffix(got, c.told) {
				t.Errorf("brought %q, want %q", got, c.told)
			}
		})
	}
}

// TestManners: in every mood but refusal the message comes again and is known again; nothing is brought that was not said.
func TestManners(t *testing.T) {
	for _, mood := range manners.Moods {
		t.Run(string(mood), func(t *testing.T) {
			r := newRoom(t, (*sim.Office).Routes)
			r.office.Behave(mood, 1)
			if err := r.Deliver(t.Context(), made); err == nil || errors.Is(err, wire.ErrRefused) || len(r.clerk.answers) != 0 {
				t.Fatalf("first: %v, brought %v", err, r.clerk.answers)
			}
			if err := r.Deliver(t.Context(), made); err != nil || len(r.clerk.answers) != 1 || len(r.office.Notices()) != 1 {
				t.Errorf("then: %v, brought %v, %d notices there", err, r.clerk.answers, len(r.office.Notices()))
			}
		})
	}
	r := newRoom(t, (*sim.Office).Routes)
	r.office.Behave(manners.Refuse, 1)
	if err := r.Deliver(t.Context(), made); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	r.clerk.err = errors.New("示例: not now")
	if err := r.Deliver(t.Context(), made); !errors.Is(err, r.clerk.err) {
		t.Errorf("an answer that could not be kept: %v", err)
	}
}

// TestFilings: each failure of a filing has its verdict.
func TestFilings(t *testing.T) {
	for err, want := range map[error]feed.Verdict{issuance.ErrNoOrder: feed.Again, issuance.ErrOrderException: feed.Again, keystore.ErrTokenGone: feed.Ours,
		keystore.ErrPINLatched: feed.Ours, issuance.ErrNameDiffers: feed.Human, register.ErrImpressionTaken: feed.Human, issuance.ErrAlreadyFiled: feed.Human} {
		r := newRoom(t, (*sim.Office).Routes)
		if got := r.Feed(feed.Config{}).Judge(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	r := newRoom(t, (*sim.Office).Routes)
	for range 6 {
		if err := r.office.Publish(register.Filing{USCC: made.Entity, FiledAt: time.Now().UTC()}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := r.Page(t.Context(), 4, 4)
	if err != nil || p.Last != 6 || len(p.Items) != 2 || p.Items[0].Seq != 5 {
		t.Errorf("page %+v, %v", p, err)
	}
	c := r.Feed(feed.Config{})
	if entity, at, err := c.Open(p.Items[0].Message); err != nil || entity != made.Entity || at.IsZero() {
		t.Errorf("opened %s %s %v", entity, at, err)
	}
	if err := r.office.Notify(register.SealNotice{ID: "N-1", What: register.NoticeLost, FilingNumber: "PS-1", At: time.Now().UTC()}); err != nil {
		t.Fatal(err)
	}
	q, err := r.Page(t.Context(), p.Items[len(p.Items)-1].Seq, 4)
	if err != nil || len(q.Items) != 1 {
		t.Fatalf("%d notices, %v", len(q.Items), err)
	}
	if entity, _, err := c.Open(q.Items[0].Message); err != nil || entity != "PS-1" || c.Take(t.Context(), q.Items[0].Message) != nil || r.clerk.notices != 1 {
		t.Errorf("a notice about %q, %v, taken %d", entity, err, r.clerk.notices)
	}
	if err := c.Take(t.Context(), p.Items[0].Message); err != nil || r.clerk.filings != 1 {
		t.Errorf("taken %d, %v", r.clerk.filings, err)
	}
}

// TestCodes: a table that says nothing about filed or refused, or says something else, is refused.
func TestCodes(t *testing.T) {
	for name, text := range map[string]string{"unknown key": "seals: {}\n", "unknown state": "seal_filing: {\"03\": filed, \"04\": lost, \"10\": refused}\n",
		"nothing refused": "seal_filing: {\"03\": filed}\n", "not YAML": "seal_filing: [", "nothing": "{}\n"} {
		path := filepath.Join(t.TempDir(), "codes.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := publicsecurity.LoadCodes(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := publicsecurity.LoadCodes("none"); err == nil {
		t.Error("a missing file is accepted")
	}
}
