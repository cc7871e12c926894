package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// Envelope is a message signed by an outside system: a licence event, a filing of an impression, an identity assertion.
type Envelope struct {
	Kind      string `json:"kind"`
	Payload   []byte `json:"payload"`   // the exact JSON bytes that are signed
	Signature []byte `json:"signature"` // DER SEQUENCE{r,s}
}

// Licence is one version of a business licence (营业执照).
type Licence struct {
	USCC        string    `json:"uscc"`
	Name        string    `json:"name"`
	EntityType  string    `json:"entity_type"`
	LegalRep    string    `json:"legal_rep"`
	Capital     string    `json:"capital,omitempty"`
	Currency    string    `json:"currency,omitempty"`
	Established string    `json:"established,omitempty"` // dates are YYYY-MM-DD
	TermFrom    string    `json:"term_from,omitempty"`
	TermTo      string    `json:"term_to,omitempty"`
	Scope       string    `json:"scope,omitempty"`
	Address     string    `json:"address,omitempty"`
	Division    string    `json:"division,omitempty"`
	Authority   string    `json:"authority,omitempty"`
	Approved    string    `json:"approved,omitempty"`
	LicenceID   string    `json:"licence_id,omitempty"`
	FileSM3     string    `json:"file_sm3,omitempty"`
	Status      string    `json:"status"`
	Version     int       `json:"version"`
	ValidFrom   time.Time `json:"valid_from"`
	ValidTo     time.Time `json:"valid_to,omitzero"`
	Event       string    `json:"event"`
	Kind        string    `json:"kind"`
	ReceivedAt  time.Time `json:"received_at"`
	Warnings    []string  `json:"warnings,omitempty"`
}

// LicenceTaken is the answer to a licence event.
type LicenceTaken struct {
	Licence Licence `json:"licence"`
	Order   string  `json:"order,omitempty"` // opened by the event
}

// PutLicenceEvent sends a signed licence event; registration systems do.
func (c *Client) PutLicenceEvent(ctx context.Context, key string, e Envelope) (LicenceTaken, error) {
	return post[LicenceTaken](ctx, c, "/v1/licences", key, e)
}

// Licence returns a licence now, or as of a time when asOf is not zero.
func (c *Client) Licence(ctx context.Context, uscc string, asOf time.Time) (Licence, error) {
	return get[Licence](ctx, c, at("/v1/licences", uscc), asOfQuery(asOf))
}

func asOfQuery(t time.Time) url.Values {
	if t.IsZero() {
		return nil
	}
	return url.Values{"as_of": {t.UTC().Format(time.RFC3339)}}
}

// LicenceVersions returns every version of a licence, oldest first.
func (c *Client) LicenceVersions(ctx context.Context, uscc string) (Page[Licence], error) {
	return get[Page[Licence]](ctx, c, at("/v1/licences", uscc, "/versions"), nil)
}

// Standing is a licence in brief: its last version.
type Standing struct {
	USCC      string    `json:"uscc"`
	Version   int       `json:"version"`
	Name      string    `json:"name"`
	LegalRep  string    `json:"legal_rep"`
	Status    string    `json:"status"`
	Event     string    `json:"event"`
	ValidFrom time.Time `json:"valid_from"`
	IssuedAt  time.Time `json:"issued_at"`
	Division  string    `json:"division,omitempty"`
	TakenAt   time.Time `json:"taken_at"`
}

// LicenceQuery asks for licences by one of its fields.
type LicenceQuery struct {
	Name     string // the name begins with it
	Status   string
	Division string // two, four or six digits
}

// SearchLicences pages through licences of a name, a status or a division.
func (c *Client) SearchLicences(ctx context.Context, q LicenceQuery, cursor string, limit int) (Page[Standing], error) {
	query := paging(cursor, limit)
	for name, value := range map[string]string{"name": q.Name, "status": q.Status, "division": q.Division} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return get[Page[Standing]](ctx, c, "/v1/licences", query)
}

// LicenceChanges is a page of the feed of changed licences. Next is never empty: ask with it for what comes after.
type LicenceChanges struct {
	Items []Standing `json:"items"`
	Next  string     `json:"next"`
	Until time.Time  `json:"until"` // everything up to here is given, when the page is not full
}

// LicenceChanges lists licences that changed since a time, or behind a cursor, in order and each once.
func (c *Client) LicenceChanges(ctx context.Context, since time.Time, cursor string, limit int) (LicenceChanges, error) {
	query := paging(cursor, limit)
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	return get[LicenceChanges](ctx, c, "/v1/licence-changes", query)
}

// LicencesImported is how a batch of events went.
type LicencesImported struct {
	Settled  int `json:"settled"` // taken now or before
	Rejected []struct {
		Index   int     `json:"index"` // in the events sent, from 0
		Problem Problem `json:"problem"`
	} `json:"rejected"`
}

// ImportLicences sends at most 1,000 signed events of enterprises older than the library; none opens an order.
func (c *Client) ImportLicences(ctx context.Context, key string, events []Envelope) (LicencesImported, error) {
	return post[LicencesImported](ctx, c, "/v1/licence-imports", key, struct {
		Events []Envelope `json:"events"`
	}{events})
}

