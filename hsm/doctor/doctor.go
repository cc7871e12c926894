package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

// Config is what to examine.
type Config struct {
	hsm.Config               // without Profile
	Set        *firmware.Set // shipped profiles, and those of a folder
	Profile    string        // id of the configured profile; "" or auto: the one that fits
	Worker     []string      // command of a worker process; default: this binary
	InProcess  bool          // the appliance is configured to run the module in its own process
	Clean      bool          // destroy leftovers of probings
	Flags      string        // how the command was told which token is meant, for the commands that mend
}

// patient is what is known so far.
type patient struct {
	cfg     Config
	seen    *hsm.Surveyed
	token   *hsm.Present
	profile *firmware.Profile
	module  *hsm.Module
	objects []hsm.Object // before anything was made
	report  *Report
}

// finding is the outcome of one check.
type finding struct {
	result       Result
	detail, mend string
}

func ok(format string, a ...any) finding   { return finding{OK, fmt.Sprintf(format, a...), ""} }
func skip(format string, a ...any) finding { return finding{Skip, fmt.Sprintf(format, a...), ""} }

func (f finding) mendBy(format string, a ...any) finding {
	f.mend = fmt.Sprintf(format, a...)
	return f
}
func warn(format string, a ...any) finding { return finding{Warn, fmt.Sprintf(format, a...), ""} }
func fail(format string, a ...any) finding { return finding{Fail, fmt.Sprintf(format, a...), ""} }

// check is one of the list; it is skipped unless every check named in needs came out ok or warn.
type check struct {
	name  string
	needs []string
	do    func(p *patient, ctx context.Context) finding
}

// checks in the order of their numbers, which are stable.
var checks = []check{
	{"module-file", nil, (*patient).moduleFile},
	{"module-functions", []string{"module-file"}, (*patient).functions},
	{"library", []string{"module-functions"}, (*patient).library},
	{"token", []string{"library"}, (*patient).findToken},
	{"token-state", []string{"token"}, (*patient).tokenState},
	{"profile", []string{"token"}, (*patient).chooseProfile},
	{"evidence", []string{"profile"}, (*patient).evidence},
	{"mechanisms", []string{"profile"}, (*patient).mechanisms},
	{"pin-tries", []string{"token"}, (*patient).pinTries},
	{"pin-latch", nil, (*patient).latch},
	{"pin-source", nil, (*patient).pinSource},
	{"clock", []string{"library"}, (*patient).clock},
	{"login", []string{"profile", "token-state", "pin-tries", "pin-latch", "pin-source"}, (*patient).login},
	{"sessions", []string{"login"}, (*patient).sessions},
	{"random", []string{"login"}, (*patient).random},
	{"leftovers", []string{"login"}, (*patient).leftovers},
	{"round-trip", []string{"login", "mechanisms"}, (*patient).roundTrip},
	{"wrapping", []string{"login", "mechanisms"}, (*patient).wrapping},
	{"clean-up", []string{"leftovers"}, (*patient).cleanUp},
	{"worker", []string{"round-trip"}, (*patient).worker},
}

// Run makes all checks. The error is the context's alone: whatever is wrong with the token is in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	p := &patient{cfg: cfg, report: &Report{Module: cfg.Module, Label: cfg.Label, Serial: cfg.Serial, Checks: []Check{}}}
	defer p.close()
	done := map[string]Result{}
	for i, c := range checks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := p.make(ctx, c, done)
		done[c.name] = f.result
		p.report.Checks = append(p.report.Checks, Check{i + 1, c.name, f.result, f.detail, f.mend})
	}
	p.report.Verdict = p.report.verdict()
	return p.report, nil
}

func (p *patient) make(ctx context.Context, c check, done map[string]Result) finding {
	for _, need := range c.needs {
		if r := done[need]; r != OK && r != Warn {
			i := slices.IndexFunc(checks, func(c check) bool { return c.name == need })
			return skip("needs check %d, %s", i+1, need)
		}
	}
	return c.do(p, ctx)
}

// close lets the module go; what it says then changes nothing that was found.
func (p *patient) close() {
	if p.module != nil {
		_ = p.module.Close()
		p.module = nil
	}
}

// sealctl is a command of ours for this very token.
func (p *patient) sealctl(verb, more string) string {
	return strings.Join(strings.Fields("sealctl token "+verb+" "+p.cfg.Flags+" "+more), " ")
}
