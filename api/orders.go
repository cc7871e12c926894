package api

import (
	"context"

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

func (s *Server) getOrder(ctx context.Context, in *idInput) (register.Order, error) {
	if err := s.allow(in.Caller, access.OrderRead); err != nil {
		return register.Order{}, err
	}
	o, _, err := s.use.Register.Order(ctx, in.ID)
	return o, err
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
