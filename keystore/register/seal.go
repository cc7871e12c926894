package register

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ErrNotHeld: there is no hold of that reason to lift.
var ErrNotHeld = errors.New("the seal is not suspended for that reason")

// ErrHeld: the seal is suspended for that reason already; nothing changes.
var ErrHeld = errors.New("the seal is suspended for that reason already")

// Seal is the small record of an issued seal (电子印章); the seal itself is in the collection esl.
type Seal struct {
	ESID           string      `json:"esid"` // 14 digits
	USCC           string      `json:"uscc"`
	Enterprise     string      `json:"enterprise"` // name on the licence when it was made
	Type           string      `json:"type"`       // 01..05
	Name           string      `json:"name"`       // of the seal
	State          State       `json:"state"`
	Before         State       `json:"before,omitempty"` // while suspended: where it goes back to
	Holds          []Hold      `json:"holds,omitempty"`
	Key            keystore.ID `json:"key"`
	Order          string      `json:"order"`
	LicenceVersion int         `json:"licence_version"`
	Impression     string      `json:"impression"`
	Overlap        float64     `json:"overlap"` // of its picture with the impression, measured when it was made
	NotBefore      time.Time   `json:"not_before"`
	NotAfter       time.Time   `json:"not_after"`
	CertSHA256     string      `json:"cert_sha256"`
	ESLSHA256      string      `json:"esl_sha256"`
	Institutional  bool        `json:"institutional,omitempty"` // a registration authority's own: no licence stands behind it
	Outside        bool        `json:"outside,omitempty"`       // an outside authority certified the key, and is told when the seal ends before its time
	MadeAt         time.Time   `json:"made_at"`
	CollectedAt    time.Time   `json:"collected_at,omitzero"`
	EndedAt        time.Time   `json:"ended_at,omitzero"`
	EndReason      Reason      `json:"end_reason,omitempty"`
	// Edition counts the seals that came in one another's place, from 1; Replaces and ReplacedBy name the neighbours. ReplacedBy is empty for one that
	// ended before its successor was there.
	Edition    int    `json:"edition,omitempty"`
	Replaces   string `json:"replaces,omitempty"`
	ReplacedBy string `json:"replaced_by,omitempty"`
	// Document is the companion key for formats that know no SM2; nil until an operator asked for one.
	Document *DocumentKey `json:"document_key,omitempty"`
}

// Hold is one reason for which a seal is suspended. A seal is free again when its last hold is lifted.
type Hold struct {
	Reason   Reason      `json:"reason"`
	Evidence string      `json:"evidence,omitempty"`
	By       audit.Actor `json:"by"`
	At       time.Time   `json:"at"`
}

// stateRecord is the detail of a seal-state record; its result is the seal as it is afterwards.
type stateRecord struct {
	From     State  `json:"from"`
	To       State  `json:"to"`
	Reason   Reason `json:"reason"`
	Evidence string `json:"evidence,omitempty"`
}

// Activate moves a made seal to active when its owner has collected it. A made seal under a hold becomes active when the hold goes.
func (s Seal) Activate(at store.Version, c Change) (Seal, Draft, error) {
	if err := c.check(Active); err != nil {
		return s, Draft{}, err
	}
	n, to := s, State(Active)
	n.CollectedAt = c.Time.UTC()
	if s.State == Suspended && s.Before == Made {
		n.Before, to = Active, Suspended
	} else if s.State != Made {
		return s, Draft{}, fmt.Errorf("collecting seal %s, which is %s: %w", s.ESID, s.State, ErrTransition)
	}
	n, d, err := n.move(s, to, at, c)
	if err == nil {
		err = n.owe(&d, PaperMade, n.CollectedAt)
	}
	return n, d, err
}

// Suspend adds a hold. ErrHeld when there is one of the same reason and evidence.
func (s Seal) Suspend(at store.Version, c Change) (Seal, Draft, error) {
	if err := c.check(Suspended); err != nil {
		return s, Draft{}, err
	}
	for _, h := range s.Holds {
		if h.Reason == c.Reason && h.Evidence == c.Evidence {
			return s, Draft{}, fmt.Errorf("suspending seal %s: %w", s.ESID, ErrHeld)
		}
	}
	n := s
	if s.State != Suspended {
		n.Before = s.State
	}
	n.Holds = append(slices.Clone(s.Holds), Hold{c.Reason, c.Evidence, c.Actor, c.Time.UTC()})
	return n.move(s, Suspended, at, c)
}

// Lift takes away the holds of the change's reason and of others named; the seal goes back to where it was when no hold is left.
// ErrNotHeld when there is no such hold, ErrRole when one of them is not the actor's to lift.
func (s Seal) Lift(at store.Version, c Change, also ...Reason) (Seal, Draft, error) {
	n := s
	n.Holds = nil
	for _, h := range s.Holds {
		if h.Reason != c.Reason && !slices.Contains(also, h.Reason) {
			n.Holds = append(n.Holds, h)
			continue
		}
		if err := h.mayLift(c); err != nil {
			return s, Draft{}, err
		}
	}
	if s.State != Suspended || len(n.Holds) == len(s.Holds) {
		return s, Draft{}, fmt.Errorf("lifting %.64s of seal %s: %w", c.Reason, s.ESID, ErrNotHeld)
	}
	to := State(Suspended)
	if len(n.Holds) == 0 {
		to, n.Before = s.Before, ""
	}
	return n.move(s, to, at, c)
}

