package issuance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/seal"
	"sealkeeper/seal/impression"
)

func TestFourSeals(t *testing.T) {
	w := newWorld(t)
	order := w.establish(uscc)
	filings := map[string]register.Filing{}
	for n, k := range types { // at full resolution, as public security's simulator files them
		filings[k] = must(w.ps.Engrave(fields(uscc), k, n+1, draw.DefectNone, w.clock.now().Add(-time.Minute)))(t)
		must(w.file(filings[k]))(t)
	}
	if o := w.order(order); o.State != register.AwaitingCertificate {
		t.Fatalf("order is %s after four filings", o.State)
	}
	before := w.bolt.State().Size
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Fatalf("%d orders made: %v", n, err)
	}
	all := must(w.seals.SealsOf(w.ctx, uscc))(t)
	if len(all) != 4 || w.order(order).State != register.OrderMade {
		t.Fatalf("%d seals, order %s", len(all), w.order(order).State)
	}
	for n, s := range all {
		if s.Type != types[n] || s.ESID != "4103020000000"+string(rune('1'+n)) || s.State != register.Made || s.LicenceVersion != 1 {
			t.Errorf("seal %+v", s)
		}
		w.checkSeal(s, filings[s.Type])
	}
	w.checkOneCommit(order, before)
}

// checkSeal judges a made seal from its bytes alone.
func (w *world) checkSeal(s register.Seal, f register.Filing) {
	w.Helper()
	p := must(seal.Parse(must(w.seals.ESL(w.ctx, s.ESID))(w)))(w)
	cert := must(w.seals.Certificate(w.ctx, s.ESID))(w)
	if err := p.VerifySignature(); err != nil || !p.Lists(cert) || p.Generation != seal.V4 {
		w.Errorf("seal %s: %v, lists its certificate %v, %s", s.ESID, err, p.Lists(cert), p.Generation)
	}
	i := p.Info
	number := map[string]int{"01": 1, "02": 2, "03": 3, "05": 5}[s.Type]
	if i.ESID != s.ESID || i.Type != number || i.Name != s.Name || !strings.Contains(i.Name, name) || i.Vid != "Sealkeeper" ||
		!i.ValidStart.Equal(s.NotBefore) || !i.ValidEnd.Equal(s.NotAfter) || !s.NotAfter.Equal(s.NotBefore.AddDate(3, 0, 0)) {
		w.Errorf("seal %s: %+v", s.ESID, i)
	}
	c := must(gm.ParseCertificate(cert))(w)
	key := must(w.keys.Key(w.ctx, s.Key))(w)
	if k, err := gm.CertificateKey(c); err != nil || !k.Equal(key.Public()) || c.Subject.SerialNumber != s.ESID {
		w.Errorf("seal %s: certificate for %q: %v", s.ESID, c.Subject, err)
	}
	filed := must(impression.Decode(f.Image, impression.DefaultLimits))(w)
	inside := must(impression.Decode(i.Picture.Data, impression.DefaultLimits))(w)
	if got := impression.Overlap(filed, inside); got < impression.MinIoU {
		w.Errorf("seal %s: its picture overlaps the filed one by %.4f", s.ESID, got)
	}
	birth := must(w.keys.Birth(w.ctx, s.Key))(w)
	attributes := map[string]string{}
	for _, a := range birth.Attributes {
		attributes[a.Name] = a.Value
	}
	for attr, want := range map[string]string{"CKA_SENSITIVE": "true", "CKA_EXTRACTABLE": "false", "CKA_LOCAL": "true"} {
		if attributes[attr] != want {
			w.Errorf("seal %s: %s is %q", s.ESID, attr, attributes[attr])
		}
	}
}

