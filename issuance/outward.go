package issuance

import (
	"encoding/json"
	"fmt"
	"time"

	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// Queues of the outbox beside register.QueueFiling. Messages go into them only when the deployment has a receiver (Config.Accounts, Config.Notices).
const (
	QueueAccount = "account" // AccountMessage: legal-person accounts on 豫事办
	QueueNotice  = "notice"  // NoticeMessage: what the enterprise is told
)

// AccountMessage says what an enterprise's account there should be like.
type AccountMessage struct {
	Kind     string    `json:"kind"` // open, change, close
	At       time.Time `json:"at"`
	USCC     string    `json:"uscc"`
	Name     string    `json:"name"`
	LegalRep string    `json:"legal_rep"`
	Version  int       `json:"licence_version"` // an older version than one that was seen changes nothing
}

// NoticeMessage is one notice to an enterprise. The receiver has the words and finds the person.
type NoticeMessage struct {
	Kind  string    `json:"kind"` // one of the Notice… constants
	At    time.Time `json:"at"`
	USCC  string    `json:"uscc"`
	Name  string    `json:"name"`
	Order string    `json:"order,omitempty"`
	Seals int       `json:"seals,omitempty"` // how many it is about
}

// The kinds of notices.
const (
	NoticeOrdered   = "seals-ordered"   // the licence is there, the set of seals is ordered
	NoticeMade      = "seals-made"      // they can be collected
	NoticeCollected = "seals-collected" // they were, and the device that did it is bound
	NoticeEnded     = "seals-ended"     // the licence's change ended some
	NoticeExpired   = "order-expired"
	NoticeInvited   = "invitation"    // an enterprise without seals may apply
	NoticeFrozen    = "device-frozen" // whoever lost the phone binds another one
)

// tell drafts a notice to an enterprise.
func (i *Issuance) tell(n NoticeMessage) (register.Draft, error) {
	if !i.cfg.Notices {
		return register.Draft{}, nil
	}
	n.At = i.now()
	return outward(QueueNotice, n)
}

// tellAccount drafts what a new version of a licence means for the enterprise's account.
func (i *Issuance) tellAccount(before, l licence.Licence) (register.Draft, error) {
	m := AccountMessage{Kind: "change", At: i.now(), USCC: l.USCC, Name: l.Name, LegalRep: l.LegalRep, Version: l.Version}
	final, was := l.Status.Effect().Final, before.Version > 0 && before.Status.Effect().Final
	switch {
	case !i.cfg.Accounts || was || before.Version == 0 && final:
		return register.Draft{}, nil
	case final:
		m.Kind = "close"
	case before.Version == 0:
		m.Kind = "open"
	case l.Name == before.Name && l.LegalRep == before.LegalRep:
		return register.Draft{}, nil // nothing that the account shows
	}
	return outward(QueueAccount, m)
}

func outward(queue string, m any) (register.Draft, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return register.Draft{}, fmt.Errorf("encoding a message for %s: %w", queue, err)
	}
	return register.Draft{Outbox: []store.Message{{Queue: queue, Body: body}}}, nil
}
