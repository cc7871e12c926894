package register

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// ErrNotOrdered: the order has no request of that type, or the request is past that step.
var ErrNotOrdered = errors.New("the order does not wait for that type")

// OrderState is the state of an order.
type OrderState string

// The states of an order. Suspension is a matter of each seal, not of the order that made it.
const (
	Ordered             OrderState = "ordered"
	AwaitingImpression  OrderState = "awaiting_impression"
	AwaitingCertificate OrderState = "awaiting_certificate" // complete: keys, certificates and seals can be made
	OrderMade           OrderState = "made"
	OrderActive         OrderState = "active" // collected
	OrderException      OrderState = "exception"
	OrderCancelled      OrderState = "cancelled"
	OrderSuperseded     OrderState = "superseded"
	OrderExpired        OrderState = "expired"
)

// orderFollows is the transition table of orders. An order stays in its state while single requests move on.
var orderFollows = map[OrderState][]OrderState{
	Ordered:             {AwaitingImpression, AwaitingCertificate, OrderCancelled},
	AwaitingImpression:  {AwaitingImpression, AwaitingCertificate, OrderMade, OrderException, OrderCancelled, OrderSuperseded, OrderExpired},
	AwaitingCertificate: {AwaitingCertificate, AwaitingImpression, OrderMade, OrderException, OrderCancelled, OrderSuperseded},
	OrderMade:           {OrderActive, OrderCancelled, OrderSuperseded, OrderExpired},
	OrderActive:         {OrderCancelled, OrderSuperseded, OrderExpired},
	OrderException:      {AwaitingImpression, AwaitingCertificate, OrderCancelled, OrderSuperseded},
}

// Open reports whether the order still waits for something before its seals are made.
func (s OrderState) Open() bool {
	return s == Ordered || s == AwaitingImpression || s == AwaitingCertificate || s == OrderException
}

// Release says how an order's seals go out.
type Release string

// The ways of release.
const (
	Together Release = "together" // the set goes out as one
	AsFiled  Release = "as-filed" // each seal as soon as its impression is there
)

// Order is one application for a set of seals, opened by a licence event.
type Order struct {
	ID             string     `json:"id"` // OrderID of the event
	USCC           string     `json:"uscc"`
	Event          string     `json:"event"`
	LicenceVersion int        `json:"licence_version"`
	Release        Release    `json:"release"`
	State          OrderState `json:"state"`
	Requests       []Request  `json:"requests"` // in the order of the configured set
	Exception      *Exception `json:"exception,omitempty"`
	Created        time.Time  `json:"created"`
	Updated        time.Time  `json:"updated"`
}

// RequestState is the state of one seal in an order.
type RequestState string

// The states of a request.
const (
	RequestAwaiting    RequestState = "awaiting_impression"
	RequestReceived    RequestState = "impression_received"
	RequestNotEngraved RequestState = "not_engraved"
	RequestMade        RequestState = "made"
)

// Request is one seal of an order.
type Request struct {
	Type       string       `json:"type"` // 01..05
	State      RequestState `json:"state"`
	Impression string       `json:"impression,omitempty"`
	ESID       string       `json:"esid,omitempty"`
	Reason     string       `json:"reason,omitempty"`   // why it is not engraved
	Replaces   string       `json:"replaces,omitempty"` // number of the seal in whose place the new one comes
	Key        keystore.ID  `json:"key,omitzero"`       // in its owner's token; zero for a key that is born here
}

// Exception is why an order waits for a human, and what it was that came.
type Exception struct {
	Code   string    `json:"code"`             // stable name of the check that failed
	Detail string    `json:"detail"`           // for people
	Type   string    `json:"type,omitempty"`   // seal type concerned
	Filing string    `json:"filing,omitempty"` // filing number refused
	SM3    string    `json:"sm3,omitempty"`    // of the image refused
	At     time.Time `json:"at"`
}

// OrderID is the identifier of the order that an event opens: 32 hexadecimal digits, always the same for the same event.
func OrderID(event string) string {
	d := gm.SM3([]byte("sealkeeper-order\n" + event))
	return hex.EncodeToString(d[:16])
}

// Wanted makes the requests of types that have yet to be engraved.
func Wanted(types ...string) []Request {
	all := make([]Request, len(types))
	for n, t := range types {
		all[n] = Request{Type: t, State: RequestAwaiting}
	}
	return all
}

