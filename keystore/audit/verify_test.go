package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// fill makes the mutations from and up to to: several records in one, requests, counters that last and that expire, values. They are
// committed twenty at a time, a second apart.
func (w *world) fill(from, to int) {
	w.t.Helper()
	for ; from < to; from += 20 {
		var ms []store.Mutation
		for i := from; i < min(from+20, to); i++ {
			m := store.Mutation{
				Request: &store.Request{Client: "client", ID: fmt.Sprint("request ", i)},
				Spend: []store.Spend{{Counter: "delegation/1", N: 1, Limit: 1e6}, {Counter: fmt.Sprint("nonce/", i), N: 1, Limit: 1,
					Expires: w.clock.Now().Add(time.Duration(i%7) * time.Second)}},
				Put:   []store.Put{{Collection: things, Key: fmt.Append(nil, "thing ", i%40), Value: fmt.Append(nil, i%7, " value ", i)}},
				Audit: [][]byte{w.body(fmt.Sprint("filled ", i))},
			}
			if i%10 == 3 {
				m.Audit = append(m.Audit, w.body(fmt.Sprint("second ", i)))
			}
			ms = append(ms, m)
		}
		for _, r := range w.st.CommitAll(w.t.Context(), ms) {
			w.must(r.Err)
		}
		w.clock.add(time.Second)
	}
}

// verify runs VerifyFile on the closed world.
func (w *world) verify(path string, opts audit.Options) (audit.Report, error) {
	opts.Collections = []*store.Collection{things}
	return audit.VerifyFile(w.t.Context(), path, w.public(), opts)
}

// filled is a closed world with n mutations in its log, from two runs of the program.
func filled(t testing.TB, n int) *world {
	t.Helper()
	w := newWorld(t)
	w.every = 100
	w.found()
	w.fill(0, n/2)
	w.close()
	w.reopen()
	w.fill(n/2, n)
	w.close()
	return w
}

func TestVerifyGoodFile(t *testing.T) {
	w := filled(t, 600)
	anchor, err := w.anchor.Load(t.Context())
	w.must(err)
	calls, before := 0, fileSum(t, w.path)
	report, err := w.verify(w.path, audit.Options{Checkpoints: [][]byte{anchor}, Progress: func(done, total uint64) {
		calls++
		if done > total {
			t.Errorf("progress %d of %d", done, total)
		}
	}})
	if err != nil || report.Bad != nil {
		t.Fatalf("%+v, bad: %v, %v", report, report.Bad, err)
	}
	if report.Records != 661 || report.Covered != report.Records || report.Checkpoints < 4 || calls == 0 {
		t.Fatalf("%+v after %d calls of progress", report, calls)
	}
	if fileSum(t, w.path) != before {
		t.Fatal("verifying changed the file")
	}
}

func fileSum(t testing.TB, path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replaceAll changes bytes everywhere in a copy of the file: old pages hold older copies.
func (w *world) replaceAll(from, to string) string {
	w.t.Helper()
	b := []byte(fileSum(w.t, w.path))
	if len(from) != len(to) || !bytes.Contains(b, []byte(from)) {
		w.t.Fatalf("%q is not in the file", from)
	}
	path := w.path + ".tampered"
	w.must(os.WriteFile(path, bytes.ReplaceAll(b, []byte(from), []byte(to)), 0o600))
	return path
}

// TestVerifyNamesTheFirstBadRecord alters one thing each and looks at what is named.
func TestVerifyNamesTheFirstBadRecord(t *testing.T) {
	w := filled(t, 600)
	cases := map[string]struct {
		from, to string
		part     string
		first    uint64 // named, or the beginning of the range
		last     uint64
	}{
		// Record 0 is the genesis; mutation i adds a record, and one more if i%10 is 3.
		"text in a full tile":      {`<filled 100>`, `<filled 1O0>`, "record", 111, 111},
		"text at the right edge":   {`<filled 599>`, `<filled 5g9>`, "record", 660, 660},
		"text in a second record":  {`<second 13>`, `<second l3>`, "record", 16, 16},
		"event that is no event":   {`"subject":"filled 200"`, `"Subj_ct":"filled 200"`, "record", 221, 221},
		"request id in a record":   {"\x0brequest 150", "\x0brequest 1x0", "record", 166, 166},
		"counter name in a record": {"nonce/77\x01", "nonce/7x\x01", "record", 86, 86},
		"log identifier":           {w.log1(), strings.Repeat("0", 32), "record", 0, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			report, err := w.verify(w.replaceAll(c.from, c.to), audit.Options{})
			if err != nil || report.Bad == nil {
				t.Fatalf("%+v %v", report, err)
			}
			if c.part == "record" && name == "log identifier" {
				if report.Bad.Part != "checkpoint" {
					t.Fatalf("found %v", report.Bad)
				}
				return
			}
			if report.Bad.Part != c.part || report.Bad.From > c.first || report.Bad.To <= c.last || report.Bad.To-report.Bad.From > 2 {
				t.Fatalf("found %v, want %s %d", report.Bad, c.part, c.first)
			}
		})
	}
}

