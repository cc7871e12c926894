package issuance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/hsm"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// Made-up codes, one entity each.
var codes = []string{"91410302YYY00002X7", "91410303YYY000038M", "91410304YYY000046Y", "91410305YYY0000548", "91410307YYY0000620",
	"91410308YYY0000709", "91410311YYY000089G", "91410323YYY000097P"}

// sealKeys counts the seal keys in the token, by label.
func (w *world) sealKeys() map[string]int {
	w.Helper()
	n := map[string]int{}
	for _, o := range must(w.token.Objects(w.ctx))(w) {
		if o.Class == "private" && strings.HasPrefix(o.Label, "seal-4") {
			n[o.Label]++
		}
	}
	return n
}

const fourMade = "01 made; 02 made; 03 made; 05 made; "

// The commits of making are: intents, reading records, release. The process dies at each, before it happened and after.
func TestCrashLeavesNoHalfSet(t *testing.T) {
	w := newWorld(t)
	for n, c := range []struct {
		commit             int
		after              bool
		destroyed, cleared int
		states             string // right after the crash
	}{
		{0, false, 0, 0, ""},
		{0, true, 0, 4, ""},
		{1, false, 4, 0, ""},
		{1, true, 4, 0, ""},
		{2, false, 4, 0, ""},
		{2, true, 0, 0, fourMade},
	} {
		t.Run(fmt.Sprintf("commit %d after %v", c.commit, c.after), func(t *testing.T) {
			w.TB = t
			code := codes[n]
			order := w.complete(code)
			w.gate.fail(c.commit, c.after)
			if _, err := w.iss.Finish(w.ctx); !errors.Is(err, errKilled) {
				t.Fatalf("died with %v", err)
			}
			r := w.restart()
			// A birth that the token refused at first leaves an intent of its own.
			if len(r.Destroyed) != c.destroyed || len(r.Cleared) < c.cleared || len(r.Orphans) != 0 || len(r.Missing) != 0 {
				t.Errorf("start found %+v", r)
			}
			if got := w.states(code); got != c.states {
				t.Errorf("after the crash: %q", got)
			}
			if _, err := w.iss.Finish(w.ctx); err != nil {
				t.Fatal(err)
			}
			if got := w.states(code); got != fourMade || w.order(order).State != register.OrderMade {
				t.Errorf("after Finish: %q, order %s", got, w.order(order).State)
			}
			if keys := w.sealKeys(); len(keys) != 4*(n+1) {
				t.Errorf("%d seal keys in the token: %v", len(keys), keys)
			}
		})
	}
	w.TB = t
}

// A failure that passes keeps the keys that were born: the next attempt uses them.
func TestRetryUsesTheSameKeys(t *testing.T) {
	w := newWorld(t)
	w.complete(uscc)
	w.gate.fail(2, false)
	if _, err := w.iss.Finish(w.ctx); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	before := w.sealKeys()
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatalf("%d made: %v", n, err)
	}
	if after := w.sealKeys(); len(before) != 4 || fmt.Sprint(before) != fmt.Sprint(after) || w.states(uscc) != fourMade {
		t.Errorf("keys %v, then %v; %s", before, after, w.states(uscc))
	}
	if r := w.restart(); len(r.Destroyed)+len(r.Cleared)+len(r.Orphans) != 0 {
		t.Errorf("start found %+v", r)
	}
}

// stubborn is an authority that fails or errs before it does what it should.
type stubborn struct {
	issuance.Issuer
	next func(r ca.Request) (ca.Request, error)
}

func (s *stubborn) Issue(ctx context.Context, r ca.Request) ([]byte, [][]byte, error) {
	r, err := s.next(r)
	if err != nil {
		return nil, nil, err
	}
	return s.Issuer.Issue(ctx, r)
}

func (w *world) withIssuer(next func(r ca.Request) (ca.Request, error)) *issuance.Issuance {
	w.Helper()
	p := w.iss.Parts
	p.Issuer = &stubborn{p.Issuer, next}
	return must(issuance.New(p, w.cfg))(w)
}

func TestIssuerTrouble(t *testing.T) {
	w := newWorld(t)
	order := w.complete(uscc)
	away := errors.New("the authority is away")
	down := w.withIssuer(func(r ca.Request) (ca.Request, error) { return r, away })
	for range 3 {
		if _, err := down.Make(w.ctx, order); !errors.Is(err, away) {
			t.Errorf("authority away: %v", err)
		}
	}
	if o := w.order(order); o.State != register.AwaitingCertificate || len(w.sealKeys()) != 4 {
		t.Errorf("order %s, %d keys after three attempts", o.State, len(w.sealKeys()))
	}
	other := newKey(t).Public()
	wrong := w.withIssuer(func(r ca.Request) (ca.Request, error) { r.PublicKey = other; return r, nil })
	if _, err := wrong.Make(w.ctx, order); !errors.Is(err, issuance.ErrCertificateWrong) {
		t.Errorf("certificate for another key: %v", err)
	}
	if o := w.order(order); o.State != register.OrderException || o.Exception.Code != "certificate-wrong" || w.states(uscc) != "" {
		t.Errorf("order %s %+v, seals %q", o.State, o.Exception, w.states(uscc))
	}
	must(w.iss.Resolve(w.ctx, nil, system, order, issuance.Continue, "", "示例: 证书机构已更正"))(t)
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil || w.states(uscc) != fourMade {
		t.Errorf("%d made: %v; %s", n, err, w.states(uscc))
	}
}

