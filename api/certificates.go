package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sealkeeper/access"
	"sealkeeper/licence/certificate"
)

const certificatesPath = "/v1/certificates"

// certificates: the certificate library, keyed by the licence. Which department states what is the catalogue's to say.
func (s *Server) certificates() {
	const one = certificatesPath + "/{certificate}"
	route(s, "POST", certificatesPath, "put-certificate", "certificates", "Put a certificate of a type of your department's, or its next version", s.putCertificate)
	route(s, "GET", certificatesPath, "list-certificates", "certificates", "Certificates of an enterprise or of a type, as they are now", s.listCertificates)
	route(s, "GET", one, "get-certificate", "certificates", "A certificate now, or as of a time, or by what was known at a time", s.getCertificate)
	route(s, "GET", one+"/versions", "list-certificate-versions", "certificates", "Everything that was ever stated of a certificate", s.certificateRows)
	route(s, "POST", one+"/status", "set-certificate-status", "certificates", "Suspend, revoke, cancel or annul a certificate, or lift a suspension", s.setCertificateStatus)
	route(s, "POST", one+"/confirm", "confirm-certificate", "certificates", "Confirm that a flagged certificate holds under the licence as it is now", s.confirmCertificate)
	route(s, "GET", "/v1/certificate-catalogue", "certificate-catalogue", "certificates", "The types of certificates, and the departments that state them", s.certificateCatalogue)
	route(s, "POST", "/v1/certificate-shares", "share-certificates", "certificates", "Licence and certificates of an enterprise in one answer, under a sharing grant, for a purpose; the read is recorded", s.shareCertificates)
	s.certificateFile()
}

type certificateAnswer struct {
	Certificate certificate.Row `json:"certificate"`
	Receipt     receipt         `json:"receipt"`
}

func stated(st certificate.Stated, err error) (certificateAnswer, error) {
	return certificateAnswer{st.Row, receiptFrom(st.Receipt)}, err
}

type putCertificateInput struct {
	Keyed
	Body certificate.Draft
}

func (s *Server) putCertificate(ctx context.Context, in *putCertificateInput) (certificateAnswer, error) {
	return stated(s.use.Certificates.Put(ctx, in.request("POST", certificatesPath), in.actor, in.Body))
}

type listCertificatesInput struct {
	Caller
	Paged
	USCC    string `query:"uscc" maxLength:"18"`
	Type    string `query:"type" maxLength:"21"`
	Flagged bool   `query:"flagged" doc:"only those whose licence has changed since they were checked against it; a page may then hold fewer than there are"`
}

func (s *Server) listCertificates(ctx context.Context, in *listCertificatesInput) (page[certificate.View], error) {
	items, next, err := s.use.Certificates.List(ctx, in.actor, certificate.Query{USCC: in.USCC, Type: in.Type, Flagged: in.Flagged, Cursor: in.Cursor, Limit: in.Limit})
	return paged(items, next), err
}

type certificateInput struct {
	Caller
	Certificate string `path:"certificate" maxLength:"128" doc:"identifier, or type, issuer and serial of it"`
}

type getCertificateInput struct {
	Caller
	Certificate string `path:"certificate" maxLength:"128" doc:"identifier, or type, issuer and serial of it"`

	AsOf    time.Time `query:"as_of" doc:"RFC 3339: what held then; now when left out"`
	KnownAt time.Time `query:"known_at" doc:"RFC 3339: by what had been recorded then; now when left out"`
}

func (s *Server) getCertificate(ctx context.Context, in *getCertificateInput) (certificate.View, error) {
	return s.use.Certificates.At(ctx, in.actor, certificate.Asked{Certificate: in.Certificate, AsOf: in.AsOf, KnownAt: in.KnownAt})
}

func (s *Server) certificateRows(ctx context.Context, in *certificateInput) (page[certificate.Row], error) {
	all, err := s.use.Certificates.Rows(ctx, in.actor, in.Certificate)
	return paged(all, ""), err
}

