package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/probe"
	"sealkeeper/hsm/worker"
)

func (p *patient) login(ctx context.Context) finding {
	cfg := p.cfg.Config
	cfg.Profile = p.profile
	m, err := hsm.Open(ctx, cfg)
	switch {
	case errors.Is(err, hsm.ErrPINLatched):
		return fail("%v", err).mendBy("rm %s   # after the PIN in its file was put right", p.cfg.LatchFile)
	case errors.Is(err, hsm.ErrTokenGone), errors.Is(err, hsm.ErrBusy):
		return fail("%v", err).mendBy("systemctl stop seald   # should the device admit one application only; then again: %s", p.sealctl("doctor", ""))
	case err != nil:
		return fail("%v", err)
	}
	p.module = m
	if p.objects, err = m.Objects(ctx); err != nil {
		return fail("logged in, but the token cannot be listed: %v", err)
	}
	return ok("once, with the PIN of the configuration; %d objects in the token", len(p.objects))
}

func (p *patient) sessions(ctx context.Context) finding {
	info, err := p.module.Info(ctx)
	if err != nil {
		return fail("%v", err)
	}
	asked := p.cfg.MaxSessions
	switch {
	case p.token.MaxSessions > 0 && asked > p.token.MaxSessions:
		return warn("%d sessions are configured, the token allows %d", asked, p.token.MaxSessions).mendBy("sessions: %d   # under token: in seald.yaml", p.token.MaxSessions)
	case p.profile.Limits.MaxSessions > 0 && asked > p.profile.Limits.MaxSessions:
		return warn("%d sessions are configured, the profile allows %d", asked, p.profile.Limits.MaxSessions).mendBy("sessions: %d   # under token: in seald.yaml", p.profile.Limits.MaxSessions)
	}
	return ok("%d for the pool beside the login's and those of document keys", info.Sessions)
}

func (p *patient) random(ctx context.Context) finding {
	seen := map[string]bool{}
	for range 4 {
		b, err := p.module.Random(ctx, 32)
		if err != nil {
			return fail("%v", err)
		}
		if len(b) != 32 || seen[string(b)] || strings.Count(string(b), string(b[:1])) == len(b) {
			return fail("the token's random numbers repeat: no key may be made in it")
		}
		seen[string(b)] = true
	}
	return ok("four draws of 32 bytes differ")
}

// throwaway is what measurements and conformance runs make. They cannot be told from here with the certainty that destroying asks for.
var throwaway = regexp.MustCompile(`^(bench-[0-9a-f]{8}|conformance:.*)$`)

func (p *patient) leftovers(ctx context.Context) finding {
	var ours, others []string
	for _, o := range p.objects {
		switch {
		case probe.Leftover(o):
			ours = append(ours, fmt.Sprintf("%s %s", o.Class, o.Label))
		case throwaway.MatchString(o.Label):
			others = append(others, fmt.Sprintf("%s %s", o.Class, o.Label))
		}
	}
	switch {
	case len(ours) > 0 && p.cfg.Clean:
		return p.sweep(ctx)
	case len(ours) > 0:
		return warn("of probings that broke off: %s", strings.Join(ours, ", ")).mendBy("%s", p.sealctl("doctor", "--clean"))
	case len(others) > 0:
		return warn("of measurements: %s", strings.Join(others, ", ")).mendBy("%s", p.sealctl("list", "")+"   # destroyed by ceremony, or by seald's operators")
	}
	return ok("none")
}

