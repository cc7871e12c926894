// Package sim plays 豫事办: it opens, changes and closes legal-person accounts, one for each enterprise.
package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"sealkeeper/connector/account"
	"sealkeeper/connector/sim"
	"sealkeeper/issuance"
)

// Office keeps the accounts.
type Office struct {
	sim.Manners
	mu       sync.Mutex
	accounts map[string]issuance.AccountMessage // by code, as last told
	desk     sim.Desk[account.Outgoing]
}

// Account is what the office was last told about an enterprise; false when it has no account.
func (o *Office) Account(uscc string) (issuance.AccountMessage, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, ok := o.accounts[uscc]
	return m, ok
}

// Taken is how many messages were taken, each once.
func (o *Office) Taken() int { return len(o.desk.Taken()) }

// Repeats is how many messages came again.
func (o *Office) Repeats() int { return o.desk.Repeats() }

// Routes is the contract of docs/connectors/account.md.
func (o *Office) Routes() http.Handler {
	o.desk.Take = o.take
	mux := http.NewServeMux()
	mux.Handle("POST /v1/accounts", &o.desk)
	return o.Wrap(mux)
}

func (o *Office) take(_ string, out account.Outgoing) (int, any) {
	var m issuance.AccountMessage
	if err := json.Unmarshal(out.Account, &m); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	was, known := o.accounts[m.USCC]
	if known && was.Version > m.Version {
		return http.StatusConflict, fmt.Sprintf("version %d after %d", m.Version, was.Version)
	}
	if o.accounts == nil {
		o.accounts = map[string]issuance.AccountMessage{}
	}
	o.accounts[m.USCC] = m
	state := "open"
	if m.Kind == "close" {
		state = "closed"
	}
	return http.StatusOK, account.Incoming{Account: "YSB-" + m.USCC, State: state}
}
