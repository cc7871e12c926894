package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/audit/merkle"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/softhsm-test/stage"
)

// kills is how often the daemon dies.
const kills = 20

// TestKill ends seald with SIGKILL at random moments of issuance and signing. After each restart there is no half set and no acknowledged
// signature without its record, the log goes on from where it was, and at the end every interrupted order is finished, no request was
// answered twice, no key is left that no seal accounts for, and the log holds. SEALKEEPER_E2E_SEED repeats a run's choices.
func TestKill(t *testing.T) {
	s := own(t, stage.Config{})
	l := newLoad(t, s)
	choice := rand.New(rand.NewPCG(seed(t), 0))
	w := &witness{load: l, key: s.auditKey(t)}
	for n := range kills {
		w.note(t)
		size := s.logSize(t)
		ran := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		from := l.acknowledged.Load()
		go func() { ran <- l.run(ctx) }()
		l.moment(t, choice, ran)
		if err := s.KillSeald(); err != nil {
			t.Fatal(err)
		}
		stop()
		if err := <-ran; err != nil {
			t.Fatalf("kill %d: %v", n, err)
		}
		if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil {
			t.Fatalf("start after kill %d: %v", n, err)
		}
		w.examine(t)
		if choice.IntN(2) > 0 { // the other half of the starts may be killed while they finish what was interrupted
			w.finishes(t)
		}
		if t.Failed() {
			t.Fatalf("found after kill %d", n)
		}
		t.Logf("kill %2d after %2d answers: %d records since the last, %d sets finished, %d interrupted, %d requests answered, %d not", n, l.acknowledged.Load()-from,
			s.logSize(t)-size, len(l.finished), len(l.waiting), len(l.done), len(l.pending))
	}
	w.conclude(t)
}

// moment waits for a random moment: some answers into the load, or some way into the making of a set.
func (l *load) moment(t *testing.T, choice *rand.Rand, ran <-chan error) {
	t.Helper()
	count, least, span := &l.acknowledged, int64(choice.IntN(60)), 20*time.Millisecond
	if choice.IntN(3) > 0 {
		count, least, span = &l.complete, 1, 200*time.Millisecond
	}
	from := count.Load()
	if err := until(t.Context(), "answers under load", func() (bool, error) { return count.Load()-from >= least || len(ran) > 0, nil }); err != nil {
		t.Error(err)
	}
	<-time.After(time.Duration(choice.Int64N(int64(span))))
}

// seed is random unless the environment repeats one.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if v := os.Getenv("SEALKEEPER_E2E_SEED"); v != "" {
		n = mustOf(strconv.ParseUint(v, 10, 64))(t)
	}
	t.Logf("SEALKEEPER_E2E_SEED=%d", n)
	return n
}

// witness remembers from outside what the appliance said.
type witness struct {
	*load
	key     *gm.PublicKey
	before  []byte // checkpoint
	checked int    // of done
}

// note keeps a checkpoint.
func (w *witness) note(t *testing.T) {
	t.Helper()
	a := mustOf(w.as(t, "audit").Do(t.Context(), client.Call{Method: "GET", Path: "/v1/audit/checkpoint"}))(t)
	w.before = a.Body
}

// examine looks at the restarted appliance.
func (w *witness) examine(t *testing.T) {
	t.Helper()
	if !w.ready(t) {
		t.Error("not ready after the restart")
	}
	w.consistent(t)
	for _, a := range append(append([]*applicant{}, w.waiting...), w.finished...) {
		w.wholeOrNone(t, a)
	}
	for ; w.checked < len(w.done); w.checked++ {
		for _, r := range w.done[w.checked].receipts {
			w.onRecord(t, r)
		}
	}
}

// consistent: the log that was seen before is the beginning of the log now.
func (w *witness) consistent(t *testing.T) {
	t.Helper()
	now := mustOf(w.as(t, "audit").Do(t.Context(), client.Call{Method: "GET", Path: "/v1/audit/checkpoint"}))(t).Body
	older, newer := mustOf(audit.OpenCheckpoint(w.before, w.key))(t), mustOf(audit.OpenCheckpoint(now, w.key))(t)
	var proof audit.Consistency
	q := url.Values{"from": {fmt.Sprint(older.Size)}, "to": {fmt.Sprint(newer.Size)}}
	if err := w.as(t, "audit").JSON(t.Context(), "GET", "/v1/audit/consistency", q, "", nil, &proof); err != nil {
		t.Fatal(err)
	}
	if err := audit.VerifyConsistency(w.key, w.before, now, proof.Hashes); err != nil {
		t.Errorf("from %d to %d records: %v", older.Size, newer.Size, err)
	}
}

