package main

import (
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/issuance"
)

// offer makes an SM2 key for one seal of an order in the owner's token and brings the appliance its birth and its request. When the appliance refuses, the
// key and its files go again; when its answer is not known, they stay.
func (e *enrolling) offer(cmd *cobra.Command, m *hsm.Module, id hsm.ObjectID, reference, request string) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	birth, err := m.Generate(cmd.Context(), hsm.GenerateRequest{ID: id, Label: "seal:" + e.seal + ":" + id.String()[:8], Algorithm: hsm.SM2})
	if err != nil {
		return fmt.Errorf("making the seal's key in the token: %w", err)
	}
	refused := true
	defer func() {
		if refused {
			os.Remove(request)
			os.Remove(reference)
		}
	}()
	csr, err := e.sealRequest(cmd, m, birth, request, reference)
	if err != nil {
		return errors.Join(err, m.Destroy(cmd.Context(), id))
	}
	told, err := json.Marshal(birth)
	if err != nil {
		return err
	}
	err = cl.OfferKey(cmd.Context(), e.newKey(), e.order, e.seal, told, csr)
	var p *client.Problem
	if errors.As(err, &p) && p.Status < http.StatusInternalServerError {
		return errors.Join(err, m.Destroy(cmd.Context(), id))
	}
	if refused = false; err != nil {
		return fmt.Errorf("%w; whether the key was taken is not known: sealctl order show %s tells its identifier, %s", err, e.order, id)
	}
	return e.show(cmd, map[string]string{"key": reference, "csr": request, "id": id.String(), "token": e.Serial, "order": e.order, "seal": e.seal}, func(w io.Writer) {
		fmt.Fprintf(w, "seal\t%s of order %s\nkey\t%s, in token %s\nid\t%s\ncsr\t%s\n", e.seal, e.order, reference, e.Serial, id, request)
	})
}

// sealRequest has the key sign a request for what it is for, and writes both files.
func (e *enrolling) sealRequest(cmd *cobra.Command, m *hsm.Module, birth hsm.Birth, request, reference string) ([]byte, error) {
	public, err := gm.NewPublicKey(birth.Public)
	if err != nil {
		return nil, fmt.Errorf("reading the key's public half: %w", err)
	}
	template := &gm.CertificateRequest{Subject: pkix.Name{CommonName: issuance.OfferedFor(e.order, e.seal)}, SignatureAlgorithm: gm.SM2WithSM3}
	csr, err := gm.CreateCertificateRequest(template, gm.NewSigner(public, func(message []byte) ([]byte, error) {
		return signSM2(cmd.Context(), m, birth.ID, public, message)
	}))
	if err != nil {
		return nil, fmt.Errorf("making the certificate request: %w", err)
	}
	b, err := e.reference(birth)
	if err != nil {
		return nil, err
	}
	if err := writeNew(request, 0o644, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}); err != nil {
		return nil, err
	}
	return csr, writeOut(cmd, reference, 0o600, b)
}
