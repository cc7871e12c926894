package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

func (p *patient) moduleFile(context.Context) finding {
	path, sum, err := p.cfg.Check()
	p.report.Module = path
	switch {
	case errors.Is(err, hsm.ErrModule) && len(p.cfg.Allowed) > 0 && sum != "":
		return fail("%v", err).mendBy("modules: [{path: %s, sha256: %s}]   # in seald.yaml, once it is certain that this is the vendor's file", path, sum)
	case errors.Is(err, hsm.ErrModule):
		return fail("%v", err).mendBy("chown root:root %s && chmod go-w %s   # and the same for the folder that the finding names", path, path)
	case err != nil:
		return fail("%v", err).mendBy("ls -l %s   # then correct token.module", path)
	case len(p.cfg.Allowed) == 0:
		return warn("%s, SHA-256 %s; no list of modules is configured, which production mode wants", path, sum).mendBy("modules: [{path: %s, sha256: %s}]   # in seald.yaml", path, sum)
	}
	return ok("%s, SHA-256 %s, on the list", path, sum)
}

func (p *patient) functions(context.Context) finding {
	missing, err := missingFunctions(p.report.Module)
	switch {
	case err != nil:
		return fail("%v", err).mendBy("ldd %s   # a library that it needs may be missing", p.report.Module)
	case len(missing) > 0:
		return fail("the list of functions leaves out %s, and calling them would end the process", strings.Join(missing, ", "))
	}
	return ok("loads, and offers every function that is called")
}

func (p *patient) library(context.Context) finding {
	seen, err := hsm.Survey(p.cfg.Config)
	if err != nil {
		return fail("%v", err)
	}
	p.seen = seen
	return ok("%s, %s %s, PKCS#11 %s, %d slots", seen.Manufacturer, seen.Description, seen.Version, seen.Cryptoki, len(seen.Slots))
}

func (p *patient) findToken(context.Context) finding {
	var found []*hsm.Present
	var troubles []string
	for _, s := range p.seen.Slots {
		if s.Trouble != "" {
			troubles = append(troubles, fmt.Sprintf("slot %d: %s", s.Number, s.Trouble))
		}
		if t := s.Token; t != nil && (p.cfg.Serial == "" || t.Serial == p.cfg.Serial) && (p.cfg.Label == "" || t.Label == p.cfg.Label) {
			found = append(found, t)
		}
	}
	list := p.sealctl("list", "")
	switch {
	case p.cfg.Serial == "" && p.cfg.Label == "":
		return fail("neither label nor serial is configured").mendBy("%s", list)
	case len(found) == 0:
		return fail("no token of serial %q label %q among %d slots %s", p.cfg.Serial, p.cfg.Label, len(p.seen.Slots), strings.Join(troubles, "; ")).mendBy("%s", list)
	case len(found) > 1:
		var serials []string
		for _, t := range found {
			serials = append(serials, t.Serial)
		}
		return fail("%d tokens of serial %q label %q: %s", len(found), p.cfg.Serial, p.cfg.Label, strings.Join(serials, ", ")).
			mendBy("serial: %q   # under token: in seald.yaml, or --serial", serials[0])
	}
	p.token = found[0]
	p.report.Label, p.report.Serial, p.report.PINTries = p.token.Label, p.token.Serial, p.token.Flags.Tries()
	return ok("%q, serial %s, %s, firmware %s", p.token.Label, p.token.Serial, p.token.Model, p.token.Firmware)
}

func (p *patient) tokenState(context.Context) finding {
	f := p.token.Flags
	tool := fmt.Sprintf("pkcs11-tool --module %s --token-label %q --login --login-type so --init-pin", p.report.Module, p.token.Label)
	switch {
	case !f.Initialised:
		return fail("the token is not initialised").mendBy("pkcs11-tool --module %s --init-token --label NAME   # by the security officer; everything in it is erased", p.report.Module)
	case !f.PINInitialised:
		return fail("the user PIN is not set").mendBy("%s", tool)
	case f.PINToBeChanged:
		return fail("the user PIN must be changed before it is good for anything").mendBy("pkcs11-tool --module %s --token-label %q --login --change-pin", p.report.Module, p.token.Label)
	case f.WriteProtected:
		return fail("the token is write-protected: no key can be made in it")
	case !f.LoginRequired:
		return warn("the token wants no login, so its keys are anybody's who reaches it")
	}
	return ok("initialised, user PIN set, writable")
}

func (p *patient) chooseProfile(context.Context) finding {
	facts := p.seen.Facts(p.token)
	probe := p.sealctl("probe", "--by NAME --out PROFILE.yaml")
	if p.cfg.Profile == "" || p.cfg.Profile == "auto" {
		profile, err := p.cfg.Set.Match(facts)
		if errors.Is(err, firmware.ErrAmbiguous) {
			return fail("%v", err).mendBy("profile: ID   # under token: in seald.yaml, one of those")
		}
		if err != nil {
			return fail("%v", err).mendBy("%s", probe)
		}
		p.profile, p.report.Profile = profile, profile.ID
		return ok("%s fits library and token", profile.ID)
	}
	profile, err := p.cfg.Set.Profile(p.cfg.Profile)
	if err == nil {
		err = profile.Matches(facts)
	}
	if err != nil {
		return fail("%v", err).mendBy("%s", probe)
	}
	p.profile, p.report.Profile = profile, profile.ID
	return ok("%s, as configured, fits library and token", profile.ID)
}

