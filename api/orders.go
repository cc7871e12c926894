package api

import (
	"context"
	"time"

	"sealkeeper/access"
	"sealkeeper/issuance"
	"sealkeeper/keystore/register"
)

func (s *Server) putLicence(ctx context.Context, in *envelopeInput) (issuance.EventOutcome, error) {
	if err := s.allow(in.Caller, access.LicencePut); err != nil {
		return issuance.EventOutcome{}, err
	}
	return s.use.Issuance.Event(ctx, in.request("POST", "/v1/licences"), in.actor, in.Body.envelope())
}

func (s *Server) impressions() {
	route(s, "POST", "/v1/impressions", "put-impression", "impressions", "Take a signed filing of an impression", s.putImpression)
	route(s, "GET", "/v1/impressions/{id}", "get-impression", "impressions", "What is known of an impression; never the picture", s.getImpression)
	route(s, "GET", "/v1/impression-reads", "report-impression-reads", "impressions", "How often impressions were read in a year, by purpose, from the log", s.impressionReads)
}

type yearInput struct {
	Caller
	Year int `query:"year" minimum:"2020" maximum:"9998" doc:"of UTC; this year when absent"`
}

func (s *Server) impressionReads(ctx context.Context, in *yearInput) (register.ReadReport, error) {
	if err := s.allow(in.Caller, access.AuditRead); err != nil {
		return register.ReadReport{}, err
	}
	if in.Year == 0 {
		in.Year = time.Now().UTC().Year()
	}
	return s.use.Register.ReadsOf(ctx, in.Year)
}

func (s *Server) putImpression(ctx context.Context, in *envelopeInput) (issuance.FilingOutcome, error) {
	if err := s.allow(in.Caller, access.ImpressionPut); err != nil {
		return issuance.FilingOutcome{}, err
	}
	return s.use.Issuance.File(ctx, in.request("POST", "/v1/impressions"), in.actor, in.Body.envelope())
}

type idInput struct {
	Caller
	ID string `path:"id" maxLength:"128"`
}

func (s *Server) getImpression(ctx context.Context, in *idInput) (register.Impression, error) {
	if err := s.allow(in.Caller, access.ImpressionRead); err != nil {
		return register.Impression{}, err
	}
	i, _, err := s.use.Register.Impression(ctx, in.ID)
	return i, err
}

func (s *Server) orders() {
	route(s, "GET", "/v1/orders", "list-orders", "orders", "Orders of an enterprise, or in a state", s.listOrders)
	route(s, "GET", "/v1/orders/{id}", "get-order", "orders", "An order", s.getOrder)
	route(s, "POST", "/v1/orders/{id}/collect", "collect-order", "orders", "Collect (领取): a signed identity assertion binds the owner's device and activates the seals", s.collect)
	route(s, "POST", "/v1/orders/{id}/resolve", "resolve-order", "orders", "A human's decision about an order that waits", s.resolve)
	route(s, "POST", "/v1/orders/{id}/keys", "offer-key", "orders", "Take a key that was made in its owner's token for one seal of an order", s.offerKey)
	route(s, "POST", "/v1/enterprises/{uscc}/orders", "apply-order", "orders", "Apply for the seals of the set that are lacking: a signed identity assertion of the responsible person", s.apply)
	route(s, "POST", "/v1/invitations", "invite-enterprises", "orders", "Tell enterprises by list that they may apply for their seals", s.invite)
	route(s, "POST", "/v1/enterprises/{uscc}/device", "rebind-device", "orders", "Bind another device of the responsible person: a signed identity assertion", s.rebind)
}

type ordersInput struct {
	Caller
	USCC  string              `query:"uscc" maxLength:"18"`
	State register.OrderState `query:"state" doc:"when no uscc is given"`
}

