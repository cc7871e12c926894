package seal_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/internal/gm"
	"sealkeeper/seal"
)

// samplesDir finds the collection of real seals beside the repository.
func samplesDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "samples")
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skipf("SKIPPED: the samples are not present beside the repository: %v", err)
	}
	return dir
}

type sample struct {
	Analysis json.RawMessage
	Expect   struct {
		Signatures []struct {
			ID     string
			Checks map[string]string
		}
	}
}

// analysis is what an independent program decoded from a loose seal or signature; text as in the structure.
type analysis struct {
	ESID           string `json:"es_id"`
	Name           string
	Type           string
	Vid            string
	HeaderVersion  string   `json:"header_version"`
	CertListCount  int      `json:"cert_list_count"`
	PictureBytes   int      `json:"picture_bytes"`
	PictureType    string   `json:"picture_type"`
	WidthMM        string   `json:"width_mm"`
	HeightMM       string   `json:"height_mm"`
	CreateDate     string   `json:"create_date"`
	ValidStart     string   `json:"valid_start"`
	ValidEnd       string   `json:"valid_end"`
	ExtOIDs        []string `json:"ext_oids"`
	DataHashHex    string   `json:"data_hash_hex"`
	PropertyInfo   string   `json:"property_info"`
	TBSVersion     string   `json:"tbs_version"`
	TimeInfo       string   `json:"time_info"`
	TBSExtOIDs     []string `json:"tbs_ext_oids"`
	SignerCertInfo struct {
		NotAfter string `json:"not_after"`
	} `json:"signer_cert"`
	Seal *analysis
}

func loadSamples(t testing.TB) (string, map[string]sample) {
	dir := samplesDir(t)
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]sample
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func oids(ext []seal.Extension) string {
	var out []string
	for _, e := range ext {
		out = append(out, e.OID)
	}
	return strings.Join(out, " ")
}

func compareSeal(t *testing.T, s *seal.Seal, a *analysis) {
	t.Helper()
	form := "20060102150405Z"
	if s.Generation == seal.V1 {
		form = "060102150405Z"
	}
	i := s.Info
	got := fmt.Sprint(i.ESID, i.Name, i.Type, i.Vid, i.Version, len(i.Certs), len(i.Picture.Data), i.Picture.Type, i.Picture.WidthMM, i.Picture.HeightMM,
		i.CreateDate.Format(form), i.ValidStart.Format(form), i.ValidEnd.Format(form), oids(i.Ext))
	want := fmt.Sprint(a.ESID, a.Name, a.Type, a.Vid, a.HeaderVersion, a.CertListCount, a.PictureBytes, a.PictureType, a.WidthMM, a.HeightMM,
		a.CreateDate, a.ValidStart, a.ValidEnd, strings.Join(a.ExtOIDs, " "))
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("seal fields\n got %s\nwant %s", got, want)
	}
}

// result turns an error into the word of the manifest.
func result(err error) string {
	if err != nil {
		return "fail"
	}
	return "pass"
}

// judge computes the checks of the report that this package can answer.
func judge(s *seal.Seal, sig *seal.Signature, signatureXML []byte) map[string]string {
	got := map[string]string{"seal-signature": result(s.VerifySignature())}
	if sig == nil {
		return got
	}
	got["signature-value"] = result(sig.VerifyValue())
	got["signer-in-list"] = "fail"
	if sig.SignatoryListed() {
		got["signer-in-list"] = "pass"
	}
	got["document-digest"] = "fail"
	if gm.SM3(signatureXML) == sig.DataHash {
		got["document-digest"] = "pass"
	}
	return got
}

func compareChecks(t *testing.T, got, want map[string]string) {
	t.Helper()
	for code, w := range want {
		if code != "references" && got[code] != w {
			t.Errorf("%s: got %q, want %q", code, got[code], w)
		}
	}
}