func (p *patient) evidence(context.Context) finding {
	e := p.profile.Evidence
	probe := p.sealctl("probe", "--by NAME --out PROFILE.yaml")
	switch e.Level {
	case firmware.Verified:
		return ok("measured on %s firmware %s on %s by %s", e.Device.Model, e.Device.Firmware, e.Device.Date, e.Device.By)
	case firmware.Simulated:
		return warn("a software token made for tests: production mode refuses it")
	}
	return warn("%s: nobody has measured this on the device; keys stay resident", e.Level).mendBy("%s", probe)
}

// mechanisms of the standard algorithms, in the numbers of the standard.
var standard = map[string][]uint{"ecdsa": {pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_ECDSA}, "rsa": {pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKM_RSA_PKCS},
	"aes": {pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_GCM}}

func (p *patient) mechanisms(context.Context) finding {
	wanted := map[string][]uint{}
	if s := p.profile.SM2; s != nil {
		wanted["sm2"] = []uint{uint(s.KeyGen.Mechanism), uint(s.Sign[s.Use].Mechanism)}
	}
	for name, has := range map[string]bool{"ecdsa": p.profile.ECDSA != nil, "rsa": p.profile.RSA != nil, "aes": p.profile.AES != nil && p.profile.AES.GCM} {
		if has {
			wanted[name] = standard[name]
		}
	}
	var missing []string
	for name, numbers := range wanted {
		for _, n := range numbers {
			if text := fmt.Sprintf("0x%08x", n); !slices.Contains(p.token.Mechanisms, text) {
				missing = append(missing, name+" "+text)
			}
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		return fail("the token does not list %s, which the profile names", strings.Join(missing, ", ")).mendBy("%s", p.sealctl("probe", "--by NAME --out PROFILE.yaml"))
	}
	return ok("the token lists all mechanisms of %d algorithms of the profile, and %d in all", len(wanted), len(p.token.Mechanisms))
}

func (p *patient) pinTries(context.Context) finding {
	f := p.token.Flags
	so := fmt.Sprintf("pkcs11-tool --module %s --token-label %q --login --login-type so --init-pin   # by the security officer", p.report.Module, p.token.Label)
	switch {
	case f.PINLocked:
		return fail("the PIN is locked: no try is left").mendBy("%s", so)
	case f.PINFinalTry:
		return fail("one try is left, and a mistake would lock the token: no PIN is sent").
			mendBy("pkcs11-tool --module %s --token-label %q --login --list-objects   # by a person who is sure of the PIN; a good login brings all tries back", p.report.Module, p.token.Label)
	case f.PINTriesLow:
		return warn("a wrong PIN was entered since the last good one")
	}
	return ok("%s", f.Tries())
}

func (p *patient) latch(context.Context) finding {
	if p.cfg.LatchFile == "" {
		return fail("no latch file: a wrong PIN could not be remembered").mendBy("%s", p.sealctl("doctor", "--latch-file FILE"))
	}
	if err := hsm.Latched(p.cfg.LatchFile); err != nil {
		return fail("%v", err).mendBy("rm %s   # after the PIN in its file was put right", p.cfg.LatchFile)
	}
	return ok("no PIN is latched in %s", p.cfg.LatchFile)
}

func (p *patient) pinSource(context.Context) finding {
	if p.cfg.Keypad && !(p.token != nil && p.token.Flags.ProtectedPath) {
		return fail("the token takes no PIN at the device").mendBy("%s", p.sealctl("doctor", "--pin-file FILE"))
	}
	if p.cfg.Keypad {
		return ok("typed at the device")
	}
	if p.cfg.PINFile == "" {
		return ok("asked for at the terminal")
	}
	pin, err := p.cfg.ReadPIN()
	clear(pin)
	if err != nil {
		return fail("%v", err).mendBy("chmod 0400 %s", p.cfg.PINFile)
	}
	return ok("%s can be read by its owner alone", p.cfg.PINFile)
}

// staUnsync is STA_UNSYNC of adjtimex(2).
const staUnsync = 0x0040

func (p *patient) clock(context.Context) finding {
	const tolerated = 5 * time.Second
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err == nil && t.Status&staUnsync != 0 {
		return warn("the kernel says that nothing keeps this machine's clock right").mendBy("timedatectl set-ntp true")
	}
	if p.token == nil || !p.token.Flags.Clock {
		return ok("kept right by the system; the token has no clock")
	}
	at, err := time.Parse("20060102150405", p.token.UTCTime[:min(14, len(p.token.UTCTime))])
	if err != nil {
		return warn("the token's clock reads %q", p.token.UTCTime)
	}
	if off := time.Since(at).Abs(); off > tolerated {
		return warn("the token's clock is %v off", off.Round(time.Second)).mendBy("date -u   # and set the token's clock with the vendor's tool")
	}
	return ok("the token's clock agrees")
}
