package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/stage"
)

// TestLaw01KeysAsTheModuleTells asks the module with nothing of ours: every private key is sensitive, was never extractable and was born in
// the token, and the keys of the seals are among them.
func TestLaw01KeysAsTheModuleTells(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	list := s.pkcs11(t, "-O", "--type", "privkey")
	keys, good := strings.Count(list, "Private Key Object"), strings.Count(list, "sensitive, always sensitive, never extractable, local")
	if keys < 10 || keys != good {
		t.Errorf("%d private keys, %d of them sensitive, never extractable, local\n%s", keys, good, list)
	}
	for _, x := range mustOf(s.sealsOf(t.Context(), e.USCC))(t) {
		if id := x.Key.String(); !strings.Contains(list, id) {
			t.Errorf("the token does not list key %s of seal %s", id, x.ESID)
		}
	}
}

// pkcs11 runs OpenSC's tool on the stage's token. The PIN goes by an environment variable of that one process.
func (s *scene) pkcs11(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "pkcs11-tool", append([]string{"--module", s.Token.Module, "--token-label", s.Token.Label, "--login", "--pin", "env:TOKEN_PIN"}, args...)...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Token.Conf, "TOKEN_PIN="+s.Token.PIN())
	var complaints bytes.Buffer
	cmd.Stderr = &complaints // apart, or its lines would stand in the middle of the list
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pkcs11-tool %v: %v\n%s", args, err, complaints.String())
	}
	return string(out)
}

