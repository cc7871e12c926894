package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

// otherID is a user ID that is not the default.
var otherID = []byte("sealctl probe ID")

// signatures finds out what each listed signing mechanism does with an SM2 key.
func (r *run) signatures(ctx context.Context) error {
	if r.sm2 == nil {
		return nil
	}
	numbers := r.candidates(pkcs11.CKF_SIGN)
	for _, n := range numbers {
		s, err := r.judge(ctx, n)
		if err != nil {
			return fmt.Errorf("mechanism 0x%08x: %w", n, err)
		}
		r.f.SM2.Sign = append(r.f.SM2.Sign, s)
	}
	for i := range r.f.SM2.Sign {
		if s := &r.f.SM2.Sign[i]; better(s, r.use) {
			r.use = s
		}
	}
	if r.use == nil {
		r.f.note("no mechanism of %d that sign made a signature that any hypothesis explains", len(numbers))
	}
	return nil
}

// better prefers mechanisms that sign a finished e, and plain encodings.
func better(s, than *Sign) bool {
	switch {
	case s.Input == "" || s.Output == "":
		return false
	case than == nil:
		return true
	}
	return rank(s) < rank(than)
}

func rank(s *Sign) int {
	place := func(v string, list ...string) int {
		for i, l := range list {
			if v == l {
				return i
			}
		}
		return len(list)
	}
	return 10*place(s.Input, firmware.InputE32, firmware.InputNoZ, firmware.InputZDefault, firmware.InputZParam) + place(s.Output, firmware.OutputRaw64, firmware.OutputDER, firmware.OutputBroken)
}

// judge shows a mechanism three inputs, decides what it takes, and then meets its encodings in many signatures.
func (r *run) judge(ctx context.Context, number uint) (Sign, error) {
	s := Sign{Mechanism: firmware.Number(number), Forms: map[string]int{}, Refusals: map[string]string{}}
	seen := map[string][]string{}
	for _, shown := range []struct {
		what  string
		bytes int
		param []byte
	}{{"32 bytes", 32, nil}, {"17 bytes", 17, nil}, {"17 bytes with an identity", 17, otherID}} {
		in := make([]byte, shown.bytes)
		rand.Read(in) // never returns an error
		sig, err := r.sign(&s, number, shown.param, in)
		if over(err) {
			return s, err
		}
		if err != nil {
			s.Refusals[shown.what] = err.Error()
			continue
		}
		inputs, _ := r.sm2.match(sig, r.sm2.hypotheses(in, shown.param))
		if seen[shown.what] = inputs; len(inputs) == 0 {
			s.Sample = hex.EncodeToString(sig)
		}
	}
	s.decide(seen["32 bytes"], seen["17 bytes"], seen["17 bytes with an identity"])
	if s.Input == "" {
		return s, nil
	}
	return s, r.many(ctx, &s)
}

// decide says what the mechanism takes, when exactly one hypothesis explains it.
func (s *Sign) decide(e, message, named []string) {
	only := func(l []string, want string) bool { return len(l) == 1 && l[0] == want }
	switch {
	case only(e, firmware.InputE32):
		s.Input, s.HashesOther = firmware.InputE32, len(message) > 0
	case only(named, firmware.InputZParam):
		s.Input = firmware.InputZParam
	case len(message) == 1 && (len(e) == 0 || only(e, message[0])):
		s.Input, s.IgnoresParameter = message[0], only(named, message[0])
	case len(e) == 0 && len(message) == 0 && len(named) == 0:
		s.Note = "no hypothesis explains its signatures"
		if len(s.Refusals) > 0 && s.Sample == "" {
			s.Note = "it signs none of what it was shown"
		}
	default:
		s.Note = fmt.Sprintf("the hypotheses contradict each other: 32 bytes %q, 17 bytes %q, with an identity %q", e, message, named)
	}
}

// sign signs in the desk's session, which is exchanged after an error; one that was left with an operation under way is noticed.
func (r *run) sign(s *Sign, number uint, param, in []byte) ([]byte, error) {
	var p any
	if param != nil {
		p = param
	}
	err := r.c.SignInit(r.desk, mech(number, p), r.sm2.priv)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_OPERATION_ACTIVE)) {
		s.StaysActive = true
		if err := r.renew(); err != nil {
			return nil, err
		}
		err = r.c.SignInit(r.desk, mech(number, p), r.sm2.priv)
	}
	if err != nil {
		return nil, err
	}
	return r.c.Sign(r.desk, in)
}

// many signs again and again, which is the only way to meet an encoding that fails for one value in hundreds.
func (r *run) many(ctx context.Context, s *Sign) error {
	what := "mechanism " + s.Mechanism.String()
	in := make([]byte, 17)
	if s.Input == firmware.InputE32 {
		in = make([]byte, 32)
	}
	var param []byte
	if s.Input == firmware.InputZParam {
		param = otherID
	}
	for i := range r.o.Signatures {
		if i%50 == 0 {
			r.o.Progress(what, i, r.o.Signatures)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		rand.Read(in)
		sig, err := r.sign(s, uint(s.Mechanism), param, in)
		if err != nil {
			return fmt.Errorf("after %d signatures: %w", i, err)
		}
		inputs, form := r.sm2.match(sig, r.sm2.only(s.Input, in, param))
		if len(inputs) == 0 {
			form, s.Sample = FormNone, hex.EncodeToString(sig)
			s.Wrong++
		}
		s.Forms[form]++
		s.Signatures++
	}
	s.Output, s.Note = output(s)
	return nil
}

// output names the form that covers everything that came.
func output(s *Sign) (form, note string) {
	if s.Wrong > 0 {
		return "", fmt.Sprintf("%d of %d signatures verify in no form", s.Wrong, s.Signatures)
	}
	der, broken := s.Forms[firmware.OutputDER], s.Forms[firmware.OutputBroken]
	switch {
	case broken > 0 && der+broken == s.Signatures:
		return firmware.OutputBroken, fmt.Sprintf("%d of %d signatures are no strict DER", broken, s.Signatures)
	case der == s.Signatures && s.Signatures < Enough:
		return firmware.OutputDER, fmt.Sprintf("%d signatures are few: a firmware that drops sign bytes does so in 1 of 256", s.Signatures)
	case len(s.Forms) == 1:
		for form := range s.Forms {
			return form, ""
		}
	}
	var all []string
	for form, n := range s.Forms {
		all = append(all, fmt.Sprintf("%s %d times", form, n))
	}
	return "", "several forms: " + strings.Join(all, ", ")
}
