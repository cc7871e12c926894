package access

import (
	"fmt"
	"slices"

	"sealkeeper/keystore/audit"
)

// Role is what a client is. The three operator roles are the 三员 of Chinese practice; no person holds two.
type Role string

// The roles. A client has exactly one.
const (
	RoleSystem         Role = "operator-system"        // runs the appliance and the orders
	RoleSecurity       Role = "operator-security"      // registers clients, writes grants, suspends
	RoleAudit          Role = "operator-audit"         // reads the log
	RoleDepartment     Role = "department"             // a department's or bank's server
	RoleRegistration   Role = "source-registration"    // sends licence events
	RolePublicSecurity Role = "source-public-security" // files impressions
	RoleELicence       Role = "source-elicence"        // national e-licence system: identity assertions, the owner's channel

	// RoleAppliance is the appliance itself, sealing its own papers under a standing delegation. No client is registered with it.
	RoleAppliance Role = "appliance"
)

var roles = []Role{RoleSystem, RoleSecurity, RoleAudit, RoleDepartment, RoleRegistration, RolePublicSecurity, RoleELicence}

// Operator reports whether the role belongs to a person of the bureau.
func (r Role) Operator() bool { return r == RoleSystem || r == RoleSecurity || r == RoleAudit }

// Actor is who asks: a client that proved possession of its certificate's key. Use cases take it as a parameter.
type Actor struct {
	Client string // hexadecimal SHA-256 of the SubjectPublicKeyInfo
	Role   Role
	Name   string
}

// Audit is the actor as records name it.
func (a Actor) Audit() audit.Actor { return audit.Actor{Role: string(a.Role), ID: a.Client} }

// Action is one line of the policy table.
type Action string

// The actions. Whatever is not in the table below is refused to everyone.
const (
	LicencePut       Action = "licence.put"
	LicenceRead      Action = "licence.read"
	LicenceSearch    Action = "licence.search"  // by name, status, division or change: sees many at once
	LicenceVerify    Action = "licence.verify"  // judge a presented licence file
	LicenceArchive   Action = "licence.archive" // have a receipt for an archived one; needs a grant of kind licence
	LicenceWatch     Action = "licence.watch"   // changes of the licences that the client archived itself
	ImpressionPut    Action = "impression.put"
	InstitutionPut   Action = "institution.impression.put" // the impression of an institution's own seal
	ImpressionRead   Action = "impression.read"            // metadata; no route returns the picture (law 5)
	PaperRead        Action = "paper.read"                 // licence documents and certificates of seals
	OrderRead        Action = "order.read"
	OrderCollect     Action = "order.collect"
	OrderResolve     Action = "order.resolve" // exceptions, not_engraved
	OrderApply       Action = "order.apply"   // an enterprise applies for the seals of its set that it lacks
	OrderInvite      Action = "order.invite"
	OutboxRead       Action = "outbox.read"    // messages to and from the systems outside
	OutboxOperate    Action = "outbox.operate" // redeliver, discard, retry, drop
	SealRead         Action = "seal.read"      // see also (*Access).MaySeeSeal for departments
	SealSuspend      Action = "seal.suspend"
	SealResume       Action = "seal.resume"
	SealCancel       Action = "seal.cancel"
	SealReissue      Action = "seal.reissue"
	SealNotice       Action = "seal.notice"   // what public security tells of a physical seal, or orders
	DeviceFreeze     Action = "device.freeze" // a lost phone
	SealEquip        Action = "seal.equip"    // give a seal a document key beside its own
	KeyOffer         Action = "key.offer"     // bring a key in its owner's token for a seal that is ordered
	SignatureMake    Action = "signature.make"
	SignatureRead    Action = "signature.read"
	Verify           Action = "verify"
	ClientRead       Action = "client.read"
	ClientWrite      Action = "client.write"
	GrantRead        Action = "grant.read"
	GrantWrite       Action = "grant.write"
	DelegationRead   Action = "delegation.read"
	DelegationPut    Action = "delegation.put"
	DelegationCancel Action = "delegation.cancel"
	AuditRead        Action = "audit.read"
	CheckpointRead   Action = "checkpoint.read"
	CeremonyTake     Action = "ceremony.take" // one half of an act that needs two operators
	CeremonyRead     Action = "ceremony.read"
	CeremonyAct      Action = "ceremony.act" // ask, approve, carry out; which action is whose is package ceremony's table
	ApplianceRead    Action = "appliance.read"
	Reconcile        Action = "appliance.reconcile" // compares everything with everything, and changes nothing
	ApplianceOperate Action = "appliance.operate"   // clear a latched PIN, accept the clock

	CertificatePut     Action = "certificate.put"   // of which types is the catalogue's to say
	CertificateRead    Action = "certificate.read"  // departments: those of their own types
	CertificateShare   Action = "certificate.share" // licence and certificates in one answer, under a sharing grant
	CodeIssue          Action = "code.issue"        // give an entity its static code
	PresentationMake   Action = "presentation.make"
	PresentationRedeem Action = "presentation.redeem"
	PresentationRead   Action = "presentation.read" // who redeemed what
)

// Resource is what the action is about, as far as the policy looks at it.
type Resource struct {
	Client string // the client a record belongs to, for roles that see only their own
}

type reach byte

const (
	anyOf reach = 1 + iota // every record
	own                    // records of the actor itself
)

type rule map[Role]reach

