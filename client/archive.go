package client

import "time"

// LicenceReport is the answer of POST /v1/licences/verify: a verification report with what the file is.
type LicenceReport struct {
	Report
	SM3     string           `json:"sm3"`
	Licence *LicenceStanding `json:"licence,omitempty"` // nil when nobody said what the file is
}

// LicenceStanding is what a licence is worth at a moment.
type LicenceStanding struct {
	USCC     string    `json:"uscc"`
	Name     string    `json:"name"`
	Version  int       `json:"version"`
	Current  int       `json:"current_version"`
	Status   string    `json:"status"`
	StatusAt time.Time `json:"status_at"`
	By       string    `json:"status_by"` // library or national
	Origin   string    `json:"origin"`    // issued or received
}

// ArchiveRequest asks for an archive receipt (存档回执).
type ArchiveRequest struct {
	SM3     string `json:"file_sm3"`
	Purpose string `json:"purpose"`
	BizNo   string `json:"biz_no"`
}

// ArchiveReceipt is one that was given; Statement is SignedData that `sealctl receipt verify` judges without the appliance.
type ArchiveReceipt struct {
	ID        string      `json:"id"`
	Body      ReceiptBody `json:"receipt"`
	IssuedAt  time.Time   `json:"issued_at"`
	Statement []byte      `json:"statement"`
}

// ReceiptBody is what a receipt states.
type ReceiptBody struct {
	SM3        string    `json:"file_sm3"`
	Size       int       `json:"file_size"`
	USCC       string    `json:"uscc"`
	Name       string    `json:"name"`
	Version    int       `json:"licence_version"`
	Current    int       `json:"current_version"`
	Status     string    `json:"status"`
	StatusAt   time.Time `json:"status_at"`
	StatusBy   string    `json:"status_by"`
	Origin     string    `json:"origin"`
	ArchivedAt time.Time `json:"archived_at"`
	Purpose    string    `json:"purpose"`
	BizNo      string    `json:"biz_no"`
	Client     string    `json:"client"`
	ClientName string    `json:"client_name"`
	Grant      string    `json:"grant"`
}

// ArchivedChange is news of a licence that the caller archived.
type ArchivedChange struct {
	USCC     string    `json:"uscc"`
	Name     string    `json:"name"`
	Version  int       `json:"version"`
	Status   string    `json:"status"`
	TakenAt  time.Time `json:"taken_at"`
	Archived int       `json:"archived_version"`
	Receipt  string    `json:"receipt"`
}

// ArchivedChanges is a page of the caller's own feed. Next is never empty; Until is zero while there is more.
type ArchivedChanges struct {
	Page[ArchivedChange]
	Until time.Time `json:"until,omitzero"`
}
