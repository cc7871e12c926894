package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestImportGoesOn: an import that the network cuts goes on behind the last answered batch; rejects name their lines in the file; a
// changed file is refused.
func TestImportGoesOn(t *testing.T) {
	r := newRemote(t)
	var b strings.Builder
	for i := range 1200 {
		if i == 700 {
			b.WriteString("no envelope\n")
			continue
		}
		fmt.Fprintf(&b, "{\"kind\":\"licence-event/1\",\"payload\":\"e30=\",\"signature\":\"AA==\"}\n")
	}
	file := r.file("events.jsonl", []byte(b.String()))
	var sizes []int
	var cut bool
	r.answer = func(w http.ResponseWriter, _ *http.Request) {
		var in struct{ Events []json.RawMessage }
		json.Unmarshal(r.body, &in)
		if cut {
			panic(http.ErrAbortHandler)
		}
		sizes = append(sizes, len(in.Events))
		cut = len(sizes) == 2
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, fmt.Sprintf(`{"settled":%d,"rejected":[{"index":1,"problem":{"code":"uscc-invalid","title":"x"}}]}`, len(in.Events)-1))
	}
	r.body = nil
	r.want(1, "licence import "+file, "!after 1000 lines", "lines     1000", "rejected  3")
	cut = false
	r.want(0, "licence import "+file, "lines     1200", "settled   1196", "rejected  4", "events.jsonl.rejects")
	if fmt.Sprint(sizes) != "[500 499 200]" {
		t.Errorf("batches of %v", sizes)
	}
	rejects, err := os.ReadFile(file + ".rejects")
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for d := json.NewDecoder(strings.NewReader(string(rejects))); d.More(); {
		var x importReject
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, x.Line)
	}
	if fmt.Sprint(lines) != "[2 701 502 1002]" {
		t.Errorf("rejected lines %v", lines)
	}
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.want(1, "licence import "+file, "!the file has changed")
}