type statusInput struct {
	Keyed
	Certificate string `path:"certificate" maxLength:"128"`
	Body        certificate.Restatement
}

func (s *Server) setCertificateStatus(ctx context.Context, in *statusInput) (certificateAnswer, error) {
	req := in.request("POST", certificatesPath+"/"+in.Certificate+"/status")
	return stated(s.use.Certificates.SetStatus(ctx, req, in.actor, in.Certificate, in.Body))
}

type confirmInput struct {
	Keyed
	Certificate string `path:"certificate" maxLength:"128"`
	Body        certificate.Confirmation
}

func (s *Server) confirmCertificate(ctx context.Context, in *confirmInput) (certificateAnswer, error) {
	req := in.request("POST", certificatesPath+"/"+in.Certificate+"/confirm")
	return stated(s.use.Certificates.Confirm(ctx, req, in.actor, in.Certificate, in.Body))
}

type catalogueInput struct{ Caller }

func (s *Server) certificateCatalogue(_ context.Context, in *catalogueInput) (page[certificate.Type], error) {
	if err := s.allow(in.Caller, access.CertificateRead); err != nil {
		return page[certificate.Type]{}, err
	}
	all := s.use.Certificates.Catalogue().Types()
	for i := range all {
		if in.actor.Role == access.RoleDepartment && !all[i].Of(in.actor.Client) {
			all[i].Clients = nil // who other departments' clients are is none of theirs
		}
	}
	return paged(all, ""), nil
}

type shareInput struct {
	Keyed
	Body certificate.Sharing
}

func (s *Server) shareCertificates(ctx context.Context, in *shareInput) (certificate.Folder, error) {
	return s.use.Certificates.Share(ctx, in.request("POST", "/v1/certificate-shares"), in.actor, in.Body)
}

// certificateFile serves the file as it was put; its SM3 stands in the certificate.
func (s *Server) certificateFile() {
	const kind = "application/octet-stream"
	op := huma.Operation{Method: "GET", Path: certificatesPath + "/{certificate}/file", OperationID: "get-certificate-file", Tags: []string{"certificates"}, Errors: errorStatuses,
		Summary: "The file of a certificate's present version, as it was put", Security: []map[string][]string{{"mtls": {}}},
		Responses: map[string]*huma.Response{"200": {Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{kind: {}}}}}
	huma.Register(s.routes, op, func(ctx context.Context, in *certificateInput) (*file, error) {
		b, _, err := s.use.Certificates.File(ctx, in.actor, in.Certificate)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &file{kind, b}, nil
	})
}

// sharingGrants: which departments may read licence and certificates together, and for what.
func (s *Server) sharingGrants() {
	route(s, "POST", "/v1/sharing-grants", "put-sharing-grant", "certificates", "Write a sharing grant", func(ctx context.Context, in *sharingInput) (receipt, error) {
		return placed(s.use.Access.PutSharing(ctx, in.request("POST", "/v1/sharing-grants"), in.actor, in.Body))
	})
	route(s, "GET", "/v1/sharing-grants", "list-sharing-grants", "certificates", "List sharing grants of a client", s.listSharing)
	route(s, "POST", "/v1/sharing-grants/{id}/withdraw", "withdraw-sharing-grant", "certificates", "Withdraw a sharing grant", func(ctx context.Context, in *reasonInput) (receipt, error) {
		return placed(s.use.Access.WithdrawSharing(ctx, in.request("POST", "/v1/sharing-grants/"+in.ID+"/withdraw"), in.actor, in.ID, in.Body.Reason))
	})
}

type sharingInput struct {
	Keyed
	Body access.SharingGrant
}

func (s *Server) listSharing(ctx context.Context, in *ofClientInput) (page[access.SharingGrant], error) {
	items, next, err := s.use.Access.SharingPage(ctx, in.actor, in.client(), in.Cursor, in.Limit)
	return paged(items, next), err
}
