package api

import (
	"context"

	"sealkeeper/access"
)

// clients: who may call. Certificates are issued here from requests whose keys never travel.
func (s *Server) clients() {
	route(s, "POST", "/v1/clients", "register-client", "clients", "Register a client and issue its certificate", s.registerClient)
	route(s, "GET", "/v1/clients", "list-clients", "clients", "List clients", s.listClients)
	route(s, "POST", "/v1/clients/{id}/disable", "disable-client", "clients", "Disable a client at once and for good", s.disableClient)
}

type registerInput struct {
	Keyed
	Body struct {
		Name   string      `json:"name" minLength:"1" maxLength:"128"`
		Role   access.Role `json:"role" doc:"operator-system, operator-security, operator-audit, department, source-registration, source-public-security or source-elicence"`
		Person string      `json:"person,omitempty" maxLength:"64" doc:"operators alone: who holds the key"`
		CSR    string      `json:"csr" maxLength:"8192" doc:"PEM certificate request, P-256"`
	}
}

type clientAnswer struct {
	Client  access.Client `json:"client"`
	Receipt receipt       `json:"receipt"`
}

func (s *Server) registerClient(ctx context.Context, in *registerInput) (clientAnswer, error) {
	if err := s.allow(in.Caller, access.ClientWrite); err != nil {
		return clientAnswer{}, err
	}
	cl := access.Client{Name: in.Body.Name, Role: in.Body.Role, Person: in.Body.Person}
	var err error
	if cl.ID, cl.Certificate, err = s.use.Certify(ctx, []byte(in.Body.CSR), in.Body.Name); err != nil {
		return clientAnswer{}, err
	}
	done, err := s.use.Access.Register(ctx, in.request("POST", "/v1/clients"), in.actor, cl)
	if err != nil {
		return clientAnswer{}, err
	}
	cl, err = s.use.Access.ClientByID(ctx, in.actor, cl.ID)
	return clientAnswer{cl, receiptFrom(done)}, err
}

type pageInput struct {
	Caller
	Paged
}

func (s *Server) listClients(ctx context.Context, in *pageInput) (page[access.Client], error) {
	items, next, err := s.use.Access.ClientsPage(ctx, in.actor, in.Cursor, in.Limit)
	return paged(items, next), err
}

type reasonInput struct {
	Keyed
	ID   string `path:"id" maxLength:"128"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"256"`
	}
}

func (s *Server) disableClient(ctx context.Context, in *reasonInput) (receipt, error) {
	return placed(s.use.Access.Disable(ctx, in.request("POST", "/v1/clients/"+in.ID+"/disable"), in.actor, in.ID, in.Body.Reason))
}
