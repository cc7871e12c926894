package hsm

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// checkLatch refuses while a latch file exists.
func (m *Module) checkLatch() error {
	l, err := ReadLatch(m.cfg.LatchFile)
	if l == nil {
		return err
	}
	note := ""
	if m.cfg.Keypad {
		return l.refusal(note, err)
	}
	if pin, pinErr := m.cfg.fetchPIN(); pinErr == nil {
		if l.samePIN(pin) {
			note = "; the configured PIN is the one that was refused"
		}
		pin.clear()
	}
	return l.refusal(note, err)
}

// logIn logs in once per epoch. Whatever C_Login answers that is not plainly about something else latches, and nothing is retried.
func (m *Module) logIn(e *epoch) error {
	t, err := e.raw.GetTokenInfo(e.slot)
	if err != nil {
		return fmt.Errorf("asking token: %w: %w", ErrTokenGone, err)
	}
	if err := checkPINFlags(t.Flags); err != nil {
		return fmt.Errorf("token %q: %w", t.SerialNumber, err)
	}
	if m.cfg.Keypad && t.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH == 0 {
		return fmt.Errorf("token %q takes no PIN at the device; name a PIN file: %w", t.SerialNumber, ErrConfig)
	}
	if m.serial != "" && t.SerialNumber != m.serial {
		return fmt.Errorf("another token, %q, is in the slot of %q: %w", t.SerialNumber, m.serial, ErrTokenGone)
	}
	if err := m.claim(t.SerialNumber); err != nil {
		return err
	}
	if e.login, err = e.openSession(); err != nil {
		return m.giveUp(fmt.Errorf("opening login session: %w", notOpened(err)))
	}
	pin, err := m.cfg.fetchPIN()
	if err != nil {
		return m.giveUp(err)
	}
	defer pin.clear()
	proof := pin.proof(m.proofKey[:])
	same := subtle.ConstantTimeCompare(proof[:], m.proof[:]) == 1
	if m.proven && !same {
		return fmt.Errorf("the PIN is another than the one this process logged in with, so it is not tried: %w", ErrLoggedOut)
	}
	if err := m.tryPIN(e, pin, t.SerialNumber); err != nil {
		return m.giveUp(err)
	}
	if m.proven {
		m.relogins.Add(1)
	}
	m.proof, m.proven = proof, true
	return nil
}

// tryPIN is the one place that calls C_Login. A PIN that never logged in before is tried under a latch written beforehand: should the process
// end inside the call, nobody knows whether the token counted a wrong try, and the next process must not add another.
func (m *Module) tryPIN(e *epoch, pin secret, serial string) error {
	if !m.proven && !m.cfg.Proven {
		if err := setLatch(m.cfg.LatchFile, serial, pin, errNoAnswer); err != nil {
			return fmt.Errorf("the PIN is not tried, because a wrong one could not be remembered: %w: %w", ErrConfig, err)
		}
	}
	err := m.judgeLogin(pin.lend(func(s string) error { return e.raw.Login(e.login, m.userType(), s) }), pin, serial)
	if errors.Is(err, ErrPINLatched) || m.proven || m.cfg.Proven {
		return err
	}
	return errors.Join(err, ClearLatch(m.cfg.LatchFile))
}

// errNoAnswer is what a latch says between a C_Login and its answer.
var errNoAnswer = errors.New("the process ended before C_Login answered")

// checkPINFlags refuses to try a PIN on a token that would not forgive a mistake.
func checkPINFlags(flags uint) error {
	switch {
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fmt.Errorf("the token reports its PIN as locked: %w", ErrPINLatched)
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fmt.Errorf("the token reports one try left for its PIN: %w", ErrPINLatched)
	}
	return nil
}

// giveUp releases the claim when the very first login did not come about.
func (m *Module) giveUp(err error) error {
	m.mu.Lock()
	never := m.closed // the latch could not be written: the claim stays, so that this process does not try again
	m.mu.Unlock()
	if m.n == 0 && !never {
		m.unclaim()
		m.serial = ""
	}
	return err
}

func (m *Module) judgeLogin(err error, pin secret, serial string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		if m.proven {
			return nil // this PIN logged in before, and the login is still there
		}
		return fmt.Errorf("somebody else in this process is logged in, so the PIN cannot be checked: %w: %w", ErrLoggedOut, err)
	}
	switch classify(err) {
	case classGone, classSession, classModule:
		return fmt.Errorf("logging in: %w", sentinel(err))
	case classUnwell:
		if m.proven || m.cfg.Proven { // a PIN that was right is not what ails the device
			return fmt.Errorf("logging in: %w", sentinel(err))
		}
	}
	m.cfg.Log.Error("PIN refused, latched until an operator clears it", "serial", serial, "code", err.Error(), "latch", m.cfg.LatchFile)
	if werr := setLatch(m.cfg.LatchFile, serial, pin, err); werr != nil {
		// Nothing durable remembers it, so at least this process never tries again.
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		return fmt.Errorf("logging in: %w: %w: %w", ErrPINLatched, err, werr)
	}
	return fmt.Errorf("logging in: %w: %w", ErrPINLatched, err)
}

func (m *Module) userType() uint {
	if u := m.cfg.Profile.Login.UserType; u != 0 {
		return uint(u)
	}
	return pkcs11.CKU_USER
}
