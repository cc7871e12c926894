package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"sealkeeper/client"
	"sealkeeper/internal/gm"
	"sealkeeper/signer/placement"
	"sealkeeper/softhsm-test/pdfgen"
)

// pdf has the legal-name seal sign a PDF of five pages: a stamp, a riding seam, a time stamp and a QR code, with the seal's P-256 document key so that
// common readers can check it.
func (s *show) pdf(ctx context.Context, r *result) error {
	esid := r.seals[0].Seal.ESID
	s.say("a security officer gives seal %s a document key; a PDF is sealed with it, over the edges of five pages", esid)
	security, err := s.Client("security")
	if err != nil {
		return err
	}
	equipped, err := security.EquipSeal(ctx, client.NewKey(), esid)
	if err != nil {
		return err
	}
	s.note("document key %s, certificate until %s", equipped.Document.Key, equipped.Document.NotAfter.Format(time.DateOnly))
	plain, key := pdfgen.Document("contract", 5), client.NewKey()
	plan := placement.Plan{Stamps: []placement.Stamp{{Page: 5, X: 125, Y: 190, W: 40, H: 40}}, Riding: []placement.Riding{{Edge: placement.Right, W: 40, H: 40}}}
	approval, err := s.approvalOf(ctx, r.f.USCC, key, esid, plain, plan)
	if err != nil {
		return err
	}
	dept, err := s.Client("department")
	if err != nil {
		return err
	}
	sealed, receipt, err := dept.SignPDF(ctx, key, client.SignatureRequest{Profile: "pades", Seal: esid, Purpose: purpose, Stamps: []client.Stamp{{Page: 5, X: 125, Y: 190, W: 40, H: 40}},
		Riding: []client.Riding{{Edge: "right", W: 40, H: 40}}, Timestamp: true, QR: true, Approval: approval}, plain)
	if err != nil {
		return err
	}
	s.note("record %d, time stamp %s, page %s", receipt.Index, receipt.Timestamp, receipt.Page)
	if err := errors.Join(s.write("plain.pdf", plain), s.write("sealed.pdf", sealed)); err != nil {
		return err
	}
	text, err := s.verify(ctx, "sealed.pdf", "--language", "zh").Output()
	if err != nil {
		return fmt.Errorf("verifying the PDF: %w\n%s", err, text)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		s.note("%s", line)
	}
	return s.pdfsig(ctx)
}

// pdfsig has poppler judge the PDF; where it is not installed that is said.
func (s *show) pdfsig(ctx context.Context) error {
	if _, err := exec.LookPath("pdfsig"); err != nil {
		s.note("pdfsig is not installed (make deps): the PDF was not judged by others")
		return nil
	}
	out, err := exec.CommandContext(ctx, "pdfsig", "-nocert", s.path("sealed.pdf")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Signature is Valid") {
		return fmt.Errorf("pdfsig: %w\n%s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "Signature Validation") || strings.Contains(line, "Signature Type") || strings.Contains(line, "document signed") {
			s.note("pdfsig: %s", strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "-")))
		}
	}
	return nil
}

// approvalOf shows the owner a document's digest and the plan itself.
func (s *show) approvalOf(ctx context.Context, uscc, key, esid string, document []byte, plan placement.Plan) (json.RawMessage, error) {
	id, err := s.ID("department")
	if err != nil {
		return nil, err
	}
	digest := gm.SM3(document)
	var approval json.RawMessage
	err = s.Play(ctx, "/phone/approve", map[string]any{"uscc": uscc, "request": key, "seal": esid, "document": hex.EncodeToString(digest[:]),
		"plan": plan, "purpose": purpose, "client": id, "expires": time.Now().Add(10 * time.Minute)}, &approval)
	return approval, err
}

// stamp has the appliance's time-stamp authority stamp the sealed OFD.
func (s *show) stamp(ctx context.Context, _ *result) error {
	s.say("the appliance's time-stamp authority stamps the sealed OFD")
	out, err := s.Command(ctx, "sealctl", "timestamp", "--document", s.path("sealed.ofd"), "--out", s.path("sealed.ofd.tst")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("time stamp: %w\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
		s.note("%s", line)
	}
	return nil
}
