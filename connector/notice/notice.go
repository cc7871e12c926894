// Package notice connects whoever tells enterprises something: short messages, 豫事办 messages.
//
// Its one promise: a notice says what happened and to whom, never anything secret; the other side finds the person. The contract is
// docs/connectors/notice.md.
package notice

import (
	"context"
	"encoding/json"
	"net/http"

	"sealkeeper/connector/delivery"
	"sealkeeper/connector/wire"
)

// Outgoing is a notice on the wire; Notice is issuance.NoticeMessage.
type Outgoing struct {
	ID     string          `json:"id"`
	Notice json.RawMessage `json:"notice"`
}

// Connector speaks the contract. It is safe for concurrent use.
type Connector struct{ Client *wire.Client }

// Deliver is delivery.Destination for issuance.QueueNotice.
func (c *Connector) Deliver(ctx context.Context, m delivery.Message) error {
	_, err := c.Client.Do(ctx, wire.Call{Method: http.MethodPost, Path: "/v1/messages", Key: m.Key, In: Outgoing{m.ID, m.Body}}, &struct{}{})
	return err
}
