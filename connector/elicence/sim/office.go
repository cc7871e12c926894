package sim

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"sealkeeper/connector/elicence"
	"sealkeeper/connector/sim"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/licence"
)

// Office is the national e-licence system over HTTP: it knows the licence files of enterprises elsewhere, authenticates, and signs.
type Office struct {
	System
	sim.Manners
	*Press
	// Spoil changes an answer about a file before it is signed; nil leaves it as it is.
	Spoil func(a *elicence.FileAnswer)
	// SpoilSignature does the same with a licence signature.
	SpoilSignature func(a *elicence.SignatureAnswer)
	// SpoilAssertion changes the question that an assertion answers.
	SpoilAssertion func(q *elicence.Authentication)
	Now            func() time.Time

	mu       sync.Mutex
	files    map[string]issued
	licences map[string]*standing
	tickets  map[string]string // to the code of the enterprise
	keys     map[string]identity
	asked    int
}

type issued struct {
	uscc    string
	version int
}

type standing struct {
	name, status, authority string
	current                 int
}

// NewOffice makes an office that signs with a key.
func NewOffice(key *softkey.Key, now func() time.Time) (*Office, error) {
	p, err := NewPress(now())
	return &Office{System: System{Key: key}, Press: p, Now: now, files: map[string]issued{}, licences: map[string]*standing{}, tickets: map[string]string{}, keys: map[string]identity{}}, err
}

// Issue makes the next version of an enterprise's licence file.
func (o *Office) Issue(uscc, name string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.licences[uscc]
	if s == nil {
		s = &standing{status: "1", authority: "示例他省登记机关"}
		o.licences[uscc] = s
	}
	s.name, s.current = name, s.current+1
	b, err := o.Press.File(uscc, name, s.current)
	if err == nil {
		o.files[licence.FileSM3(b)] = issued{uscc, s.current}
	}
	return b, err
}

// SetStatus changes an enterprise's status, in the office's own code.
func (o *Office) SetStatus(uscc, code string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.licences[uscc].status = code
}

// Forget makes the office call every file of an enterprise unknown.
func (o *Office) Forget(uscc string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for d, f := range o.files {
		if f.uscc == uscc {
			delete(o.files, d)
		}
	}
}

// Ticket is what an enterprise's e-licence shows: good for one authentication or signature.
func (o *Office) Ticket(uscc, ticket string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tickets[ticket] = uscc
}

// Asked is how many questions about files were answered.
func (o *Office) Asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

// Routes is the contract of docs/connectors/elicence.md.
func (o *Office) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/licence-files/check", handle(o.check))
	mux.HandleFunc("POST /v1/authentications", handle(o.authenticate))
	mux.HandleFunc("POST /v1/licence-signatures", handle(o.sign))
	return o.Wrap(mux)
}

// handle reads a question strictly; answer gives nil for a ticket that does not count.
func handle[Q any](answer func(q Q) (*envelope.Envelope, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		d := json.NewDecoder(io.LimitReader(r.Body, 8<<20))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		switch e, err := answer(q); {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case e == nil:
			http.Error(w, "凭证无效", http.StatusForbidden)
		default:
			sim.Answer(w, http.StatusOK, e)
		}
	}
}

func (o *Office) signed(kind string, v any) (*envelope.Envelope, error) {
	e, err := envelope.Seal(kind, v, o.Key.Sign)
	return &e, err
}

func (o *Office) check(q elicence.FileQuestion) (*envelope.Envelope, error) {
	o.mu.Lock()
	o.asked++
	a := elicence.FileAnswer{ID: q.ID, SM3: q.SM3, Result: "2", CheckedAt: o.Now().UTC().Truncate(time.Second)}
	if f, known := o.files[licence.FileSM3(q.File)]; known && licence.FileSM3(q.File) == q.SM3 {
		s := o.licences[f.uscc]
		a.Result, a.USCC, a.Name, a.Version, a.Current, a.Status, a.Authority = "0", f.uscc, s.name, f.version, s.current, s.status, s.authority
	}
	o.mu.Unlock()
	if o.Spoil != nil {
		o.Spoil(&a)
	}
	return o.signed(elicence.FileCheckKind, a)
}

// spend takes a ticket; "" when it does not count for that enterprise.
func (o *Office) spend(ticket, uscc string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tickets[ticket] != uscc || uscc == "" {
		return false
	}
	delete(o.tickets, ticket)
	return true
}

func (o *Office) authenticate(q elicence.Authentication) (*envelope.Envelope, error) {
	if !o.spend(q.Ticket, q.USCC) {
		return nil, nil
	}
	if o.SpoilAssertion != nil {
		o.SpoilAssertion(&q)
	}
	e, err := o.System.Sign(o.Assertion(q.USCC, "示例负责人", q.DeviceAlg, q.DeviceKey, q.Audience, o.Now()))
	return &e, err
}

func (o *Office) sign(q elicence.SignatureOrder) (*envelope.Envelope, error) {
	digest, err := hex.DecodeString(q.SM3)
	if err != nil || !o.spend(q.Ticket, q.USCC) {
		return nil, err
	}
	id, err := o.licenceKey(q.USCC)
	if err != nil {
		return nil, err
	}
	value, err := id.key.Sign(digest)
	if err != nil {
		return nil, err
	}
	a := elicence.SignatureAnswer{ID: q.ID, USCC: q.USCC, SM3: q.SM3, Purpose: q.Purpose, Certificate: id.der, Value: value, SignedAt: o.Now().UTC().Truncate(time.Second)}
	if o.SpoilSignature != nil {
		o.SpoilSignature(&a)
	}
	return o.signed(elicence.SignatureKind, a)
}

func (o *Office) licenceKey(uscc string) (identity, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id, ok := o.keys[uscc]; ok {
		return id, nil
	}
	id, err := o.Press.licenceKey(uscc, "示例企业")
	o.keys[uscc] = id
	return id, err
}
