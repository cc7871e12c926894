package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	phone "sealkeeper/connector/phone/sim"
	"sealkeeper/internal/gm"
	"sealkeeper/signer/ofd"
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
	if a.request.Kind == "digest" {
		hex.Decode(v.Document[:], []byte(a.request.Digest))
		return v
	}
	v.Document = gm.SM3(a.document)
	var stamps []ofd.Stamp
	for _, st := range a.request.Stamps {
		stamps = append(stamps, ofd.Stamp{Page: st.Page, X: st.X, Y: st.Y, W: st.W, H: st.H})
	}
	v.Placement = ofd.PlacementDigest(stamps)
	return v
}

// approved has a phone sign the approval, as changed, and puts it into the request.
func (s *scene) approved(t testing.TB, a asking, p *phone.Phone, change ...func(*access.Approval)) asking {
	t.Helper()
	v := a.approval(mustOf(s.ID("department"))(t))
	for _, c := range change {
		c(&v)
	}
	device := access.DeviceKeyID(mustOf(p.Public())(t))
	a.request.Approval = encode(t, mustOf(v.Sign(access.AlgP256, device, p.Sign))(t))
	return a
}

// answer is what came of an asking.
type answer struct {
	bytes   []byte // SES_Signature, or the sealed package
	receipt client.Receipt
}

// sign sends the request as one of the roles.
func (a asking) sign(t testing.TB, c *client.Client) (answer, error) {
	t.Helper()
	if a.request.Kind == "digest" {
		s, err := c.SignDigest(t.Context(), a.key, a.request)
		return answer{s.Signature, s.Receipt}, err
	}
	b, r, err := c.SignOFD(t.Context(), a.key, a.request, a.document)
	return answer{b, r}, err
}
