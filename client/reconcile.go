package client

import (
	"context"
	"net/url"
)

// Finding is one thing that does not agree with another.
type Finding struct {
	Code    string `json:"code"`
	Subject string `json:"subject"`
	USCC    string `json:"uscc,omitempty"`
	Detail  string `json:"detail"`
	Mend    string `json:"mend"` // what a human does about it
}

// Reconciliation is what a comparison of everything with everything looked at and found.
type Reconciliation struct {
	Enterprises int       `json:"enterprises"`
	Seals       int       `json:"seals"`
	Findings    []Finding `json:"findings"`
	Next        string    `json:"next,omitempty"`
}

// Reconcile looks at everything, page by page; seen, if not nil, is told what was looked at so far.
func (c *Client) Reconcile(ctx context.Context, seen func(soFar Reconciliation)) (Reconciliation, error) {
	all := Reconciliation{Findings: []Finding{}}
	for cursor := ""; ; {
		var p Reconciliation
		if err := c.JSON(ctx, "GET", "/v1/reconciliation", url.Values{"cursor": {cursor}}, "", nil, &p); err != nil {
			return all, err
		}
		all.Enterprises, all.Seals, all.Findings = all.Enterprises+p.Enterprises, all.Seals+p.Seals, append(all.Findings, p.Findings...)
		if seen != nil {
			seen(all)
		}
		if cursor = p.Next; cursor == "" {
			return all, nil
		}
	}
}