// wholeOrNone: an order has none of its seals or all four, and what was acknowledged is there.
func (w *witness) wholeOrNone(t *testing.T, a *applicant) {
	t.Helper()
	if !a.told {
		return
	}
	o := mustOf(w.orderOf(t.Context(), a.order))(t)
	requests := 0
	for _, q := range o.Requests {
		if q.ESID != "" {
			requests++
		}
		if a.filed && q.Impression == "" {
			t.Errorf("order %s lost an acknowledged impression: %+v", a.order, q)
		}
	}
	all, err := w.sealsOf(t.Context(), a.USCC)
	if client.Code(err) == "not-entitled" {
		err = nil // an enterprise without seals
	}
	if err != nil {
		t.Fatal(err)
	}
	// The order was read first: it may have been made in between, never the other way round.
	if len(all) != 0 && len(all) != len(set) || requests != 0 && requests != len(set) || requests > len(all) {
		t.Errorf("half a set: order %s is %s with %d seals, %d are there", a.order, o.State, requests, len(all))
	}
}

// finishes: an order whose impressions were all acknowledged is made by the restarted appliance alone.
func (w *witness) finishes(t *testing.T) {
	t.Helper()
	for _, a := range w.waiting {
		if a.filed {
			if err := w.awaitMade(t.Context(), a.enterprise); err != nil {
				t.Error(err)
			}
		}
	}
}