// checkOneCommit looks for the release in the log: seals, keys and order in the records of one mutation, with four messages.
func (w *world) checkOneCommit(order string, from uint64) {
	w.Helper()
	kinds := map[string]int{}
	for _, r := range must(w.bolt.Records(w.ctx, from, 1000))(w) {
		if r.Part == 0 {
			if kinds[audit.KindSetMade] > 0 {
				break
			}
			clear(kinds)
		}
		kinds[must(audit.ParseBody(r.Body))(w).Kind]++
	}
	if kinds[audit.KindSetMade] != 1 || kinds[audit.KindKeyBirth] != 4 || kinds[audit.KindOrder] != 1 {
		w.Errorf("records of the releasing commit: %v", kinds)
	}
	made := 0
	for _, j := range must(w.bolt.Claim(w.ctx, register.QueueFiling, 100, time.Minute))(w) {
		var n register.Notice
		if err := json.Unmarshal(j.Body, &n); err != nil {
			w.Fatal(err)
		}
		if n.Kind == "seal-made" && n.Order == order && n.Filing != "" {
			made++
		}
	}
	if made != 4 {
		w.Errorf("%d messages about made seals", made)
	}
}

func TestCollection(t *testing.T) {
	w := newWorld(t)
	order := w.set(uscc)
	a := w.assertion(uscc, person)
	foreign := w.assertion("91410303YYY000038M", person)
	for name, c := range map[string]struct {
		a    access.Assertion
		want error
	}{
		"another person":     {w.assertion(uscc, "司马测乙"), issuance.ErrNotResponsible},
		"another enterprise": {foreign, access.ErrAssertionForeign},
		"expired": {func() access.Assertion {
			x := a
			x.IssuedAt = x.IssuedAt.Add(-time.Hour)
			x.ExpiresAt = x.ExpiresAt.Add(-time.Hour)
			return x
		}(),
			access.ErrAssertionExpired},
	} {
		if _, err := w.collect(order, c.a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	env := must(w.el.Sign(a))(t)
	env.Payload = bytes.Replace(env.Payload, []byte(person), []byte("欧阳测乙"), 1)
	if _, err := w.iss.Collect(w.ctx, nil, national, order, env); !errors.Is(err, envelope.ErrSignature) {
		t.Errorf("altered: %v", err)
	}
	if _, err := w.iss.Collect(w.ctx, nil, tax, order, must(w.el.Sign(a))(t)); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by a department: %v", err)
	}
	if got := w.states(uscc); strings.Contains(got, "active") {
		t.Fatalf("after refusals: %s", got)
	}

	got := must(w.collect(order, a))(t)
	if len(got.Seals) != 4 || w.states(uscc) != "01 active; 02 active; 03 active; 05 active; " || w.order(order).State != register.OrderActive {
		t.Errorf("%+v, %s, order %s", got, w.states(uscc), w.order(order).State)
	}
	dev, _, err := w.acc.Device(w.ctx, uscc)
	if err != nil || dev.KeyID() != got.Device || dev.Person != person {
		t.Errorf("device %+v: %v", dev, err)
	}
	before := w.bolt.State()
	if _, err := w.collect(order, a); !errors.Is(err, access.ErrAssertionReplayed) {
		t.Errorf("replayed: %v", err)
	}
	if _, err := w.collect(order, w.assertion(uscc, person)); !errors.Is(err, issuance.ErrNothingToCollect) {
		t.Errorf("collected twice: %v", err)
	}
	if _, err := w.collect("00", w.assertion(uscc, person)); !errors.Is(err, register.ErrUnknown) {
		t.Errorf("unknown order: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("refused collections moved the log")
	}
}

func TestAssertionAtOnce(t *testing.T) {
	w := newWorld(t)
	order := w.set(uscc)
	env := must(w.el.Sign(w.assertion(uscc, person)))(t)
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := w.iss.Collect(w.ctx, nil, national, order, env)
			errs <- err
		}()
	}
	good := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			good++
		case !errors.Is(err, access.ErrAssertionReplayed):
			t.Errorf("unnamed: %v", err)
		}
	}
	if good != 1 {
		t.Errorf("%d collections with one assertion", good)
	}
}

