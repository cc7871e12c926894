package hsm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	firmware "sealkeeper/firmware-profiles"
)

// Config says which token to open and how. It holds no secret: the PIN is fetched when it is needed and cleared afterwards.
type Config struct {
	Module  string            // path of the PKCS#11 library
	Allowed []Allowed         // libraries that may be loaded; empty is any that nobody else can write
	Profile *firmware.Profile // must match the library and the token

	// The token, by serial or label; with both, both must agree. Never by slot: slot numbers move.
	Serial string
	Label  string

	// Exactly one of the three. PINFile is a file that only its owner can read (0400); one line end behind the PIN is ignored.
	PIN     func() ([]byte, error)
	PINFile string
	// Keypad lets whoever holds the token type the PIN at the device itself (a protected authentication path): C_Login gets none and waits.
	Keypad bool

	// LatchFile is where a refused PIN is remembered across restarts (law 7). Required; while it exists nothing logs in.
	LatchFile string

	// MaxSessions caps all sessions together: one holds the login, one is crypto11's own, a quarter signs ECDSA and RSA, one holds wrapped keys
	// where the profile has any (and there are 5), the rest do everything else. Zero means 16. The profile's and the token's limits apply as well; at least 4 are needed.
	MaxSessions int

	// ManualLogin leaves a lost login lost (ErrLoggedOut) until Reopen. Otherwise it is restored once per call with the same PIN.
	ManualLogin bool

	// Proven says that this very PIN logged in to this very token before, as the caller knows from an earlier Module. Otherwise the first
	// login is made under a latch, which stays when the process dies inside C_Login.
	Proven bool

	// Opened bounds the wrapped keys that are session objects at one time.
	Opened Opened

	// MayBeAway lets Open succeed while the token is away, or its PIN is latched: one of several tokens does not keep the others from
	// serving. Serial is needed then.
	MayBeAway bool

	Log *slog.Logger // nil discards
}

// Forgives says whether Open succeeds although the token could not be opened.
func (c Config) Forgives(err error) bool {
	return c.MayBeAway && (errors.Is(err, ErrTokenGone) || errors.Is(err, ErrPINLatched)) && !errors.Is(err, ErrConfig)
}

// ErrConfig: the configuration cannot work. Nothing was opened.
var ErrConfig = errors.New("token configuration is not usable")

const (
	defaultSessions = 16
	minSessions     = 4
)

// checked returns c with defaults filled in and the module's path resolved.
func (c Config) checked() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, fmt.Errorf(format, args...))
	}
	switch {
	case c.Profile == nil:
		return bad("no firmware profile")
	case c.Profile.Refusal() != nil:
		return bad("firmware profile: %w", c.Profile.Refusal())
	case c.Profile.Module.Locking != "" && c.Profile.Module.Locking != "os":
		return bad("profile %q wants locking %q: %w", c.Profile.ID, c.Profile.Module.Locking, ErrUnsupported)
	case c.Serial == "" && c.Label == "":
		return bad("neither serial nor label of the token")
	case c.MayBeAway && c.Serial == "":
		return bad("a token that may be away is named by its serial")
	case c.pinSources() != 1:
		return bad("exactly one of PIN, PIN file and keypad")
	case c.LatchFile == "":
		return bad("no latch file")
	case c.Opened.Keys < 0:
		return bad("%d open keys", c.Opened.Keys)
	case c.MaxSessions < 0 || c.MaxSessions > 0 && c.MaxSessions < minSessions:
		return bad("%d sessions, at least %d are needed", c.MaxSessions, minSessions)
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = defaultSessions
	}
	if limit := c.Profile.Limits.MaxSessions; limit > 0 {
		c.MaxSessions = min(c.MaxSessions, limit)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	// Only a path with a slash: dlopen would search its own folders for a bare name.
	path, err := filepath.Abs(c.Module)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if c.Module == "" || err != nil {
		return bad("module %q: %w", c.Module, err)
	}
	c.Module = path
	return c, c.checkModule()
}

func (c Config) pinSources() (n int) {
	for _, given := range []bool{c.PIN != nil, c.PINFile != "", c.Keypad} {
		if given {
			n++
		}
	}
	return n
}

// fileSHA256 returns the hexadecimal digest of the module's file, for birth evidence.
func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