// onRecord: the log holds the receipt's record.
func (w *witness) onRecord(t *testing.T, r client.Receipt) {
	t.Helper()
	var page struct{ Items []entry }
	if err := w.as(t, "audit").JSON(t.Context(), "GET", "/v1/audit/entries", url.Values{"from": {fmt.Sprint(r.Index)}, "limit": {"1"}}, "", nil, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || page.Items[0].Leaf != r.Leaf || page.Items[0].Kind != audit.KindSignature {
		t.Errorf("acknowledged signature %d with leaf %s has no such record: %+v", r.Index, r.Leaf, page.Items)
	}
}

// conclude finishes what was interrupted, stops the appliance, and checks everything against file and token.
func (w *witness) conclude(t *testing.T) {
	t.Helper()
	for _, a := range w.waiting {
		if err := w.pursue(t.Context(), a); err != nil {
			t.Errorf("finishing the order of %s: %v", a.USCC, err)
		}
		w.finished = append(w.finished, a)
	}
	for _, r := range w.pending {
		if err := w.ask(t.Context(), r); err != nil && client.Code(err) != "delegation-spent" {
			t.Errorf("repeating request %s: %v", r.key, err)
		} else if err == nil {
			w.done = append(w.done, r)
		}
	}
	w.waiting, w.pending = nil, nil
	w.examine(t)
	for _, r := range w.done[:min(len(w.done), 20)] {
		w.sameAgain(t, r)
	}
	keys := map[string]bool{}
	for _, a := range append(w.finished, &applicant{enterprise: w.owner}) {
		all := mustOf(w.sealsOf(t.Context(), a.USCC))(t)
		if len(all) != len(set) {
			t.Errorf("%s has %d seals", a.USCC, len(all))
		}
		for _, x := range all {
			keys[x.Key.String()] = true
			if x.State != register.Active {
				t.Errorf("seal %s is %s", x.ESID, x.State)
			}
		}
	}
	if err := w.StopSeald(); err != nil {
		t.Fatal(err)
	}
	w.keysAccountedFor(t, keys)
	w.recordsAccountedFor(t)
	logHolds(t, w.scene)
}

// sameAgain: a request from before the crashes is answered with the same bytes.
func (w *witness) sameAgain(t *testing.T, r *sent) {
	t.Helper()
	again := *r
	again.receipts, again.values = nil, nil
	if err := w.ask(t.Context(), &again); err != nil {
		t.Errorf("request %s again: %v", r.key, err)
		return
	}
	for i := range r.values {
		if string(again.values[i]) != string(r.values[i]) || again.receipts[i].Leaf != r.receipts[i].Leaf {
			t.Errorf("request %s again: other bytes", r.key)
		}
	}
}

var privateKey = regexp.MustCompile(`label:\s+(\S+)\n\s+ID:\s+([0-9a-f]+)\n`)

// sealKeys lists the identifiers of the token's seal keys by asking the module with nothing of ours. SoftHSM2, killed between making an object
// and writing its template, leaves one without label, identifier and value; no intent can name it, so by law 12 nobody removes it. Those
// are counted apart.
func (s *scene) sealKeys(t testing.TB) (keys map[string]bool, empty int) {
	t.Helper()
	keys = map[string]bool{}
	for _, object := range strings.Split(s.pkcs11(t, "-O", "--type", "privkey"), "Private Key Object")[1:] {
		m := privateKey.FindStringSubmatch(object)
		switch {
		case m == nil && !strings.Contains(object, "ID:") && !strings.Contains(object, "local"):
			empty++
		case m == nil:
			t.Errorf("a key that cannot be told: %s", object)
		case strings.HasPrefix(m[1], "seal-"):
			keys[m[2]] = true
		}
	}
	return keys, empty
}

// keysAccountedFor: the token holds the seals' keys and no others of the kind.
func (w *witness) keysAccountedFor(t *testing.T, keys map[string]bool) {
	t.Helper()
	held, empty := w.sealKeys(t)
	t.Logf("%d seal keys in the token, %d objects that SoftHSM2 did not finish", len(held), empty)
	for id := range held {
		if !keys[id] {
			t.Errorf("the token holds key %s, which belongs to no seal", id)
		}
	}
	for id := range keys {
		if !held[id] {
			t.Errorf("the token does not hold key %s of a seal", id)
		}
	}
}

// recordsAccountedFor: in the file, every receipt's record has the receipt's leaf, no request was answered twice, and no delegation
// was overdrawn.
func (w *witness) recordsAccountedFor(t *testing.T) {
	t.Helper()
	leaves, requests, short, abandoned := w.signatureRecords(t)
	receipts := 0
	for _, r := range w.done {
		for _, x := range r.receipts {
			if leaves[x.Index] != x.Leaf {
				t.Errorf("record %d has leaf %s, the receipt says %s", x.Index, leaves[x.Index], x.Leaf)
			}
			receipts++
		}
	}
	for id, n := range requests {
		if n != 1 {
			t.Errorf("request %s has %d records", id, n)
		}
	}
	if short > shortCount {
		t.Errorf("%d signatures under a delegation of %d", short, shortCount)
	}
	t.Logf("%d signatures acknowledged, %d on record, %d of %d of the short delegation used, %d birth intents abandoned", receipts, len(requests), short, shortCount, abandoned)
	if receipts > len(requests) {
		t.Errorf("%d signatures acknowledged, %d on record", receipts, len(requests))
	}
}

// signatureRecords reads the signatures' records from the stopped daemon's file, and counts keys that starts gave up.
func (w *witness) signatureRecords(t *testing.T) (leaves map[uint64]string, requests map[string]int, short, abandoned int) {
	t.Helper()
	leaves, requests = map[uint64]string{}, map[string]int{}
	hasher := mustOf(merkle.ByName("sm3"))(t)
	for index, raw := range w.rawRecords(t) {
		leaf := hasher.Leaf(raw)
		leaves[uint64(index)] = base64.StdEncoding.EncodeToString(leaf[:])
		ev := mustOf(audit.ParseBody(mustOf(store.ParseRecord(uint64(index), raw))(t).Body))(t)
		if ev.Kind == audit.KindKeyDestroyed {
			abandoned++
		}
		if ev.Kind != audit.KindSignature {
			continue
		}
		var d struct {
			Request string
			Consent struct{ Delegation string }
		}
		if err := json.Unmarshal(ev.Detail.(json.RawMessage), &d); err != nil {
			t.Fatal(err)
		}
		requests[d.Request]++
		if d.Consent.Delegation == w.short {
			short++
		}
	}
	return leaves, requests, short, abandoned
}
