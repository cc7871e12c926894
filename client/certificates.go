package client

import (
	"context"
	"encoding/json"
	"time"
)

// Certificate is a certificate of an enterprise beside its business licence, as its department stated it.
type Certificate struct {
	Certificate string            `json:"certificate"` // type, issuer and serial of the identifier
	Number      int               `json:"number"`      // of the statement
	Act         string            `json:"act"`         // issued, reissued, status or confirmed
	Identifier  string            `json:"identifier"`
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	USCC        string            `json:"uscc"`
	Name        string            `json:"name"`
	Status      string            `json:"status"`
	ValidFrom   string            `json:"valid_from"`
	ValidTo     string            `json:"valid_to,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	FileSM3     string            `json:"file_sm3,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Licence     int               `json:"licence"` // version of the licence that it was checked against
	EffectiveAt time.Time         `json:"effective_at"`
	RecordedAt  time.Time         `json:"recorded_at"`
}

// CertificateView is a certificate at a time.
type CertificateView struct {
	Certificate string            `json:"certificate"` // type, issuer and serial of the identifier
	Number      int               `json:"number"`      // of the statement
	Act         string            `json:"act"`         // issued, reissued, status or confirmed
	Identifier  string            `json:"identifier"`
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	USCC        string            `json:"uscc"`
	Name        string            `json:"name"`
	Status      string            `json:"status"`
	ValidFrom   string            `json:"valid_from"`
	ValidTo     string            `json:"valid_to,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	FileSM3     string            `json:"file_sm3,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Licence     int               `json:"licence"` // version of the licence that it was checked against
	EffectiveAt time.Time         `json:"effective_at"`
	RecordedAt  time.Time         `json:"recorded_at"`
	State       string            `json:"state"` // the status, and what the certificate's dates make of it
	Flags       []CertificateFlag `json:"flags"`
}

// CertificateFlag says what of the licence has changed since the certificate was checked against it.
type CertificateFlag struct {
	Changed string    `json:"changed"`
	Version int       `json:"version"`
	Since   time.Time `json:"since"`
}

// CertificateTaken answers everything that states something of a certificate.
type CertificateTaken struct {
	Certificate Certificate `json:"certificate"`
	Receipt     Receipt     `json:"receipt"`
}

// PutCertificate puts a certificate, or its next version; draft is JSON as the API describes it.
func (c *Client) PutCertificate(ctx context.Context, key string, draft json.RawMessage) (CertificateTaken, error) {
	return post[CertificateTaken](ctx, c, "/v1/certificates", key, draft)
}

// CertificateStatus changes the status of a certificate.
type CertificateStatus struct {
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// CertificateConfirmation says that a certificate holds under a version of the licence.
type CertificateConfirmation struct {
	Licence int    `json:"licence"`
	Reason  string `json:"reason"`
}

// Sharing asks for licence and certificates of an enterprise in one answer.
type Sharing struct {
	Grant   string `json:"grant"`
	Purpose string `json:"purpose"`
	USCC    string `json:"uscc"`
}

// Folder is the answer.
type Folder struct {
	Licence      Licence           `json:"licence"`
	Certificates []CertificateView `json:"certificates"`
	At           time.Time         `json:"at"`
}

// ShareCertificates reads licence and certificates under a sharing grant; the read is on record.
func (c *Client) ShareCertificates(ctx context.Context, key string, s Sharing) (Folder, error) {
	return post[Folder](ctx, c, "/v1/certificate-shares", key, s)
}

// SharingGrant lets a department do so, in bounds.
type SharingGrant struct {
	ID        string    `json:"id"`
	Client    string    `json:"client"`
	Types     []string  `json:"types"`
	Purposes  []string  `json:"purposes"`
	NotBefore time.Time `json:"not_before"`
	Expires   time.Time `json:"expires"`
	Count     uint64    `json:"count"`
	Withdrawn string    `json:"withdrawn,omitempty"`
}
