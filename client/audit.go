package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// Entry is one record of the log.
type Entry struct {
	Index   uint64          `json:"index"`
	Time    time.Time       `json:"time"`
	Request string          `json:"request,omitempty"` // Idempotency-Key that it answered
	Kind    string          `json:"kind"`
	Actor   Actor           `json:"actor"`
	Subject string          `json:"subject"`
	Detail  json.RawMessage `json:"detail,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Leaf    string          `json:"leaf"` // leaf hash, standard base64
}

// Proof says that a record stands in the log: leaf and audit path under a signed checkpoint. Hashes are standard base64.
type Proof struct {
	Index      uint64   `json:"index"`
	Size       uint64   `json:"size"`
	Leaf       string   `json:"leaf"`
	Hashes     []string `json:"hashes"`
	Checkpoint string   `json:"checkpoint,omitempty"`
}

// Consistency says that a smaller log is the beginning of a larger one.
type Consistency struct {
	From       uint64   `json:"from"`
	To         uint64   `json:"to"`
	Hashes     []string `json:"hashes"`
	Checkpoint string   `json:"checkpoint,omitempty"`
}

// Checkpoint returns the latest signed checkpoint, a signed note in text.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	return c.file(ctx, "/v1/audit/checkpoint")
}

// Entries returns records from an index on; limit 0 is the appliance's default. Next of the page is the index to go on from, in decimal.
func (c *Client) Entries(ctx context.Context, from uint64, limit int) (Page[Entry], error) {
	return get[Page[Entry]](ctx, c, "/v1/audit/entries", paging("", limit, "from", strconv.FormatUint(from, 10)))
}

// Proof proves that a record stands in the log of a size; size 0 means the latest checkpoint.
func (c *Client) Proof(ctx context.Context, index, size uint64) (Proof, error) {
	return get[Proof](ctx, c, "/v1/audit/proof", numbers("index", index, "size", size))
}

// Consistency proves that the log of size from is the beginning of that of size to; to 0 means the latest checkpoint.
func (c *Client) Consistency(ctx context.Context, from, to uint64) (Consistency, error) {
	return get[Consistency](ctx, c, "/v1/audit/consistency", numbers("from", from, "to", to))
}

func numbers(a string, m uint64, b string, n uint64) url.Values {
	return url.Values{a: {strconv.FormatUint(m, 10)}, b: {strconv.FormatUint(n, 10)}}
}
