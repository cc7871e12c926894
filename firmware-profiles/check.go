package firmware

import (
	"fmt"
	"regexp"
	"time"
)

// The closed lists. A name outside them is an error, so that a typing mistake never silently means "default".
var (
	levels         = []string{string(Guessed), string(Simulated), string(Documented), string(Verified)}
	lockings       = []string{"os", "none-serialise", "dedicated-thread"}
	inputs         = []string{InputE32, InputNoZ, InputZDefault, InputZParam}
	outputs        = []string{OutputRaw64, OutputDER, OutputBroken, OutputRaw128}
	pointForms     = []string{PointDEROctet, PointRaw65, PointRaw64, PointDERBit, PointXY}
	wrapAlgorithms = []string{"rsa", "ecdsa", "sm2", "kek"}
	transports     = []string{"none", "rsa-oaep-sha1", "rsa-oaep-sha256", "rsa-pkcs"} // of wrap.kek
	wrapMechanisms = []string{"none", "aes-kwp", "aes-kw", "aes-gcm"}
	attributeNames = []string{"CKA_TOKEN", "CKA_PRIVATE", "CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_SIGN", "CKA_DECRYPT", "CKA_ENCRYPT",
		"CKA_UNWRAP", "CKA_WRAP", "CKA_DERIVE", "CKA_SIGN_RECOVER", "CKA_VERIFY_RECOVER", "CKA_VERIFY", "CKA_MODIFIABLE", "CKA_COPYABLE",
		"CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE", "CKA_LOCAL", "CKA_KEY_GEN_MECHANISM", "CKA_EC_PARAMS", "CKA_KEY_TYPE"}
	// quirks are the closed list: every name in it is driven by package hsm and has a test of its own.
	quirks = []string{QuirkWritesAlone, QuirkUnwrapLeaks}
)

// mandatory attributes must always read back: a token that cannot report them cannot hold seal keys.
var mandatory = []string{"CKA_TOKEN", "CKA_PRIVATE", "CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_SIGN"}