func TestRepeatsChangeNothing(t *testing.T) {
	w := newWorld(t)
	at := w.clock.now()
	ev := licence.Event{ID: "reg-1", Kind: licence.KindEstablished, Licence: fields(uscc), EffectiveAt: at, IssuedAt: at}
	first := must(w.iss.Event(w.ctx, nil, registrar, must(w.reg.Sign(ev))(t)))(t)
	f := w.engrave(fields(uscc), "01", 0)
	filed := must(w.file(f))(t)
	w.fileAll(fields(uscc), "02", "03", "05")
	if _, err := w.iss.Finish(w.ctx); err != nil {
		t.Fatal(err)
	}
	before := w.bolt.State()

	again := must(w.iss.Event(w.ctx, nil, registrar, must(w.reg.Sign(ev))(t)))(t)
	sameJSON(t, "event", first, again)
	if !again.Repeated || again.Order != first.Order {
		t.Errorf("event: %+v", again)
	}
	refiled := must(w.file(f))(t)
	sameJSON(t, "filing", filed, refiled)
	if n, err := w.iss.Finish(w.ctx); n != 0 || err != nil {
		t.Errorf("finished %d more: %v", n, err)
	}
	if o, err := w.iss.Make(w.ctx, first.Order); err != nil || o.State != register.OrderMade {
		t.Errorf("making again: %s %v", o.State, err)
	}
	if w.bolt.State() != before {
		t.Error("repetition moved the log")
	}
	other := f
	other.Name = "洛阳示例"
	if _, err := w.file(other); !errors.Is(err, register.ErrFilingReused) {
		t.Errorf("same filing number, other content: %v", err)
	}
	late := w.engrave(fields(uscc), "01", 0)
	if _, err := w.file(late); !errors.Is(err, issuance.ErrNoOrder) {
		t.Errorf("filing after the set is made: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("refusals moved the log")
	}
}

func sameJSON(t testing.TB, what string, a, b any) {
	t.Helper()
	ja, jb := must(json.Marshal(a))(t), must(json.Marshal(b))(t)
	if !bytes.Equal(ja, jb) {
		t.Errorf("%s: the second answer differs:\n%s\n%s", what, ja, jb)
	}
}

func TestSameRequestSameAnswer(t *testing.T) {
	w := newWorld(t)
	order := w.set(uscc)
	env := must(w.el.Sign(w.assertion(uscc, person)))(t)
	req := func(id string) *keystore.Request {
		return &keystore.Request{Client: national.Client, ID: id, Digest: gm.SM3([]byte(id))}
	}
	first := must(w.iss.Collect(w.ctx, req("collect"), national, order, env))(t)
	esid := first.Seals[0]
	hold := must(w.iss.Suspend(w.ctx, req("suspend"), security, esid, register.ReasonMisuse, "示例"))(t)
	free := must(w.iss.Resume(w.ctx, req("resume"), security, esid, register.ReasonMisuse, ""))(t)
	gone := must(w.iss.Cancel(w.ctx, req("cancel"), system, esid, register.ReasonAuthorityDecision, "示例"))(t)
	before := w.bolt.State()
	sameJSON(t, "collect", first, must(w.iss.Collect(w.ctx, req("collect"), national, order, env))(t))
	sameJSON(t, "suspend", hold, must(w.iss.Suspend(w.ctx, req("suspend"), security, esid, register.ReasonMisuse, "示例"))(t))
	sameJSON(t, "resume", free, must(w.iss.Resume(w.ctx, req("resume"), security, esid, register.ReasonMisuse, ""))(t))
	sameJSON(t, "cancel", gone, must(w.iss.Cancel(w.ctx, req("cancel"), system, esid, register.ReasonAuthorityDecision, "示例"))(t))
	changed := req("cancel")
	changed.Digest[0] ^= 1
	if _, err := w.iss.Cancel(w.ctx, changed, system, esid, register.ReasonAuthorityDecision, "示例"); !errors.Is(err, store.ErrRequestReused) {
		t.Errorf("same id, other body: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("repetition moved the log")
	}
}

func TestFilingExceptions(t *testing.T) {
	w := newWorld(t)
	taken := w.engrave(fields(uscc), "02", 0)
	taken.SealCode = "4103020999999"
	w.establish(uscc)
	must(w.file(taken))(t)
	f3 := fields("91410303YYY000038M")
	f3.Name = "洛阳示例云帆商贸有限公司"
	order := must(w.event(licence.KindEstablished, f3))(t).Order
	defect := func(sealType string, d draw.Defect) register.Filing { return w.engrave(f3, sealType, d) }
	with := func(change func(*register.Filing)) register.Filing {
		f := w.engrave(f3, "01", 0)
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		f    register.Filing
		want error
		code string
	}{
		"another name":     {with(func(f *register.Filing) { f.Name = name }), issuance.ErrNameDiffers, "name-differs"},
		"type not in set":  {with(func(f *register.Filing) { f.SealType = "04" }), issuance.ErrTypeNotInSet, "type-not-in-set"},
		"format as stated": {with(func(f *register.Filing) { f.Format = "BMP" }), issuance.ErrFormatStated, "image-format-stated"},
		"wrong size":       {with(func(f *register.Filing) { f.WidthMM, f.HeightMM = 60, 60 }), impression.ErrSize, "image-size"},
		"drawn too large":  {defect("01", draw.DefectSize), impression.ErrSize, "image-size"},
		"stretched":        {with(func(f *register.Filing) { f.HeightMM = 30 }), impression.ErrAspect, "image-aspect"},
		"shape of another": {with(func(f *register.Filing) { f.SealType = "03" }), impression.ErrSize, "image-size"},
		"blue":             {defect("01", draw.DefectBlue), impression.ErrColour, "image-colour"},
		"GIF":              {defect("01", draw.DefectGIF), impression.ErrFormat, "image-format"},
		"cut short":        {defect("01", draw.DefectTruncated), impression.ErrTruncated, "image-truncated"},
		"100 megapixels":   {defect("01", draw.DefectHuge), impression.ErrTooManyPixels, "image-too-many-pixels"},
		"another entity's": {with(func(f *register.Filing) {
			f.SealType, f.Image, f.WidthMM, f.HeightMM = "02", taken.Image, taken.WidthMM, taken.HeightMM
		}),
			register.ErrImpressionTaken, "image-taken"},
		"another entity's in other dress": {with(func(f *register.Filing) {
			f.SealType, f.Image, f.Format, f.WidthMM, f.HeightMM = "02", asJPEG(t, taken.Image), "JPEG", taken.WidthMM, taken.HeightMM
		}),
			register.ErrImpressionTaken, "image-taken"},
		"another's seal code": {with(func(f *register.Filing) { f.SealCode = taken.SealCode }), register.ErrSealCodeTaken, "seal-code-taken"},
	} {
		if c.f.Format == "PNG" && c.code == "image-format" {
			c.f.Format = "GIF"
		}
		if _, err := w.file(c.f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
			continue
		}
		o := w.order(order)
		if o.State != register.OrderException || o.Exception == nil || o.Exception.Code != c.code || o.Exception.Filing != c.f.FilingNumber {
			t.Errorf("%s: order %s %+v", name, o.State, o.Exception)
		}
		if all := must(w.seals.ImpressionsOf(w.ctx, f3.USCC))(t); len(all) != 0 {
			t.Errorf("%s: %d impressions were kept", name, len(all))
		}
		before := w.bolt.State()
		if _, err := w.file(c.f); !errors.Is(err, c.want) {
			t.Errorf("%s again: %v", name, err)
		}
		if _, err := w.file(w.engrave(f3, "05", 0)); !errors.Is(err, issuance.ErrOrderException) {
			t.Errorf("%s, then a good one: %v", name, err)
		}
		if w.bolt.State() != before {
			t.Errorf("%s: repetition moved the log", name)
		}
		must(w.iss.Resolve(w.ctx, nil, system, order, issuance.Continue, "", "示例: 与公安核对"))(t)
	}
	if r := must(w.seals.ReadsOf(w.ctx, w.clock.now().UTC().Year()))(t); r.Reads["compare_for_filing"] != 1 || r.Reads["make"]+r.Unlisted != 0 {
		t.Errorf("readings on record: %+v, one comparison and nothing else", r)
	}
	w.fileAll(f3, types...)
	if n, err := w.iss.Finish(w.ctx); n != 1 || err != nil {
		t.Errorf("after all that: %d made, %v", n, err)
	}
}

func TestFilingsRefused(t *testing.T) {
	w := newWorld(t)
	w.establish(uscc)
	good := w.engrave(fields(uscc), "01", 0)
	signed := func(change func(*register.Filing)) envelope.Envelope {
		f := good
		change(&f)
		return w.sign(f)
	}
	stranger := must(envelope.Seal(register.FilingKind, good, newKey(t).Sign))(t)
	unsigned := w.sign(good)
	unsigned.Signature = nil
	altered := w.sign(good)
	altered.Payload = bytes.Replace(altered.Payload, []byte(`"01"`), []byte(`"02"`), 1)
	unknown := must(envelope.Seal(register.FilingKind, map[string]string{"colour": "red"}, w.ps.Key.Sign))(t)
	huge := must(envelope.Seal(register.FilingKind, strings.Repeat("x", 4<<20), w.ps.Key.Sign))(t)
	before := w.bolt.State()
	for name, c := range map[string]struct {
		env  envelope.Envelope
		want error
	}{
		"unsigned":          {unsigned, envelope.ErrUnsigned},
		"a stranger's":      {stranger, envelope.ErrSignature},
		"altered":           {altered, envelope.ErrSignature},
		"unknown field":     {unknown, envelope.ErrPayload},
		"too large":         {huge, issuance.ErrPayloadSize},
		"unknown seal type": {signed(func(f *register.Filing) { f.SealType = "07" }), register.ErrFilingForm},
		"wrong code":        {signed(func(f *register.Filing) { f.USCC = "91410302YYY00002X8" }), licence.ErrUSCC},
		"nobody's order":    {signed(func(f *register.Filing) { f.USCC = "91410303YYY000038M" }), issuance.ErrNoOrder},
	} {
		if _, err := w.iss.File(w.ctx, nil, police, c.env); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := w.iss.File(w.ctx, nil, registrar, w.sign(good)); !errors.Is(err, access.ErrNotEntitled) {
		t.Errorf("by another role: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("a refused filing moved the log")
	}
	must(w.file(good))(t)
	before = w.bolt.State()
	if _, err := w.file(w.engrave(fields(uscc), "01", 0)); !errors.Is(err, issuance.ErrAlreadyFiled) {
		t.Errorf("second impression of a type: %v", err)
	}
	if w.bolt.State() != before {
		t.Error("the second impression moved the log")
	}
}

func TestFilingsAtOnceCompleteOnce(t *testing.T) {
	w := newWorld(t)
	order := w.establish(uscc)
	var envs []envelope.Envelope
	for _, k := range types {
		e := w.sign(w.engrave(fields(uscc), k, 0))
		envs = append(envs, e, e) // each twice
	}
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		w.iss.Run(ctx)
		close(done)
	}()
	errs := make(chan error, len(envs))
	for _, e := range envs {
		go func() {
			_, err := w.iss.File(w.ctx, nil, police, e)
			errs <- err
		}()
	}
	for range envs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for changed := w.bolt.Changed(); w.order(order).State != register.OrderMade; changed = w.bolt.Changed() { // Run makes it
		<-changed
	}
	made := make(chan error, 4)
	for range cap(made) { // everybody asks for the set that is there
		go func() {
			_, err := w.iss.Make(w.ctx, order)
			made <- err
		}()
	}
	for range cap(made) {
		if err := <-made; err != nil {
			t.Error(err)
		}
	}
	cancel()
	<-done
	if got := w.states(uscc); got != "01 made; 02 made; 03 made; 05 made; " {
		t.Errorf("seals: %s", got)
	}
}

func TestMakeAtOnce(t *testing.T) {
	w := newWorld(t)
	order := w.complete(uscc)
	other := must(issuance.New(w.iss.Parts, w.cfg))(t) // a second node would know nothing of the first one's locks
	errs := make(chan error, 8)
	for n := range cap(errs) {
		go func() {
			_, err := []*issuance.Issuance{w.iss, other}[n%2].Make(w.ctx, order)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := w.states(uscc); got != "01 made; 02 made; 03 made; 05 made; " {
		t.Errorf("seals: %s", got)
	}
}

// asJPEG is a PNG picture in another format.
func asJPEG(t *testing.T, file []byte) []byte {
	t.Helper()
	m := must(png.Decode(bytes.NewReader(file)))(t)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 60}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