// End moves a seal to cancelled, superseded or expired, for good.
func (s Seal) End(to State, at store.Version, c Change) (Seal, Draft, error) {
	if !to.Final() {
		return s, Draft{}, fmt.Errorf("%s ends nothing: %w", to, ErrTransition)
	}
	if err := c.check(to); err != nil {
		return s, Draft{}, err
	}
	n := s
	n.Before, n.EndedAt, n.EndReason = "", c.Time.UTC(), c.Reason
	n, d, err := n.move(s, to, at, c)
	if err == nil {
		err = n.owe(&d, PaperCancelled, n.EndedAt)
	}
	return n, d, err
}

// move writes the new state with its record and its notice.
func (s Seal) move(was Seal, to State, at store.Version, c Change) (Seal, Draft, error) {
	var d Draft
	if !slices.Contains(follows[was.State], to) {
		return was, d, fmt.Errorf("seal %s from %s to %s: %w", s.ESID, was.State, to, ErrTransition)
	}
	s.State = to
	err := errors.Join(
		d.put(seals, s.ESID, s, at),
		d.record(audit.Event{Kind: audit.KindSealState, Actor: c.Actor, Subject: s.ESID,
			Detail: stateRecord{was.State, to, c.Reason, c.Evidence}, Result: s}))
	if s.Outside && to.Final() && to != Expired {
		err = errors.Join(err, d.revoke(s))
	}
	if s.Institutional {
		return s, d, err // nobody outside filed its impression
	}
	err = errors.Join(err,
		d.notify(Notice{Kind: audit.KindSealState, At: c.Time.UTC(), USCC: s.USCC, Name: s.Enterprise, ESID: s.ESID, Type: s.Type,
			State: string(to), Reason: string(c.Reason)}),
	)
	return s, d, err
}

// NewSeal is a finished seal with everything that is kept of it.
type NewSeal struct {
	Seal        Seal // State, CertSHA256 and ESLSHA256 are filled here
	ESL         []byte
	Certificate []byte   // DER
	Chain       [][]byte // issuing certificates, DER, without Certificate
	Filing      string   // public security's filing number of the impression
}

// storedCertificate is the value of seal-certificate.
type storedCertificate struct {
	Certificate []byte   `json:"certificate"`
	Chain       [][]byte `json:"chain"`
}

// Enter drafts the entry of a finished seal: record, seal data and certificate, each for the first and only time, the division's
// running number, the pending filing and the notice. The number was given by Number; that nobody else has it is part of the commit. An
// institution's own seal is active from the start, since its ceremony takes it over, and is not filed with public security.
func (n NewSeal) Enter() (Seal, Draft, error) {
	var d Draft
	s := n.Seal
	cert, esl := sha256.Sum256(n.Certificate), sha256.Sum256(n.ESL)
	s.State, s.CertSHA256, s.ESLSHA256 = Made, hex.EncodeToString(cert[:]), hex.EncodeToString(esl[:])
	if len(s.Holds) > 0 { // inherited
		s.State, s.Before = Suspended, Made
	}
	if s.Institutional {
		s.State, s.CollectedAt = Active, s.MadeAt
	}
	err := errors.Join(d.put(seals, s.ESID, s, 0), d.put(certificates, s.ESID, storedCertificate{n.Certificate, n.Chain}, 0))
	d.putRaw(esls, s.ESID, n.ESL, 0)
	if s.Institutional {
		return s, d, err
	}
	err = errors.Join(err,
		d.put(filings, s.ESID, Filed{State: FilingPending, Since: s.MadeAt}, 0),
		d.notify(Notice{Kind: "seal-made", At: s.MadeAt, USCC: s.USCC, Name: s.Enterprise, Order: s.Order, ESID: s.ESID, Type: s.Type,
			Filing: n.Filing, Until: s.NotAfter}),
	)
	return s, d, err
}

// FilingState says how far the filing of a made seal with public security is. It holds nothing up.
type FilingState string

// The states of a filing.
const (
	FilingPending FilingState = "pending"
	FilingDone    FilingState = "filed"
	FilingRefused FilingState = "refused"
)

// Filed is the filing of one seal with public security.
type Filed struct {
	State     FilingState `json:"state"`
	Since     time.Time   `json:"since"`
	Reference string      `json:"reference,omitempty"`
}

// Overdue reports whether a filing waits longer than the 24 hours the rule allows.
func (f Filed) Overdue(now time.Time) bool {
	return f.State == FilingPending && now.Sub(f.Since) > 24*time.Hour
}

// Filing reads the filing of a seal.
func (r *Register) Filing(ctx context.Context, esid string) (Filed, store.Version, error) {
	var f Filed
	at, err := r.read(ctx, filings, esid, &f)
	return f, at, err
}

// Pending is a made seal whose filing is not answered.
type Pending struct {
	ESID string
	Filed
}

// PendingFilings pages through the seals whose filing waits for an answer, the longest first.
func (r *Register) PendingFilings(ctx context.Context, cursor string, limit int) (all []Pending, next string, err error) {
	p, err := r.st.List(ctx, filings, "pending", nil, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("listing filings: %w", err)
	}
	all = make([]Pending, len(p.Items))
	for n, it := range p.Items {
		all[n].ESID = string(it.Key)
		if err := json.Unmarshal(it.Value, &all[n].Filed); err != nil {
			return nil, "", fmt.Errorf("reading the filing of seal %s: %w: %w", it.Key, store.ErrCorrupt, err)
		}
	}
	return all, p.Next, nil
}

// AnswerFiling drafts public security's answer to a filing. The seal itself does not change.
func AnswerFiling(esid string, at store.Version, f Filed, actor audit.Actor) (Draft, error) {
	var d Draft
	if f.State != FilingDone && f.State != FilingRefused {
		return d, fmt.Errorf("filing of seal %s as %.32q: %w", esid, f.State, ErrTransition)
	}
	return d, errors.Join(d.put(filings, esid, f, at),
		d.record(audit.Event{Kind: audit.KindSealState, Actor: actor, Subject: esid, Detail: f}))
}