func (s *Server) listOrders(ctx context.Context, in *ordersInput) (page[register.Order], error) {
	if err := s.allow(in.Caller, access.OrderRead); err != nil {
		return page[register.Order]{}, err
	}
	var all []register.Order
	var err error
	if in.USCC != "" {
		all, err = s.use.Register.OrdersOf(ctx, in.USCC)
	} else {
		all, err = s.use.Register.OrdersIn(ctx, or(in.State, register.OrderException))
	}
	return paged(all, ""), err
}

// orderView is an order with how far the filing of its made seals with public security is.
type orderView struct {
	register.Order
	Filings []filingView `json:"filings,omitempty"`
}

type filingView struct {
	ESID      string               `json:"esid"`
	Type      string               `json:"type"`
	State     register.FilingState `json:"state"`
	Since     time.Time            `json:"since"`
	Reference string               `json:"reference,omitempty"`
	Overdue   bool                 `json:"overdue" doc:"pending for more than 24 hours"`
}

func (s *Server) getOrder(ctx context.Context, in *idInput) (orderView, error) {
	if err := s.allow(in.Caller, access.OrderRead); err != nil {
		return orderView{}, err
	}
	o, _, err := s.use.Register.Order(ctx, in.ID)
	v := orderView{Order: o}
	for _, q := range o.Requests {
		if q.ESID == "" || err != nil {
			continue
		}
		var f register.Filed
		f, _, err = s.use.Register.Filing(ctx, q.ESID)
		v.Filings = append(v.Filings, filingView{q.ESID, q.Type, f.State, f.Since, f.Reference, f.Overdue(time.Now())})
	}
	return v, err
}

type applyInput struct {
	Keyed
	USCC string `path:"uscc" maxLength:"18"`
	Body message
}

func (s *Server) apply(ctx context.Context, in *applyInput) (register.Order, error) {
	return s.use.Issuance.Apply(ctx, in.request("POST", "/v1/enterprises/"+in.USCC+"/orders"), in.actor, in.USCC, in.Body.envelope())
}

type inviteInput struct {
	Keyed
	Body struct {
		USCCs []string `json:"usccs" minItems:"1" maxItems:"1000"`
	}
}

func (s *Server) invite(ctx context.Context, in *inviteInput) (issuance.Invited, error) {
	return s.use.Issuance.Invite(ctx, in.request("POST", "/v1/invitations"), in.actor, in.Body.USCCs)
}

type collectInput struct {
	Keyed
	ID   string `path:"id" maxLength:"128"`
	Body message
}

func (s *Server) collect(ctx context.Context, in *collectInput) (issuance.CollectOutcome, error) {
	if err := s.allow(in.Caller, access.OrderCollect); err != nil {
		return issuance.CollectOutcome{}, err
	}
	return s.use.Issuance.Collect(ctx, in.request("POST", "/v1/orders/"+in.ID+"/collect"), in.actor, in.ID, in.Body.envelope())
}

type resolveInput struct {
	Keyed
	ID   string `path:"id" maxLength:"128"`
	Body struct {
		Resolution issuance.Resolution `json:"resolution" enum:"continue,not_engraved,cancel"`
		Type       string              `json:"type,omitempty" maxLength:"2" doc:"seal type, for not_engraved alone"`
		Reason     string              `json:"reason" minLength:"1" maxLength:"256"`
	}
}

func (s *Server) resolve(ctx context.Context, in *resolveInput) (register.Order, error) {
	return s.use.Issuance.Resolve(ctx, in.request("POST", "/v1/orders/"+in.ID+"/resolve"), in.actor, in.ID, in.Body.Resolution, in.Body.Type, in.Body.Reason)
}

type rebindInput struct {
	Keyed
	USCC string `path:"uscc" maxLength:"18"`
	Body message
}

func (s *Server) rebind(ctx context.Context, in *rebindInput) (issuance.CollectOutcome, error) {
	return s.use.Issuance.Rebind(ctx, in.request("POST", "/v1/enterprises/"+in.USCC+"/device"), in.actor, in.USCC, in.Body.envelope())
}
