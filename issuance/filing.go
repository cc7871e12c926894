package issuance

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sealkeeper/access"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
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
// Errors: those of package envelope, register.ErrFilingForm, licence.ErrUSCC, register.ErrFilingReused, ErrNoOrder, ErrOrderException,
// ErrAlreadyFiled, ErrPayloadSize; with an exception the errors of the table there; access.ErrNotEntitled and those of the store.
func (i *Issuance) File(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope) (FilingOutcome, error) {
	if err := i.Access.Allow(actor, access.ImpressionPut, access.Resource{}); err != nil {
		return FilingOutcome{}, err
	}
	f, err := i.openFiling(env)
	if err != nil {
		return FilingOutcome{}, err
	}
	// The picture is looked at once, however often another commit comes first.
	look := sync.OnceValues(func() (string, error) { return i.look(f) })
	return again(ctx, func(ctx context.Context) (FilingOutcome, error) { return i.file(ctx, req, actor, env, f, look) })
}

func (i *Issuance) openFiling(env envelope.Envelope) (register.Filing, error) {
	var f register.Filing
	if len(env.Payload) > maxFiling {
		return f, fmt.Errorf("payload of %d bytes, at most %d: %w", len(env.Payload), maxFiling, ErrPayloadSize)
	}
	if err := envelope.Open(env, register.FilingKind, i.cfg.PublicSecurity, &f); err != nil {
		return f, err
	}
	if _, err := f.Check(i.now()); err != nil {
		return f, err
	}
	_, err := licence.CheckUSCC(f.USCC)
	return f, err
}

func (i *Issuance) file(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope, f register.Filing,
	look func() (string, error)) (FilingOutcome, error) {
	payload := gm.SM3(env.Payload)
	if imp, seen, err := i.Register.Filed(ctx, f, hex.EncodeToString(payload[:])); seen || err != nil {
		return i.filedBefore(ctx, imp, err)
	}
	o, at, err := i.openOrder(ctx, f)
	if err != nil {
		return FilingOutcome{}, err
	}
	standing, err := i.judge(ctx, o, f)
	var derivation string
	if err == nil {
		derivation, err = look()
	}
	var t FilingOutcome
	if err == nil {
		t, err = i.enterFiling(ctx, req, actor, env, f, o, at, derivation, standing)
	}
	if code := exceptionCode(err); code != "" {
		return t, i.refuseFiling(ctx, req, actor, o, at, f, code, err)
	}
	return t, err
}

func (i *Issuance) filedBefore(ctx context.Context, imp register.Impression, err error) (FilingOutcome, error) {
	if err != nil {
		return FilingOutcome{}, err
	}
	o, _, err := i.Register.Order(ctx, imp.Order)
	return FilingOutcome{Impression: imp, Order: o, Repeated: true}, err
}

// openOrder finds the order that the filing belongs to. A type that is not in its set is for judge to refuse.
func (i *Issuance) openOrder(ctx context.Context, f register.Filing) (register.Order, store.Version, error) {
	all, err := i.Register.OrdersOf(ctx, f.USCC)
	if err != nil {
		return register.Order{}, 0, err
	}
	n := slices.IndexFunc(all, func(o register.Order) bool { return o.State.Open() })
	if n < 0 {
		return register.Order{}, 0, fmt.Errorf("filing %s for %s: %w", f.FilingNumber, f.USCC, ErrNoOrder)
	}
	o, at, err := i.Register.Order(ctx, all[n].ID)
	if err != nil {
		return o, 0, err
	}
	if x := o.Exception; x != nil {
		was := ErrOrderException
		if x.Filing == f.FilingNumber && x.SM3 == f.SM3() {
			was = exceptionError(x.Code) // the same answer as the first time
		}
		return o, 0, fmt.Errorf("filing %s for order %s, an exception since %s: %w", f.FilingNumber, o.ID, x.At.Format("2006-01-02 15:04:05"), was)
	}
	if q, ordered := o.Request(f.SealType); ordered && q.State != register.RequestAwaiting {
		return o, 0, fmt.Errorf("filing %s of type %s, which is %s: %w", f.FilingNumber, f.SealType, q.State, ErrAlreadyFiled)
	}
	return o, at, nil
}

