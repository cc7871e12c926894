package pdf

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sealkeeper/signer/cms"
	"sealkeeper/signer/placement"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// plain is a document of n A4 pages, each saying its number, with a cross-reference table.
func plain(n int, pageExtra string) []byte {
	objects := []string{"<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"}
	var kids strings.Builder
	for i := range n {
		fmt.Fprintf(&kids, "%d 0 R ", len(objects)+1)
		content := fmt.Sprintf("BT /F 24 Tf 72 700 Td (Page %d) Tj ET", i+1)
		objects = append(objects, fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595.276 841.89] %s /Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>", pageExtra, len(objects)+2),
			fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content))
	}
	objects[1] = fmt.Sprintf("<< /Type /Pages /Count %d /Kids [%s] >>", n, kids.String())
	return assembled(objects)
}

// assembled writes objects 1, 2, … with a table.
func assembled(objects []string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	var offsets []int
	for i, o := range objects {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f\r\n", len(objects)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n\r\n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, xref)
	return b.Bytes()
}

// picture is a red ring, clear inside and outside.
func picture(t testing.TB) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 200, 200))
	for y := range 200 {
		for x := range 200 {
			if r := (x-100)*(x-100) + (y-100)*(y-100); r < 95*95 && r > 75*75 {
				m.SetNRGBA(x, y, color.NRGBA{200, 0, 0, 255})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func request(t testing.TB, stamps ...placement.Stamp) Request {
	t.Helper()
	return Request{Stamps: stamps, Picture: picture(t), Time: at, Filter: "Adobe.PPKLite", SubFilter: "ETSI.CAdES.detached", Name: "示例企业（演示数据）", Reason: "test"}
}

var signer = sync.OnceValues(func() (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Signer"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return key, der
})

// signed makes the CMS of PAdES over a draft with a software key.
func signed(t testing.TB, d *Draft) []byte {
	t.Helper()
	key, der := signer()
	h := sha256.New()
	for _, part := range d.Covered() {
		h.Write(part)
	}
	c, err := cms.Prepare(cms.Request{Form: cms.RFC, Algorithm: cms.ECDSAP256, Certificate: der, Digest: [32]byte(h.Sum(nil)), SigningCertificateV2: true})
	if err != nil {
		t.Fatal(err)
	}
	e := sha256.Sum256(c.Attributes())
	sig, err := key.Sign(rand.Reader, e[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Assemble(sig, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sealed opens, prepares, signs and embeds, and checks what must hold for every document.
func sealed(t testing.TB, doc []byte, r Request) ([]byte, error) {
	t.Helper()
	d, err := Open(doc, Limits{})
	if err != nil {
		return nil, err
	}
	draft, err := d.Prepare(r)
	if err != nil {
		return nil, err
	}
	value := signed(t, draft)
	empty := bytes.Clone(draft.Prepared())
	out, err := draft.Embed(value)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Embed(empty, value)
	if err != nil || !bytes.Equal(again, out) {
		t.Errorf("embedding without the draft: other bytes, %v", err)
	}
	if !bytes.HasPrefix(out, doc) {
		t.Error("the document is no prefix of what leaves")
	}
	reopened, err := Open(out, Limits{})
	if err != nil {
		t.Fatalf("what leaves cannot be opened again: %v", err)
	}
	if got, want := reopened.Signatures(), d.Signatures()+1; got != want || len(reopened.pages) != len(d.pages) {
		t.Errorf("%d signatures on %d pages, want %d on %d", got, len(reopened.pages), want, len(d.pages))
	}
	return out, nil
}

// tool runs an outside program on a document and returns what it prints and its exit code; it skips where the program is not installed.
func tool(t testing.TB, doc []byte, program string, args ...string) (string, int) {
	t.Helper()
	return toolTo(t, doc, "", program, args...)
}

// toolTo is tool with a last argument behind the document: where the result goes.
func toolTo(t testing.TB, doc []byte, to, program string, args ...string) (string, int) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("REQUIRE_SOFTHSM") != "" {
			t.Fatalf("%s is not installed: make deps", program)
		}
		t.Skipf("SKIPPED: %s is not installed", program)
	}
	file := filepath.Join(t.TempDir(), "document.pdf")
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(slices.Clone(args), file)
	if to != "" {
		args = append(args, to)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
