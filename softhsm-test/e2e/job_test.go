package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/seal"
	"sealkeeper/softhsm-test/ofdgen"
	"sealkeeper/softhsm-test/stage"
)

// TestMainJob is what the appliance exists for, from the licence event to the proof.
func TestMainJob(t *testing.T) {
	s := own(t, stage.Config{})
	s.dpi = draw.DefaultDPI
	e := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	t.Run("four seals", func(t *testing.T) { fourSeals(t, s, e) })
	var receipts []client.Receipt
	t.Run("document", func(t *testing.T) { receipts = append(receipts, sealedTwice(t, s, e)...) })
	t.Run("digest under a delegation", func(t *testing.T) { receipts = append(receipts, delegated(t, s, e)) })
	t.Run("batch", func(t *testing.T) { receipts = append(receipts, batch(t, s, e)...) })
	t.Run("idempotency", func(t *testing.T) { receipts = append(receipts, idempotent(t, s, e)) })
	if t.Failed() {
		return
	}
	proofs := proofsOf(t, s, receipts)
	if err := s.StopSeald(); err != nil {
		t.Fatal(err)
	}
	t.Run("proofs offline", func(t *testing.T) { proven(t, s, receipts, proofs) })
	t.Run("log offline", func(t *testing.T) { logHolds(t, s) })
}

// fourSeals: made together, active, of the right types, keys with read-back attributes; the .esl and its certificate as the seal says.
func fourSeals(t *testing.T, s *scene, e *enterprise) {
	op := s.as(t, "system")
	all := mustOf(s.sealsOf(t.Context(), e.USCC))(t)
	if len(all) != len(set) {
		t.Fatalf("%d seals", len(all))
	}
	keys := map[string]bool{}
	for i, x := range all {
		if x.Type != set[i] || x.State != register.Active || !x.MadeAt.Equal(all[0].MadeAt) || x.Order != e.order {
			t.Errorf("seal %d: %+v", i, x)
		}
		with := mustOf(op.Seal(t.Context(), x.ESID))(t)
		keys[with.Key.ID] = true
		attributes := map[string]string{}
		for _, a := range with.Key.Attributes {
			attributes[a.Name] = a.Value
		}
		for name, want := range map[string]string{"CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false", "CKA_NEVER_EXTRACTABLE": "true", "CKA_ALWAYS_SENSITIVE": "true", "CKA_LOCAL": "true"} {
			if attributes[name] != want {
				t.Errorf("seal %s: %s is %q", x.Type, name, attributes[name])
			}
		}
		if with.Key.Token.Evidence != string(hsm.Simulated) {
			t.Errorf("evidence %q of the test module", with.Key.Token.Evidence)
		}
		esl := mustOf(seal.Parse(mustOf(op.ESL(t.Context(), x.ESID))(t)))(t)
		if esl.Info.ESID != x.ESID || len(esl.Info.Picture.Data) == 0 {
			t.Errorf("the seal of %s says %q", x.ESID, esl.Info.ESID)
		}
	}
	if len(keys) != 4 {
		t.Errorf("%d different keys", len(keys))
	}
}

// sealedTwice: the legal-name seal and the legal representative's seal on one document, each approved; the verifier says valid, and
// invalid after one byte.
func sealedTwice(t *testing.T, s *scene, e *enterprise) []client.Receipt {
	dept := s.as(t, "department")
	doc := ofdgen.Document("端到端测试合同（演示数据）", 3)
	var receipts []client.Receipt
	for _, use := range []struct {
		seal  string
		stamp client.Stamp
	}{{"01", client.Stamp{Page: 3, X: 62, Y: 218, W: 40, H: 40}}, {"05", client.Stamp{Page: 3, X: 148, Y: 228, W: 20, H: 20}}} {
		out := mustOf(s.approved(t, askOFD(e.seals[use.seal], doc, use.stamp), e.phone).sign(t, dept))(t)
		doc, receipts = out.bytes, append(receipts, out.receipt)
	}
	path := filepath.Join(s.Dir, "sealed.ofd")
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, s, path, 0); r.Verdict != "valid" || len(r.Signatures) != 2 {
		t.Errorf("verdict %s, %d signatures: %+v", r.Verdict, len(r.Signatures), r.Findings)
	}
	online := mustOf(dept.Verify(t.Context(), "sealed.ofd", doc))(t)
	if online.Verdict != "valid" {
		t.Errorf("the appliance's own verdict: %+v", online)
	}
	for _, sig := range online.Signatures {
		if result(sig, "seal-status") != "pass" || result(sig, "coverage") != "pass" {
			t.Errorf("signature %s: %+v", sig.ID, sig.Checks)
		}
	}
	bad := bytes.Clone(doc)
	bad[bytes.Index(bad, []byte("Content.xml"))+200] ^= 1
	path = filepath.Join(s.Dir, "tampered.ofd")
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, s, path, 3); r.Verdict != "invalid" {
		t.Errorf("tampered: %s", r.Verdict)
	}
	return receipts
}

