package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	phone "sealkeeper/connector/phone/sim"
	"sealkeeper/internal/gm"
	"sealkeeper/signer/placement"
)

// asking is one signing request in the department's hands.
type asking struct {
	key      string
	request  client.SignatureRequest
	document []byte // kind ofd
}

// askDigest asks for a signature over a digest, askOFD for one on a document.
func askDigest(esid string, document []byte) asking {
	d := gm.SM3(document)
	return asking{client.NewKey(), client.SignatureRequest{Kind: "digest", Seal: esid, Purpose: purpose, Digest: hex.EncodeToString(d[:])}, nil}
}

func askOFD(esid string, document []byte, stamps ...client.Stamp) asking {
	if len(stamps) == 0 {
		stamps = []client.Stamp{{Page: 1, X: 100, Y: 200, W: 40, H: 40}}
	}
	return asking{client.NewKey(), client.SignatureRequest{Kind: "ofd", Seal: esid, Purpose: purpose, Stamps: stamps}, document}
}

// approval is what the owner is shown for it.
func (a asking) approval(client string) access.Approval {
	v := access.Approval{Request: a.key, Seal: a.request.Seal, Purpose: a.request.Purpose, Client: client, Count: 1,
		Expires: time.Now().Add(10 * time.Minute).UTC().Truncate(time.Second)}
	rand.Read(v.Nonce[:])
	if a.request.Digest != "" {
		hex.Decode(v.Document[:], []byte(a.request.Digest))
		return v
	}
	v.Document = gm.SM3(a.document)
	var plan placement.Plan // the request's own fields, read as the phone's software would
	b, err := json.Marshal(a.request)
	if err = errors.Join(err, json.Unmarshal(b, &plan)); err != nil {
		panic(err) // a request that is its own JSON
	}
	if !plan.Empty() {
		v.Placement = plan.Digest()
	}
	return v
}

// signedBy has a phone sign the approval, as changed, and puts it into the request of a client.
func (a asking) signedBy(p *phone.Phone, client string, change ...func(*access.Approval)) (asking, error) {
	v := a.approval(client)
	for _, c := range change {
		c(&v)
	}
	point, err := p.Public()
	if err != nil {
		return a, err
	}
	signed, err := v.Sign(access.AlgP256, access.DeviceKeyID(point), p.Sign)
	if err != nil {
		return a, err
	}
	a.request.Approval, err = json.Marshal(signed)
	return a, err
}

// approved is signedBy for the department.
func (s *scene) approved(t testing.TB, a asking, p *phone.Phone, change ...func(*access.Approval)) asking {
	t.Helper()
	return mustOf(a.signedBy(p, s.clientID(t, "department"), change...))(t)
}

// answer is what came of an asking.
type answer struct {
	bytes   []byte // SES_Signature, or the sealed package
	receipt client.Receipt
}

// send sends the request.
func (a asking) send(ctx context.Context, c *client.Client) (answer, error) {
	if a.request.Digest != "" {
		s, err := c.SignDigest(ctx, a.key, a.request)
		return answer{s.Signature, s.Receipt}, err
	}
	b, r, err := c.SignDocument(ctx, a.key, a.request, a.document)
	return answer{b, r}, err
}

// sign is send within a test.
func (a asking) sign(t testing.TB, c *client.Client) (answer, error) {
	t.Helper()
	return a.send(t.Context(), c)
}
