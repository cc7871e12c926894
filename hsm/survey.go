package hsm

import (
	"fmt"

	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

// Surveyed is what a library and its slots say of themselves to anybody, without a login.
type Surveyed struct {
	Module       string  `json:"module"`
	ModuleSHA256 string  `json:"module_sha256"`
	Manufacturer string  `json:"manufacturer"`
	Description  string  `json:"description"`
	Version      string  `json:"version"`
	Cryptoki     string  `json:"cryptoki"`
	Slots        []Slot  `json:"slots"`
	version      version // for facts
}

type version = firmware.Version

// Slot is one slot. Its number is for reading alone: numbers move, and nothing is chosen by them.
type Slot struct {
	Number      uint     `json:"number"`
	Description string   `json:"description"`
	Token       *Present `json:"token,omitempty"`
	Trouble     string   `json:"trouble,omitempty"` // why the token in it cannot be asked
}

// Present is a token in a slot.
type Present struct {
	Label        string     `json:"label"`
	Serial       string     `json:"serial"`
	Manufacturer string     `json:"manufacturer"`
	Model        string     `json:"model"`
	Firmware     string     `json:"firmware"`
	Flags        TokenFlags `json:"flags"`
	MaxSessions  int        `json:"max_sessions"` // as the token claims; 0 when it names no limit
	UTCTime      string     `json:"utc_time,omitempty"`
	Mechanisms   []string   `json:"mechanisms"` // 0x-hexadecimal
	firmware     version
	numbers      []uint32 // Mechanisms
}

// TokenFlags are those bits of CK_TOKEN_INFO.flags that somebody should look at.
type TokenFlags struct {
	Initialised    bool `json:"initialised"`
	PINInitialised bool `json:"pin_initialised"`
	LoginRequired  bool `json:"login_required"`
	ProtectedPath  bool `json:"protected_path"` // the PIN is entered at the device
	WriteProtected bool `json:"write_protected"`
	Random         bool `json:"random"`
	Clock          bool `json:"clock"`
	PINTriesLow    bool `json:"pin_tries_low"` // a wrong PIN was entered since the last good one
	PINFinalTry    bool `json:"pin_final_try"`
	PINLocked      bool `json:"pin_locked"`
	PINToBeChanged bool `json:"pin_to_be_changed"`
}

// Tries says in words how many tries the PIN has left: PKCS#11 tells no number. Some devices never set these flags.
func (f TokenFlags) Tries() string {
	switch {
	case f.PINLocked:
		return "none (locked)"
	case f.PINFinalTry:
		return "one"
	case f.PINTriesLow:
		return "fewer than all"
	}
	return "all, as far as the token tells"
}

// Facts is what firmware profiles are matched against.
func (s *Surveyed) Facts(p *Present) firmware.Facts {
	return firmware.Facts{LibraryManufacturer: s.Manufacturer, LibraryDescription: s.Description, LibraryFile: s.Module, LibraryVersion: s.version,
		TokenManufacturer: p.Manufacturer, TokenModel: p.Model, Firmware: p.firmware, Mechanisms: p.numbers}
}

// Survey loads the configured module, asks it and its slots who they are, and closes it. No login, no profile, no token named. ErrConfig and
// ErrModule as from Open; ErrConfig when the module is open in this process.
func Survey(cfg Config) (*Surveyed, error) {
	cfg, err := cfg.examined()
	if err != nil {
		return nil, err
	}
	s := &Surveyed{Module: cfg.Module, Slots: []Slot{}}
	if s.ModuleSHA256, err = fileSHA256(cfg.Module); err != nil {
		return nil, fmt.Errorf("%w: reading module: %w", ErrConfig, err)
	}
	return s, bareModule(cfg, s.ask)
}

func (s *Surveyed) ask(raw *pkcs11.Ctx) error {
	lib, err := raw.GetInfo()
	if err != nil {
		return fmt.Errorf("asking the library: %w", notOpened(err))
	}
	s.version = version{Major: lib.LibraryVersion.Major, Minor: lib.LibraryVersion.Minor}
	s.Manufacturer, s.Description, s.Version = lib.ManufacturerID, lib.LibraryDescription, s.version.String()
	s.Cryptoki = version{Major: lib.CryptokiVersion.Major, Minor: lib.CryptokiVersion.Minor}.String()
	slots, err := raw.GetSlotList(false)
	if err != nil {
		return fmt.Errorf("listing slots: %w", notOpened(err))
	}
	for _, number := range slots {
		s.Slots = append(s.Slots, surveySlot(raw, number))
	}
	return nil
}

func surveySlot(raw *pkcs11.Ctx, number uint) Slot {
	slot := Slot{Number: number}
	info, err := raw.GetSlotInfo(number)
	if err != nil {
		slot.Trouble = err.Error()
		return slot
	}
	slot.Description = info.SlotDescription
	if info.Flags&pkcs11.CKF_TOKEN_PRESENT == 0 {
		return slot
	}
	t, err := raw.GetTokenInfo(number)
	if err != nil {
		slot.Trouble = err.Error()
		return slot
	}
	slot.Token = present(t)
	list, err := raw.GetMechanismList(number)
	if err != nil {
		slot.Trouble = "listing mechanisms: " + err.Error()
	}
	for _, m := range list {
		slot.Token.Mechanisms = append(slot.Token.Mechanisms, fmt.Sprintf("0x%08x", m.Mechanism))
		slot.Token.numbers = append(slot.Token.numbers, uint32(m.Mechanism))
	}
	return slot
}

func present(t pkcs11.TokenInfo) *Present {
	has := func(bit uint) bool { return t.Flags&bit != 0 }
	p := &Present{Label: t.Label, Serial: t.SerialNumber, Manufacturer: t.ManufacturerID, Model: t.Model, Mechanisms: []string{},
		firmware: version{Major: t.FirmwareVersion.Major, Minor: t.FirmwareVersion.Minor},
		Flags: TokenFlags{has(pkcs11.CKF_TOKEN_INITIALIZED), has(pkcs11.CKF_USER_PIN_INITIALIZED), has(pkcs11.CKF_LOGIN_REQUIRED),
			has(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH), has(pkcs11.CKF_WRITE_PROTECTED), has(pkcs11.CKF_RNG), has(pkcs11.CKF_CLOCK_ON_TOKEN),
			has(pkcs11.CKF_USER_PIN_COUNT_LOW), has(pkcs11.CKF_USER_PIN_FINAL_TRY), has(pkcs11.CKF_USER_PIN_LOCKED), has(pkcs11.CKF_USER_PIN_TO_BE_CHANGED)}}
	p.Firmware = p.firmware.String()
	if n := t.MaxRwSessionCount; n != pkcs11.CK_EFFECTIVELY_INFINITE && n != pkcs11.CK_UNAVAILABLE_INFORMATION && n < 1<<20 {
		p.MaxSessions = int(n)
	}
	if p.Flags.Clock {
		p.UTCTime = t.UTCTime
	}
	return p
}