func TestLooseSamples(t *testing.T) {
	dir, all := loadSamples(t)
	seen := 0
	for name, m := range all {
		if len(m.Expect.Signatures) == 0 || strings.HasSuffix(name, ".ofd") {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			var a analysis
			if err := json.Unmarshal(m.Analysis, &a); err != nil {
				t.Fatal(err)
			}
			if a.Seal == nil {
				s, err := seal.Parse(b)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(s.Raw, b) {
					t.Error("bytes changed")
				}
				compareSeal(t, s, &a)
				compareChecks(t, judge(s, nil, nil), m.Expect.Signatures[0].Checks)
				t.Log(s.Generation, s.Notes)
				return
			}
			xml, _ := os.ReadFile(filepath.Join(dir, filepath.Dir(name), "Signature.xml"))
			checkSample(t, b, xml, &a, m.Expect.Signatures[0].Checks)
		})
	}
	if seen < 12 {
		t.Errorf("only %d loose samples in the manifest", seen)
	}
}

func checkSample(t *testing.T, b, xml []byte, a *analysis, want map[string]string) {
	t.Helper()
	sig, err := seal.ParseSignature(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sig.Raw, b) {
		t.Error("bytes changed")
	}
	compareSeal(t, sig.Seal, a.Seal)
	if h := hex.EncodeToString(sig.DataHash[:]); h != a.DataHashHex {
		t.Errorf("dataHash %s, want %s", h, a.DataHashHex)
	}
	if fmt.Sprint(sig.Version) != a.TBSVersion || sig.PropertyInfo != a.PropertyInfo || oids(sig.Ext) != strings.Join(a.TBSExtOIDs, " ") {
		t.Errorf("version %d, propertyInfo %q, ext %s", sig.Version, sig.PropertyInfo, oids(sig.Ext))
	}
	if form := sig.Time.Format("20060102150405Z"); sig.Generation != seal.V1 && form != a.TimeInfo {
		t.Errorf("timeInfo %s, want %s", form, a.TimeInfo)
	}
	compareChecks(t, judge(sig.Seal, sig, xml), want)
	t.Log(sig.Generation, sig.Notes, sig.Seal.Notes)
}

func TestPackagedSamples(t *testing.T) {
	dir, all := loadSamples(t)
	seen := 0
	for name, m := range all {
		var list []struct {
			BaseLoc string
			SES     *analysis
		}
		if !strings.HasSuffix(name, ".ofd") || json.Unmarshal(m.Analysis, &list) != nil {
			continue
		}
		z, err := zip.OpenReader(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for n, entry := range list {
			if entry.SES == nil {
				continue
			}
			seen++
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				folder := "Doc_0/Signs/" + filepath.Base(filepath.Dir(entry.BaseLoc))
				checkSample(t, readEntry(t, z, folder+"/SignedValue.dat"), readEntry(t, z, folder+"/Signature.xml"), entry.SES, m.Expect.Signatures[n].Checks)
			})
		}
		z.Close()
	}
	if seen < 9 {
		t.Errorf("only %d signatures in packages", seen)
	}
}

func readEntry(t *testing.T, z *zip.ReadCloser, name string) []byte {
	t.Helper()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDeviations pins which tolerance each real seal needs.
func TestDeviations(t *testing.T) {
	dir := samplesDir(t)
	cases := []struct{ file, code string }{
		{"seal-v4-koal-raw64/Seal.esl", seal.NoteSignatureForm},
	}
	for _, c := range cases {
		b, err := os.ReadFile(filepath.Join(dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		s, err := seal.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Notes) != 1 || s.Notes[0].Code != c.code {
			t.Errorf("%s: notes %v, want %s", c.file, s.Notes, c.code)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "sig-v4-yunnan-badrdn/SignedValue.dat"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.ParseSignature(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Signatory()
	if err != nil || c.Defect == nil || c.X509 != nil || c.Key == nil || c.CommonName == "" || c.Serial.Sign() <= 0 || !c.ValidAt(s.Time) {
		t.Errorf("defective certificate read as %+v, %v", c, err)
	}
}

func TestHostileSeals(t *testing.T) {
	dir := filepath.Join(samplesDir(t), "documents")
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skipf("SKIPPED: no document samples: %v", err)
	}
	var all map[string]struct {
		Expectation struct {
			Verify string
			Why    string
		}
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, m := range all {
		if !strings.HasSuffix(name, ".esl") {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			s, err := seal.Parse(b)
			if err == nil {
				err = s.VerifySignature()
			} else if m.Expectation.Verify == "invalid" {
				t.Logf("refused by structure: %v", err)
			}
			if err == nil {
				t.Errorf("accepted, although %s", m.Expectation.Why)
			}
		})
	}
	if seen < 17 {
		t.Errorf("only %d hostile seals in the manifest", seen)
	}
}
