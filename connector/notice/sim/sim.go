// Package sim plays whoever sends short messages and 豫事办 messages: it keeps what it was asked to tell.
package sim

import (
	"encoding/json"
	"net/http"

	"sealkeeper/connector/notice"
	"sealkeeper/connector/sim"
	"sealkeeper/issuance"
)

// Office keeps what it told.
type Office struct {
	sim.Manners
	desk sim.Desk[notice.Outgoing]
}

// Told lists the kinds of notices to an enterprise, each once, in order.
func (o *Office) Told(uscc string) []string {
	var kinds []string
	for _, out := range o.desk.Taken() {
		var m issuance.NoticeMessage
		if json.Unmarshal(out.Notice, &m) == nil && m.USCC == uscc {
			kinds = append(kinds, m.Kind)
		}
	}
	return kinds
}

// Repeats is how many messages came again.
func (o *Office) Repeats() int { return o.desk.Repeats() }

// Routes is the contract of docs/connectors/notice.md.
func (o *Office) Routes() http.Handler {
	o.desk.Take = func(string, notice.Outgoing) (int, any) { return http.StatusOK, struct{}{} }
	mux := http.NewServeMux()
	mux.Handle("POST /v1/messages", &o.desk)
	return o.Wrap(mux)
}
