package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	elicence "sealkeeper/connector/elicence/sim"
	"sealkeeper/connector/sim"
	"sealkeeper/licence"
	"sealkeeper/signer/verify"
	"sealkeeper/softhsm-test/stage"
	"sealkeeper/softhsm-test/synthetic"
)

// national is the national e-licence system on an address of its own, and a stage that is connected with it.
type national struct {
	*scene
	office *elicence.Office
}

func newNational(t *testing.T) *national {
	t.Helper()
	office := mustOf(elicence.NewOffice(nil, time.Now))(t)
	srv := httptest.NewServer(office.Routes())
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	s := own(t, stage.Config{More: []string{`connectors: {systems: [{system: e-licence, url: "` + srv.URL + `", timeout: 2s}]}`}})
	office.Key = s.elicence.Key
	return &national{s, office}
}

// licences lets the department archive licence files.
func (n *national) licences(t *testing.T, count uint64) {
	t.Helper()
	if err := n.grant(t.Context(), func(g *access.Grant) {
		g.Kinds, g.DigestOnly, g.Count = []string{access.KindLicence}, false, count
	}); err != nil {
		t.Fatal(err)
	}
}

// file issues the next version of an enterprise's licence file elsewhere, as a file on disk.
func (n *national) file(t *testing.T, uscc string) (path string, b []byte) {
	t.Helper()
	b = mustOf(n.office.Issue(uscc, "示例外省有限公司"))(t)
	path = filepath.Join(t.TempDir(), "licence.ofd")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b
}

