package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sealkeeper/connector/publicsecurity"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/connector/sim"
	"sealkeeper/internal/envelope"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// Office is the seal management system over HTTP. It engraves what is expected when Enterprise knows the enterprise, and files made seals.
type Office struct {
	System
	sim.Manners
	sim.Feed
	// Enterprise looks an enterprise up for whom seals are to be engraved; nil engraves nothing by itself.
	Enterprise func(uscc string) (licence.Fields, bool)
	// Spoil changes a filing before it is signed; nil files what was engraved.
	Spoil func(f *register.Filing)
	DPI   int // of the pictures; zero is draw's own
	Now   func() time.Time

	mu       sync.Mutex
	number   int
	state    string // their code of a seal's filing from now on; "" is 03, filed
	withhold bool   // status 202 from now on; Status tells
	filed    map[string]string
	desk     sim.Desk[publicsecurity.Outgoing]
}

// Decide says how made seals are filed from now on: with which of their codes, and whether at once.
func (o *Office) Decide(state string, later bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state, o.withhold = state, later
}

// From makes filing numbers go on behind n.
func (o *Office) From(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number = n
}

// Notices lists what arrived, each once, in order.
func (o *Office) Notices() []register.Notice {
	var all []register.Notice
	for _, m := range o.desk.Taken() {
		var n register.Notice
		if json.Unmarshal(m.Notice, &n) == nil {
			all = append(all, n)
		}
	}
	return all
}

// Repeats is how many notices came again.
func (o *Office) Repeats() int { return o.desk.Repeats() }

// Filed is what a made seal was filed as, empty for one that nobody told of.
func (o *Office) Filed(esid string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.filed[esid]
}

// Publish puts a filing into the feed, signed.
func (o *Office) Publish(f register.Filing) error {
	if o.Spoil != nil {
		o.Spoil(&f)
	}
	e, err := o.File(f)
	if err == nil {
		o.Add(e)
	}
	return err
}

// Notify puts a notice about a physical seal into the feed, signed.
func (o *Office) Notify(n register.SealNotice) error {
	e, err := o.Notice(n)
	if err == nil {
		o.Add(e)
	}
	return err
}

// Routes is the contract of docs/connectors/public-security.md.
func (o *Office) Routes() http.Handler {
	o.desk.Take = o.take
	mux := http.NewServeMux()
	mux.Handle("GET /v1/filings", &o.Feed)
	mux.Handle("POST /v1/notices", &o.desk)
	mux.HandleFunc("GET /v1/seals/{esid}/filing", o.status)
	return o.Wrap(mux)
}

func (o *Office) take(_ string, m publicsecurity.Outgoing) (int, any) {
	var n register.Notice
	if err := json.Unmarshal(m.Notice, &n); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	switch n.Kind {
	case "expect-impressions":
		if err := o.engraveAll(n); err != nil {
			return http.StatusInternalServerError, err.Error()
		}
	case "seal-made":
		return o.entered(n.ESID)
	}
	return http.StatusOK, publicsecurity.Incoming{}
}

func (o *Office) engraveAll(n register.Notice) error {
	if o.Enterprise == nil {
		return nil
	}
	f, known := o.Enterprise(n.USCC)
	if !known {
		return nil
	}
	for _, t := range n.Types {
		filing, err := o.engraved(f, t)
		if err == nil {
			err = o.Publish(filing)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Engraved draws one seal under the next number.
func (o *Office) engraved(f licence.Fields, sealType string) (register.Filing, error) {
	o.mu.Lock()
	o.number++
	n := o.number
	o.mu.Unlock()
	code := fmt.Sprintf("%.6s%07d", f.Division, n)
	image, w, h, err := draw.Seal(draw.Spec{Type: sealType, Name: f.Name, TaxNumber: f.USCC, Person: f.LegalRep, Code: code, DPI: o.DPI})
	return register.Filing{FilingNumber: fmt.Sprintf("PS-%s-%s", code, sealType), SealCode: code, SealType: sealType, USCC: f.USCC, Name: f.Name,
		Format: format(image), WidthMM: float64(w), HeightMM: float64(h), Image: image, Engraver: "示例刻章单位", FiledAt: o.now()}, err
}

func (o *Office) now() time.Time {
	if o.Now == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return o.Now().UTC().Truncate(time.Second)
}

// entered files a made seal and answers at once or later.
func (o *Office) entered(esid string) (int, any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.filed == nil {
		o.filed = map[string]string{}
	}
	o.filed[esid] = o.state
	if o.state == "" {
		o.filed[esid] = "03"
	}
	if o.withhold {
		return http.StatusAccepted, struct{}{}
	}
	e, err := o.answer(esid)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusOK, publicsecurity.Incoming{Answer: &e}
}

// answer signs the answer to a seal's filing; the lock is held.
func (o *Office) answer(esid string) (envelope.Envelope, error) {
	return envelope.Seal(publicsecurity.AnswerKind, publicsecurity.Answer{ESID: esid, State: o.filed[esid], Reference: "BA-" + esid, At: o.now()}, o.Key.Sign)
}

func (o *Office) status(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	esid := r.PathValue("esid")
	if o.filed[esid] == "" {
		http.Error(w, "无此印章", http.StatusNotFound)
		return
	}
	e, err := o.answer(esid)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sim.Answer(w, http.StatusOK, e)
}