// TestVerifyNamesOtherParts alters what is kept beside the records.
func TestVerifyNamesOtherParts(t *testing.T) {
	w := filled(t, 600)
	f, err := store.OpenFile(w.path)
	w.must(err)
	tile, err := f.Tile(0, 1)
	w.must(err)
	head, err := f.Head()
	w.must(err)
	w.must(f.Close())
	flip := func(s string) string { return s[:5] + string([]byte{s[5] ^ 1}) + s[6:] }
	leaf, span := string(tile[32*7:32*8]), string(head.Range[0][:])
	key := store.RequestKey(store.Request{Client: "client", ID: "request 17"})
	const never = "\xff\xff\xff\xff\xff\xff\xff\xff"
	for name, c := range map[string]struct{ from, to, part, problem string }{
		"tile":             {leaf, flip(leaf), "tile", "record 263"},
		"range hash":       {span, flip(span), "head", "records 0 to 511"},
		"counter too high": {never + "delegation/1" + "\x00\x00\x00\x00\x00\x00\x02\x58", never + "delegation/1" + "\x00\x00\x00\x00\x00\x00\x02\x59", "counter", "delegation/1"},
		"counter too low":  {never + "delegation/1" + "\x00\x00\x00\x00\x00\x00\x02\x58", never + "delegation/1" + "\x00\x00\x00\x00\x00\x00\x02\x57", "counter", "delegation/1"},
		"counter renamed":  {never + "delegation/1", never + "delegation/2", "counter", "delegation/2"},
		"request":          {string(key[:]), flip(string(key[:])), "request", "record 20"},
		"value's index":    {" value 5" + "99", "\x00value 5" + "99", "", ""},
		"index key":        {"6\x00\x01thing 6", "6\x00\x01thing 7", "index", `thing "thing 6"`},
		"checkpoint":       {"\n661\n", "\n660\n", "checkpoint", "not a checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := w.verify(w.replaceAll(c.from, c.to), audit.Options{})
			if err != nil || (report.Bad == nil) != (c.part == "") {
				t.Fatalf("%+v %v", report.Bad, err)
			}
			if report.Bad != nil && (report.Bad.Part != c.part || !strings.Contains(report.Bad.Error(), c.problem)) {
				t.Fatalf("found %v, want %s: %s", report.Bad, c.part, c.problem)
			}
		})
	}
}

// log1 is the log's identifier.
func (w *world) log1() string {
	w.t.Helper()
	anchor, err := w.anchor.Load(w.t.Context())
	w.must(err)
	c, err := audit.OpenCheckpoint(anchor, w.public())
	w.must(err)
	return strings.Split(c.Origin, "/")[1]
}