// sealctl runs a command in a role and returns its exit code.
func (n *national) sealctl(t *testing.T, role string, args ...string) (code int, out []byte) {
	t.Helper()
	cmd := n.As(t.Context(), role, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if quit := (*exec.ExitError)(nil); errors.As(err, &quit) {
		t.Logf("sealctl %v: %v %s", args, err, stderr.String())
		return quit.ExitCode(), out
	} else if err != nil {
		t.Fatal(err)
	}
	return 0, out
}

// verify posts a licence file as the department.
func (n *national) verify(t *testing.T, b []byte) client.LicenceReport {
	t.Helper()
	a := mustOf(n.as(t, "department").Do(t.Context(), client.Call{Method: http.MethodPost, Path: "/v1/licences/verify", ContentType: "application/octet-stream", Body: b}))(t)
	var r client.LicenceReport
	if err := json.Unmarshal(a.Body, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// receipt asks for one under a key.
func (n *national) receipt(ctx context.Context, t *testing.T, key, sm3 string) (r client.ArchiveReceipt, err error) {
	t.Helper()
	err = n.as(t, "department").JSON(ctx, "POST", "/v1/licences/archive-receipts", nil, key, client.ArchiveRequest{SM3: sm3, Purpose: purpose, BizNo: "示例-0001"}, &r)
	return r, err
}

// foreign makes up an enterprise that the library does not know.
func (n *national) foreign() string {
	return synthetic.USCC("91", "350100", int(700000+n.ordinal.Add(1)))
}

// TestLicenceArchive goes the way of a department: a file from elsewhere is verified and archived, a receipt is had and checked offline, and survives
// SIGKILL as it is; a broken file is invalid; while the national system is down, nothing becomes unknown.
func TestLicenceArchive(t *testing.T) {
	n := newNational(t)
	n.licences(t, 3)
	uscc := n.foreign()
	path, b := n.file(t, uscc)
	if code, out := n.sealctl(t, "department", "licence", "verify", path); code != 0 {
		t.Fatalf("genuine: exit code %d\n%s", code, out)
	}
	broken := bytes.Clone(b)
	broken[bytes.Index(broken, []byte("Content.xml"))+60] ^= 1
	bad := filepath.Join(t.TempDir(), "broken.ofd")
	if err := os.WriteFile(bad, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := n.sealctl(t, "department", "licence", "verify", bad); code != 3 {
		t.Errorf("broken: exit code %d\n%s", code, out)
	}
	n.office.Behave(sim.Down, -1)
	stray, _ := n.file(t, n.foreign())
	if code, out := n.sealctl(t, "department", "licence", "verify", stray); code != 4 || bytes.Contains(out, []byte("✗ licence")) {
		t.Errorf("while the national system is down: exit code %d\n%s", code, out)
	}
	if r := n.verify(t, b); r.Verdict != string(verify.IndeterminateResult) || r.Licence == nil || r.Licence.USCC != uscc {
		t.Errorf("an archived file while the national system is down: %s, %+v", r.Verdict, r.Licence)
	}
	n.receipts(t, licence.FileSM3(b))
}

// receipts has one, checks it offline, and asks again after a kill.
func (n *national) receipts(t *testing.T, sm3 string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "receipt.p7s")
	key := client.NewKey()
	args := []string{"receipt", "make", "--idempotency-key", key, "--file-sm3", sm3, "--purpose", purpose, "--biz-no", "示例-0001", "--out", out}
	if code, text := n.sealctl(t, "department", args...); code != 0 {
		t.Fatalf("receipt make: exit code %d\n%s", code, text)
	}
	der := mustOf(os.ReadFile(out))(t)
	n.offline(t, der)
	if err := n.KillSeald(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartSeald(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	again, err := n.receipt(t.Context(), t, key, sm3)
	if err != nil || !bytes.Equal(again.Statement, der) {
		t.Errorf("the same request after a kill has another receipt (%v)", err)
	}
	if _, err := n.receipt(t.Context(), t, key, licence.FileSM3([]byte("x"))); client.Code(err) != "idempotency-key-reused" {
		t.Errorf("another request under the key: %v", err)
	}
	if _, err := n.receipt(t.Context(), t, client.NewKey(), licence.FileSM3([]byte("x"))); client.Code(err) != "licence-file-unknown" {
		t.Errorf("a file that nobody verified: %v", err)
	}
}

// offline judges a receipt without the appliance: whole, changed, and without an anchor.
func (n *national) offline(t *testing.T, der []byte) {
	t.Helper()
	root := filepath.Join(n.Dir, "state", "root.pem")
	for what, c := range map[string]struct {
		der  []byte
		more []string
		want int
	}{
		"whole":     {der, []string{"--root", root}, 0},
		"changed":   {bytes.Replace(der, []byte("active"), []byte("aktive"), 1), []string{"--root", root}, 3},
		"cut":       {der[:len(der)/2], []string{"--root", root}, 3},
		"no anchor": {der, nil, 4},
		"TLS root":  {der, []string{"--root", n.CA()}, 4},
	} {
		file := filepath.Join(t.TempDir(), "r.p7s")
		if err := os.WriteFile(file, c.der, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := n.Command(t.Context(), "sealctl", append([]string{"receipt", "verify", file}, c.more...)...)
		text, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != c.want {
			t.Errorf("%s: exit code %d, want %d\n%s", what, got, c.want, text)
		}
	}
}

// TestArchivedChanges: over SIGKILL, a department hears of the change of what it archived, and another department hears nothing.
func TestArchivedChanges(t *testing.T) {
	n := newNational(t)
	n.licences(t, 5)
	mine, others := mustOf(n.establish(t.Context()))(t), mustOf(n.establish(t.Context()))(t)
	_, b := n.file(t, mine.USCC)
	if r := n.verify(t, b); r.Verdict != string(verify.Valid) {
		t.Fatalf("%s: %+v", r.Verdict, r.Findings)
	}
	given := mustOf(n.receipt(t.Context(), t, client.NewKey(), licence.FileSM3(b)))(t)
	for _, e := range []*enterprise{mine, others} {
		if err := n.tell(t.Context(), e, licence.KindRevoked, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.KillSeald(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartSeald(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	var news []client.ArchivedChange
	cursor := ""
	read := func(c *client.Client) (page client.ArchivedChanges, err error) {
		return page, c.JSON(t.Context(), "GET", "/v1/licences/archived/changes", map[string][]string{"cursor": {cursor}}, "", nil, &page)
	}
	if err := until(t.Context(), "the change", func() (bool, error) {
		p, err := read(n.as(t, "department"))
		news, cursor = append(news, p.Items...), p.Next
		return len(news) > 0, err
	}); err != nil {
		t.Fatal(err)
	}
	if c := news[0]; len(news) != 1 || c.USCC != mine.USCC || c.Status != string(licence.RevokedOpen) || c.Archived != 1 || c.Receipt != given.ID {
		t.Errorf("%+v", news)
	}
	cursor = ""
	if p, err := read(n.register(t, "department").Client); err != nil || len(p.Items) != 0 {
		t.Errorf("another department: %+v, %v", p.Items, err)
	}
	if r := n.verify(t, b); r.Verdict != string(verify.Invalid) {
		t.Errorf("revoked here: %s, %+v", r.Verdict, r.Findings)
	}
}
