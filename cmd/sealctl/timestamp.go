package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/big"

	"github.com/spf13/cobra"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify/signeddata"
)

// stamping is a question to the appliance's time-stamp authority.
type stamping struct {
	*settings
	document, hash, out string
}

func (s *settings) timestamp() *cobra.Command {
	g := &stamping{settings: s}
	cmd := &cobra.Command{Use: "timestamp --document FILE --out TOKEN", Short: "have the appliance stamp the time of a file (RFC 3161); the file stays here, no certificate is needed", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return g.run(cmd) }}
	f := cmd.Flags()
	f.StringVar(&g.document, "document", "", "file whose digest is stamped")
	f.StringVar(&g.hash, "hash", "sm3", "sm3: answered with the SM2 key; sha256: with the P-256 key")
	f.StringVar(&g.out, "out", "", "file to write the TimeStampToken to, DER; - for standard output")
	require(cmd, "document", "out")
	return cmd
}

func (g *stamping) run(cmd *cobra.Command) error {
	if err := vacant(g.out); err != nil {
		return err
	}
	algorithms := map[string]struct {
		imprint timestamp.Imprint
		hash    func() hash.Hash
	}{"sm3": {timestamp.SM3, gm.NewSM3}, "sha256": {timestamp.SHA256, sha256.New}}
	alg, known := algorithms[g.hash]
	if !known {
		return fmt.Errorf("--hash %q: want sm3 or sha256", g.hash)
	}
	digest, err := digestFile(g.document, alg.hash())
	if err != nil {
		return err
	}
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return fmt.Errorf("drawing a nonce: %w", err)
	}
	token, err := g.ask(cmd, timestamp.Query{Imprint: alg.imprint, Digest: digest[:], Nonce: nonce, CertReq: true})
	if err != nil {
		return err
	}
	if err := writeOut(cmd, g.out, 0o644, token.Signed.Raw); err != nil || g.out == "-" {
		return err
	}
	v := struct {
		File   string `json:"file"`
		Time   string `json:"time"`
		Serial string `json:"serial"`
		Policy string `json:"policy"`
	}{g.out, when(token.GenTime), token.Serial.String(), token.Policy}
	return g.show(cmd, v, func(w io.Writer) {
		fmt.Fprintf(w, "written\t%s\ntime\t%s\nserial\t%s\npolicy\t%s\n", v.File, v.Time, v.Serial, v.Policy)
	})
}

// ask sends the query and checks what can be checked without a trust anchor: imprint, nonce and signature. Whose signature it is, sealctl verify
// judges under the roots that its caller gives.
func (g *stamping) ask(cmd *cobra.Command, q timestamp.Query) (*signeddata.Token, error) {
	cl, err := g.client()
	if err != nil {
		return nil, err
	}
	query, err := q.Marshal()
	if err != nil {
		return nil, err
	}
	answer, err := cl.Stamp(cmd.Context(), query)
	if err != nil {
		return nil, err
	}
	reply, err := timestamp.ParseReply(answer)
	if err != nil {
		return nil, err
	}
	if reply.Token == nil {
		return nil, &timestamp.Refusal{Status: reply.Status, Failure: reply.Failure, Text: reply.Text}
	}
	token, err := signeddata.ParseToken(reply.Token)
	if err != nil {
		return nil, fmt.Errorf("reading the time stamp: %w", err)
	}
	if token.Nonce == nil || token.Nonce.Cmp(q.Nonce) != 0 {
		return nil, fmt.Errorf("checking the time stamp: %w", timestamp.ErrNonce)
	}
	if err := errors.Join(token.CoversDigest(q.Imprint.OID(), q.Digest), token.Verify()); err != nil {
		return nil, fmt.Errorf("checking the time stamp: %w", err)
	}
	return token, nil
}
