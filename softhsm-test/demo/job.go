package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/licence"
	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/ofdgen"
)

// mainJob is what the appliance exists for, once, from event to proof.
func mainJob(ctx context.Context, s *show) error {
	f := fields(1)
	s.say("%s %s: licence event, four impressions filed by public security", f.USCC, f.Name)
	order, err := s.establish(ctx, f)
	if err != nil {
		return err
	}
	all, err := s.issued(ctx, f, order)
	if err != nil {
		return err
	}
	r, err := s.sealing(ctx, f, all)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, *result) error{s.judge, s.refused, s.tampered, s.openssl, s.pdf, s.stamp, s.token, s.proof, s.page, s.offline} {
		if err := step(ctx, r); err != nil {
			return err
		}
	}
	s.say("every step held, %.1f s; look at %s", time.Since(s.start).Seconds(), s.path("index.html"))
	return nil
}

// issued shows the four seals, keeps their files, and has the owner collect them.
func (s *show) issued(ctx context.Context, f licence.Fields, order string) ([]sealed, error) {
	s.say("four seals, made together; keys as the token reports them")
	all, err := s.seals(ctx, f.USCC)
	if err != nil {
		return nil, err
	}
	if len(all) != len(set) {
		return nil, fmt.Errorf("%d seals instead of %d", len(all), len(set))
	}
	table(all)
	op, err := s.Client("system")
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		a, err := op.Do(ctx, client.Call{Method: "GET", Path: "/v1/seals/" + x.Seal.ESID + "/esl"})
		if err != nil {
			return nil, err
		}
		if err := s.write("seal-"+x.Seal.Type+".esl", a.Body); err != nil {
			return nil, err
		}
		src := s.path("sim", "impressions", f.USCC+"-"+x.Seal.Type+".png")
		if b, err := os.ReadFile(src); err != nil {
			return nil, err
		} else if err := s.write("impression-"+x.Seal.Type+".png", b); err != nil {
			return nil, err
		}
	}
	s.say("%s collects: the licence system vouches for the owner's device", f.LegalRep)
	return all, s.Play(ctx, "/e-licence/collect", map[string]string{"uscc": f.USCC, "order": order}, nil)
}

// result is what the sealing left.
type result struct {
	f        licence.Fields
	seals    []sealed
	plain    []byte
	document []byte
	receipts []client.Receipt
	report   json.RawMessage
	proof    json.RawMessage
}

const purpose = "演示.合同签署"

// sealing has a department ask, the owner approve, and two seals stand on a three-page document.
func (s *show) sealing(ctx context.Context, f licence.Fields, all []sealed) (*result, error) {
	if err := s.grant(ctx, "demo-grant", "ofd", "pdf"); err != nil {
		return nil, err
	}
	r := &result{f: f, seals: all, plain: ofdgen.Document("示例合同（演示数据）", 3)}
	r.document = r.plain
	for _, use := range []struct {
		seal  sealed
		stamp client.Stamp
	}{{all[0], client.Stamp{Page: 3, X: ofdgen.NameSealX, Y: ofdgen.NameSealY, W: 40, H: 40}}, {all[3], client.Stamp{Page: 3, X: ofdgen.PersonSealX, Y: ofdgen.PersonSealY, W: 20, H: 20}}} {
		s.say("the department asks, the owner approves on the phone, seal %s signs", use.seal.Seal.Type)
		if err := s.seal(ctx, r, use.seal.Seal.ESID, use.stamp); err != nil {
			return nil, err
		}
	}
	return r, errors.Join(s.write("plain.ofd", r.plain), s.write("sealed.ofd", r.document))
}

// seal runs one request: digest and placement are shown to the owner, whose approval goes along with the document.
func (s *show) seal(ctx context.Context, r *result, esid string, st client.Stamp) error {
	dept, err := s.Client("department")
	if err != nil {
		return err
	}
	key := client.NewKey()
	approval, err := s.approval(ctx, r.f.USCC, key, esid, r.document, st)
	if err != nil {
		return err
	}
	req := client.SignatureRequest{Kind: "ofd", Seal: esid, Purpose: purpose, Stamps: []client.Stamp{st}, Approval: approval}
	out, receipt, err := dept.SignOFD(ctx, key, req, r.document)
	if err != nil {
		return err
	}
	again, _, err := dept.SignOFD(ctx, key, req, r.document)
	if err != nil {
		return fmt.Errorf("asking again with the same key: %w", err)
	}
	if !bytes.Equal(out, again) {
		return errors.New("the same request again gave other bytes")
	}
	s.note("record %d, leaf %.16s…", receipt.Index, receipt.Leaf)
	r.document, r.receipts = out, append(r.receipts, receipt)
	return nil
}

func (s *show) approval(ctx context.Context, uscc, key, esid string, document []byte, st client.Stamp) (json.RawMessage, error) {
	id, err := s.ID("department")
	if err != nil {
		return nil, err
	}
	digest := gm.SM3(document)
	placement := ofd.PlacementDigest([]ofd.Stamp{{Page: st.Page, X: st.X, Y: st.Y, W: st.W, H: st.H}})
	var approval json.RawMessage
	err = s.Play(ctx, "/phone/approve", map[string]any{"uscc": uscc, "request": key, "seal": esid, "document": hex.EncodeToString(digest[:]),
		"placement": hex.EncodeToString(placement[:]), "purpose": purpose, "client": id, "expires": time.Now().Add(10 * time.Minute)}, &approval)
	return approval, err
}

