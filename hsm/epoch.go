package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"

	firmware "sealkeeper/firmware-profiles"
)

// epoch is one life of the connection: the module opened, a login, sessions, handles. All of it ends together.
type epoch struct {
	n     uint64
	raw   *pkcs11.Ctx
	slot  uint
	facts firmware.Facts
	login pkcs11.SessionHandle // held open to the end: closing the last session would log out
	docs  *crypto11.Context    // owns the initialisation of the module
	pool  *pool                // raw sessions
	sign  *lane                // calls inside crypto11, which has sessions of its own
	desk  *lane                // calls that need no session
	keys  *keyCache
	ended chan struct{}

	suites map[Algorithm]*suite // what profile and token both offer
	wraps  map[string]uint      // the mechanisms behind the profile's names of wrappings
	opened *openings            // wrapped keys as session objects

	signN   int // permits of sign
	holders int // sessions kept back to hold wrapped keys: one or none
	once    sync.Once

	renewed bool // ended for the sake of a fresh one; guarded by Module.mu until it is over
}

const deskPermits = 2

// end lets nobody in any more. Calls that are inside finish.
func (e *epoch) end() { e.once.Do(func() { close(e.ended) }) }

// shut waits until nobody is inside and closes everything. It may be called again after an error.
func (e *epoch) shut(ctx context.Context) error {
	if err := errors.Join(e.shutHolder(ctx), e.pool.shut(ctx), e.sign.drain(ctx, e.signN), e.desk.drain(ctx, deskPermits)); err != nil {
		return err
	}
	e.closeModule()
	return nil
}

// closeModule gives the login session back; crypto11 finalises the module if nobody else in this process has it open.
func (e *epoch) closeModule() {
	if e.login != 0 {
		_ = e.raw.CloseSession(e.login) // the session may be dead, which is why we are here
	}
	_ = e.docs.Close() // never returns an error
}

// attached keeps one raw context per library: they are never destroyed, because unloading a PKCS#11 module has crashed processes.
var attached = struct {
	sync.Mutex
	raw map[string]*pkcs11.Ctx
}{raw: map[string]*pkcs11.Ctx{}}

// attach loads the library. New alone runs no code of the module beyond its list of functions.
func attach(path string) (*pkcs11.Ctx, error) {
	attached.Lock()
	defer attached.Unlock()
	if raw := attached.raw[path]; raw != nil {
		return raw, nil
	}
	if err := loads(path); err != nil {
		return nil, err
	}
	raw := pkcs11.New(path)
	if raw == nil {
		return nil, fmt.Errorf("loading %s: not a PKCS#11 module: %w", path, ErrConfig)
	}
	attached.raw[path] = raw
	return raw, nil
}

// open starts an epoch up to, and without, the login.
func (m *Module) open() (*epoch, error) {
	raw, err := attach(m.cfg.Module)
	if err != nil {
		return nil, err
	}
	e, err := m.openWithin(raw, m.cfg.MaxSessions)
	var less tooMany
	if errors.As(err, &less) {
		e, err = m.openWithin(raw, int(less)) // what the token allows is known only once the module is open
	}
	return e, err
}

// notOpened is sentinel for a module that is being opened: it was not asked for anything that it could refuse.
func notOpened(err error) error {
	if classify(err) == classDevice {
		return fmt.Errorf("%w: %w", ErrTokenGone, err)
	}
	return sentinel(err)
}

// tooMany: the token allows only so many sessions.
type tooMany int

func (n tooMany) Error() string { return fmt.Sprintf("the token allows %d sessions", int(n)) }

func (m *Module) openWithin(raw *pkcs11.Ctx, budget int) (*epoch, error) {
	if budget < minSessions {
		return nil, fmt.Errorf("%d sessions are allowed, %d are needed: %w", budget, minSessions, ErrUnsupported)
	}
	signN := max(1, budget/4)
	docs, err := crypto11.Configure(m.crypto11Config(signN))
	if err != nil {
		if _, isCode := code(err); isCode {
			return nil, fmt.Errorf("opening module: %w", notOpened(err))
		}
		return nil, fmt.Errorf("opening module: %w: %w", ErrTokenGone, err) // the library was loaded above, so the token was not found
	}
	e := &epoch{raw: raw, docs: docs, keys: newKeyCache(), ended: make(chan struct{}), signN: signN}
	if err := m.prepare(e, budget); err != nil {
		e.closeModule()
		return nil, err
	}
	return e, nil
}

// crypto11Config never lets crypto11 log in: it would not look at the PIN flags first and would keep the PIN. Its pool goes round all
// the sessions it may have, so it gets exactly its share, and one to hold.
func (m *Module) crypto11Config(signN int) *crypto11.Config {
	c := &crypto11.Config{Path: m.cfg.Module, MaxSessions: signN + 1, LoginNotSupported: true}
	switch {
	case m.serial != "":
		c.TokenSerial = m.serial
	case m.cfg.Serial != "":
		c.TokenSerial = m.cfg.Serial
	default:
		c.TokenLabel = m.cfg.Label
	}
	return c
}