// TestVerifyRandomDamage flips one byte at random places. Either it is found, or it changed nothing that the file holds.
func TestVerifyRandomDamage(t *testing.T) {
	w := filled(t, 600)
	good := []byte(fileSum(t, w.path))
	used := len(bytes.TrimRight(good, "\x00"))
	want := contents(t, w.path)
	rnd := rand.New(rand.NewPCG(1, 2))
	f, err := os.OpenFile(w.path, os.O_RDWR, 0)
	w.must(err)
	defer f.Close()
	found := 0
	for range 300 {
		at := rnd.IntN(used)
		_, err := f.WriteAt([]byte{good[at] ^ byte(1+rnd.IntN(255))}, int64(at))
		w.must(err)
		report, err := w.verify(w.path, audit.Options{})
		w.must(err)
		if report.Bad != nil {
			found++
		} else if contents(t, w.path) != want {
			t.Fatalf("byte %d was changed unnoticed", at)
		}
		_, err = f.WriteAt(good[at:at+1], int64(at))
		w.must(err)
	}
	if found < 30 {
		t.Fatalf("only %d of 300 were found: the test hits nothing", found)
	}
	t.Logf("%d of 300 changed bytes lay where they matter, all were found", found)
}

// contents is everything that a reader of the file can see.
func contents(t testing.TB, path string) string {
	t.Helper()
	f, err := store.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	err = errors.Join(
		f.Records(t.Context(), func(i uint64, raw []byte) error { fmt.Fprintf(&b, "%d %x\n", i, raw); return nil }),
		f.Items(t.Context(), audit.Collections()[0], func(it store.Item) error { fmt.Fprintf(&b, "%x %x\n", it.Key, it.Value); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestVerifyOtherPast: a file that agrees with itself but not with what was signed outside.
func TestVerifyOtherPast(t *testing.T) {
	w := newWorld(t).found()
	w.add(20)
	w.close()
	copyFile(t, w.path, w.path+".fork")
	w.reopen()
	w.add(10)
	w.close()
	anchor, err := w.anchor.Load(t.Context())
	w.must(err)
	copyFile(t, w.path+".fork", w.path)
	w.openStore(false)
	for i := range 30 {
		_, err := w.st.Commit(t.Context(), store.Mutation{Audit: [][]byte{w.body(fmt.Sprint("another past ", i))}})
		w.must(err)
	}
	w.must(w.st.Close())
	if report, err := w.verify(w.path, audit.Options{}); err != nil || report.Bad != nil {
		t.Fatalf("without the anchor it is consistent: %+v %v", report.Bad, err)
	} else if report.Covered != 21 || report.Records != 51 {
		t.Fatalf("%+v", report)
	}
	report, err := w.verify(w.path, audit.Options{Checkpoints: [][]byte{anchor}})
	if err != nil || report.Bad == nil || report.Bad.Part != "record" || report.Bad.From != 21 || report.Bad.To != 31 {
		t.Fatalf("with the anchor: %v %v", report.Bad, err)
	}
	copyFile(t, w.path+".fork", w.path)
	report, err = w.verify(w.path, audit.Options{Checkpoints: [][]byte{anchor}})
	if err != nil || report.Bad == nil || report.Bad.Part != "checkpoint" {
		t.Fatalf("a file older than the anchor: %v %v", report.Bad, err)
	}
}

func TestVerifyRefusals(t *testing.T) {
	w := newWorld(t).found()
	w.add(3)
	if _, err := w.verify(w.path, audit.Options{}); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("while the store is open: %v", err)
	}
	w.close()
	if _, err := w.verify(w.path+".missing", audit.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
	report, err := audit.VerifyFile(t.Context(), w.path, newKey(t).Public(), audit.Options{})
	if err != nil || report.Bad == nil || report.Bad.Part != "checkpoint" {
		t.Fatalf("another key: %+v %v", report.Bad, err)
	}
	report, err = audit.VerifyFile(t.Context(), w.path, newKey(t).Public(), audit.Options{FormerKeys: []*gm.PublicKey{w.public()}})
	if err != nil || report.Bad != nil {
		t.Fatalf("a former key: %+v %v", report.Bad, err)
	}
	for name, b := range map[string][]byte{"empty": nil, "text": []byte(strings.Repeat("no store ", 2000))} {
		path := w.path + "." + name
		w.must(os.WriteFile(path, b, 0o600))
		if report, err := w.verify(path, audit.Options{}); err == nil && report.Bad == nil {
			t.Errorf("%s file is good", name)
		}
	}
	w.must(os.Truncate(w.path, 4096*3))
	if report, err := w.verify(w.path, audit.Options{}); err != nil || report.Bad == nil || report.Bad.Part != "file" {
		t.Fatalf("truncated file: %v %v", report.Bad, err)
	}
}
