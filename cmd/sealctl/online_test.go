package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/keystore/audit"
)

// remote is an HTTPS server in the appliance's place, for what the command makes of answers. The real appliance is driven by softhsm-test/e2e.
type remote struct {
	t      *testing.T
	dir    string
	flags  []string
	answer http.HandlerFunc
	last   *http.Request
	body   []byte
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	r := &remote{t: t, dir: t.TempDir()}
	own, err := tlsCertificate()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.last = q
		r.body, _ = io.ReadAll(q.Body)
		r.answer(w, q)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	r.file("tls.pem", certificatePEM(own.Certificate[0]))
	r.file("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	r.flags = []string{"--server", s.URL, "--ca", r.at("tls.pem"), "--cert", r.at("tls.pem"), "--key", r.at("tls.key")}
	return r
}

func (r *remote) at(name string) string { return filepath.Join(r.dir, name) }

func (r *remote) file(name string, b []byte) string {
	r.t.Helper()
	if err := os.WriteFile(r.at(name), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return r.at(name)
}

func (r *remote) says(status int, v any) {
	r.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		switch v := v.(type) {
		case string:
			io.WriteString(w, v)
		case []byte:
			w.Write(v)
		default:
			json.NewEncoder(w).Encode(v)
		}
	}
}

// run runs one command line and returns what it printed and its exit code.
func (r *remote) run(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = run(r.t.Context(), append(args, r.flags...), &o, &e)
	return o.String(), e.String(), code
}

// want runs one command line that must end with a code and print every one of the texts, those beginning with ! on standard error.
func (r *remote) want(code int, line string, texts ...string) {
	r.t.Helper()
	out, errs, got := r.run(strings.Fields(line)...)
	if got != code {
		r.t.Errorf("%s: exit %d, want %d\n%s%s", line, got, code, out, errs)
	}
	for _, text := range texts {
		where := out
		if after, ok := strings.CutPrefix(text, "!"); ok {
			text, where = after, errs
		}
		if !strings.Contains(where, text) {
			r.t.Errorf("%s: no %q in\n%s", line, text, where)
		}
	}
}

func TestRefusalsAreExitTwo(t *testing.T) {
	r := newRemote(t)
	r.says(409, map[string]any{"code": "clock", "title": "系统时钟不可信", "title_en": "The clock is not to be trusted", "detail": "behind the last record", "request_id": "r1"})
	r.want(2, "seal get 1", "!sealctl: 系统时钟不可信 The clock is not to be trusted (clock: behind the last record) request r1", "!what to do: ", "!sealctl clock accept")
	if _, errs, _ := r.run("seal", "suspend", "1", "--reason", "x"); strings.Contains(errs, "idempotency-key") {
		t.Errorf("a decided refusal is not to be repeated: %s", errs)
	}
	r.says(404, map[string]any{"code": "unknown-record", "title": "没有此记录", "title_en": "No such record"})
	if _, errs, code := r.run("order", "get", "1"); code != 2 || strings.Contains(errs, "what to do") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestUnknownOutcomeNamesItsKey(t *testing.T) {
	r := newRemote(t)
	r.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	r.want(1, "seal cancel 1 --reason owner-request", "!repeat the command with --idempotency-key ")
	sent := r.last.Header.Get("Idempotency-Key")
	if _, errs, _ := r.run("seal", "cancel", "1", "--reason", "owner-request", "--idempotency-key", sent); !strings.Contains(errs, sent) || r.last.Header.Get("Idempotency-Key") != sent {
		t.Errorf("%s not in %s", sent, errs)
	}
	r.says(503, map[string]any{"code": "unknown-outcome", "title": "提交结果未知", "title_en": "The outcome is unknown"})
	r.want(2, "seal cancel 1 --reason owner-request", "!with --idempotency-key ")
	if _, errs, _ := r.run("seal", "get", "1"); strings.Contains(errs, "with --idempotency-key") {
		t.Errorf("a reading command has no key: %s", errs)
	}
}

func TestHealth(t *testing.T) {
	r := newRemote(t)
	r.says(200, map[string]any{"ready": true, "mode": "demo"})
	r.want(0, "health", "ready", "demo mode")
	r.says(503, map[string]any{"ready": false, "mode": "demo", "faults": []any{map[string]string{"part": "token", "detail": "token is not present"}}})
	r.want(2, "health", "not ready", "token", "token is not present")
	r.want(2, "health --output json", `"ready": false`)
	r.says(200, map[string]any{"mode": "demo", "token": map[string]any{"label": "示例", "evidence": "simulated", "pin_tries_low": true}, "faults": []any{}})
	r.want(0, "health --token", "simulated", "one or few tries left")
}

func TestJSONIsWhatCame(t *testing.T) {
	r := newRemote(t)
	r.says(200, `{"items":[{"esid":"1","new_field":{"deep":1.50}}]}`)
	r.want(0, "seal list --uscc A -o json", `"new_field": {`, `"deep": 1.50`)
	r.want(0, "seal list --uscc A", "ESID", "1")
	r.says(200, `no JSON`)
	r.want(1, "seal list --uscc A", "!decoding the answer to GET /v1/enterprises/A/seals")
}

func TestSignTakesTheApprovalsRequest(t *testing.T) {
	r := newRemote(t)
	approval := r.file("approval.json", []byte(`{"request":"demo-7","seal":"1"}`))
	document := r.file("document.ofd", []byte("PK"))
	r.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sealkeeper-Receipt", `{"log":"l","index":5,"leaf":"AA=="}`)
		io.WriteString(w, "sealed")
	}
	line := "sign ofd --seal 1 --purpose p --stamp 1,10,20,40,40 --document " + document + " --approval " + approval + " --out " + r.at("sealed.ofd")
	r.want(0, line, "sealed.ofd, 6 bytes", "demo-7", "5 of log l")
	if got := r.last.Header.Get("Idempotency-Key"); got != "demo-7" {
		t.Errorf("sent under %q", got)
	}
	if !bytes.Contains(r.body, []byte(`"approval":{"request":"demo-7","seal":"1"}`)) {
		t.Errorf("sent %s", r.body)
	}
	if b, err := os.ReadFile(r.at("sealed.ofd")); err != nil || string(b) != "sealed" {
		t.Errorf("%q, %v", b, err)
	}
	r.last = nil
	r.want(1, line, "!sealed.ofd: file already exists")
	if r.last != nil {
		t.Error("a signature was asked for that has no place")
	}
}

func TestSignDigestKeepsTheDocument(t *testing.T) {
	r := newRemote(t)
	document := r.file("contract.txt", []byte("abc")) // SM3 of "abc" is the first example of GB/T 32905
	r.says(200, map[string]any{"signature": []byte("DER"), "receipt": map[string]any{"log": "l", "index": 5}})
	out, _, code := r.run("sign", "digest", "--seal", "1", "--purpose", "p", "--delegation", "d", "--document", document, "--out", "-")
	if out != "DER" || code != 0 {
		t.Errorf("%q, exit %d", out, code)
	}
	if !bytes.Contains(r.body, []byte(`"digest":"66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"`)) || bytes.Contains(r.body, []byte("abc")) {
		t.Errorf("sent %s", r.body)
	}
}

func TestClientAdd(t *testing.T) {
	r := newRemote(t)
	csr := r.file("a.csr", []byte("PEM"))
	r.says(200, map[string]any{"client": map[string]any{"id": "ff", "name": "示例", "role": "department", "certificate": "CHAIN"}, "receipt": map[string]any{"index": 4}})
	line := "client add --csr " + csr + " --name 示例 --role department --out " + r.at("a.crt")
	r.want(0, line, "ff", "department", "a.crt")
	if b, err := os.ReadFile(r.at("a.crt")); err != nil || string(b) != "CHAIN" {
		t.Errorf("%q, %v", b, err)
	}
	if want := `{"name":"示例","role":"department","csr":"PEM"}`; string(r.body) != want {
		t.Errorf("sent %s", r.body)
	}
	r.want(1, line, "!a.crt: file already exists")
}

func TestGrantAddSorts(t *testing.T) {
	r := newRemote(t)
	r.says(200, map[string]any{})
	r.want(0, "grant add --id g --client "+strings.Repeat("1", 64)+" --seal 2 --seal 1 --seal 2 --kind ofd --kind digest --purpose b --purpose a --count 3 --from 2030-01-01T00:00:00Z --for 1h",
		"nothing to change")
	if want := `{"id":"g","client":"` + strings.Repeat("1", 64) + `","seals":["1","2"],"any_owner_approves":false,"kinds":["digest","ofd"],"purposes":["a","b"],` +
		`"not_before":"2030-01-01T00:00:00Z","expires":"2030-01-01T01:00:00Z","count":3,"digest_only":false}`; string(r.body) != want {
		t.Errorf("sent %s", r.body)
	}
}

func TestTables(t *testing.T) {
	r := newRemote(t)
	for _, c := range []struct{ line, answer, text string }{
		{"licence get A", `{"uscc":"A","name":"示例公司","status":"active","version":2,"warnings":["division unknown"]}`, "division unknown"},
		{"licence versions A", `{"items":[{"version":1,"kind":"established","name":"示例公司"}]}`, "established"},
		{"impression get i", `{"id":"i","format":"PNG","width_mm":40,"height_mm":40}`, "40 × 40 mm"},
		{"order list --state made", `{"items":[{"id":"o","state":"made","requests":[{"type":"01","state":"made"}]}]}`, "01 made"},
		{"order get o", `{"id":"o","state":"exception","exception":{"code":"x","detail":"why"},"requests":[{"type":"01","state":"made","esid":"4103"}]}`, "x: why"},
		{"seal get 1", `{"seal":{"esid":"1","state":"suspended","holds":[{"reason":"court-freeze","by":{"role":"operator-system"}}]},"key":{"attributes":[{"name":"CKA_SENSITIVE","value":"true"}]}}`, "CKA_SENSITIVE"},
		{"seal resume 1 --reason court-freeze", `{"esid":"1","state":"active"}`, "active"},
		{"client list", `{"items":[{"id":"ff","role":"department"}],"next":"c2"}`, "more: --cursor c2"},
		{"client disable ff --reason lost", `{"log":"l","index":9,"leaf":"AA=="}`, "9 of log l"},
		{"grant list", `{"items":[{"id":"g","any_owner_approves":true,"withdrawn":"over"}]}`, "withdrawn: over"},
		{"delegation list", `{"items":[{"id":"d","seal":"1","count":5}]}`, "in force"},
		{"audit entries --from 5", `{"items":[{"index":5,"kind":"order","actor":{"role":"appliance","id":"seald"}}],"next":"6"}`, "more: --from 6"},
		{"audit proof --index 5", `{"index":5,"size":6}`, `"size": 6`},
		{"clock accept", `{"done":true}`, "done"},
		{"recovery resynchronise", `{"done":false,"next":"another officer"}`, "not done yet: another officer"},
	} {
		t.Run(c.line, func(t *testing.T) {
			r.t = t
			r.says(200, c.answer)
			r.want(0, c.line, c.text)
		})
	}
}

func TestSealFile(t *testing.T) {
	r := newRemote(t)
	r.says(200, []byte{0x30, 0x80})
	r.want(0, "seal esl 1 -f "+r.at("1.esl"), "2 bytes")
	if b, err := os.ReadFile(r.at("1.esl")); err != nil || !bytes.Equal(b, []byte{0x30, 0x80}) {
		t.Errorf("%x, %v", b, err)
	}
	if r.last.URL.Path != "/v1/seals/1/esl" {
		t.Errorf("asked for %s", r.last.URL)
	}
}

// TestProofsAreChecked gets checkpoints and proofs of a real log and checks them here, with the right key and with another.
func TestProofsAreChecked(t *testing.T) {
	r := newRemote(t)
	o, err := newOffice(time.Now().UTC().Add(-time.Hour).Truncate(time.Second))
	if err == nil {
		err = o.writeLog(r.dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	other := r.read("other.hex")
	inclusion, consistency, latest := r.proofs(o)
	r.says(200, latest)
	r.want(0, "audit checkpoint --audit-key "+r.at("audit.pem"), "sealkeeper/")
	r.want(3, "audit checkpoint --audit-key "+other, "!checking the checkpoint")
	r.want(0, "audit checkpoint --output json", `"checkpoint": "sealkeeper/`)
	r.says(200, inclusion)
	r.want(0, "audit proof --index 150 --audit-key "+r.at("audit.pem"), "record 150", "stands in the log of 301 records")
	if r.last.URL.RawQuery != "index=150&size=0" {
		t.Errorf("asked for %s", r.last.URL)
	}
	r.want(3, "audit proof --index 150 --audit-key "+other, "!checking the checkpoint")
	wrong := inclusion
	wrong.Index = 151
	r.says(200, wrong)
	r.want(3, "audit proof --index 151 --audit-key "+r.at("audit.pem"), "!checking the proof")
	r.says(200, consistency)
	kept := r.at("anchor.older")
	r.want(0, "audit consistency --checkpoint "+kept+" --audit-key "+r.at("audit.pem"), "the log of 201 records is the beginning of the one of 301")
	if r.last.URL.RawQuery != "from=201&to=0" {
		t.Errorf("asked for %s", r.last.URL)
	}
	consistency.Hashes[0][0] ^= 1
	r.says(200, consistency)
	r.want(3, "audit consistency --checkpoint "+kept+" --audit-key "+r.at("audit.pem"), "!checking the proof")
	r.want(1, "audit consistency --checkpoint "+kept, "!if any flags in the group [checkpoint audit-key]")
}

func (r *remote) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(r.at(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// proofs opens the log as the appliance would and takes its answers.
func (r *remote) proofs(o office) (p audit.Proof, c audit.Consistency, latest []byte) {
	r.t.Helper()
	ctx := r.t.Context()
	st, log, err := o.open(ctx, r.dir, false)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err1 := log.Inclusion(ctx, 150, 0)
	c, err2 := log.Consistency(ctx, 201, 0)
	latest = log.Checkpoint()
	if err := errors.Join(err1, err2, log.Close(ctx), st.Close()); err != nil {
		r.t.Fatal(err)
	}
	return p, c, latest
}

// TestReconcile: every page is asked for; a finding shows with what mends it and ends with its own code, none ends well.
func TestReconcile(t *testing.T) {
	r := newRemote(t)
	pages := map[string]string{
		"":     `{"enterprises":0,"seals":0,"findings":[{"code":"dead-letter","subject":"filing","detail":"1 messages","mend":"sealctl outbox list filing"}],"next":"l."}`,
		"l.":   `{"enterprises":2,"seals":0,"findings":[],"next":"s."}`,
		"s.":   `{"enterprises":0,"seals":8,"findings":[]}`,
		"none": `{}`,
	}
	r.answer = func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, pages[q.URL.Query().Get("cursor")]) }
	r.want(3, "reconcile", "dead-letter", "mend: sealctl outbox list filing", "1 discrepancies", "2 enterprises, 8 seals")
	r.want(3, "--output json reconcile", `"code": "dead-letter"`, `"seals": 8`)
	pages[""] = `{"findings":[],"next":"l."}`
	r.want(0, "reconcile", "0 discrepancies")
	r.says(403, map[string]any{"code": "not-entitled", "title": "无权操作", "title_en": "Not entitled", "request_id": "r1"})
	r.want(2, "reconcile", "!not-entitled")
}