// prepare attaches the raw context, finds the one slot, checks the profile and divides the sessions.
func (m *Module) prepare(e *epoch, budget int) error {
	if err := e.raw.Initialize(); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("attaching to module: %w", notOpened(err))
	}
	info, err := m.findSlot(e)
	if err != nil {
		return err
	}
	if err := m.checkProfile(e, info); err != nil {
		return err
	}
	limit := info.MaxRwSessionCount
	if limit != pkcs11.CK_EFFECTIVELY_INFINITE && limit != pkcs11.CK_UNAVAILABLE_INFORMATION && limit < uint(budget) {
		return tooMany(limit)
	}
	e.sign, e.desk = newLane(e.signN, e.ended), newLane(deskPermits, e.ended)
	if len(m.cfg.Profile.Wrap) > 0 && budget > minSessions {
		e.holders = 1
	}
	most, renew := m.cfg.opened()
	e.opened = newOpenings(most, renew, e.ended)
	e.pool = newPool(budget-2-e.signN-e.holders, e.ended, e.openSession, func(h pkcs11.SessionHandle) { _ = e.raw.CloseSession(h) })
	return nil
}

func (e *epoch) openSession() (pkcs11.SessionHandle, error) {
	return e.raw.OpenSession(e.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
}

// findSlot finds the one token with the configured serial and label. After the first epoch the serial is pinned.
func (m *Module) findSlot(e *epoch) (pkcs11.TokenInfo, error) {
	slots, err := e.raw.GetSlotList(true)
	if err != nil {
		return pkcs11.TokenInfo{}, fmt.Errorf("listing slots: %w", notOpened(err))
	}
	var found []uint
	var info pkcs11.TokenInfo
	for _, slot := range slots {
		t, err := e.raw.GetTokenInfo(slot)
		if err != nil || t.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue // a neighbour's trouble is not ours
		}
		if m.wanted(t) {
			found, info = append(found, slot), t
		}
	}
	switch len(found) {
	case 0:
		return info, fmt.Errorf("looking for token serial %q label %q: %w", m.cfg.Serial, m.cfg.Label, ErrTokenGone)
	case 1:
		e.slot = found[0]
		return info, nil
	}
	return info, fmt.Errorf("%d tokens with serial %q label %q: %w", len(found), m.cfg.Serial, m.cfg.Label, ErrConfig)
}

func (m *Module) wanted(t pkcs11.TokenInfo) bool {
	return (m.cfg.Serial == "" || t.SerialNumber == m.cfg.Serial) && (m.cfg.Label == "" || t.Label == m.cfg.Label) &&
		(m.serial == "" || t.SerialNumber == m.serial)
}

// checkProfile holds the profile's rules against what library and token say, and its mechanisms against the token's list.
func (m *Module) checkProfile(e *epoch, t pkcs11.TokenInfo) error {
	lib, err := e.raw.GetInfo()
	if err != nil {
		return fmt.Errorf("asking the library: %w", notOpened(err))
	}
	e.facts = firmware.Facts{
		LibraryManufacturer: lib.ManufacturerID, LibraryDescription: lib.LibraryDescription, LibraryFile: m.cfg.Module,
		LibraryVersion:    firmware.Version{Major: lib.LibraryVersion.Major, Minor: lib.LibraryVersion.Minor},
		TokenManufacturer: t.ManufacturerID, TokenModel: t.Model,
		Firmware: firmware.Version{Major: t.FirmwareVersion.Major, Minor: t.FirmwareVersion.Minor},
	}
	have, err := e.raw.GetMechanismList(e.slot)
	if err != nil {
		return fmt.Errorf("listing mechanisms: %w", notOpened(err))
	}
	for _, h := range have {
		e.facts.Mechanisms = append(e.facts.Mechanisms, uint32(h.Mechanism))
	}
	if err := m.cfg.Profile.Matches(e.facts); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	e.checkMechanisms(m)
	return nil
}

// checkMechanisms keeps the algorithms whose mechanisms the token lists with the right flag; the others are off and logged.
func (e *epoch) checkMechanisms(m *Module) {
	e.suites = map[Algorithm]*suite{}
	for _, s := range m.suites {
		usable := true
		for _, need := range s.needs() {
			if !e.offers(need) {
				m.cfg.Log.Warn("token lacks a mechanism of the profile, algorithm is off", "algorithm", s.name,
					"mechanism", fmt.Sprintf("0x%08x", need.mechanism), "profile", m.cfg.Profile.ID)
				usable = false
			}
		}
		if usable {
			e.suites[s.name] = s
		}
	}
	e.checkWrapping(m)
	e.checkTransport(m)
}

func (e *epoch) offers(n need) bool {
	if !slices.Contains(e.facts.Mechanisms, uint32(n.mechanism)) {
		return false
	}
	i, err := e.raw.GetMechanismInfo(e.slot, []*pkcs11.Mechanism{{Mechanism: n.mechanism}})
	return err == nil && i.Flags&n.flag != 0
}

// alive asks whether the token is still there: sessions and random numbers of some modules go on without one.
func (e *epoch) alive(serial string) bool {
	t, err := e.raw.GetTokenInfo(e.slot)
	return err == nil && t.SerialNumber == serial
}
