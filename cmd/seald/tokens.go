package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sealkeeper/keystore"
)

// tokens are all configured tokens, the first one first.
func (c *Config) tokens() []*TokenConfig {
	all := []*TokenConfig{&c.Token}
	for i := range c.FurtherTokens {
		all = append(all, &c.FurtherTokens[i])
	}
	return all
}

// sessions are those of all tokens together.
func (c *Config) sessions() (n int) {
	for _, t := range c.tokens() {
		n += t.Sessions
	}
	return n
}

func (t *TokenConfig) defaults(first bool) {
	t.Sessions, t.HangAfter = or(t.Sessions, 16), or(t.HangAfter, 30*time.Second)
	if len(t.Births) == 0 && first {
		t.Births = []string{keystore.BirthsAppliance, keystore.BirthsSeals}
	} else if len(t.Births) == 0 {
		t.Births = []string{keystore.BirthsSeals}
	}
}

func (t *TokenConfig) resolve(base string) {
	t.Module, t.PINFile, t.LatchFile = under(base, t.Module), under(base, t.PINFile), under(base, t.LatchFile)
}

// checkTokens holds every token to what it needs, and several to what keeps them apart.
func (c *Config) checkTokens(need func(ok bool, what string)) {
	seen := map[string]string{}
	for i, t := range c.tokens() {
		at := "token"
		if i > 0 {
			at = fmt.Sprintf("further_tokens[%d]", i-1)
		}
		t.check(at, need)
		if len(c.FurtherTokens) == 0 {
			continue
		}
		need(t.Serial != "", at+".serial is needed when there are several tokens: a label may be given twice")
		need(t.LatchFile != "", at+".latch_file is needed: a wrong PIN of one token must not latch another")
		for what, value := range map[string]string{"serial": t.Serial, "latch_file": t.LatchFile} {
			if first := seen[what+value]; first != "" && value != "" {
				need(false, fmt.Sprintf("%s.%s is that of %s as well", at, what, first))
			}
			seen[what+value] = at
		}
	}
	need(slices.ContainsFunc(c.tokens(), func(t *TokenConfig) bool { return slices.Contains(t.Births, keystore.BirthsAppliance) }),
		"births: no token bears the appliance's own keys")
	need(slices.ContainsFunc(c.tokens(), func(t *TokenConfig) bool { return slices.Contains(t.Births, keystore.BirthsSeals) }),
		"births: no token bears the keys of seals")
}

func (t *TokenConfig) check(at string, need func(ok bool, what string)) {
	need(t.Module != "" && t.Profile != "", at+".module and "+at+".profile are needed")
	need(t.Label != "" || t.Serial != "", at+".label or "+at+".serial is needed")
	need(t.PINFile != "", at+".pin_file is needed")
	need(t.Isolation == "" || t.Isolation == "worker" || t.Isolation == "in-process", at+".isolation must be worker or in-process")
	need(t.HangAfter >= time.Second && t.HangAfter <= 10*time.Minute, at+".hang_after must be one second to ten minutes")
	for _, b := range t.Births {
		need(b == keystore.BirthsSeals || b == keystore.BirthsAppliance || keystore.KnownPurpose(keystore.Purpose(b)), at+".births: "+strings.TrimSpace(b)+
			" is neither seals, appliance nor a purpose")
	}
}
