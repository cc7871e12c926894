// Package sim plays a licensed certificate authority: it certifies keys by request, slowly or wrongly when told to, and revokes.
//
// Its keys are software keys; the daemon never links it.
package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sealkeeper/connector/authority"
	"sealkeeper/connector/sim"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance/ca"
)

// Office is the authority with what it issued.
type Office struct {
	sim.Manners
	root, issuing *softkey.Key
	rootDER       []byte
	issuingDER    []byte
	by            *ca.Embedded
	now           func() time.Time

	mu        sync.Mutex
	later     bool
	reject    bool
	twist     func(r *ca.Request)
	requests  map[string]ca.Request
	issued    map[string]authority.Incoming // by request
	serials   map[string]string             // request by serial number
	revoked   map[string]string             // reason by serial number
	withdrawn map[string]bool               // requests
	repeats   int
}

// holder is a software key as an authority wants it.
type holder struct{ *softkey.Key }

func (h holder) Sign(_ context.Context, message []byte) ([]byte, error) { return h.Key.Sign(message) }

// New makes an authority with fresh keys.
func New(now func() time.Time) (*Office, error) {
	root, err := softkey.Generate(nil)
	if err != nil {
		return nil, err
	}
	issuing, err := softkey.Generate(nil)
	if err != nil {
		return nil, err
	}
	return Open(root, issuing, nil, nil, now)
}

// Open makes an authority of its keys and, where they were kept, its certificates.
func Open(root, issuing *softkey.Key, rootDER, issuingDER []byte, now func() time.Time) (*Office, error) {
	o := &Office{root: root, issuing: issuing, rootDER: rootDER, now: now, requests: map[string]ca.Request{}, issued: map[string]authority.Incoming{},
		serials: map[string]string{}, revoked: map[string]string{}, withdrawn: map[string]bool{}}
	ctx, life, since := context.Background(), ca.DefaultLifetimes(), now().Add(-48*time.Hour)
	life.Seal = ca.Period{Years: 11} // the lengths that it is asked for
	var err error
	if rootDER == nil {
		if o.rootDER, err = ca.Root(ctx, holder{root}, pkix.Name{CommonName: "示例 演示数据 licensed root"}, since, life.Root); err != nil {
			return nil, err
		}
		if issuingDER, err = ca.Issuing(ctx, holder{root}, o.rootDER, issuing.Public(), pkix.Name{CommonName: "示例 演示数据 licensed CA"}, since, life.Issuing); err != nil {
			return nil, err
		}
	}
	o.issuingDER = issuingDER
	o.by, err = ca.NewEmbedded(holder{issuing}, ca.Config{RootDER: o.rootDER, IssuingDER: issuingDER, Lifetimes: life, Subject: ca.DefaultSubjectTemplate(), Now: now})
	return o, err
}

// Anchor is the certificate to pin, DER.
func (o *Office) Anchor() []byte { return o.rootDER }

// Issuing is the certificate of the authority below, DER.
func (o *Office) Issuing() []byte { return o.issuingDER }

// Decide says how requests are answered from now on: only when it is asked again, or never.
func (o *Office) Decide(later, reject bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.later, o.reject = later, reject
}

// Twist changes what is certified, against the request; nil undoes it.
func (o *Office) Twist(change func(r *ca.Request)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.twist = change
}

// Issued is how many certificates were issued; Alive how many of them are not revoked.
func (o *Office) Issued() (issued, alive int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.serials), len(o.serials) - len(o.revoked)
}

// Revoked is the reason for which the certificate with that serial number was revoked.
func (o *Office) Revoked(serial string) (reason string, revoked bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	reason, revoked = o.revoked[serial]
	return reason, revoked
}

// Withdrawn is how many requests were withdrawn.
func (o *Office) Withdrawn() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.withdrawn)
}

// Repeats is how many requests came again.
func (o *Office) Repeats() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.repeats
}

