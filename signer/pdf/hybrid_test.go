package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hybrid is a document of one page whose page and font stand in an object stream that only the stream beside the table lists (ISO 32000-1
// 7.5.8.4). listed says what the table says of the page: nothing but that it is free, or another place.
func hybrid(listed string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n")
	offsets := map[int]int{}
	put := func(n int, body string) {
		offsets[n] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", n, body)
	}
	content := "BT /F 24 Tf 72 700 Td (Page 1) Tj ET"
	put(1, "<< /Type /Catalog /Pages 2 0 R >>")
	put(2, "<< /Type /Pages /Count 1 /Kids [4 0 R] >>")
	put(5, fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content))
	font := "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> "
	page := "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595.276 841.89] /Resources << /Font << /F 3 0 R >> >> /Contents 5 0 R >>"
	index := fmt.Sprintf("3 0 4 %d ", len(font))
	put(6, fmt.Sprintf("<< /Type /ObjStm /N 2 /First %d /Length %d >>\nstream\n%s\nendstream", len(index), len(index+font+page), index+font+page))
	rows := []byte{2, 0, 6, 0, 2, 0, 6, 1, 1, byte(offsets[6] >> 8), byte(offsets[6]), 0, 1, byte(b.Len() >> 8), byte(b.Len()), 0}
	put(7, fmt.Sprintf("<< /Type /XRef /Size 8 /W [1 2 1] /Index [3 2 6 2] /Root 1 0 R /Length %d >>\nstream\n%s\nendstream", len(rows), rows))
	at := b.Len()
	line := func(n int) string { return fmt.Sprintf("%010d 00000 n\r\n", offsets[n]) }
	const free = "0000000000 00000 f\r\n"
	if listed == "" {
		listed = free
	}
	fmt.Fprintf(&b, "xref\n0 8\n0000000000 65535 f\r\n%s%s%s%s%s%s%strailer\n<< /Size 8 /Root 1 0 R /XRefStm %d >>\nstartxref\n%d\n%%%%EOF\n",
		line(1), line(2), free, listed, line(5), free, free, offsets[7], at)
	return b.Bytes()
}

// TestHybrid: the objects that a hybrid file's table hides are found, and its page is sealed as others are.
func TestHybrid(t *testing.T) {
	out, err := sealed(t, hybrid(""), request(t, corner))
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, hybrid(""), out)
	if said, _ := tool(t, out, "pdfsig", "-nocert"); !strings.Contains(said, "Signature is Valid.") {
		t.Errorf("pdfsig:\n%s", said)
	}
	again, err := sealed(t, out, request(t, corner))
	if err != nil {
		t.Fatal(err)
	}
	if said, _ := tool(t, again, "pdfsig", "-nocert"); strings.Count(said, "Signature is Valid.") != 2 {
		t.Errorf("pdfsig of two:\n%s", said)
	}
	if _, err := Open(hybrid("0000000009 00000 n\r\n"), Limits{}); !errors.Is(err, ErrXref) {
		t.Errorf("the page in two places: %v", err)
	}
}

// TestEncrypted: an encrypted document is refused by its name, whatever it is encrypted with.
func TestEncrypted(t *testing.T) {
	for _, cipher := range [][]string{{"--encrypt", "", "owner", "256", "--"}, {"--allow-weak-crypto", "--encrypt", "", "owner", "128", "--"}} {
		if _, err := Open(encrypted(t, plain(1, ""), cipher), Limits{}); !errors.Is(err, ErrEncrypted) {
			t.Errorf("%v: %v", cipher, err)
		}
	}
}

// encrypted is a document as qpdf encrypts it.
func encrypted(t *testing.T, doc []byte, options []string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "encrypted.pdf")
	said, code := toolTo(t, doc, out, "qpdf", options...)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("qpdf exits %d: %s: %v", code, said, err)
	}
	return b
}