// sweep destroys by identifier what carries the label of a probing, and makes sure that it is gone.
func (p *patient) sweep(ctx context.Context) finding {
	n := 0
	for _, o := range p.objects {
		if !probe.Leftover(o) {
			continue
		}
		if shared(p.objects, o) {
			return fail("%s %s shares its identifier with an object of another label: nothing is destroyed", o.Class, o.Label)
		}
		if err := p.module.Destroy(ctx, o.ID); err != nil && !errors.Is(err, hsm.ErrNotFound) { // its other half went with it
			return fail("%v", err)
		}
		n++
	}
	left, err := p.module.Objects(ctx)
	if err != nil {
		return fail("%v", err)
	}
	p.objects = left
	for _, o := range left {
		if probe.Leftover(o) {
			return fail("%s %s cannot be destroyed", o.Class, o.Label)
		}
	}
	return ok("%d objects of probings destroyed", n)
}

// shared: destroying by identifier would take somebody else's object along.
func shared(all []hsm.Object, o hsm.Object) bool {
	for _, x := range all {
		if x.RawID == o.RawID && !probe.Leftover(x) {
			return true
		}
	}
	return false
}

func (p *patient) roundTrip(ctx context.Context) finding {
	var good, bad []string
	for _, a := range probe.Algorithms(p.profile) {
		if left, err := probe.Once(ctx, p.module, a); err != nil {
			bad = append(bad, strings.TrimSpace(fmt.Sprintf("%s: %v %s", a, err, left)))
			continue
		}
		good = append(good, string(a))
	}
	switch {
	case len(bad) > 0:
		return fail("%s", strings.Join(bad, "; ")).mendBy("%s", p.sealctl("probe", "--by NAME --out PROFILE.yaml"))
	case len(good) == 0:
		return fail("the profile offers no algorithm").mendBy("%s", p.sealctl("probe", "--by NAME --out PROFILE.yaml"))
	}
	return ok("%s: a key made, its evidence read back, used, verified in software and destroyed", strings.Join(good, ", "))
}

func (p *patient) wrapping(ctx context.Context) finding {
	var good, bad []string
	for _, a := range probe.Wrappable(p.profile) {
		if left, err := probe.OnceWrapped(ctx, p.module, a); err != nil {
			bad = append(bad, strings.TrimSpace(fmt.Sprintf("%s: %v %s", a, err, left)))
			continue
		}
		good = append(good, string(a))
	}
	switch {
	case len(bad) > 0:
		return fail("the profile says that keys can be wrapped, and %s", strings.Join(bad, "; ")).mendBy("custody: {seals: resident}   # in seald.yaml; then %s", p.sealctl("probe", "--by NAME"))
	case len(good) == 0:
		return skip("the profile claims none: keys stay resident")
	}
	return ok("%s: wrapped, opened again, signed and verified", strings.Join(good, ", "))
}

func (p *patient) cleanUp(ctx context.Context) finding {
	after, err := p.module.Objects(ctx)
	if err != nil {
		return fail("%v", err)
	}
	if len(after) != len(p.objects) {
		return fail("%d objects before, %d now", len(p.objects), len(after)).mendBy("%s", p.sealctl("doctor", "--clean"))
	}
	return ok("as many objects as before, %d", len(after))
}

// worker comes last: it opens the token in a child, for which this process lets it go.
func (p *patient) worker(ctx context.Context) finding {
	if p.cfg.Keypad {
		return skip("a PIN typed at the device cannot be handed to a worker process")
	}
	all := probe.Algorithms(p.profile)
	cfg := worker.Config{Config: p.cfg.Config, Command: p.cfg.Worker}
	cfg.Profile, cfg.Proven = p.profile, true // the PIN logged in a moment ago
	p.close()
	tok, err := worker.Open(ctx, cfg)
	if err != nil {
		return fail("%v", err)
	}
	left, err := probe.Once(ctx, tok, all[0])
	if err = errors.Join(err, tok.Close()); err != nil {
		return fail("%v %s", err, left)
	}
	if p.cfg.InProcess && p.profile.Evidence.Level != firmware.Simulated {
		return warn("%s works in a worker process, and in-process is configured: a crash of the library ends the daemon", all[0]).mendBy("isolation: worker   # under token: in seald.yaml")
	}
	return ok("%s works in a process of its own", all[0])
}
