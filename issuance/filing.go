package issuance

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/seal/impression"
)

// maxFiling bounds the signed payload: the image in base64 and some fields.
const maxFiling = register.MaxImage/3*4 + 64<<10

// FilingOutcome answers a filed impression. Its JSON is the same each time the filing is sent.
type FilingOutcome struct {
	Impression register.Impression `json:"impression"` // names its order
	Order      register.Order      `json:"-"`          // as it is now
	Repeated   bool                `json:"-"`          // the filing was taken before; nothing changed
	Receipt    keystore.Receipt    `json:"-"`          // zero when Repeated
}

// File takes a signed filing of an impression into the open order of its entity. A check that fails is a named error; where a
// human must decide (see exceptionCode) the order becomes an exception in the same step. The same filing again changes nothing.
//
// Errors: those of package envelope, register.ErrFilingForm, licence.ErrUSCC, licence.ErrSynthetic, licence.ErrNotSynthetic, register.ErrFilingReused, ErrNoOrder, ErrOrderException,
// ErrAlreadyFiled, ErrPayloadSize; with an exception the errors of the table there; access.ErrNotEntitled and those of the store.
func (i *Issuance) File(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (FilingOutcome, error) {
	if err := i.Access.Allow(actor, access.ImpressionPut, access.Resource{}); err != nil {
		return FilingOutcome{}, err
	}
	f, err := i.openFiling(env)
	if err != nil {
		return FilingOutcome{}, err
	}
	t := &filing{i: i, req: req, by: actor.Audit(), env: env, Filing: f, payload: hexSM3(env.Payload)}
	t.look = sync.OnceValues(t.lookAtPicture) // once, however often another commit comes first
	return again(ctx, t.take)
}

func (i *Issuance) openFiling(env envelope.Envelope) (register.Filing, error) {
	return i.openAs(env, register.FilingKind, i.cfg.PublicSecurity)
}

func (i *Issuance) openAs(env envelope.Envelope, kind string, pinned []*gm.PublicKey) (register.Filing, error) {
	var f register.Filing
	if len(env.Payload) > maxFiling {
		return f, fmt.Errorf("payload of %d bytes, at most %d: %w", len(env.Payload), maxFiling, ErrPayloadSize)
	}
	if err := envelope.Open(env, kind, pinned, &f); err != nil {
		return f, err
	}
	if _, err := f.Check(i.now()); err != nil {
		return f, err
	}
	if _, err := licence.CheckUSCC(f.USCC); err != nil {
		return f, err
	}
	return f, i.Library.Admit(f.USCC)
}

func hexSM3(b []byte) string {
	d := gm.SM3(b)
	return hex.EncodeToString(d[:])
}

// filing is one filing on its way into an order.
type filing struct {
	register.Filing
	i       *Issuance
	req     *keystore.Request
	by      audit.Actor
	env     envelope.Envelope
	payload string // SM3 of the signed payload
	look    func() (register.Look, error)
}

func (t *filing) take(ctx context.Context) (FilingOutcome, error) {
	if imp, seen, err := t.i.Register.Filed(ctx, t.Filing, t.payload); seen || err != nil {
		return t.before(ctx, imp, err)
	}
	o, at, err := t.openOrder(ctx)
	if err != nil {
		return FilingOutcome{}, err
	}
	out, err := t.enter(ctx, o, at)
	if code := exceptionCode(err); code != "" {
		return FilingOutcome{}, t.refuse(ctx, o, at, code, err)
	}
	return out, err
}

func (t *filing) before(ctx context.Context, imp register.Impression, err error) (FilingOutcome, error) {
	if err != nil {
		return FilingOutcome{}, err
	}
	o, _, err := t.i.Register.Order(ctx, imp.Order)
	return FilingOutcome{Impression: imp, Order: o, Repeated: true}, err
}

// openOrder finds the order that the filing belongs to. A type that is not in its set is for judge to refuse.
func (t *filing) openOrder(ctx context.Context) (register.Order, store.Version, error) {
	all, err := t.i.Register.OrdersOf(ctx, t.USCC)
	if err != nil {
		return register.Order{}, 0, err
	}
	n := slices.IndexFunc(all, func(o register.Order) bool { return o.State.Open() })
	if n < 0 {
		return register.Order{}, 0, fmt.Errorf("filing %s for %s: %w", t.FilingNumber, t.USCC, ErrNoOrder)
	}
	o, at, err := t.i.Register.Order(ctx, all[n].ID)
	if err != nil {
		return o, 0, err
	}
	if x := o.Exception; x != nil {
		was := ErrOrderException
		if x.Filing == t.FilingNumber && x.SM3 == t.SM3() {
			was = exceptionError(x.Code) // the same answer as the first time
		}
		return o, 0, fmt.Errorf("filing %s for order %s, an exception since %s: %w", t.FilingNumber, o.ID, x.At.Format(time.DateTime), was)
	}
	if q, ordered := o.Request(t.SealType); ordered && q.State != register.RequestAwaiting {
		return o, 0, fmt.Errorf("filing %s of type %s, which is %s: %w", t.FilingNumber, t.SealType, q.State, ErrAlreadyFiled)
	}
	return o, at, nil
}

// enter makes the checks before making (domain §4.2) and commits impression and order together, expecting the licence to be active at
// this version.
func (t *filing) enter(ctx context.Context, o register.Order, at store.Version) (FilingOutcome, error) {
	s, version, err := t.i.Library.Standing(ctx, t.USCC)
	if err != nil {
		return FilingOutcome{}, err
	}
	if err := t.judge(o, s); err != nil {
		return FilingOutcome{}, err
	}
	e := register.Entry{Order: o.ID}
	if e.Look, err = t.look(); err != nil {
		return FilingOutcome{}, err
	}
	if t.SealType == legalRep {
		e.Person = s.LegalRep
	}
	imp, d, err := t.i.Register.File(ctx, t.env, t.Filing, e, t.by)
	if err != nil {
		return FilingOutcome{}, err
	}
	q, _ := o.Request(t.SealType)
	q.State, q.Impression = register.RequestReceived, imp.ID
	o = o.With(q)
	o, moved, err := o.Move(o.Next(), at, t.change(register.ReasonImpressionFiled))
	if err != nil {
		return FilingOutcome{}, err
	}
	d.Add(moved, register.Draft{Expect: []store.Expect{licence.Expect(t.USCC, version)}})
	receipt, err := t.i.Store.Commit(ctx, d.Mutation(t.req))
	if err == nil && receipt.Duplicate { // the same request came first: its impression counts, not this one
		err = store.ErrConflict
	}
	if err != nil {
		return FilingOutcome{}, fmt.Errorf("filing %s: %w", t.FilingNumber, err)
	}
	if o.State == register.AwaitingCertificate {
		t.i.wakeMaker()
	}
	return FilingOutcome{Impression: imp, Order: o, Receipt: receipt}, nil
}

func (t *filing) change(r register.Reason) register.Change {
	return register.Change{Actor: t.by, Reason: r, Evidence: t.FilingNumber, Time: t.i.now()}
}

func (t *filing) judge(o register.Order, s licence.Standing) error {
	_, ordered := o.Request(t.SealType)
	switch {
	case !s.Status.Effect().SealUse:
		return fmt.Errorf("licence %s is %s: %w", t.USCC, s.Status, ErrLicenceInactive)
	case t.Name != s.Name:
		return fmt.Errorf("filing %s names %q: %w", t.FilingNumber, t.Name, ErrNameDiffers)
	case !ordered:
		return fmt.Errorf("type %s: %w", t.SealType, ErrTypeNotInSet)
	}
	return nil
}

// lookAtPicture makes the checks on the picture and says how the seal's picture derives from it.
func (t *filing) lookAtPicture() (register.Look, error) { return t.i.look(t.Filing) }

func (i *Issuance) look(f register.Filing) (register.Look, error) {
	p, m, err := i.examine(f.SealType, f.Format, f.WidthMM, f.HeightMM, f.Image)
	if err != nil {
		return register.Look{}, fmt.Errorf("filing %s: %w", f.FilingNumber, err)
	}
	d, err := impression.Foresee(p, impression.Size{WidthMM: f.WidthMM, HeightMM: f.HeightMM})
	if err != nil {
		return register.Look{}, fmt.Errorf("filing %s: %w", f.FilingNumber, err)
	}
	return register.Look{Overlap: d.IoU, Picture: p,
		Derivation: fmt.Sprintf("PNG, white made transparent, overlap %.4f, %.0f dpi, ink %s, red %.2f", d.IoU, m.DPI, m.Ink, m.RedShare)}, nil
}

// refuse makes the order wait for a human and returns the named error. The request is not answered by that: the same filing under the same
// key is judged anew once the order has been seen to.
func (t *filing) refuse(ctx context.Context, o register.Order, at store.Version, code string, cause error) error {
	_, d, err := o.Fail(register.Exception{Code: code, Detail: cut(cause.Error(), 300), Type: t.SealType, Filing: t.FilingNumber, SM3: t.SM3()},
		at, t.change(register.ReasonImpressionRefused))
	if err != nil {
		return errors.Join(cause, err)
	}
	if _, err := t.i.Store.Commit(ctx, d.Mutation(nil)); err != nil {
		return fmt.Errorf("recording the exception of order %s: %w", o.ID, err)
	}
	return cause
}

// formats are the names that a filing may give a picture's format.
var formats = map[string]string{"PNG": impression.PNG, "BMP": impression.BMP, "JPG": impression.JPG, "JPEG": impression.JPG}

// examine checks a picture against its type's template.
func (i *Issuance) examine(sealType, format string, width, height float64, image []byte) (*impression.Picture, impression.Measure, error) {
	p, err := impression.Decode(image, impression.DefaultLimits)
	if err != nil {
		return nil, impression.Measure{}, err
	}
	if formats[strings.ToUpper(format)] != p.Format {
		return nil, impression.Measure{}, fmt.Errorf("%s stated as %.16q: %w", p.Format, format, ErrFormatStated)
	}
	m, err := impression.Check(p, impression.Size{WidthMM: width, HeightMM: height}, i.cfg.Types[sealType].Template)
	return p, m, err
}

// derive checks a picture and makes the picture of the seal from it.
func (i *Issuance) derive(sealType, format string, width, height float64, image []byte) (impression.Derived, impression.Measure, error) {
	p, m, err := i.examine(sealType, format, width, height, image)
	if err != nil {
		return impression.Derived{}, m, err
	}
	d, err := impression.Derive(p, impression.Size{WidthMM: width, HeightMM: height})
	return d, m, err
}

// cut shortens text to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
