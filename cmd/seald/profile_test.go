package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/hsm/worker"
	softhsmtest "sealkeeper/softhsm-test"
	"sealkeeper/softhsm-test/simulator"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == worker.Command {
		os.Exit(worker.Main())
	}
	os.Exit(softhsmtest.Main(m))
}

// TestAutoProfile: library, token and mechanism list choose the profile before a PIN is used, and the log says by which rules; two that fit, none,
// and a token that is not there stop the start.
func TestAutoProfile(t *testing.T) {
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	shipped := func(id string) *firmware.Profile {
		p, err := set.Profile(id)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	stranger := *shipped("thales-luna")
	stranger.Match = firmware.Match{LibraryManufacturer: []string{"example works"}}
	for name, c := range map[string]struct {
		token *softhsmtest.Token
		id    string
		why   string
		err   error
	}{
		"a file's name and numbers": {simulator.New(t, shipped("tass")), "tass", "the token lists sm2.sign.e.mechanism, 0x80008000", nil},
		"two names":                 {simulator.New(t, shipped("thales-luna")), "thales-luna", `library_description \"chrystoki simulated\" holds one of`, nil},
		"one of three numberings":   {simulator.New(t, shipped("sansec-itrus")), "sansec-itrus", "the token lists sm4.keygen, 0x8000a001", nil},
		"the test module":           {softhsmtest.New(t), "softhsm2-sm2", "sealkeeper-sm2", nil},
		"two numberings at once":    {simulator.New(t, shipped("sansec"), "listed 0x8005000a", "listed 0x8005000b"), "", "", firmware.ErrAmbiguous},
		"a stranger":                {simulator.New(t, &stranger), "", "", firmware.ErrNoMatch},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := auto(t, c.token)
			p, err := cfg.profiles(t.Context(), set, slog.New(slog.NewTextHandler(&log, nil)))
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, %v", p, err)
			}
			if c.err != nil {
				return
			}
			if p[0].ID != c.id || !strings.Contains(log.String(), c.why) {
				t.Errorf("chose %q:\n%s", p[0].ID, log.String())
			}
		})
	}
	named := auto(t, softhsmtest.New(t))
	named.Token.Profile = "feitian"
	if _, err := named.profiles(t.Context(), set, slog.New(slog.DiscardHandler)); !errors.Is(err, firmware.ErrIncomplete) ||
		!strings.Contains(err.Error(), "from the SDK's pkcs11.h") {
		t.Errorf("a profile that says what the vendor must supply: %v", err)
	}
	away := auto(t, softhsmtest.New(t))
	away.Token.Serial = "0000000000000000"
	if _, err := away.profiles(t.Context(), set, slog.New(slog.DiscardHandler)); !errors.Is(err, hsm.ErrTokenGone) {
		t.Errorf("a token that is not there: %v", err)
	}
}

func auto(t *testing.T, k *softhsmtest.Token) *Config {
	t.Helper()
	c := &Config{Mode: "demo", Token: TokenConfig{Module: k.Module, Profile: hsm.Auto, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch.json")}}
	c.defaults()
	return c
}

// TestSimulatedDeviceOpens: a device that its profile says is documented opens in a worker, calls itself simulated, and production refuses it.
func TestSimulatedDeviceOpens(t *testing.T) {
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p, err := set.Profile("westone-a")
	if err != nil {
		t.Fatal(err)
	}
	cfg := auto(t, simulator.New(t, p))
	cfg.Token.Profile = p.ID // its numbers alone choose nothing
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	members, err := openTokens(t.Context(), cfg, false, log)
	if err != nil {
		t.Fatal(err)
	}
	info, err := members[0].Token.Info(t.Context())
	if err != nil || info.Evidence != hsm.Simulated || info.Profile != p.ID {
		t.Errorf("%+v, %v", info, err)
	}
	if _, in := members[0].Token.(*worker.Token); !in {
		t.Errorf("a %T holds the module", members[0].Token)
	}
	if err := closeTokens(members); err != nil {
		t.Error(err)
	}
	cfg.Mode = "production"
	guess := hsm.TokenInfo{Evidence: hsm.Guessed, Profile: "vendor-model"}
	if err := cfg.admit(guess); err == nil || !strings.Contains(err.Error(), "sealctl token probe") {
		t.Errorf("a guessed profile in production: %v", err)
	}
	if _, err := openTokens(t.Context(), cfg, false, log); err == nil || !strings.Contains(err.Error(), "simulated") {
		t.Errorf("production: %v", err)
	}
}