// NewOrder drafts a new order and asks public security for the impressions that are awaited.
func NewOrder(event, uscc, name string, licenceVersion int, release Release, requests []Request, c Change) (Order, Draft, error) {
	o := Order{ID: OrderID(event), USCC: uscc, Event: event, LicenceVersion: licenceVersion, Release: release, State: Ordered,
		Requests: requests, Created: c.Time.UTC()}
	o, d, err := o.Move(o.Next(), 0, c)
	var types []string
	for _, q := range requests {
		if q.State == RequestAwaiting {
			types = append(types, q.Type)
		}
	}
	if err != nil || len(types) == 0 {
		return o, d, err
	}
	return o, d, d.notify(Notice{Kind: "expect-impressions", At: o.Created, USCC: uscc, Name: name, Order: o.ID, Types: types})
}

// Request finds the request of a type.
func (o Order) Request(sealType string) (Request, bool) {
	i := slices.IndexFunc(o.Requests, func(q Request) bool { return q.Type == sealType })
	if i < 0 {
		return Request{}, false
	}
	return o.Requests[i], true
}

// With returns a copy of the order with one request replaced; a key once offered stays.
func (o Order) With(q Request) Order {
	o.Requests = slices.Clone(o.Requests)
	for i := range o.Requests {
		if o.Requests[i].Type == q.Type {
			if q.Key == (keystore.ID{}) {
				q.Key = o.Requests[i].Key
			}
			o.Requests[i] = q
		}
	}
	return o
}

// Ready lists the requests that can be made now: none while a set that goes out together still waits for a type.
func (o Order) Ready() []Request {
	var ready []Request
	for _, q := range o.Requests {
		switch {
		case q.State == RequestReceived:
			ready = append(ready, q)
		case q.State == RequestAwaiting && o.Release != AsFiled:
			return nil
		}
	}
	return ready
}

// Next is the state that the requests imply for an order that has none of its own reasons to be elsewhere.
func (o Order) Next() OrderState {
	if len(o.Ready()) > 0 {
		return AwaitingCertificate
	}
	made := false
	for _, q := range o.Requests {
		if q.State == RequestAwaiting || q.State == RequestReceived {
			return AwaitingImpression
		}
		made = made || q.State == RequestMade
	}
	if !made {
		return OrderCancelled // nothing was engraved at all
	}
	return OrderMade
}

// orderRecord is the detail of an order record; its result is the order as it is afterwards.
type orderRecord struct {
	From     OrderState `json:"from"`
	To       OrderState `json:"to"`
	Reason   Reason     `json:"reason"`
	Evidence string     `json:"evidence,omitempty"`
}

// Move drafts a new state of the order, with its record and notice. Changed requests are in o; was is read from the store's version.
func (o Order) Move(to OrderState, at store.Version, c Change) (Order, Draft, error) {
	var d Draft
	from := o.State
	if !slices.Contains(orderFollows[from], to) {
		return o, d, fmt.Errorf("order %s from %s to %s: %w", o.ID, from, to, ErrTransition)
	}
	if err := c.checkEvidence(false); err != nil {
		return o, d, err
	}
	o.State, o.Updated = to, c.Time.UTC()
	if to != OrderException {
		o.Exception = nil
	}
	err := errors.Join(d.put(orders, o.ID, o, at),
		d.record(audit.Event{Kind: audit.KindOrder, Actor: c.Actor, Subject: o.ID,
			Detail: orderRecord{from, to, c.Reason, c.Evidence}, Result: o}))
	if err == nil && from != to && from != Ordered {
		err = d.notify(Notice{Kind: "order-state", At: o.Updated, USCC: o.USCC, Order: o.ID, State: string(to), Reason: string(c.Reason)})
	}
	return o, d, err
}

// Fail drafts the side state exception: a human decides.
func (o Order) Fail(x Exception, at store.Version, c Change) (Order, Draft, error) {
	x.At = c.Time.UTC()
	o.Exception = &x
	return o.Move(OrderException, at, c)
}

// ExpectOrder requires an order to be unchanged since it was read.
func ExpectOrder(id string, at store.Version) store.Expect {
	return store.Expect{Collection: orders, Key: []byte(id), Version: at}
}
