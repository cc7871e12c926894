package ceremony

import (
	"fmt"
	"slices"

	"sealkeeper/access"
)

// Action is what a step of a plan does.
type Action string

// The actions.
const (
	RenewKey         Action = "renew-key"           // a key of the appliance's own and its certificate, in place of the one of the same purpose
	DestroyKey       Action = "destroy-key"         // a key of this store that nothing uses any more
	DestroyOrphan    Action = "destroy-orphan"      // a key in the token that no record of this store claims
	MakeKEK          Action = "make-kek"            // a key that wraps seal keys, with its binding key
	RetireKEK        Action = "retire-kek"          // no key is born under it any more, and those it has move to another
	DestroyKEK       Action = "destroy-kek"         // a retired one under which no key lives
	MakeReplicated   Action = "make-replicated-kek" // a key that wraps seal keys, in several tokens from the start
	ReplicateKEK     Action = "replicate-kek"       // one that the vendor's means cloned into another token is taken on record there
	ClearPINLatch    Action = "clear-pin-latch"     // let the token's PIN be tried again
	RegisterOperator Action = "register-operator"   // an officer's client certificate

	MakeInstitutional Action = "make-institutional-seal" // an institution's own seal, from the impression it filed
	DelegateStanding  Action = "delegate-standing"       // what takes the place of a licence for such a seal
	RevokeStanding    Action = "revoke-standing"
)

// rule says who asks for an action, who approves it, how many persons at least, and which fields its step takes.
type rule struct {
	request, approve []access.Role
	approvals        int
	takes            []string
}

var (
	system     = []access.Role{access.RoleSystem}
	security   = []access.Role{access.RoleSecurity}
	notSystem  = []access.Role{access.RoleSecurity, access.RoleAudit}
	notKeepers = []access.Role{access.RoleSystem, access.RoleAudit}
)

// rules is the whole table. An appliance begins with three officers, one of each role: whoever asks, two others are left to approve.
var rules = map[Action]rule{
	RenewKey:         {system, notSystem, 2, []string{"purpose"}},
	DestroyKey:       {system, notSystem, 2, []string{"key"}},
	DestroyOrphan:    {system, notSystem, 2, []string{"key"}},
	MakeKEK:          {system, notSystem, 2, nil},
	RetireKEK:        {system, notSystem, 2, []string{"key"}},
	DestroyKEK:       {system, notSystem, 2, []string{"key"}},
	MakeReplicated:   {system, notSystem, 2, []string{"token"}},
	ReplicateKEK:     {system, notSystem, 2, []string{"key", "token"}},
	ClearPINLatch:    {system, notSystem, 1, []string{"token"}},
	RegisterOperator: {security, notKeepers, 1, []string{"name", "role", "person", "csr"}},

	MakeInstitutional: {system, notSystem, 2, []string{"filing"}},
	DelegateStanding:  {security, notKeepers, 2, []string{"delegation", "seal", "client", "purposes", "kinds", "from", "until", "count"}},
	RevokeStanding:    {security, notKeepers, 1, []string{"delegation"}},
}

// Actions returns every action in alphabetical order.
func Actions() []Action {
	var all []Action
	for a := range rules {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// MayRequest reports whether a role may ask for an action and carry it out.
func MayRequest(r access.Role, a Action) bool { return slices.Contains(rules[a].request, r) }

// MayApprove reports whether a role may approve an action that another person asked for.
func MayApprove(r access.Role, a Action) bool { return slices.Contains(rules[a].approve, r) }

func (p Plan) allows(r access.Role, may func(access.Role, Action) bool) error {
	for i, s := range p.Steps {
		if !may(r, s.Action) {
			return fmt.Errorf("step %d, %s, by %s: %w", i+1, s.Action, r, ErrRole)
		}
	}
	return nil
}