var (
	idPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,47}$`)
	signPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
)

// check judges a resolved profile.
func (p *Profile) check() error {
	for _, f := range []func() error{p.checkHead, p.checkMatch, p.checkSources, p.checkLists, p.checkNumbers, p.checkSM2, p.checkStandard,
		p.checkMissing} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

func oneOf(field, v string, list []string) error {
	if !contains(list, v) {
		return invalid("%s is %q, not one of %q", field, v, list)
	}
	return nil
}

func (p *Profile) checkHead() error {
	if p.Schema != Schema {
		return invalid("schema is %d, this program reads %d", p.Schema, Schema)
	}
	if !idPattern.MatchString(p.ID) {
		return invalid("id %q is not 2 to 48 of a-z 0-9 . -", p.ID)
	}
	if p.Title == "" {
		return invalid("title is missing")
	}
	if err := oneOf("evidence.level", string(p.Evidence.Level), levels); err != nil {
		return err
	}
	d := p.Evidence.Device
	if (p.Evidence.Level == Verified) != (d != nil) {
		return invalid("evidence.device belongs to level %s and to no other", Verified)
	}
	if d != nil {
		if d.Model == "" || d.Firmware == "" || d.By == "" {
			return invalid("evidence.device needs model, firmware and by")
		}
		if _, err := time.Parse(time.DateOnly, d.Date); err != nil {
			return invalid("evidence.device.date: %w", err)
		}
	}
	return nil
}

func (p *Profile) checkLists() error {
	for _, q := range p.Quirks {
		if err := oneOf("quirks", q, quirks); err != nil {
			return err
		}
	}
	for _, name := range append(append([]string{}, p.Attributes.Omit...), p.Attributes.UnreadableOK...) {
		if err := oneOf("attributes", name, attributeNames); err != nil {
			return err
		}
	}
	for _, name := range p.Attributes.UnreadableOK {
		if contains(mandatory, name) {
			return invalid("attributes.unreadable_ok: %s must be readable", name)
		}
	}
	for alg, mech := range p.Wrap {
		if err := oneOf("wrap", alg, wrapAlgorithms); err != nil {
			return err
		}
		of := wrapMechanisms
		if alg == "kek" {
			of = transports
		}
		if err := oneOf("wrap."+alg, mech, of); err != nil {
			return err
		}
	}
	return nil
}

func (p *Profile) checkNumbers() error {
	if p.Module.Locking != "" {
		if err := oneOf("module.locking", p.Module.Locking, lockings); err != nil {
			return err
		}
	}
	for field, v := range map[string][3]int{
		"module.find_max":     {p.Module.FindMax, 0, 1000},
		"limits.max_sessions": {p.Limits.MaxSessions, 0, 4096},
		"limits.max_frame":    {p.Limits.MaxFrame, 0, 1 << 24},
	} {
		if v[0] < v[1] || v[0] > v[2] {
			return invalid("%s is %d, outside %d to %d", field, v[0], v[1], v[2])
		}
	}
	return nil
}

func (p *Profile) checkSM2() error {
	s := p.SM2
	if s == nil {
		return nil
	}
	for name, m := range s.Sign {
		if err := m.check(name); err != nil {
			return err
		}
	}
	if err := s.ECPoint.check("sm2", !p.Usable()); err != nil {
		return err
	}
	if v := s.KeyGen.ECParams; v != "" || p.Usable() {
		if err := oneOf("sm2.keygen.ec_params", v, []string{"omit", "oid"}); err != nil {
			return err
		}
	}
	if v := s.KeyGen.PublicKeyType; v != "" || p.Usable() {
		if err := oneOf("sm2.keygen.public_key_type", v, []string{"omit", "required"}); err != nil {
			return err
		}
	}
	if !p.Usable() {
		return nil
	}
	if s.KeyType == 0 || s.KeyGen.Mechanism == 0 {
		return invalid("sm2 needs key_type and keygen.mechanism")
	}
	if use, ok := s.Sign[s.Use]; !ok || use.Input == "" || use.Output == "" {
		return invalid("sm2.use %q names no signing mechanism whose input and sig are known", s.Use)
	}
	return nil
}

func (m SignMechanism) check(name string) error {
	if !signPattern.MatchString(name) {
		return invalid("sm2.sign name %q", name)
	}
	if m.Mechanism == 0 {
		return invalid("sm2.sign.%s has no mechanism", name)
	}
	if (m.Input == "") != (m.Output == "") {
		return invalid("sm2.sign.%s has one of input and sig", name)
	}
	if m.Input == "" {
		return nil
	}
	if err := oneOf("sm2.sign."+name+".input", m.Input, inputs); err != nil {
		return err
	}
	return oneOf("sm2.sign."+name+".sig", m.Output, outputs)
}

func (e ECPoint) check(section string, mayBeEmpty bool) error {
	if len(e.Forms) == 0 && !mayBeEmpty {
		return invalid("%s.ecpoint.forms is empty", section)
	}
	for _, f := range e.Forms {
		if err := oneOf(section+".ecpoint.forms", f, pointForms); err != nil {
			return err
		}
	}
	if section == "sm2" && contains(e.Forms, PointXY) != (e.X != 0 && e.Y != 0) || section != "sm2" && (contains(e.Forms, PointXY) || e.X != 0 || e.Y != 0) {
		return invalid("%s.ecpoint: the form xy goes with the attributes x and y, in sm2 alone", section)
	}
	return nil
}

func (p *Profile) checkStandard() error {
	if e := p.ECDSA; e != nil {
		if len(e.Curves) == 0 {
			return invalid("ecdsa.curves is empty")
		}
		for _, c := range e.Curves {
			if err := oneOf("ecdsa.curves", c, []string{"P-256"}); err != nil {
				return err
			}
		}
		if err := e.ECPoint.check("ecdsa", false); err != nil {
			return err
		}
	}
	if p.RSA != nil {
		if err := bits("rsa.bits", p.RSA.Bits, 2048, 3072, 4096); err != nil {
			return err
		}
	}
	if p.AES != nil {
		if err := bits("aes.bits", p.AES.Bits, 256); err != nil {
			return err
		}
	}
	if p.Usable() && p.SM2 == nil && p.ECDSA == nil && p.RSA == nil && p.AES == nil {
		return invalid("the profile offers no algorithm")
	}
	return nil
}

func bits(field string, have []int, allowed ...int) error {
	if len(have) == 0 {
		return invalid("%s is empty", field)
	}
	for _, b := range have {
		ok := false
		for _, a := range allowed {
			ok = ok || a == b
		}
		if !ok {
			return invalid("%s has %d, allowed %v", field, b, allowed)
		}
	}
	return nil
}
