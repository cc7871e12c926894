package issuance_test

import (
	"bytes"
	"testing"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
)

// TestRevocationList: what ended is in the next list, from the moment it ended; what is suspended is not, and every list is on record.
func TestRevocationList(t *testing.T) {
	w := newWorld(t)
	read := func() *gm.RevocationList {
		t.Helper()
		l := must(gm.ParseRevocationList(must(w.iss.RevocationList(w.ctx, ""))(t)))(t)
		if err := l.CheckSignatureFrom(must(gm.ParseCertificate(w.made[1]))(t)); err != nil {
			t.Fatal(err)
		}
		return l
	}
	w.complete(uscc)
	must(w.iss.Finish(w.ctx))(t)
	all := must(w.seals.SealsOf(w.ctx, uscc))(t)
	first := read()
	if len(first.RevokedCertificateEntries) != 0 || first.NextUpdate.Sub(first.ThisUpdate) != 24*time.Hour {
		t.Fatalf("%+v", first)
	}
	if !bytes.Equal(first.Raw, read().Raw) {
		t.Error("another list although nothing ended")
	}
	must(w.iss.Suspend(w.ctx, nil, security, all[0].ESID, register.ReasonMisuse, ""))(t)
	ended := must(w.iss.Cancel(w.ctx, nil, system, all[1].ESID, register.ReasonAuthorityDecision, "示例决定"))(t)
	if n := len(read().RevokedCertificateEntries); n != 0 {
		t.Errorf("%d entries within the minute", n)
	}
	w.clock.passes(2 * time.Minute)
	l := read()
	cert := must(gm.ParseCertificate(must(w.seals.Certificate(w.ctx, all[1].ESID))(t)))(t)
	if len(l.RevokedCertificateEntries) != 1 {
		t.Fatalf("%d entries", len(l.RevokedCertificateEntries))
	}
	e := l.RevokedCertificateEntries[0]
	if e.SerialNumber.Cmp(cert.SerialNumber) != 0 || e.RevocationTime.Unix() != ended.EndedAt.Unix() || e.ReasonCode != 5 || l.Number.Cmp(first.Number) <= 0 {
		t.Errorf("%+v, list %s after %s", e, l.Number, first.Number)
	}
	w.clock.passes(13 * time.Hour)
	if again := read(); again.Number.Cmp(l.Number) <= 0 || len(again.RevokedCertificateEntries) != 1 {
		t.Errorf("half a day later: list %s after %s", again.Number, l.Number)
	}
	lists := 0
	for _, r := range must(w.bolt.Records(w.ctx, 0, 1000))(t) {
		if must(audit.ParseBody(r.Body))(t).Kind == audit.KindRevocationList {
			lists++
		}
	}
	if lists != 3 {
		t.Errorf("%d lists on record, want 3", lists)
	}
}
