package store

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashFile names the store in the child process.
const crashFile = "SEALKEEPER_TEST_CRASH_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		crashChild(path)
		return
	}
	os.Exit(m.Run())
}

func crashConfig(path string) Config {
	return Config{Path: path, Create: true, Collections: []*Collection{things}, SnapshotEvery: 50}
}

// crashChild commits from eight goroutines for ever and prints every receipt, until it is killed.
func crashChild(path string) {
	b, err := Open(crashConfig(path))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				r, err := b.Commit(context.Background(), crashMutation(id))
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println("done", id, r.First, hex.EncodeToString(r.Leaves[0][:]), r.Spent[0])
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func crashMutation(id string) Mutation {
	return Mutation{Request: &Request{Client: "crash", ID: id}, Put: []Put{{things, []byte("last"), []byte(id)}, {things, []byte(id), []byte("v")}},
		Spend:  []Spend{{Counter: "total", N: 1}, {Counter: "nonce/" + id, N: 1, Limit: 1, Expires: time.Now().Add(time.Hour)}},
		Audit:  [][]byte{[]byte("first of " + id), []byte("second of " + id)},
		Outbox: []Message{{"q", []byte(id)}}}
}

// TestCrash kills a process at random moments while it commits. Every acknowledged mutation is there, nothing is there by half, the
// counters are those of a replay, and the log verifies, which Open and the walk below check.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	acknowledged := map[string]string{}
	for round := range 12 {
		crashOnce(t, path, 20+rand.IntN(200), acknowledged)
		checkCrashed(t, path, acknowledged)
		t.Logf("round %d: %d acknowledged in all", round, len(acknowledged))
	}
}

// crashOnce starts a child, reads n receipts and kills it.
func crashOnce(t *testing.T, path string, n int, acknowledged map[string]string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashFile+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for read := 0; lines.Scan(); read++ { // to the end: what was printed before the kill was acknowledged too
		f := strings.Fields(lines.Text())
		if len(f) == 5 && f[0] == "done" {
			acknowledged[f[1]] = lines.Text()
		} else if len(f) > 0 && f[0] == "error" {
			t.Fatal(lines.Text())
		}
		if read == n {
			child.Process.Kill()
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

func checkCrashed(t *testing.T, path string, acknowledged map[string]string) {
	t.Helper()
	b, err := Open(crashConfig(path))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for id, line := range acknowledged {
		r, err := b.Lookup(t.Context(), Request{Client: "crash", ID: id})
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := fmt.Sprint("done ", id, " ", r.First, " ", hex.EncodeToString(r.Leaves[0][:]), " ", r.Spent[0]); got != line {
			t.Fatalf("acknowledged %q, found %q", line, got)
		}
	}
	size := b.State().Size
	total, _ := b.Counter(t.Context(), "total")
	if size != 2*total || int(total) < len(acknowledged) {
		t.Fatalf("%d records, counter %d, %d acknowledged", size, total, len(acknowledged))
	}
	ids := crashedIDs(t, b, size)
	jobs, err := b.Claim(t.Context(), "q", int(total)+1, 0)
	if err != nil || len(jobs) != int(total) {
		t.Fatalf("%d messages for %d mutations: %v", len(jobs), total, err)
	}
	for _, id := range ids {
		n, _ := b.Counter(t.Context(), "nonce/"+id)
		if _, err := b.Get(t.Context(), things, []byte(id)); err != nil || n != 1 {
			t.Fatalf("%s by half: nonce %d, %v", id, n, err)
		}
	}
	if last, err := b.Get(t.Context(), things, []byte("last")); err != nil || string(last.Value) != ids[len(ids)-1] {
		t.Fatalf("last %q %v, want %q", last.Value, err, ids[len(ids)-1])
	}
	if _, err := b.Commit(t.Context(), Mutation{Spend: []Spend{{Counter: "nonce/" + ids[0], N: 1, Limit: 1}}, Audit: record("r")}); !errors.Is(err, ErrLimit) {
		t.Fatalf("a spent nonce was taken: %v", err)
	}
}

// crashedIDs reads the log and checks it against itself.
func crashedIDs(t *testing.T, b *Bolt, size uint64) (ids []string) {
	t.Helper()
	edge := merkleOf(b)
	for edge.Size() < size {
		rs, err := b.Records(t.Context(), edge.Size(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if err := edge.Append(b.hasher.Leaf(r.Raw), nil); err != nil {
				t.Fatal(err)
			}
			if id, ok := strings.CutPrefix(string(r.Body), "first of "); ok {
				ids = append(ids, id)
			} else if string(r.Body) != "second of "+ids[len(ids)-1] {
				t.Fatalf("record %d says %q after %q", r.Index, r.Body, ids[len(ids)-1])
			}
		}
	}
	if edge.Root() != b.State().Root {
		t.Fatal("the records do not give the root")
	}
	if sorted := slices.Sorted(slices.Values(ids)); len(slices.Compact(sorted)) != len(ids) {
		t.Fatal("a request was answered twice")
	}
	return ids
}
