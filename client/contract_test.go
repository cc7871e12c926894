package client_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sealkeeper/api"
	"sealkeeper/client"
)

// schema is as much of JSON Schema as the API's description uses.
type schema struct {
	Ref        string             `json:"$ref"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
}

type operation struct {
	RequestBody struct {
		Content map[string]struct{ Schema *schema } `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct{ Schema *schema } `json:"content"`
	} `json:"responses"`
}

// description is the OpenAPI document that the appliance serves.
type description struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

func describe(t *testing.T) description {
	t.Helper()
	s := api.New(api.Config{Mode: "demo", Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, api.Services{})
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var d description
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || len(d.Paths) == 0 {
		t.Fatalf("reading the description: %v, %d paths", err, len(d.Paths))
	}
	return d
}

func (d description) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	return s
}

// TestContract holds the client's types against the description that the appliance serves: every route exists, and every field that the client
// reads or writes is one that the API has. Fields that the API leaves open (raw JSON) end the comparison.
func TestContract(t *testing.T) {
	d := describe(t)
	for _, c := range []struct {
		method, path string
		in, out      any
	}{
		{"get", "/readyz", nil, client.Readiness{}},
		{"get", "/v1/appliance", nil, client.Appliance{}},
		{"post", "/v1/appliance/clock", nil, client.Decision{}},
		{"post", "/v1/appliance/resynchronise", nil, client.Decision{}},
		{"post", "/v1/licences", client.Envelope{}, client.LicenceTaken{}},
		{"get", "/v1/licences/{uscc}", nil, client.Licence{}},
		{"get", "/v1/licences/{uscc}/versions", nil, client.Page[client.Licence]{}},
		{"post", "/v1/impressions", client.Envelope{}, client.ImpressionTaken{}},
		{"get", "/v1/impressions/{id}", nil, client.Impression{}},
		{"get", "/v1/orders", nil, nil},
		{"get", "/v1/orders/{id}", nil, client.Order{}},
		{"post", "/v1/orders/{id}/resolve", client.Resolution{}, nil},
		{"post", "/v1/enterprises/{uscc}/orders", client.Envelope{}, nil},
		{"post", "/v1/invitations", client.Invitations{}, client.Invited{}},
		{"get", "/v1/outside", nil, client.Page[client.OutsideSystem]{}},
		{"get", "/v1/outbox/{queue}", nil, client.Page[client.OutboxMessage]{}},
		{"post", "/v1/outbox-messages/{id}/redeliver", nil, client.Done{}},
		{"post", "/v1/outbox-messages/{id}/discard", client.ReasonGiven{}, client.Done{}},
		{"get", "/v1/feeds/{feed}/held", nil, client.Page[client.HeldMessage]{}},
		{"post", "/v1/feeds/{feed}/held/{seq}/retry", nil, client.Done{}},
		{"post", "/v1/feeds/{feed}/held/{seq}/drop", client.ReasonGiven{}, client.Done{}},
		{"post", "/v1/orders/{id}/collect", client.Envelope{}, client.Collected{}},
		{"get", "/v1/enterprises/{uscc}/seals", nil, client.Page[client.Seal]{}},
		{"get", "/v1/seals/{esid}", nil, client.SealWithKey{}},
		{"get", "/v1/seals/{esid}/esl", nil, nil},
		{"get", "/v1/seals/{esid}/certificate", nil, nil},
		{"get", "/v1/seals/{esid}/certificates", nil, client.Page[client.Paper]{}},
		{"get", "/v1/seals/{esid}/certificates/{kind}", nil, nil},
		{"get", "/v1/licences/{uscc}/file", nil, nil},
		{"post", "/v1/seals/{esid}/suspend", client.Reason{}, client.Seal{}},
		{"post", "/v1/seals/{esid}/resume", client.Reason{}, client.Seal{}},
		{"post", "/v1/seals/{esid}/cancel", client.Reason{}, client.Seal{}},
		{"post", "/v1/signatures", client.SignatureRequest{}, client.Signature{}},
		{"post", "/v1/signatures/batch", nil, nil},
		{"post", "/v1/verifications", nil, client.Report{}},
		{"get", "/v1/audit/checkpoint", nil, nil},
		{"get", "/v1/audit/entries", nil, client.Page[client.Entry]{}},
		{"get", "/v1/audit/proof", nil, client.Proof{}},
		{"get", "/v1/audit/consistency", nil, client.Consistency{}},
		{"post", "/v1/clients", client.Registration{}, nil},
		{"get", "/v1/clients", nil, client.Page[client.Registered]{}},
		{"post", "/v1/clients/{id}/disable", nil, client.Receipt{}},
		{"post", "/v1/grants", client.Grant{}, client.Receipt{}},
		{"get", "/v1/grants", nil, client.Page[client.Grant]{}},
		{"post", "/v1/grants/{id}/withdraw", nil, client.Receipt{}},
		{"post", "/v1/delegations", nil, client.Receipt{}},
		{"post", "/v1/certificates", nil, client.CertificateTaken{}},
		{"get", "/v1/certificates", nil, client.Page[client.CertificateView]{}},
		{"get", "/v1/certificates/{certificate}", nil, client.CertificateView{}},
		{"get", "/v1/certificates/{certificate}/versions", nil, client.Page[client.Certificate]{}},
		{"post", "/v1/certificates/{certificate}/status", client.CertificateStatus{}, client.CertificateTaken{}},
		{"post", "/v1/certificates/{certificate}/confirm", client.CertificateConfirmation{}, client.CertificateTaken{}},
		{"post", "/v1/certificate-shares", client.Sharing{}, client.Folder{}},
		{"post", "/v1/sharing-grants", client.SharingGrant{}, client.Receipt{}},
		{"get", "/v1/sharing-grants", nil, client.Page[client.SharingGrant]{}},
		{"post", "/v1/enterprises/{uscc}/code", nil, client.EntityCode{}},
		{"get", "/v1/enterprises/{uscc}/code", nil, client.EntityCode{}},
		{"post", "/v1/presentations", nil, client.Presented{}},
		{"post", "/v1/presentations/redeem", client.Redemption{}, client.Shown{}},
		{"get", "/v1/enterprises/{uscc}/presentations", nil, client.Page[client.Presentation]{}},
		{"get", "/v1/delegations", nil, client.Page[client.Delegation]{}},
		{"get", "/v1/standing-delegations", nil, client.Page[client.StandingDelegation]{}},
		{"post", "/v1/delegations/{id}/withdraw", nil, client.Receipt{}},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			op, ok := d.Paths[c.path][c.method]
			if !ok {
				t.Fatal("the API has no such route")
			}
			if c.in != nil {
				d.compare(t, "request", reflect.TypeOf(c.in), d.resolve(op.RequestBody.Content["application/json"].Schema))
			}
			if c.out != nil {
				d.compare(t, "answer", reflect.TypeOf(c.out), d.resolve(op.Responses["200"].Content["application/json"].Schema))
			}
		})
	}
}

// compare demands that every JSON field of t stands in s.
func (d description) compare(t *testing.T, at string, typ reflect.Type, s *schema) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	s = d.resolve(s)
	switch {
	case s == nil:
		t.Errorf("%s: the API says nothing of it", at)
	case typ == reflect.TypeFor[json.RawMessage]() || typ.PkgPath() == "time":
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
		d.compare(t, at+"[]", typ.Elem(), s.Items)
	case typ.Kind() == reflect.Struct:
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			p, ok := s.Properties[name]
			if !ok {
				t.Errorf("%s.%s is not in the API; it has %v", at, name, slices.Sorted(maps.Keys(s.Properties)))
				continue
			}
			d.compare(t, at+"."+name, typ.Field(i).Type, p)
		}
	}
}
