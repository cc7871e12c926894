package e2e

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sealkeeper/client"
	"sealkeeper/seal"
	"sealkeeper/signer/ofd"
	"sealkeeper/softhsm-test/ofdgen"
)

// TestSealedOFD: two seals, a riding seam over five pages and time stamps verify offline with the SM2 root alone; the same bytes come again.
func TestSealedOFD(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	first := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["01"], Timestamp: true,
		Stamps: []client.Stamp{{Page: 5, X: ofdgen.NameSealX, Y: ofdgen.NameSealY, W: 40, H: 40}}, Riding: []client.Riding{{Edge: "right", W: 40, H: 40}}}, ofdgen.Document("演示合同", 5))
	second := s.asked(t, e, client.SignatureRequest{Kind: "ofd", Seal: e.seals["05"], Timestamp: true,
		Stamps: []client.Stamp{{Page: 5, X: ofdgen.PersonSealX, Y: ofdgen.PersonSealY, W: 20, H: 20}}}, first.bytes)
	path := filepath.Join(t.TempDir(), "sealed.ofd")
	write(t, path, second.bytes)
	report := verified(t, s, path, 0)
	if report.Verdict != "valid" || len(report.Signatures) != 2 {
		t.Fatalf("report %+v", report)
	}
	for _, sig := range report.Signatures {
		for _, code := range []string{"timestamp", "references", "signature-value", "seal-signature"} {
			if got := result(sig, code); got != "pass" {
				t.Errorf("%s: %s is %q", sig.SealName, code, got)
			}
		}
	}
}

// TestFormsOfOFD: by keyword, closed as a whole, without a seal and under an integrity list, over HTTP; and nobody signs what is closed.
func TestFormsOfOFD(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	plain := ofdgen.Document("演示合同", 2)
	keyword := []client.Keyword{{Text: "申请单位（盖章）", Occurrence: -1, W: 40, H: 40}}
	for name, c := range map[string]struct {
		request    client.SignatureRequest
		signatures int
		code       string // of the refusal to sign after it
	}{
		"keyword":       {client.SignatureRequest{Keywords: keyword, Mode: "continued"}, 1, ""},
		"whole":         {client.SignatureRequest{Keywords: keyword, Mode: "whole", Timestamp: true}, 1, "ofd-whole-document"},
		"listed":        {client.SignatureRequest{Keywords: keyword, Integrity: true, Timestamp: true}, 2, "ofd-integrity-list"},
		"sign, listed":  {client.SignatureRequest{Profile: "sign", Integrity: true}, 2, "ofd-integrity-list"},
		"sign, by name": {client.SignatureRequest{Profile: "sign", Mode: "whole"}, 1, "ofd-whole-document"},
	} {
		c.request.Kind, c.request.Seal = "ofd", e.seals["01"]
		got := s.asked(t, e, c.request, plain)
		path := filepath.Join(t.TempDir(), "signed.ofd")
		write(t, path, got.bytes)
		if report := verified(t, s, path, 0); report.Verdict != "valid" || len(report.Signatures) != c.signatures {
			t.Errorf("%s: %+v", name, report)
		}
		if c.code == "" {
			continue
		}
		_, err := s.approved(t, askOFD(e.seals["01"], got.bytes), e.phone).sign(t, s.as(t, "department"))
		var p *client.Problem
		if !errors.As(err, &p) || p.Code != c.code {
			t.Errorf("%s, then another: %v, want %s", name, err, c.code)
		}
	}
}

// TestStayedOFD: through the Go client, with the appliance seeing digests alone.
func TestStayedOFD(t *testing.T) {
	s := shared(t)
	e := granted(t, s)
	pkg := mustOf(ofd.Open(ofdgen.Document("演示合同", 2), ofd.Limits{}))(t)
	es := mustOf(seal.Parse(mustOf(s.as(t, "system").ESL(t.Context(), e.seals["01"]))(t)))(t)
	draft := mustOf(pkg.Prepare(ofd.Request{Stamps: []ofd.Stamp{{Page: 2, X: 60, Y: 200, W: 40, H: 40}}, Seal: es.Raw, SignatureTime: time.Now(), ProviderName: "department", Integrity: true}))(t)
	ask := func(r client.SignatureRequest, d [32]byte) asking {
		r.Seal, r.Purpose, r.Digest = e.seals["01"], purpose, hex.EncodeToString(d[:])
		return s.approved(t, asking{client.NewKey(), r, nil}, e.phone)
	}
	list := ask(client.SignatureRequest{Kind: "cms"}, draft.EntriesHash())
	draft = mustOf(draft.WithEntriesValue(mustOf(list.sign(t, s.as(t, "department")))(t).bytes))(t)
	a := ask(client.SignatureRequest{Kind: "digest", Property: draft.PropertyInfo()}, draft.DataHash())
	sealed, _, err := s.as(t, "department").SignPrepared(t.Context(), a.key, a.request, client.Prepared{Digest: draft.DataHash(), Property: draft.PropertyInfo(), Embed: draft.Embed})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sealed.ofd")
	write(t, path, sealed)
	if report := verified(t, s, path, 0); report.Verdict != "valid" || len(report.Signatures) != 2 {
		t.Errorf("%+v", report)
	}
}
