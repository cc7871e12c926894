package hsm

import (
	"fmt"

	firmware "sealkeeper/firmware-profiles"
)

// Auto in place of a profile's id has library, token and mechanism list choose.
const Auto = "auto"

// Choose returns the profile of that id. With Auto it asks in this process who the token is, as a tool may; the daemon asks in a child.
func Choose(set *firmware.Set, id string, cfg Config) (*firmware.Profile, error) {
	if id != Auto {
		return set.Profile(id)
	}
	facts, err := Identify(cfg)
	if err != nil {
		return nil, err
	}
	return set.Match(facts)
}

// Identify asks who the library and the configured token are, to choose a firmware profile by. It loads the module and closes it again: no profile,
// no PIN, no login. ErrTokenGone when the token is not there, ErrConfig when serial and label name several, or the module is open in this process.
func Identify(cfg Config) (firmware.Facts, error) {
	s, err := Survey(cfg)
	if err != nil {
		return firmware.Facts{}, err
	}
	var found []*Present
	for _, slot := range s.Slots {
		t := slot.Token
		if t != nil && t.Flags.Initialised && (cfg.Serial == "" || t.Serial == cfg.Serial) && (cfg.Label == "" || t.Label == cfg.Label) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return firmware.Facts{}, fmt.Errorf("looking for token serial %q label %q: %w", cfg.Serial, cfg.Label, ErrTokenGone)
	case 1:
		return s.Facts(found[0]), nil
	}
	return firmware.Facts{}, fmt.Errorf("%d tokens with serial %q label %q: %w", len(found), cfg.Serial, cfg.Label, ErrConfig)
}
