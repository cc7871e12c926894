package register

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

var (
	// ErrTransition: the present state has no way to the one asked for.
	ErrTransition = errors.New("this does not follow the present state")
	// ErrReason: no such reason code, or it does not lead to what was asked.
	ErrReason = errors.New("reason code does not fit")
	// ErrRole: the reason may not be given, or the hold not be lifted, by this actor.
	ErrRole = errors.New("not for this actor to decide")
	// ErrEvidence: the reason needs evidence, or the evidence is too long.
	ErrEvidence = errors.New("evidence is missing or too long")
)

// State is the state of a seal.
type State string

// The states of a seal. Only an active seal signs.
const (
	Made       State = "made" // waits to be collected
	Active     State = "active"
	Suspended  State = "suspended"
	Cancelled  State = "cancelled"
	Superseded State = "superseded"
	Expired    State = "expired"
)

// follows is the transition table of seals. Suspended goes back to where it came from when its last hold is lifted.
var follows = map[State][]State{
	Made:      {Active, Suspended, Cancelled, Superseded, Expired},
	Active:    {Suspended, Cancelled, Superseded, Expired},
	Suspended: {Suspended, Made, Active, Cancelled, Superseded, Expired},
}

// Final reports whether nothing follows.
func (s State) Final() bool { return len(follows[s]) == 0 }

// Reason is a code from a closed list.
type Reason string

// The reasons.
const (
	ReasonCollected          Reason = "collected"
	ReasonOwnerRequest       Reason = "owner-request"
	ReasonMisuse             Reason = "misuse-suspected"
	ReasonPhysicalLost       Reason = "physical-seal-lost"
	ReasonCourtFreeze        Reason = "court-freeze"
	ReasonPoliceFreeze       Reason = "public-security-freeze"
	ReasonLicenceRevoked     Reason = "licence-revoked"
	ReasonLicenceFlagged     Reason = "licence-flagged"
	ReasonLicenceCancelled   Reason = "licence-cancelled"
	ReasonLicenceAnnulled    Reason = "licence-annulled"
	ReasonRenamed            Reason = "renamed"
	ReasonLegalRepChanged    Reason = "legal-rep-changed"
	ReasonMovedOut           Reason = "moved-out"
	ReasonNotCollected       Reason = "not-collected"
	ReasonAuthorityDecision  Reason = "authority-decision"
	ReasonRemade             Reason = "remade"
	ReasonExpired            Reason = "expired"
	ReasonNotEngraved        Reason = "not-engraved"
	ReasonLicenceEvent       Reason = "licence-event"
	ReasonImpressionFiled    Reason = "impression-filed"
	ReasonImpressionRefused  Reason = "impression-refused"
	ReasonSetMade            Reason = "set-made"
	ReasonMakingFailed       Reason = "making-failed"
	ReasonOperatorResolution Reason = "operator-resolution"
	ReasonKeyOffered         Reason = "key-offered"
)

// Roles of actors, as they stand in the log.
const (
	RoleOwner          = "owner"
	RoleSystem         = "operator-system"
	RoleSecurity       = "operator-security"
	RoleRegistration   = "source-registration"
	RolePublicSecurity = "source-public-security"
	RoleELicence       = "source-elicence"
	RoleAppliance      = "appliance"
)

type reasonRule struct {
	to       []State
	roles    []string // who may give it
	lift     []string // who may lift a hold of this reason
	same     bool     // only the very actor who froze lifts
	ordered  bool     // the evidence is the order's reference; only the same reference lifts
	evidence bool
}

// Groups of roles. What the owner decides comes by the national e-licence system, where he is authenticated.
var (
	officers         = []string{RoleSystem, RoleSecurity}
	owners           = []string{RoleOwner, RoleELicence}
	ownersOrOfficers = slices.Concat(owners, officers)
	registration     = []string{RoleRegistration}
)

// reasons says where a reason leads, who may give it and who may lift it: who owns it controls it, and who froze it lifts it.
var reasons = map[Reason]reasonRule{
	ReasonCollected:         {to: []State{Active}, roles: ownersOrOfficers, evidence: true},
	ReasonOwnerRequest:      {to: []State{Suspended, Cancelled}, roles: ownersOrOfficers, lift: ownersOrOfficers},
	ReasonMisuse:            {to: []State{Suspended}, roles: ownersOrOfficers, lift: []string{RoleSecurity}},
	ReasonPhysicalLost:      {to: []State{Suspended}, roles: append([]string{RolePublicSecurity}, ownersOrOfficers...), lift: append([]string{RolePublicSecurity}, officers...)},
	ReasonCourtFreeze:       {to: []State{Suspended}, roles: officers, lift: officers, ordered: true, evidence: true},
	ReasonPoliceFreeze:      {to: []State{Suspended}, roles: []string{RolePublicSecurity}, lift: []string{RolePublicSecurity}, same: true, ordered: true, evidence: true},
	ReasonLicenceRevoked:    {to: []State{Suspended}, roles: registration, lift: registration, evidence: true},
	ReasonLicenceFlagged:    {to: []State{Suspended}, roles: registration, lift: registration, evidence: true},
	ReasonLicenceCancelled:  {to: []State{Cancelled}, roles: registration, evidence: true},
	ReasonLicenceAnnulled:   {to: []State{Cancelled}, roles: registration, evidence: true},
	ReasonRenamed:           {to: []State{Cancelled}, roles: registration, evidence: true},
	ReasonLegalRepChanged:   {to: []State{Cancelled}, roles: registration, evidence: true},
	ReasonMovedOut:          {to: []State{Cancelled}, roles: append(registration, officers...), evidence: true},
	ReasonNotCollected:      {to: []State{Cancelled}, roles: append([]string{RoleAppliance}, officers...)},
	ReasonAuthorityDecision: {to: []State{Cancelled}, roles: officers, evidence: true},
	ReasonRemade:            {to: []State{Superseded}, roles: append([]string{RoleAppliance}, officers...), evidence: true},
	ReasonExpired:           {to: []State{Expired}, roles: []string{RoleAppliance}},
}

// check judges whether c may lead to state to.
func (c Change) check(to State) error {
	rule, known := reasons[c.Reason]
	switch {
	case !known || !slices.Contains(rule.to, to):
		return fmt.Errorf("%.64q for %s: %w", c.Reason, to, ErrReason)
	case !slices.Contains(rule.roles, c.Actor.Role):
		return fmt.Errorf("%s by %s: %w", c.Reason, c.Actor.Role, ErrRole)
	}
	return c.checkEvidence(rule.evidence)
}

func (c Change) checkEvidence(needed bool) error {
	if n := utf8.RuneCountInString(c.Evidence); needed && n == 0 || n > 256 || !utf8.ValidString(c.Evidence) {
		return fmt.Errorf("%s with %d characters: %w", c.Reason, n, ErrEvidence)
	}
	return nil
}

// mayLift judges whether the change may lift a hold.
func (h Hold) mayLift(c Change) error {
	rule, a := reasons[h.Reason], c.Actor
	switch {
	case !slices.Contains(rule.lift, a.Role) || rule.same && a != h.By:
		return fmt.Errorf("lifting %s of %s by %s: %w", h.Reason, h.By.Role, a.Role, ErrRole)
	case rule.ordered && c.Evidence != h.Evidence:
		return fmt.Errorf("lifting %s under %.64q, which another order put on; name that order's reference: %w", h.Reason, c.Evidence, ErrRole)
	}
	return nil
}