// judge verifies offline, with the roots as the only trust.
func (s *show) judge(ctx context.Context, r *result) error {
	s.say("verify, offline, trusting the SM2 root alone")
	text, err := s.verify(ctx, "sealed.ofd", "--language", "zh").Output()
	if err != nil {
		return fmt.Errorf("verifying: %w\n%s", err, text)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		s.note("%s", line)
	}
	if r.report, err = s.verify(ctx, "sealed.ofd", "--output", "json").Output(); err != nil {
		return fmt.Errorf("verifying: %w", err)
	}
	return s.write("report.json", r.report)
}

// verify prepares the offline verifier.
func (s *show) verify(ctx context.Context, file string, args ...string) *exec.Cmd {
	at := func(name string) string { return s.path("state", name) }
	args = append([]string{"verify", "--root", at("root.pem"), "--intermediate", at("issuing.pem"), "--maker", at("maker.pem"),
		"--document-root", at("client-ca.pem"), "--timestamp-root", at("root.pem"), "--timestamp-root", at("client-ca.pem")}, args...)
	cmd := s.Command(ctx, "sealctl", append(args, file)...)
	cmd.Dir = s.Dir // so that reports name the file, not the machine
	return cmd
}

// refused asks for the same without the owner's approval.
func (s *show) refused(ctx context.Context, r *result) error {
	s.say("the same without approval is refused")
	dept, err := s.Client("department")
	if err != nil {
		return err
	}
	_, _, err = dept.SignOFD(ctx, client.NewKey(), client.SignatureRequest{Kind: "ofd", Seal: r.seals[0].Seal.ESID, Purpose: purpose,
		Stamps: []client.Stamp{{Page: 3, X: 120, Y: 200, W: 40, H: 40}}}, r.plain)
	if client.Code(err) != "approval-missing" {
		return fmt.Errorf("without approval: %v, want the problem approval-missing", err)
	}
	s.note("%v", err)
	return nil
}

// tampered changes one byte of a protected part and asks for the verdict.
func (s *show) tampered(ctx context.Context, r *result) error {
	s.say("one byte changed")
	bad, err := oneByte(r.document)
	if err != nil {
		return err
	}
	if err := s.write("tampered.ofd", bad); err != nil {
		return err
	}
	text, err := s.verify(ctx, "tampered.ofd", "--language", "zh").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		return fmt.Errorf("verifying the tampered file: exit %v, want 3\n%s", err, text)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.Contains(line, "✗") || strings.HasPrefix(line, "tampered.ofd") {
			s.note("%s", line)
		}
	}
	s.note("exit code 3")
	return nil
}

// openssl checks a signature over SES_SealInfo and one over TBS_Sign with nothing of ours.
func (s *show) openssl(ctx context.Context, r *result) error {
	s.say("openssl verifies the maker's signature on a seal and the seal's signature on the document")
	if err := extract(r.document, "/Doc_0/Signs/Sign_0/SignedValue.dat", s.path("SignedValue.dat")); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, filepath.Join("softhsm-test", "demo", "verify-with-openssl.sh"), s.path("seal-01.esl"), s.path("SignedValue.dat")).CombinedOutput()
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		s.note("%s", line)
	}
	return err
}

// token shows the keys as pkcs11-tool sees them.
func (s *show) token(ctx context.Context, _ *result) error {
	s.say("pkcs11-tool on the same token")
	pin, err := os.ReadFile(s.Token.PINFile)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "pkcs11-tool", "--module", s.Token.Module, "--token-label", s.Token.Label, "--login", "--pin", "env:SEALKEEPER_DEMO_PIN", "-O", "--type", "privkey")
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Token.Conf, "SEALKEEPER_DEMO_PIN="+strings.TrimSpace(string(pin)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("pkcs11-tool: %w\n%s", err, out)
	}
	keys, good := strings.Count(string(out), "Private Key Object"), strings.Count(string(out), "sensitive, always sensitive, never extractable, local")
	s.note("%d private keys, %d of them sensitive, always sensitive, never extractable, local", keys, good)
	if keys == 0 || keys != good {
		return fmt.Errorf("pkcs11-tool shows other keys:\n%s", out)
	}
	return s.write("pkcs11-tool.txt", out)
}

// proof shows where the record of the first signature stands.
func (s *show) proof(ctx context.Context, r *result) error {
	s.say("the record's proof")
	auditor, err := s.Client("audit")
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/v1/audit/proof?index=%d", r.receipts[0].Index)
	a, err := auditor.Do(ctx, client.Call{Method: "GET", Path: path})
	if err != nil {
		return err
	}
	r.proof = a.Body
	var p struct {
		Index  uint64   `json:"index"`
		Size   uint64   `json:"size"`
		Leaf   string   `json:"leaf"`
		Hashes []string `json:"hashes"`
	}
	if err := json.Unmarshal(a.Body, &p); err != nil {
		return err
	}
	if p.Index != r.receipts[0].Index || p.Leaf != r.receipts[0].Leaf {
		return fmt.Errorf("the proof is for record %d leaf %s, the receipt says %d %s", p.Index, p.Leaf, r.receipts[0].Index, r.receipts[0].Leaf)
	}
	s.note("record %d of %d, %d hashes to the signed root", p.Index, p.Size, len(p.Hashes))
	return s.write("proof.json", a.Body)
}

// offline stops the daemon and rebuilds the log from the file alone.
func (s *show) offline(ctx context.Context, _ *result) error {
	if err := s.Close(); err != nil {
		return err
	}
	s.say("stopped; the log is rebuilt from the file alone")
	out, err := s.Command(ctx, "sealctl", "audit", "verify", "--file", s.path("state", "sealkeeper.db"), "--key", s.path("state", "audit.pem")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("verifying the log: %w\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		s.note("%s", line)
	}
	return nil
}