func allow(r reach, rs ...Role) rule {
	m := rule{}
	for _, x := range rs {
		m[x] = r
	}
	return m
}

func (a rule) and(b rule) rule {
	for k, v := range b {
		a[k] = v
	}
	return a
}

// policy is the whole table: action → role → reach; absent means refused. No role bypasses the owner's approval: SignatureMake is a
// department's, and it still needs a grant and the owner's consent.
var policy = map[Action]rule{
	LicencePut:       allow(anyOf, RoleRegistration),
	LicenceRead:      allow(anyOf, RoleSystem, RoleSecurity, RoleAudit, RoleDepartment, RoleRegistration, RoleELicence),
	LicenceSearch:    allow(anyOf, RoleSystem, RoleSecurity, RoleAudit, RoleRegistration),
	LicenceVerify:    allow(anyOf, RoleSystem, RoleSecurity, RoleAudit, RoleDepartment),
	LicenceArchive:   allow(own, RoleDepartment),
	LicenceWatch:     allow(own, RoleDepartment),
	ImpressionPut:    allow(anyOf, RolePublicSecurity),
	InstitutionPut:   allow(anyOf, RoleSystem, RoleRegistration), // sent or carried; both hold the authority's signature
	ImpressionRead:   allow(anyOf, RoleSystem, RoleSecurity, RoleAudit),
	PaperRead:        allow(anyOf, RoleSystem, RoleSecurity, RoleAudit, RoleELicence),
	OrderRead:        allow(anyOf, RoleSystem, RoleSecurity, RoleAudit, RoleRegistration, RoleELicence),
	OrderCollect:     allow(anyOf, RoleSystem, RoleELicence), // online and at the window; both carry the signed assertion
	OrderResolve:     allow(anyOf, RoleSystem),
	OrderApply:       allow(anyOf, RoleSystem, RoleELicence), // as OrderCollect
	OrderInvite:      allow(anyOf, RoleSystem),
	OutboxRead:       allow(anyOf, RoleSystem, RoleSecurity, RoleAudit),
	OutboxOperate:    allow(anyOf, RoleSystem),
	SealRead:         allow(anyOf, RoleSystem, RoleSecurity, RoleAudit, RoleELicence),
	SealSuspend:      allow(anyOf, RoleSystem, RoleSecurity, RoleELicence),
	SealResume:       allow(anyOf, RoleSecurity),
	SealCancel:       allow(anyOf, RoleSystem),
	SealReissue:      allow(anyOf, RoleSystem),
	SealNotice:       allow(anyOf, RolePublicSecurity),
	DeviceFreeze:     allow(anyOf, RoleSystem, RoleSecurity, RoleELicence), // window, hotline, the owner himself
	SealEquip:        allow(anyOf, RoleSecurity),
	KeyOffer:         allow(anyOf, RoleSystem), // the officer at the window, whose machine the key was made at
	SignatureMake:    allow(own, RoleDepartment, RoleAppliance),
	SignatureRead:    allow(own, RoleDepartment).and(allow(anyOf, RoleAudit, RoleELicence)),
	Verify:           allow(anyOf, roles...),
	ClientRead:       allow(anyOf, RoleSecurity, RoleAudit),
	ClientWrite:      allow(anyOf, RoleSecurity),
	GrantRead:        allow(own, RoleDepartment).and(allow(anyOf, RoleSecurity, RoleAudit)),
	GrantWrite:       allow(anyOf, RoleSecurity),
	DelegationRead:   allow(own, RoleDepartment).and(allow(anyOf, RoleSecurity, RoleAudit, RoleELicence)),
	DelegationPut:    allow(own, RoleDepartment).and(allow(anyOf, RoleELicence)),
	DelegationCancel: allow(anyOf, RoleSecurity, RoleELicence),
	AuditRead:        allow(anyOf, RoleAudit),
	CheckpointRead:   allow(anyOf, roles...),
	CeremonyTake:     allow(anyOf, RoleSystem, RoleSecurity),
	CeremonyRead:     allow(anyOf, RoleSystem, RoleSecurity, RoleAudit),
	CeremonyAct:      allow(anyOf, RoleSystem, RoleSecurity, RoleAudit),
	ApplianceRead:    allow(anyOf, RoleSystem, RoleSecurity, RoleAudit),
	Reconcile:        allow(anyOf, RoleSystem, RoleSecurity, RoleAudit),
	ApplianceOperate: allow(anyOf, RoleSystem),

	CertificatePut:     allow(anyOf, RoleDepartment),
	CertificateRead:    allow(anyOf, RoleDepartment, RoleSystem, RoleAudit),
	CertificateShare:   allow(anyOf, RoleDepartment),
	CodeIssue:          allow(anyOf, RoleSystem, RoleELicence),
	PresentationMake:   allow(anyOf, RoleELicence),
	PresentationRedeem: allow(anyOf, RoleDepartment),
	PresentationRead:   allow(anyOf, RoleAudit, RoleELicence),
}

// Actions returns every action of the table in alphabetical order.
func Actions() []Action {
	var all []Action
	for a := range policy {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// Allow decides by the table alone and denies by default. It returns nil or ErrNotEntitled.
func (a *Access) Allow(actor Actor, action Action, on Resource) error {
	switch policy[action][actor.Role] {
	case anyOf:
		return nil
	case own:
		if actor.Client != "" && actor.Client == on.Client {
			return nil
		}
	}
	return fmt.Errorf("%s by %s: %w", action, actor.Role, ErrNotEntitled)
}
