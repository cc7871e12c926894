package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Report is the verdict on one file.
type Report struct {
	File       string            `json:"file"`
	Kind       string            `json:"kind"`    // ofd, pdf, cms, seal, ses-signature
	Verdict    string            `json:"verdict"` // valid, invalid, indeterminate
	Signatures []SignatureReport `json:"signatures"`
	Findings   []Check           `json:"findings"` // about the whole file
}

// SignatureReport is the report on one signature or seal.
type SignatureReport struct {
	ID         string  `json:"id"`
	Type       string  `json:"type"`       // seal, sign, licence
	Generation string  `json:"generation"` // v1, v4, v5, cms, pdf
	ESID       string  `json:"esid"`
	SealName   string  `json:"seal_name"`
	Signer     string  `json:"signer"`
	SignedAt   string  `json:"signed_at"`
	Checks     []Check `json:"checks"`
	Verdicts   struct {
		SealOffline string `json:"seal_offline"` // valid, invalid, indeterminate, not-applicable
		SealStatus  string `json:"seal_status"`  // also not-checked
		Document    string `json:"document"`
	} `json:"verdicts"`
	Conclusion struct {
		Zh string `json:"zh"`
		En string `json:"en"`
	} `json:"conclusion"`
}

// Check is one check with a stable code.
type Check struct {
	Code   string `json:"code"`
	Result string `json:"result"` // pass, fail, note, not-checked, indeterminate
	Detail string `json:"detail"`
	Clause string `json:"clause"`
}

// Verify asks the appliance to judge a file; no certificate is needed. name is for the report alone. digests, "sm3:HEX" or "sha256:HEX", stand
// for what a detached signature is over and does not leave the caller.
func (c *Client) Verify(ctx context.Context, name string, file []byte, digests ...string) (Report, error) {
	var r Report
	query := url.Values{"name": {name}}
	if len(digests) > 0 {
		query["digest"] = digests
	}
	a, err := c.Do(ctx, Call{Method: http.MethodPost, Path: "/v1/verifications", Query: query, ContentType: "application/octet-stream", Body: file})
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(a.Body, &r); err != nil {
		return r, fmt.Errorf("decoding the report: %w", err)
	}
	return r, nil
}

// RevocationList fetches the CRL (DER) of the seal certificates of one authority: "" is the appliance's first, one that took its place is named by
// the identifier of its key, as its certificates do in their distribution point. No certificate is needed.
func (c *Client) RevocationList(ctx context.Context, authority string) ([]byte, error) {
	call := Call{Method: http.MethodGet, Path: "/v1/revocation-list"}
	if authority != "" {
		call.Query = url.Values{"authority": {authority}}
	}
	a, err := c.Do(ctx, call)
	if err != nil {
		return nil, err
	}
	return a.Body, nil
}
