package client

import "time"

// OutsideSystem is a queue of messages to, or a feed of messages from, a system outside.
type OutsideSystem struct {
	Queue     string `json:"queue,omitempty"`
	Feed      string `json:"feed,omitempty"`
	Waiting   int64  `json:"waiting,omitempty"`
	Dead      int64  `json:"dead,omitempty"`
	Delivered uint64 `json:"delivered,omitempty"` // since the start
	Failed    uint64 `json:"failed,omitempty"`
	Down      bool   `json:"down,omitempty"`
	Last      uint64 `json:"last,omitempty"` // number of the last message read
	Held      int64  `json:"held,omitempty"`
	Stopped   string `json:"stopped,omitempty"` // why the last round did not come to the end
}

// OutboxMessage is a message on its way out.
type OutboxMessage struct {
	ID      string    `json:"id"`
	Queue   string    `json:"queue"`
	Entity  string    `json:"entity"`
	Kind    string    `json:"kind"`
	State   string    `json:"state"` // waiting or dead
	Behind  bool      `json:"behind,omitempty"`
	Created time.Time `json:"created"`
	Due     time.Time `json:"due"`
	Tries   int       `json:"tries"`
	Last    string    `json:"last,omitempty"` // how the last try failed
}

// HeldMessage is a message of a feed that could not be taken.
type HeldMessage struct {
	Feed   string    `json:"feed"`
	Seq    uint64    `json:"seq"`
	Entity string    `json:"entity,omitempty"`
	At     time.Time `json:"at,omitzero"`
	Since  time.Time `json:"since"`
	Tried  time.Time `json:"tried"`
	Again  bool      `json:"again,omitempty"` // tried again by itself
	Why    string    `json:"why"`
}

// Done answers an operator's act.
type Done struct {
	Done bool `json:"done"`
}

// ReasonGiven is the body of an act that needs a reason and no code.
type ReasonGiven struct {
	Reason string `json:"reason"`
}

// Filing is how far the filing of a made seal with public security is.
type Filing struct {
	ESID      string    `json:"esid"`
	Type      string    `json:"type"`
	State     string    `json:"state"` // pending, filed or refused
	Since     time.Time `json:"since"`
	Reference string    `json:"reference,omitempty"`
	Overdue   bool      `json:"overdue"` // pending for more than 24 hours
}

// Resolution is an operator's decision about an order that waits.
type Resolution struct {
	Resolution string `json:"resolution"` // continue, not_engraved or cancel
	Type       string `json:"type,omitempty"`
	Reason     string `json:"reason"`
}

// Invitations is a list of enterprises that may apply for their seals.
type Invitations struct {
	USCCs []string `json:"usccs"`
}

// Invited answers a list of invitations.
type Invited struct {
	Invited int          `json:"invited"`
	Refused []NotInvited `json:"refused"`
}

// NotInvited is an enterprise that was not invited, and why.
type NotInvited struct {
	USCC string `json:"uscc"`
	Code string `json:"code"`
}
