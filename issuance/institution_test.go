package issuance_test

import (
	"errors"
	"testing"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/seal"
)

const bureau = "11410300YYY000011T"

func (w *world) ownImpression(uscc string) register.Filing {
	w.Helper()
	f := w.engrave(licence.Fields{USCC: uscc, Name: "洛阳示例登记机关", Division: "410300"}, "01", 0)
	return f
}

// newInstitution is a world whose registration authority may file impressions of its own.
func newInstitution(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.cfg.Institutions = []*gm.PublicKey{w.reg.Key.Public()}
	w.restart()
	return w
}

func (w *world) signedBy(kind string, f register.Filing, key interface {
	Sign([]byte) ([]byte, error)
}) envelope.Envelope {
	w.Helper()
	return must(envelope.Seal(kind, f, key.Sign))(w)
}

// TestInstitutionSeal: from the filed impression to an active seal with the very picture, which no order, no licence and no message stands behind.
func TestInstitutionSeal(t *testing.T) {
	w := newInstitution(t)
	f := w.ownImpression(bureau)
	env := w.signedBy(issuance.InstitutionKind, f, w.reg.Key)
	out := must(w.iss.FileInstitution(w.ctx, nil, registrar, env))(t)
	again := must(w.iss.FileInstitution(w.ctx, nil, registrar, env))(t)
	if !out.Impression.Institution || !again.Repeated || again.Impression.ID != out.Impression.ID {
		t.Fatalf("filed %+v, again %+v", out.Impression, again)
	}
	s, d, err := w.iss.Institution(w.ctx, "ceremony/x/1", f.FilingNumber)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Outbox) != 0 {
		t.Errorf("messages: %d", len(d.Outbox))
	}
	if _, err := w.seals.ESL(w.ctx, s.ESID); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("before the commit: %v", err)
	}
	must(w.gate.Commit(w.ctx, d.Mutation(nil)))(t)
	s, _, err = w.seals.Seal(w.ctx, s.ESID)
	if err != nil || s.State != register.Active || !s.Institutional || s.USCC != bureau || s.ESID[:6] != "410300" || s.LicenceVersion != 0 {
		t.Errorf("seal %+v, %v", s, err)
	}
	es := must(seal.Parse(must(w.seals.ESL(w.ctx, s.ESID))(t)))(t)
	if es.Info.ESID != s.ESID || es.Info.Type != 1 || len(es.Info.Picture.Data) == 0 {
		t.Errorf("made as %+v", es.Info)
	}
	w.restart() // the key has its record: a start leaves it alone
	if _, err := w.keys.Key(w.ctx, s.Key); err != nil {
		t.Error(err)
	}
	if _, _, err := w.iss.Institution(w.ctx, "ceremony/x/2", f.FilingNumber); !errors.Is(err, issuance.ErrInstitution) {
		t.Errorf("a second seal of one impression: %v", err)
	}
	must(w.iss.Cancel(w.ctx, nil, system, s.ESID, register.ReasonAuthorityDecision, "示例决定"))(t)
	if _, _, err := w.iss.Institution(w.ctx, "ceremony/x/3", f.FilingNumber); err != nil {
		t.Errorf("the next one, after the first has ended: %v", err)
	}
}

// TestInstitutionCrash: a key whose ceremony's commit never came serves the next attempt, and a start destroys it.
func TestInstitutionCrash(t *testing.T) {
	w := newInstitution(t)
	f := w.ownImpression(bureau)
	must(w.iss.FileInstitution(w.ctx, nil, registrar, w.signedBy(issuance.InstitutionKind, f, w.reg.Key)))(t)
	first, _, err := w.iss.Institution(w.ctx, "ceremony/x/1", f.FilingNumber)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := w.iss.Institution(w.ctx, "ceremony/x/1", f.FilingNumber)
	if err != nil || second.Key != first.Key {
		t.Errorf("the same step again made key %s, not %s: %v", second.Key, first.Key, err)
	}
	w.restart()
	if _, err := w.keys.Key(w.ctx, first.Key); !errors.Is(err, keystore.ErrKeyNotFound) {
		t.Errorf("after a start: %v", err)
	}
	if n := len(w.sealKeys()); n != 0 {
		t.Errorf("%d keys in the token", n)
	}
}

// TestInstitutionRefused: who may file, in what form, and for whom.
func TestInstitutionRefused(t *testing.T) {
	w := newInstitution(t)
	w.establish(uscc)
	good := w.ownImpression(bureau)
	for name, c := range map[string]struct {
		actor access.Actor
		kind  string
		key   interface {
			Sign([]byte) ([]byte, error)
		}
		change func(*register.Filing)
		want   error
	}{
		"public security":     {police, issuance.InstitutionKind, w.ps.Key, nil, access.ErrNotEntitled},
		"a department":        {tax, issuance.InstitutionKind, w.reg.Key, nil, access.ErrNotEntitled},
		"another's signature": {registrar, issuance.InstitutionKind, w.ps.Key, nil, envelope.ErrSignature},
		"an enterprise's":     {registrar, register.FilingKind, w.reg.Key, nil, envelope.ErrUnsigned},
		"a licensed holder":   {registrar, issuance.InstitutionKind, w.reg.Key, func(f *register.Filing) { f.USCC = uscc }, issuance.ErrInstitution},
		"a person's seal":     {registrar, issuance.InstitutionKind, w.reg.Key, func(f *register.Filing) { f.SealType = "05" }, issuance.ErrInstitution},
		"no code":             {registrar, issuance.InstitutionKind, w.reg.Key, func(f *register.Filing) { f.USCC = "11410300YYY000011X" }, licence.ErrUSCC},
		"no picture":          {registrar, issuance.InstitutionKind, w.reg.Key, func(f *register.Filing) { f.Image = nil }, register.ErrFilingForm},
		"another format":      {registrar, issuance.InstitutionKind, w.reg.Key, func(f *register.Filing) { f.Format = "BMP" }, issuance.ErrFormatStated},
	} {
		f := good
		if c.change != nil {
			c.change(&f)
		}
		before := w.bolt.State().Size
		if _, err := w.iss.FileInstitution(w.ctx, nil, c.actor, w.signedBy(c.kind, f, c.key)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if w.bolt.State().Size != before {
			t.Errorf("%s: something was recorded", name)
		}
	}
	if _, _, err := w.iss.Institution(w.ctx, "ceremony/x/1", "none"); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("no such filing: %v", err)
	}
	f := w.engrave(fields(uscc), "01", 0)
	must(w.file(f))(t)
	if _, _, err := w.iss.Institution(w.ctx, "ceremony/x/1", f.FilingNumber); !errors.Is(err, issuance.ErrInstitution) {
		t.Errorf("an enterprise's impression: %v", err)
	}
}
