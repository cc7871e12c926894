package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// passesOn lists the holds that a new edition takes over: nobody leaves a freeze behind by having a seal made again.
var passesOn = []Reason{ReasonCourtFreeze, ReasonPoliceFreeze, ReasonMisuse}

// Inherited are the holds of a seal that go on to the one in its place.
func (s Seal) Inherited() []Hold {
	var all []Hold
	for _, h := range s.Holds {
		if slices.Contains(passesOn, h.Reason) {
			all = append(all, h)
		}
	}
	return all
}

// Succeed activates a collected seal in the place of an older one. What the old one is held for since the new one was made holds the new one, too; the
// old one, unless it ended before, is superseded in the same commit.
func (s Seal) Succeed(at store.Version, old Seal, oldAt store.Version, c Change) (Seal, Draft, error) {
	for _, h := range old.Inherited() {
		if slices.Contains(s.Holds, h) {
			continue
		}
		if s.State == Made {
			s.State, s.Before = Suspended, Made
		}
		s.Holds = append(slices.Clone(s.Holds), h)
	}
	n, d, err := s.Activate(at, c)
	if err != nil || old.State.Final() {
		return n, d, err
	}
	old.ReplacedBy = s.ESID
	c.Actor, c.Reason, c.Evidence = audit.Actor{Role: RoleAppliance, ID: "issuance"}, ReasonRemade, s.ESID
	_, ended, err := old.End(Superseded, oldAt, c)
	d.Add(ended)
	return n, d, err
}

// Until pages through the seals that have not ended, those that expire first in front; institutions' own are not among them.
func (r *Register) Until(ctx context.Context, cursor string, limit int) (all []Seal, next string, err error) {
	return r.sealsBy(ctx, "until", cursor, limit)
}

// All pages through all seals, by number.
func (r *Register) All(ctx context.Context, cursor string, limit int) (all []Seal, next string, err error) {
	return r.sealsBy(ctx, "", cursor, limit)
}

func (r *Register) sealsBy(ctx context.Context, index, cursor string, limit int) (all []Seal, next string, err error) {
	p, err := r.st.List(ctx, seals, index, nil, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing seals: %w", err)
	}
	all = make([]Seal, len(p.Items))
	for n, it := range p.Items {
		if err := json.Unmarshal(it.Value, &all[n]); err != nil {
			return nil, "", fmt.Errorf("reading seal %s: %w: %w", it.Key, store.ErrCorrupt, err)
		}
	}
	return all, p.Next, nil
}

// SealNoticeKind is the envelope kind of a notice of public security about seals.
const SealNoticeKind = "seal-notice/1"

// NoticeWhat says what a notice is about.
type NoticeWhat string

// The kinds of notices.
const (
	NoticeLost   NoticeWhat = "lost"   // the physical seal is lost, stolen or to be engraved anew: its e-seal is suspended, a new impression expected
	NoticeFreeze NoticeWhat = "freeze" // by order of public security
	NoticeLift   NoticeWhat = "lift"   // of that order
)

// SealNotice is what public security tells of a physical seal, or orders: payload of SealNoticeKind.
type SealNotice struct {
	ID           string     `json:"id"` // public security's, 1..64 characters [A-Za-z0-9._/-]
	What         NoticeWhat `json:"what"`
	FilingNumber string     `json:"filing_number"` // of the impression whose e-seals it is about
	Reference    string     `json:"reference"`     // of the report or order
	At           time.Time  `json:"at"`
}

// ErrNoticeForm: a field of the notice is missing or out of form.
var ErrNoticeForm = errors.New("notice about a seal is out of form")

// ErrNoticeReused: the notice's identifier was used with other content.
var ErrNoticeReused = errors.New("notice identifier was used for something else")

// Check judges the form of a notice.
func (n SealNotice) Check(now time.Time) error {
	switch {
	case !filingNumberForm.MatchString(n.ID) || !filingNumberForm.MatchString(n.FilingNumber):
		return fmt.Errorf("id or filing_number: %w", ErrNoticeForm)
	case n.What != NoticeLost && n.What != NoticeFreeze && n.What != NoticeLift:
		return fmt.Errorf("what is %.32q, want lost, freeze or lift: %w", n.What, ErrNoticeForm)
	case !cleanText(n.Reference, 128):
		return fmt.Errorf("reference: %w", ErrNoticeForm)
	case n.At.IsZero() || n.At.After(now.Add(2*time.Minute)):
		return fmt.Errorf("at: %w", ErrNoticeForm)
	}
	return nil
}

// takenNotice is the value of seal-notice: what was taken, and what it was answered.
type takenNotice struct {
	Payload   string          `json:"payload_sm3"`
	Signature []byte          `json:"signature"`
	Notice    SealNotice      `json:"notice"`
	Answer    json.RawMessage `json:"answer"`
}

// NoticeTaken finds the answer to a notice taken before. ErrNoticeReused when its content was another.
func (r *Register) NoticeTaken(ctx context.Context, id, payloadSM3 string, answer any) (bool, error) {
	var t takenNotice
	_, found, err := r.lookup(ctx, sealNotices, id, &t)
	switch {
	case err != nil || !found:
		return false, err
	case t.Payload != payloadSM3:
		return false, fmt.Errorf("notice %s: %w", id, ErrNoticeReused)
	}
	return true, json.Unmarshal(t.Answer, answer)
}

// TakeNotice drafts that a notice was taken, for the first and only time.
func TakeNotice(n SealNotice, payloadSM3 string, signature []byte, answer any) (Draft, error) {
	var d Draft
	b, err := json.Marshal(answer)
	if err != nil {
		return d, fmt.Errorf("encoding the answer to notice %s: %w", n.ID, err)
	}
	return d, d.put(sealNotices, n.ID, takenNotice{payloadSM3, signature, n, b}, 0)
}