// TestLaw02RecordOutlivesTheAnswer kills the daemon as soon as a signature is in the caller's hands: its record is there.
func TestLaw02RecordOutlivesTheAnswer(t *testing.T) {
	s := own(t, stage.Config{})
	l := newLoad(t, s)
	w := &witness{load: l, key: s.auditKey(t)}
	for range 3 {
		r := mustOf(l.digest())(t)
		if err := l.ask(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := s.KillSeald(); err != nil {
			t.Fatal(err)
		}
		if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		w.onRecord(t, r.receipts[0])
		w.sameAgain(t, r)
	}
}

// TestLaw03OrderOverHTTP refuses requests in which everything is wrong at once: the answer tells only of the first question.
func TestLaw03OrderOverHTTP(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	stranger := s.register(t, "department")
	dept := s.as(t, "department")
	if err := s.grant(t.Context(), func(g *access.Grant) { g.Seals = []string{e.seals["02"]} }); err != nil {
		t.Fatal(err)
	}
	// Nothing is right: no approval, and a document that is none.
	ask := func(c *client.Client) string {
		_, err := askOFD(e.seals["02"], []byte("示例")).sign(t, c)
		return client.Code(err)
	}
	want := func(state, forDepartment string) {
		t.Helper()
		if got := ask(stranger.Client); got != "not-entitled" {
			t.Errorf("%s: a stranger learns %q", state, got)
		}
		if got := ask(dept); got != forDepartment {
			t.Errorf("%s: %q, want %q", state, got, forDepartment)
		}
	}
	want("all active", "approval-missing")
	if _, err := s.as(t, "security").ChangeSeal(t.Context(), client.NewKey(), e.seals["02"], client.Suspend, client.Reason{Reason: string(register.ReasonMisuse), Evidence: "演示-2"}); err != nil {
		t.Fatal(err)
	}
	want("seal suspended", "seal-inactive")
	if err := s.tell(t.Context(), e, licence.KindRevoked, 0); err != nil {
		t.Fatal(err)
	}
	want("licence revoked too", "licence-inactive")
}

// TestLaw03SuspensionWinsOverHTTP suspends and resumes a seal under load: behind the record of a suspension there is no signature of that seal
// before it is resumed, and a request sent after the acknowledgement is refused.
func TestLaw03SuspensionWinsOverHTTP(t *testing.T) {
	s := own(t, stage.Config{})
	l := newLoad(t, s)
	security, esid := s.as(t, "security"), l.owner.seals["01"]
	from := s.logSize(t)
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	errs := make(chan error, 4)
	for range 4 {
		workers.Go(func() { errs <- l.signUntil(ctx) })
	}
	why := client.Reason{Reason: string(register.ReasonMisuse), Evidence: "演示-3"}
	for range 10 {
		at := l.acknowledged.Load()
		if err := until(t.Context(), "signatures", func() (bool, error) { return l.acknowledged.Load() >= at+20, nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := security.ChangeSeal(t.Context(), client.NewKey(), esid, client.Suspend, why); err != nil {
			t.Fatal(err)
		}
		if err := l.ask(t.Context(), mustOf(l.digest())(t)); client.Code(err) != "seal-inactive" {
			t.Errorf("after the acknowledged suspension: %v", err)
		}
		if _, err := security.ChangeSeal(t.Context(), client.NewKey(), esid, client.Resume, why); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	workers.Wait()
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s.noneWhileSuspended(t, from, esid)
}

// signUntil signs digests; seal-inactive is the only refusal.
func (l *load) signUntil(ctx context.Context) error {
	for ctx.Err() == nil {
		r, err := l.digest()
		if err != nil {
			return err
		}
		if err = l.ask(ctx, r); err == nil {
			l.acknowledged.Add(1)
		} else if !broken(err) && client.Code(err) != "seal-inactive" {
			return err
		}
	}
	return nil
}

func (s *scene) noneWhileSuspended(t *testing.T, from uint64, esid string) {
	t.Helper()
	suspended, suspensions, signatures := false, 0, 0
	for _, x := range mustOf(s.entries(t.Context(), from))(t) {
		if x.Subject != esid {
			continue
		}
		switch x.Kind {
		case audit.KindSealState:
			var d struct{ To register.State }
			if err := json.Unmarshal(x.Detail, &d); err != nil {
				t.Fatal(err)
			}
			if suspended = d.To == register.Suspended; suspended {
				suspensions++
			}
		case audit.KindSignature:
			if signatures++; suspended {
				t.Errorf("record %d is a signature of a suspended seal", x.Index)
			}
		}
	}
	if suspensions != 10 || signatures < 100 {
		t.Errorf("%d suspensions, %d signatures on record", suspensions, signatures)
	}
}

// TestLaw05NoRouteReturnsAnImpression fetches everything that can be fetched, in every role, and looks for the filed picture in any dress; so
// it does in the files that a stopped appliance leaves.
func TestLaw05NoRouteReturnsAnImpression(t *testing.T) {
	s := own(t, stage.Config{More: []string{feedsDown}})
	e := s.newEnterprise()
	if err := s.tell(t.Context(), e, licence.KindEstablished, 0); err != nil {
		t.Fatal(err)
	}
	var pictures [][]byte
	ids := map[string]bool{}
	for _, sealType := range set {
		// A PNG's picture stands compressed alike in the made seal, which is the seal's; nothing of a JPEG does.
		f := asJPEG(t, mustOf(s.filing(e, sealType, draw.DefectNone))(t))
		pictures = append(pictures, f.Image)
		var taken client.ImpressionTaken
		if err := s.send(t.Context(), "public-security", "/v1/impressions", f.FilingNumber, mustOf(s.police.File(f))(t), &taken); err != nil {
			t.Fatal(err)
		}
		ids[taken.Impression.ID] = true
	}
	if err := s.awaitMade(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := s.collect(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	s.fetchAll(t, e, ids, func(what string, b []byte) { absent(t, what, b, pictures) })
	s.readsOnRecord(t, ids)
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"state", "token"} {
		s.eachFile(t, dir, func(path string, b []byte) { absent(t, path, b, pictures) })
	}
}

// asJPEG is a filing with its picture in another format.
func asJPEG(t *testing.T, f register.Filing) register.Filing {
	t.Helper()
	picture := mustOf(png.Decode(bytes.NewReader(f.Image)))(t)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	f.Image, f.Format = out.Bytes(), "JPEG"
	return f
}

// feedsDown connects feeds whose systems are never there, so that their routes answer.
const feedsDown = `connectors: {systems: [{system: registration, url: "http://127.0.0.1:9", every: 1h}, {system: public-security, url: "http://127.0.0.1:9", every: 1h}]}`

// fetchAll calls every GET route with every identifier that exists, in every role.
func (s *scene) fetchAll(t *testing.T, e *enterprise, impressions map[string]bool, look func(what string, b []byte)) {
	t.Helper()
	published, held := s.published(t, e), s.carry(t, "system", planned(t, t.TempDir(), "  - action: renew-key\n    purpose: tsa-p256\n", 2), "security", "audit").ID
	for row := range matrix {
		method, path, _ := strings.Cut(row, " ")
		if method != "GET" {
			continue
		}
		var paths []string
		switch {
		case strings.Contains(path, "{esid}"):
			path = strings.ReplaceAll(path, "{kind}", "made")
			for _, esid := range e.seals {
				paths = append(paths, strings.ReplaceAll(path, "{esid}", esid))
			}
		case strings.HasPrefix(path, "/v1/impressions/"):
			for id := range impressions {
				paths = append(paths, strings.ReplaceAll(path, "{id}", id))
			}
		case strings.HasPrefix(path, "/v/"):
			paths = []string{"/v/" + published}
		case strings.HasPrefix(path, "/v1/ceremonies/"):
			paths = []string{strings.ReplaceAll(path, "{id}", held)}
		case strings.HasPrefix(path, "/v1/feeds/"):
			paths = []string{strings.ReplaceAll(path, "{feed}", "registration"), strings.ReplaceAll(path, "{feed}", "public-security")}
		case strings.Contains(path, "/code") || strings.HasPrefix(path, "/c/"):
			code := s.entityCode(t, e)
			paths = []string{strings.NewReplacer("{uscc}", e.USCC, "{id}", code.ID).Replace(path)}
		case strings.HasPrefix(path, "/v1/certificates"):
			paths = []string{strings.ReplaceAll(path, "{certificate}", s.permit(t, e))}
			if path == "/v1/certificates" {
				paths[0] += "?uscc=" + e.USCC
			}
		case path == "/v1/licences":
			paths = []string{path + "?status=active"}
		default:
			paths = []string{strings.NewReplacer("{id}", e.order, "{uscc}", e.USCC).Replace(path)}
		}
		for _, p := range paths {
			found := false
			for _, role := range callers {
				a, err := s.as(t, role).Do(t.Context(), client.Call{Method: "GET", Path: p})
				if err == nil {
					found = true
					look(role+" "+p, a.Body)
				} else if client.Code(err) != "not-entitled" {
					t.Errorf("%s %s: %v", role, p, err)
				}
			}
			if !found {
				t.Errorf("%s answers nobody", p)
			}
		}
	}
	q := url.Values{"uscc": {e.USCC}}
	a := mustOf(s.as(t, "system").Do(t.Context(), client.Call{Method: "GET", Path: "/v1/orders", Query: q}))(t)
	look("orders", a.Body)
}

// published gives every seal what can be fetched of one: a document key, and for the first a published signature, whose page it returns.
func (s *scene) published(t *testing.T, e *enterprise) (page string) {
	t.Helper()
	for _, esid := range e.seals {
		s.equipped(t, esid)
	}
	if err := s.grant(t.Context(), func(g *access.Grant) { g.Seals = []string{e.seals["01"]} }); err != nil {
		t.Fatal(err)
	}
	s.papered(t, t.TempDir(), e)
	digest := gm.SM3([]byte("示例"))
	got := s.asked(t, e, client.SignatureRequest{Kind: "digest", Seal: e.seals["01"], Digest: hex.EncodeToString(digest[:]), QR: true}, nil)
	return got.receipt.Page[strings.LastIndex(got.receipt.Page, "/")+1:]
}

// absent looks for pieces of the pictures, raw, in hexadecimal and in base64 at each of its three phases.
func absent(t *testing.T, what string, b []byte, pictures [][]byte) {
	t.Helper()
	for n, p := range pictures {
		for _, at := range []int{len(p) / 3, len(p) / 2, len(p) - 64} {
			piece := p[at : at+48]
			looks := [][]byte{piece, []byte(hex.EncodeToString(piece)), []byte(strings.ToUpper(hex.EncodeToString(piece)))}
			for phase := range 3 {
				text := base64.StdEncoding.EncodeToString(piece[phase : phase+45])
				looks = append(looks, []byte(text), []byte(strings.NewReplacer("+", "-", "/", "_").Replace(text)))
			}
			if slices.ContainsFunc(looks, func(look []byte) bool { return bytes.Contains(b, look) }) {
				t.Errorf("%s holds the filed picture %d", what, n)
			}
		}
	}
}

// readsOnRecord: each impression was decrypted for a purpose of the list, and the log says so.
func (s *scene) readsOnRecord(t *testing.T, ids map[string]bool) {
	t.Helper()
	read := map[string]string{}
	for _, x := range mustOf(s.entries(t.Context(), 0))(t) {
		if x.Kind == audit.KindImpressionRead {
			var d struct{ Purpose string }
			if err := json.Unmarshal(x.Detail, &d); err != nil {
				t.Fatal(err)
			}
			read[x.Subject] = d.Purpose
		}
	}
	for id := range ids {
		if read[id] != "make" {
			t.Errorf("impression %s was made into a seal; its record of decryption says %q", id, read[id])
		}
	}
}

// eachFile visits the files of a folder of the stage.
func (s *scene) eachFile(t *testing.T, dir string, look func(path string, b []byte)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir, dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			look(path, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLaw05DaemonCannotDraw lists what seald links: nothing of the simulators, and nothing that draws.
func TestLaw05DaemonCannotDraw(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "sealkeeper/cmd/seald").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "sealkeeper/seal/impression") {
		t.Fatal(errors.New("the list is not of seald"))
	}
	for _, p := range linked {
		if strings.HasPrefix(p, "sealkeeper/connector/") && strings.Contains(p+"/", "/sim/") || strings.HasPrefix(p, "sealkeeper/softhsm-test") ||
			slices.Contains([]string{"image/draw", "golang.org/x/image/vector", "golang.org/x/image/font", "sealkeeper/internal/gm/softkey"}, p) {
			t.Error(fmt.Sprint("seald links ", p))
		}
	}
}
