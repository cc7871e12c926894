package issuance

import (
	"context"
	"encoding/json"
	"errors"

	"sealkeeper/access"
)

var (
	// ErrPersonNotConfirmed: the real-name and face check did not confirm the person, or there was none. Nothing was bound.
	ErrPersonNotConfirmed = errors.New("the person was not confirmed by name and face")
	// ErrPersonUnavailable: whoever checks persons does not answer, or not as agreed. Nothing was bound.
	ErrPersonUnavailable = errors.New("the real-name and face check does not answer")
)

// PersonQuestion says who is to be checked, for what.
type PersonQuestion struct {
	USCC      string `json:"uscc"`
	Person    string `json:"person"`
	Role      string `json:"role"`
	Assertion string `json:"assertion"` // the licence system's, whose id it is
	Device    string `json:"device"`    // access.Device.KeyID of the key that would be bound
}

// PersonCheck confirms a person, or does not; what it returns is kept with the collection. Errors: ErrPersonNotConfirmed, ErrPersonUnavailable.
type PersonCheck interface {
	Check(ctx context.Context, q PersonQuestion) (evidence json.RawMessage, err error)
}

// confirmed asks for the check of a person whose device is about to be bound, where the deployment has one.
func (i *Issuance) confirmed(ctx context.Context, b access.Binding) (json.RawMessage, error) {
	if i.Persons == nil {
		return nil, nil
	}
	return i.Persons.Check(ctx, PersonQuestion{USCC: b.From.USCC, Person: b.From.Person, Role: b.From.Role, Assertion: b.From.ID, Device: b.Device.KeyID()})
}