// Impression is what is known of a filed impression (印模); the picture never leaves the appliance.
type Impression struct {
	ID         string    `json:"id"`
	Filing     string    `json:"filing"`
	SealCode   string    `json:"seal_code,omitempty"`
	Type       string    `json:"type"` // 01..05
	USCC       string    `json:"uscc"`
	Name       string    `json:"name"`
	Format     string    `json:"format"`
	WidthMM    float64   `json:"width_mm"`
	HeightMM   float64   `json:"height_mm"`
	Size       int       `json:"size"`
	SM3        string    `json:"sm3"`
	SHA256     string    `json:"sha256"`
	Derivation string    `json:"derivation"`
	Overlap    float64   `json:"overlap"` // of the seal's picture with the filed one, 0 to 1
	Order      string    `json:"order"`
	Engraver   string    `json:"engraver,omitempty"`
	FiledAt    time.Time `json:"filed_at"`
	ReceivedAt time.Time `json:"received_at"`
	Warnings   []string  `json:"warnings,omitempty"`
}

// ImpressionTaken is the answer to a filing.
type ImpressionTaken struct {
	Impression Impression `json:"impression"`
}

// PutImpression sends a signed filing of an impression; public security's seal management does.
func (c *Client) PutImpression(ctx context.Context, key string, e Envelope) (ImpressionTaken, error) {
	return post[ImpressionTaken](ctx, c, "/v1/impressions", key, e)
}

// Impression returns what is known of an impression.
func (c *Client) Impression(ctx context.Context, id string) (Impression, error) {
	return get[Impression](ctx, c, at("/v1/impressions", id), nil)
}

// ImpressionReads is a year's account of why impressions were read.
type ImpressionReads struct {
	Year        int            `json:"year"`
	FirstRecord uint64         `json:"first_record"` // of the log, in that year
	Records     uint64         `json:"records"`
	Reads       map[string]int `json:"reads"`     // by purpose: make, remake, compare_for_filing, authority_inquiry
	Unlisted    int            `json:"unlisted"`  // for no listed purpose
	Inquiries   []Inquiry      `json:"inquiries"` // by authorities
}

// Inquiry is one reading for an authority.
type Inquiry struct {
	Record     uint64    `json:"record"`
	At         time.Time `json:"at"`
	Impression string    `json:"impression"`
	Reference  string    `json:"reference"`
	Requested  Actor     `json:"requested"`
	Approved   Actor     `json:"approved"`
}

// ImpressionReads reports the readings of a year, 0 for this one; the audit officer may.
func (c *Client) ImpressionReads(ctx context.Context, year int) (ImpressionReads, error) {
	q := url.Values{}
	if year != 0 {
		q.Set("year", strconv.Itoa(year))
	}
	return get[ImpressionReads](ctx, c, "/v1/impression-reads", q)
}

// Order is one application for a set of seals.
type Order struct {
	ID             string         `json:"id"`
	USCC           string         `json:"uscc"`
	Event          string         `json:"event"`
	LicenceVersion int            `json:"licence_version"`
	Release        string         `json:"release"`
	State          string         `json:"state"`
	Requests       []OrderRequest `json:"requests"`
	Filings        []Filing       `json:"filings,omitempty"` // of made seals; when one order is asked for
	Exception      *Exception     `json:"exception,omitempty"`
	Created        time.Time      `json:"created"`
	Updated        time.Time      `json:"updated"`
}

// OrderRequest is one seal of an order.
type OrderRequest struct {
	Type       string `json:"type"`
	State      string `json:"state"`
	Impression string `json:"impression,omitempty"`
	ESID       string `json:"esid,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// Exception is why an order waits for a human.
type Exception struct {
	Code   string    `json:"code"`
	Detail string    `json:"detail"`
	Type   string    `json:"type,omitempty"`
	Filing string    `json:"filing,omitempty"`
	SM3    string    `json:"sm3,omitempty"`
	At     time.Time `json:"at"`
}

// Orders lists the orders of an enterprise or, when uscc is empty, those in a state.
func (c *Client) Orders(ctx context.Context, uscc, state string) (Page[Order], error) {
	return get[Page[Order]](ctx, c, "/v1/orders", paging("", 0, "uscc", uscc, "state", state))
}

// Order returns one order.
func (c *Client) Order(ctx context.Context, id string) (Order, error) {
	return get[Order](ctx, c, at("/v1/orders", id), nil)
}

// Collected is the answer to a collection (领取).
type Collected struct {
	USCC   string   `json:"uscc"`
	Order  string   `json:"order,omitempty"`
	Seals  []string `json:"seals,omitempty"` // esIDs that became active
	Device string   `json:"device"`          // key identifier of the bound device
	Person string   `json:"person"`
	Role   string   `json:"role"`
}

// Collect binds the owner's device and activates the seals of an order; e is the licence system's signed identity assertion.
func (c *Client) Collect(ctx context.Context, key, order string, e Envelope) (Collected, error) {
	return post[Collected](ctx, c, at("/v1/orders", order, "/collect"), key, e)
}