func TestMakerNearItsEnd(t *testing.T) {
	w := newWorld(t)
	order := w.complete(uscc)
	w.clock.passes(8 * 365 * 24 * 3600e9) // the maker's certificate has two years left, a seal wants three
	if _, err := w.iss.Make(w.ctx, order); !errors.Is(err, issuance.ErrMakerExpired) {
		t.Errorf("%v", err)
	}
	if o := w.order(order); o.State != register.OrderException || o.Exception.Code != "maker-expired" || w.states(uscc) != "" {
		t.Errorf("order %s %+v", o.State, o.Exception)
	}
}

// openLog compares the store with its anchor, as a start does.
func (w *world) openLog(path string) *audit.Log {
	w.Helper()
	key := must(w.keys.ByPurpose(w.ctx, keystore.PurposeAudit))(w)
	return must(audit.Open(w.ctx, w.bolt, audit.Config{Key: key, Anchor: audit.FileAnchor{Path: path}, Genesis: true}))(w)
}

func (w *world) backup() string {
	w.Helper()
	path := filepath.Join(w.TempDir(), "backup")
	f := must(os.Create(path))(w)
	defer f.Close()
	if err := w.bolt.Backup(w.ctx, f); err != nil {
		w.Fatal(err)
	}
	return path
}

func (w *world) restore(backup string) {
	w.Helper()
	if err := w.bolt.Close(); err != nil {
		w.Fatal(err)
	}
	from := must(os.Open(backup))(w)
	defer from.Close()
	to := must(os.Create(w.path))(w)
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		w.Fatal(err)
	}
}

// Law 12: a store older than a seal is put back. The seal is out in the world, its key must live, and its number stay taken.
func TestOrphansSurviveARestore(t *testing.T) {
	t.Run("older than the making", func(t *testing.T) { testRestore(t, 0, true) })
	t.Run("older than the making, labels unknown", func(t *testing.T) { testRestore(t, 0, false) })
	t.Run("holding the intents of what became seals", func(t *testing.T) { testRestore(t, 1, true) })
}

// testRestore puts back a store that saw so many commits of the making.
func testRestore(t *testing.T, commits int, tell bool) {
	w := newWorld(t)
	must(w.keys.Create(w.ctx, audit.Appliance("test"), keystore.Want{Purpose: keystore.PurposeAudit, Label: "audit", Algorithm: hsm.SM2}))(t)
	anchor := filepath.Join(t.TempDir(), "anchor")
	log := w.openLog(anchor)
	w.complete(uscc)
	var old string
	seen := 0
	w.gate.before(func() {
		if seen == commits {
			old = w.backup()
		}
		seen++
	})
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	released := w.sealKeys()
	numbers := map[string]bool{}
	for _, s := range must(w.seals.SealsOf(w.ctx, uscc))(t) {
		numbers[s.ESID] = true
	}
	if err := log.Close(w.ctx); err != nil || len(numbers) != 4 {
		t.Fatal(len(numbers), err)
	}

	w.restore(old)
	w.open(false)
	log = w.openLog(anchor)
	if log.Recovering() == "" {
		t.Fatal("an older store is taken for right")
	}
	if _, err := w.event(licence.KindEstablished, fields(codes[1])); !errors.Is(err, keystore.ErrReadOnly) {
		t.Errorf("writing while recovering: %v", err)
	}
	if n, err := w.iss.Finish(w.ctx); n != 0 || !errors.Is(err, keystore.ErrReadOnly) {
		t.Errorf("making while recovering: %d %v", n, err)
	}
	if err := log.Resynchronise(w.ctx, audit.Actor{Role: register.RoleSystem, ID: "one"}, audit.Actor{Role: register.RoleSecurity, ID: "two"}); err != nil {
		t.Fatal(err)
	}
	r := must(w.keys.Reconcile(w.ctx, audit.Appliance("start")))(t)
	if len(r.Destroyed) != 0 || len(r.Orphans) != 4 {
		t.Errorf("destroyed %v, %d orphans", r.Destroyed, len(r.Orphans))
	}
	if now := w.sealKeys(); fmt.Sprint(now) != fmt.Sprint(released) {
		t.Fatalf("keys of released seals: %v, now %v", released, now)
	}
	for _, o := range r.Orphans {
		if tell { // otherwise the token itself refuses a label twice
			w.iss.NoteLabels(o.Label)
		}
	}
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatalf("%d made: %v", n, err)
	}
	for _, s := range must(w.seals.SealsOf(w.ctx, uscc))(t) {
		if numbers[s.ESID] {
			t.Errorf("number %s was given twice", s.ESID)
		}
	}
	if n := len(w.sealKeys()); n != 8 {
		t.Errorf("%d seal keys in the token", n)
	}
}
