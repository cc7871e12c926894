package verify_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"sealkeeper/seal"
	"sealkeeper/signer/verify"
)

// TestLaw06VerifierHashesWhatItReceived: the verifier hashes the bytes it received. Forms that a re-encoder would change (critical FALSE written out, odd white
// space, attribute order) verify as they are; a change that no re-encoder would see is found; another compression changes nothing.
func TestLaw06VerifierHashesWhatItReceived(t *testing.T) {
	odd := func(s string) string {
		s = strings.Replace(s, `<ofd:StampAnnot ID="1" PageRef="1"`, "<ofd:StampAnnot\r\n\t PageRef='1'   ID=\"1\"", 1)
		return strings.Replace(s, "<ofd:SignedInfo>", "<!-- x --><ofd:SignedInfo >", 1) + "\n\n"
	}
	w := newWorld(t)
	w.info.Ext = []seal.Extension{{OID: "1.2.3", Critical: false, Value: []byte("v")}}
	w.signatureXML = odd
	var files map[string][]byte
	w.after = func(f map[string][]byte) { files = f }
	der := w.build(t)
	if r := verify.Document(t.Context(), "x.ofd", der, w.options()); r.Verdict != verify.Valid {
		t.Errorf("odd but signed bytes: %s", r.Text(verify.English))
	}
	if r := verify.Document(t.Context(), "x.ofd", store(t, w.order, files), w.options()); r.Verdict != verify.Valid {
		t.Errorf("stored without compression: %s", r.Text(verify.English))
	}
	for _, name := range []string{signDir + "Signature.xml", pageFile} {
		same := map[string][]byte{}
		for n, b := range files {
			same[n] = b
		}
		same[name] = append(bytes.TrimSuffix(bytes.Clone(same[name]), []byte("\n")), ' ') // the same document to every XML reader
		if r := verify.Document(t.Context(), "x.ofd", pack(t, w.order, same), w.options()); r.Verdict != verify.Invalid {
			t.Errorf("%s with another blank: %s", name, r.Text(verify.English))
		}
	}
}

// store packs without compression.
func store(t *testing.T, order []string, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range order {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