// Routes is the contract of docs/connectors/authority.md.
func (o *Office) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/certificate-requests", http.HandlerFunc(o.request))
	mux.Handle("GET /v1/certificate-requests/{id}", http.HandlerFunc(o.state))
	mux.Handle("POST /v1/revocations", &sim.Desk[authority.Revocation]{Take: o.revoke})
	mux.Handle("POST /v1/withdrawals", &sim.Desk[authority.Withdrawal]{Take: o.withdraw})
	return o.Wrap(mux)
}

func (o *Office) request(w http.ResponseWriter, r *http.Request) {
	(&sim.Desk[authority.Outgoing]{Take: func(_ string, m authority.Outgoing) (int, any) { // o.requests knows repetitions
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.withdrawn[m.ID] {
			return http.StatusConflict, "withdrawn"
		}
		if _, again := o.requests[m.ID]; again {
			o.repeats++
			if o.later {
				return http.StatusAccepted, struct{}{}
			}
			return o.answer(m.ID)
		}
		q, err := read(m)
		if err != nil {
			return http.StatusUnprocessableEntity, err.Error()
		}
		o.requests[m.ID] = q
		if o.later {
			return http.StatusAccepted, struct{}{}
		}
		return o.answer(m.ID)
	}}).ServeHTTP(w, r)
}

// read checks the proof of possession and that the subject is who the message speaks of.
func read(m authority.Outgoing) (q ca.Request, err error) {
	csr, err := gm.ParseCertificateRequest(m.CSR)
	if err != nil {
		return q, err
	}
	if csr.Subject.SerialNumber != m.ESID || csr.Subject.CommonName == "" {
		return q, errors.New("the request is for another seal")
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return q, errors.New("not an SM2 key")
	}
	pub, err := gm.FromECDSA(key)
	return ca.Request{PublicKey: pub, ESID: m.ESID, Name: m.Name, USCC: m.USCC, NotBefore: m.NotBefore, NotAfter: m.NotAfter}, err
}

func (o *Office) state(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := r.PathValue("id")
	if _, known := o.requests[id]; !known {
		http.Error(w, "无此申请", http.StatusNotFound)
		return
	}
	if o.later {
		sim.Answer(w, http.StatusAccepted, struct{}{})
		return
	}
	status, a := o.answer(id)
	sim.Answer(w, status, a)
}

// answer certifies, once. The lock is held.
func (o *Office) answer(id string) (int, any) {
	if a, done := o.issued[id]; done {
		return http.StatusOK, a
	}
	if o.reject {
		return http.StatusOK, authority.Incoming{State: "rejected", Reason: "资料不符"}
	}
	q := o.requests[id]
	if q.NotBefore = o.now().UTC().Truncate(time.Second); o.twist != nil {
		o.twist(&q)
	}
	der, chain, err := o.by.Issue(context.Background(), q)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	a := authority.Incoming{State: "issued", Certificate: der, Chain: chain}
	c, err := gm.ParseCertificate(der)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	o.issued[id], o.serials[c.SerialNumber.Text(16)] = a, id
	return http.StatusOK, a
}

func (o *Office) revoke(_ string, m authority.Revocation) (int, any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, known := o.serials[m.Serial]
	if !known {
		return http.StatusNotFound, fmt.Sprintf("无此证书 %s", m.Serial)
	}
	if sum := sha256.Sum256(o.issued[id].Certificate); hex.EncodeToString(sum[:]) != m.SHA256 {
		return http.StatusConflict, "另一证书"
	}
	o.revoked[m.Serial] = m.Reason
	return http.StatusOK, authority.Done{State: "revoked"}
}

func (o *Office) withdraw(_ string, m authority.Withdrawal) (int, any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.withdrawn[m.Request] = true
	for serial, id := range o.serials {
		if id == m.Request {
			o.revoked[serial] = "5"
			return http.StatusOK, authority.Done{State: "revoked"}
		}
	}
	return http.StatusOK, authority.Done{State: "dropped"}
}