func result(s client.SignatureReport, code string) string {
	for _, c := range s.Checks {
		if c.Code == code {
			return c.Result
		}
	}
	return ""
}

// verified asks sealctl offline, with the SM2 root as the only trust beside the certificates of the package.
func verified(t *testing.T, s *scene, path string, exit int, more ...string) client.Report {
	t.Helper()
	at := func(name string) string { return filepath.Join(s.Dir, "state", name) }
	args := append([]string{"verify", "--output", "json", "--root", at("root.pem"), "--intermediate", at("issuing.pem"), "--maker", at("maker.pem"),
		"--document-root", at("client-ca.pem"), "--timestamp-root", at("root.pem"), "--timestamp-root", at("client-ca.pem")}, more...)
	out, err := s.Command(t.Context(), "sealctl", append(args, path)...).Output()
	if code := exitCode(t, err); code != exit {
		t.Errorf("sealctl verify exits %d, want %d", code, exit)
	}
	var all []client.Report
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		t.Fatalf("sealctl verify: %v\n%s", err, out)
	}
	return all[0]
}

func exitCode(t testing.TB, err error) int {
	t.Helper()
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// delegated: one digest signed under a delegation of exactly one use; the second is refused.
func delegated(t *testing.T, s *scene, e *enterprise) client.Receipt {
	dept := s.as(t, "department")
	id := mustOf(s.delegate(t.Context(), e, "02", 1))(t)
	doc := []byte("示例账单（演示数据）")
	a := askDigest(e.seals["02"], doc)
	a.request.Delegation = id
	out := mustOf(a.sign(t, dept))(t)
	sig := mustOf(seal.ParseSignature(out.bytes))(t)
	if d := gm.SM3(doc); sig.DataHash != d {
		t.Errorf("dataHash %x, want %x", sig.DataHash, d)
	}
	b := askDigest(e.seals["02"], doc)
	b.request.Delegation = id
	if _, err := b.sign(t, dept); client.Code(err) != "delegation-spent" {
		t.Errorf("second use: %v", err)
	}
	return out.receipt
}

// batch: several digests in one call, one of them refused without holding the others back; repeated, the same bytes.
func batch(t *testing.T, s *scene, e *enterprise) []client.Receipt {
	dept := s.as(t, "department")
	id := mustOf(s.delegate(t.Context(), e, "01", 100))(t)
	items := make([]client.BatchItem, 12)
	for i := range items {
		a := askDigest(e.seals["01"], fmt.Appendf(nil, "示例 %d", i))
		a.request.Delegation = id
		items[i] = client.BatchItem{Key: a.key, SignatureRequest: a.request}
	}
	items[5].Delegation = ""
	first := mustOf(dept.SignBatch(t.Context(), client.NewKey(), items))(t)
	second := mustOf(dept.SignBatch(t.Context(), client.NewKey(), items))(t)
	var plain struct { // the same in JSON, as who names no other form of answer gets it
		Outcomes []client.BatchOutcome `json:"outcomes"`
	}
	if err := dept.JSON(t.Context(), "POST", "/v1/signatures/batch", nil, client.NewKey(), map[string]any{"items": items}, &plain); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.BatchOutcome{plain.Outcomes[5], second[5]} {
		o.Problem.RequestID = ""
	}
	if !reflect.DeepEqual(plain.Outcomes, second) {
		t.Errorf("JSON and the compact form differ: %+v, %+v", plain.Outcomes, second)
	}
	var receipts []client.Receipt
	for i, o := range first {
		if i == 5 {
			if o.Signature != nil || o.Problem == nil || o.Problem.Code != "approval-missing" {
				t.Errorf("item without consent: %+v", o)
			}
			continue
		}
		if o.Problem != nil {
			t.Fatalf("item %d: %v", i, o.Problem)
		}
		if second[i].Signature == nil || !bytes.Equal(second[i].Signature.Signature, o.Signature.Signature) || second[i].Receipt.Index != o.Receipt.Index {
			t.Errorf("item %d again: other bytes", i)
		}
		receipts = append(receipts, o.Receipt)
	}
	return receipts
}

// idempotent: the same key with the same body gives the same bytes and no second record; with another body a conflict.
func idempotent(t *testing.T, s *scene, e *enterprise) client.Receipt {
	dept := s.as(t, "department")
	a := s.approved(t, askOFD(e.seals["01"], ofdgen.Document("同一请求（演示数据）", 1)), e.phone)
	first := mustOf(a.sign(t, dept))(t)
	size := s.logSize(t)
	again := mustOf(a.sign(t, dept))(t)
	if !bytes.Equal(first.bytes, again.bytes) || first.receipt.Index != again.receipt.Index || first.receipt.Leaf != again.receipt.Leaf {
		t.Error("the same request again gave another answer")
	}
	if now := s.logSize(t); now != size {
		t.Errorf("the same request again made records: %d to %d", size, now)
	}
	other := a
	other.document = ofdgen.Document("另一份文件（演示数据）", 1)
	if _, err := other.sign(t, dept); client.Code(err) != "idempotency-key-reused" {
		t.Errorf("another body under the same key: %v", err)
	}
	// A mutating JSON route keeps the same promise.
	security := s.as(t, "security")
	key, id := client.NewKey(), client.NewKey()
	register := func(name string) error {
		prefix := filepath.Join(s.Dir, "clients", id)
		if _, err := os.Stat(prefix + ".csr"); err != nil {
			if out, err := s.Command(t.Context(), "sealctl", "csr", "--name", name, "--out", prefix).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		csr := mustOf(os.ReadFile(prefix + ".csr"))(t)
		_, _, err := security.RegisterClient(t.Context(), key, client.Registration{Name: name, Role: "department", CSR: string(csr)})
		return err
	}
	for range 2 {
		if err := register("示例部门"); err != nil {
			t.Error(err)
		}
	}
	if err := register("另一示例部门"); client.Code(err) != "idempotency-key-reused" {
		t.Errorf("another client under the same key: %v", err)
	}
	return first.receipt
}

// proofsOf fetches the proof of each receipt's record.
func proofsOf(t *testing.T, s *scene, receipts []client.Receipt) []audit.Proof {
	auditor := s.as(t, "audit")
	var all []audit.Proof
	for _, r := range receipts {
		var p audit.Proof
		if err := auditor.JSON(t.Context(), "GET", "/v1/audit/proof", url.Values{"index": {fmt.Sprint(r.Index)}}, "", nil, &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// proven checks every proof with nothing but the audit key and the record's bytes from the stopped daemon's file.
func proven(t *testing.T, s *scene, receipts []client.Receipt, proofs []audit.Proof) {
	key := s.auditKey(t)
	raw := s.rawRecords(t)
	for i, p := range proofs {
		leaf := mustOf(p.Leaf.MarshalText())(t)
		if p.Index != receipts[i].Index || string(leaf) != receipts[i].Leaf {
			t.Errorf("the proof is for record %d leaf %s, the receipt says %d %s", p.Index, leaf, receipts[i].Index, receipts[i].Leaf)
		}
		c, err := audit.VerifyInclusion(key, p, raw[p.Index])
		if err != nil {
			t.Errorf("record %d: %v", p.Index, err)
		}
		if c.Size <= p.Index {
			t.Errorf("record %d under a checkpoint of size %d", p.Index, c.Size)
		}
		bad := bytes.Clone(raw[p.Index])
		bad[len(bad)/2] ^= 1
		if _, err := audit.VerifyInclusion(key, p, bad); !errors.Is(err, audit.ErrProof) {
			t.Errorf("record %d with one bit changed: %v", p.Index, err)
		}
	}
}

// auditKey is the public key from the file that init wrote.
func (s *scene) auditKey(t testing.TB) *gm.PublicKey {
	t.Helper()
	block, _ := pem.Decode(mustOf(os.ReadFile(filepath.Join(s.Dir, "state", "audit.pem")))(t))
	return mustOf(gm.CertificateKey(mustOf(gm.ParseCertificate(block.Bytes))(t)))(t)
}

func (s *scene) storePath() string { return filepath.Join(s.Dir, "state", "sealkeeper.db") }

// rawRecords reads the log of a stopped daemon.
func (s *scene) rawRecords(t testing.TB) [][]byte {
	t.Helper()
	f := mustOf(store.OpenFile(s.storePath()))(t)
	defer f.Close()
	var all [][]byte
	if err := f.Records(t.Context(), func(_ uint64, raw []byte) error { all = append(all, bytes.Clone(raw)); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// logHolds rebuilds the log from the file alone.
func logHolds(t *testing.T, s *scene) {
	t.Helper()
	out, err := s.Command(t.Context(), "sealctl", "audit", "verify", "--output", "json", "--file", s.storePath(), "--key", filepath.Join(s.Dir, "state", "audit.pem")).Output()
	if code := exitCode(t, err); code != 0 {
		t.Errorf("sealctl audit verify exits %d\n%s", code, out)
	}
	var r audit.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Bad != nil || r.Records == 0 || r.Covered != r.Records {
		t.Errorf("report %+v", r)
	}
}