// judge makes the checks before making (domain §4.2) that need records. The standing is expected by the commit: the licence is active
// at this version.
func (i *Issuance) judge(ctx context.Context, o register.Order, f register.Filing) (store.Expect, error) {
	s, at, err := i.Library.Standing(ctx, f.USCC)
	expect := licence.Expect(f.USCC, at)
	switch {
	case err != nil:
		return expect, err
	case !s.Status.Effect().SealUse:
		return expect, fmt.Errorf("licence %s is %s: %w", f.USCC, s.Status, ErrLicenceInactive)
	case f.Name != s.Name:
		return expect, fmt.Errorf("filing %s names %q: %w", f.FilingNumber, f.Name, ErrNameDiffers)
	}
	if _, ordered := o.Request(f.SealType); !ordered {
		return expect, fmt.Errorf("type %s: %w", f.SealType, ErrTypeNotInSet)
	}
	return expect, nil
}

// look makes the checks on the picture and says how the seal's picture derives from it.
func (i *Issuance) look(f register.Filing) (derivation string, err error) {
	d, m, err := i.derive(f.SealType, f.Format, f.WidthMM, f.HeightMM, f.Image)
	if err != nil {
		return "", fmt.Errorf("filing %s: %w", f.FilingNumber, err)
	}
	return fmt.Sprintf("PNG, white made transparent, overlap %.4f, %.0f dpi, ink %s, red %.2f", d.IoU, m.DPI, m.Ink, m.RedShare), nil
}

// formats are the names that a filing may give a picture's format.
var formats = map[string]string{"PNG": impression.PNG, "BMP": impression.BMP, "JPG": impression.JPG, "JPEG": impression.JPG}

// derive checks a picture against its type's template and makes the picture of the seal from it.
func (i *Issuance) derive(sealType, format string, width, height float64, image []byte) (impression.Derived, impression.Measure, error) {
	p, err := impression.Decode(image, impression.DefaultLimits)
	if err != nil {
		return impression.Derived{}, impression.Measure{}, err
	}
	if formats[strings.ToUpper(format)] != p.Format {
		return impression.Derived{}, impression.Measure{}, fmt.Errorf("%s stated as %.16q: %w", p.Format, format, ErrFormatStated)
	}
	size := impression.Size{WidthMM: width, HeightMM: height}
	m, err := impression.Check(p, size, i.cfg.Types[sealType].Template)
	if err != nil {
		return impression.Derived{}, m, err
	}
	d, err := impression.Derive(p, size)
	return d, m, err
}

// enterFiling commits impression and order together.
func (i *Issuance) enterFiling(ctx context.Context, req *keystore.Request, actor access.Actor, env envelope.Envelope, f register.Filing,
	o register.Order, at store.Version, derivation string, standing store.Expect) (FilingOutcome, error) {
	imp, d, err := i.Register.File(ctx, env, f, o.ID, derivation, actor.Audit())
	if err != nil {
		return FilingOutcome{}, err
	}
	o = o.With(register.Request{Type: f.SealType, State: register.RequestReceived, Impression: imp.ID})
	o, moved, err := o.Move(o.Next(), at, register.Change{Actor: actor.Audit(), Reason: register.ReasonImpressionFiled,
		Evidence: f.FilingNumber, Time: i.now()})
	if err != nil {
		return FilingOutcome{}, err
	}
	d.Add(moved, register.Draft{Expect: []store.Expect{standing}})
	receipt, err := i.Store.Commit(ctx, d.Mutation(req))
	if err != nil {
		return FilingOutcome{}, fmt.Errorf("filing %s: %w", f.FilingNumber, err)
	}
	if o.State == register.AwaitingCertificate {
		i.wakeMaker()
	}
	return FilingOutcome{Impression: imp, Order: o, Receipt: receipt}, nil
}

// refuseFiling makes the order wait for a human and returns the named error.
func (i *Issuance) refuseFiling(ctx context.Context, req *keystore.Request, actor access.Actor, o register.Order, at store.Version,
	f register.Filing, code string, cause error) error {
	_, d, err := o.Fail(register.Exception{Code: code, Detail: cut(cause.Error(), 300), Type: f.SealType, Filing: f.FilingNumber, SM3: f.SM3()},
		at, register.Change{Actor: actor.Audit(), Reason: register.ReasonImpressionRefused, Evidence: f.FilingNumber, Time: i.now()})
	if err != nil {
		return errors.Join(cause, err)
	}
	if _, err := i.Store.Commit(ctx, d.Mutation(req)); err != nil {
		return fmt.Errorf("recording the exception of order %s: %w", o.ID, err)
	}
	return cause
}

// cut shortens text to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
