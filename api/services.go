package api

import (
	"context"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/issuance"
	"sealkeeper/issuance/reconcile"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/licence/onecode"
	"sealkeeper/licence/presented"
	archived "sealkeeper/licence/receipt"
	"sealkeeper/signer"
	"sealkeeper/signer/verify"
)

// Services are the use cases that the routes call.
type Services struct {
	Access   *access.Access
	Library  *licence.Library
	Register *register.Register
	Issuance *issuance.Issuance
	Signer   *signer.Signer
	Keys     Evidence
	// Presented judges licence files; Receipts keeps what departments archived of them.
	Presented *presented.Desk
	Receipts  *archived.Office
	// Ceremonies takes plans that need more than one officer.
	Ceremonies *ceremony.Desk
	Log        *audit.Log
	Outside    Outside
	// Certify issues a TLS client certificate for a PEM request: the client's identity and the PEM chain.
	Certify func(ctx context.Context, csr []byte, name string) (id, chain string, err error)
	// TimeStamp answers an RFC 3161 query; nil when this appliance stamps no time. Its token is on record before it returns.
	TimeStamp func(ctx context.Context, who audit.Actor, query []byte) (reply []byte, err error)
	// Judge gives the verifier its trust anchors, clock and seal status.
	Judge func() verify.Options
	// Backups makes copies of the store; nil where no folder is configured.
	Backups Backups
	// Reconcile looks at one page of everything that is kept twice.
	Reconcile func(ctx context.Context, cursor string, limit int) (reconcile.Page, error)
	// Ready names what is not, nil when all is well.
	Ready func(ctx context.Context) []Fault
	// AcceptClock lets commits go on after the clock was doubted, and records who said so.
	AcceptClock func(ctx context.Context, by audit.Actor) error
	// Resynchronise takes one officer's half of the decision to go on after a rollback; two different ones are needed.
	Resynchronise func(ctx context.Context, by audit.Actor) (done bool, err error)

	Certificates *certificate.Library
	Codes        *onecode.Desk
}

// Evidence is the administration side of custody: it tells, and cannot sign.
type Evidence interface {
	Birth(ctx context.Context, id keystore.ID) (keystore.Birth, error)
	Token(ctx context.Context) (keystore.TokenInfo, error)
	OfPurpose(ctx context.Context, p keystore.Purpose) ([]keystore.Listed, error)
	Orphans(ctx context.Context) ([]keystore.Orphan, error)
	KEKStates(ctx context.Context) ([]keystore.KEKState, error)
}

// Fault is one thing that keeps the appliance from being ready.
type Fault struct {
	Part   string `json:"part"` // token, store, clock, log
	Detail string `json:"detail"`
}
