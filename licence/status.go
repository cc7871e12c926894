package licence

import (
	"errors"
	"fmt"
	"strings"
)

// ErrStatus: a registration status that the table does not know.
var ErrStatus = errors.New("registration status is not in the table")

// Status is the state of a registration (登记状态).
type Status string

// The states of a licence.
const (
	Active      Status = "active"
	Dormant     Status = "dormant"      // registered dormancy, 歇业
	RevokedOpen Status = "revoked_open" // revoked, not yet deregistered
	Cancelled   Status = "cancelled"
	Annulled    Status = "annulled"
	MovedOut    Status = "moved_out"
	Other       Status = "other"
)

// Login says what the licence still opens as an identity.
type Login string

// The grades of login.
const (
	LoginFull       Login = "full"
	LoginHandover   Login = "handover"   // until the receiving place has taken over
	LoginRestricted Login = "restricted" // liquidation and deregistration only
	LoginNone       Login = "none"
)

// SealEffect says what a status does to the seals of the entity.
type SealEffect string

// The effects on seals.
const (
	SealsKept      SealEffect = "kept"
	SealsSuspended SealEffect = "suspended"
	SealsCancelled SealEffect = "cancelled"
)

// Effect is what a status means for licence, login and seals.
type Effect struct {
	Valid   bool   // the licence is shown as valid
	Flag    string // what is shown beside it, empty for nothing
	Login   Login
	SealUse bool // a seal may be used (law 3)
	Seals   SealEffect
	Final   bool // nothing follows
}

// effects is the whole meaning of the statuses; code asks it and never switches on a status.
var effects = map[Status]Effect{
	Active:      {Valid: true, Login: LoginFull, SealUse: true, Seals: SealsKept},
	Dormant:     {Valid: true, Flag: "dormant", Login: LoginFull, SealUse: true, Seals: SealsKept},
	RevokedOpen: {Flag: "no new business", Login: LoginRestricted, Seals: SealsSuspended},
	Cancelled:   {Flag: "cancelled", Login: LoginNone, Seals: SealsCancelled, Final: true},
	Annulled:    {Flag: "registration annulled", Login: LoginNone, Seals: SealsCancelled, Final: true},
	MovedOut:    {Valid: true, Flag: "valid elsewhere", Login: LoginHandover, SealUse: true, Seals: SealsKept},
	Other:       {Flag: "manual check", Login: LoginRestricted, Seals: SealsSuspended},
}

// Effect returns the row of the table; an unknown status has the effect of Other.
func (s Status) Effect() Effect {
	if e, ok := effects[s]; ok {
		return e
	}
	return effects[Other]
}

// Known reports whether the table has a row for the status.
func (s Status) Known() bool {
	_, ok := effects[s]
	return ok
}

// spellings maps the registration system's texts, normalised by normalStatus.
var spellings = map[string]Status{
	"存续": Active, "在营": Active, "开业": Active, "在册": Active, "正常": Active, "存续(在营,开业,在册)": Active,
	"歇业": Dormant, "吊销": RevokedOpen, "吊销,未注销": RevokedOpen, "吊销未注销": RevokedOpen,
	"注销": Cancelled, "吊销,已注销": Cancelled, "吊销已注销": Cancelled, "撤销": Annulled, "迁出": MovedOut,
	"停业": Other, "责令关闭": Other, "清算中": Other, "其他": Other,
}

// ParseStatus reads the registration system's text; commas, brackets and blanks vary and do not matter.
func ParseStatus(text string) (Status, error) {
	s, ok := spellings[normalStatus(text)]
	if !ok {
		return "", fmt.Errorf("reading %q: %w", text, ErrStatus)
	}
	return s, nil
}

func normalStatus(text string) string {
	return strings.NewReplacer("，", ",", "、", ",", "（", "(", "）", ")", " ", "", "\u3000", "").Replace(text)
}
