package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/softhsm-test/stage"
)

// certificateRoutes are the rows of the certificate library in the matrix.
var certificateRoutes = map[string]route{
	"POST /v1/certificates":                       {[]string{"department"}, `{"identifier":"x","uscc":"x","name":"x","valid_from":"2026-01-01"}`},
	"GET /v1/certificates":                        {[]string{"system", "audit", "department"}, ""},
	"GET /v1/certificates/{certificate}":          {[]string{"system", "audit", "department"}, ""},
	"GET /v1/certificates/{certificate}/versions": {[]string{"system", "audit", "department"}, ""},
	"GET /v1/certificates/{certificate}/file":     {[]string{"system", "audit", "department"}, ""},
	"POST /v1/certificates/{certificate}/status":  {[]string{"department"}, `{"status":"revoked","reason":"x"}`},
	"POST /v1/certificates/{certificate}/confirm": {[]string{"department"}, `{"licence":1,"reason":"x"}`},
	"GET /v1/certificate-catalogue":               {[]string{"system", "audit", "department"}, ""},
	"POST /v1/certificate-shares":                 {[]string{"department"}, `{"grant":"x","purpose":"x","uscc":"x"}`},
	"POST /v1/sharing-grants": {[]string{"security"},
		`{"id":"x","client":"x","types":["x"],"purposes":["x"],"not_before":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z","count":1}`},
	"POST /v1/enterprises/{uscc}/code":         {[]string{"system", "e-licence"}, ""},
	"GET /v1/enterprises/{uscc}/code":          {[]string{"system", "e-licence"}, ""},
	"GET /v1/enterprises/{uscc}/code/qr":       {[]string{"system", "e-licence"}, ""},
	"GET /v1/enterprises/{uscc}/presentations": {[]string{"audit", "e-licence"}, ""},
	"POST /v1/presentations": {[]string{"e-licence"},
		`{"uscc":"x","client":"any","attributes":[],"certificates":[],"seconds":1,"expires":"2026-01-01T00:00:00Z","nonce":"x","alg":"p256","signature":"AA=="}`},
	"POST /v1/presentations/redeem":         {[]string{"department"}, `{"code":"x","purpose":"x"}`},
	"GET /c/{id}":                           {anyone, ""},
	"GET /v1/sharing-grants":                {[]string{"department", "security", "audit"}, ""},
	"POST /v1/sharing-grants/{id}/withdraw": {[]string{"security"}, because},
}

func init() { maps.Copy(matrix, certificateRoutes) }

func permitOf(e *enterprise, version int) certificate.Draft {
	id := certificate.Identifier{Type: stage.FoodPermit, Issuer: stage.PermitIssuer, Serial: e.USCC, Version: version}
	return certificate.Draft{Identifier: id.String(), USCC: e.USCC, Name: e.Name, ValidFrom: "2026-01-01", Attributes: map[string]string{"许可项目": "示例食品销售"},
		File: []byte("%PDF-1.7 演示数据 " + e.USCC)}
}

// permit puts the enterprise's food permit, the same at every call, and returns its identifier.
func (s *scene) permit(t *testing.T, e *enterprise) string {
	t.Helper()
	d := permitOf(e, 1)
	if _, err := s.as(t, "department").PutCertificate(t.Context(), "permit-"+e.USCC, encode(t, d)); err != nil {
		t.Fatal(err)
	}
	return d.Identifier
}

func (s *scene) sharing(t *testing.T, of string, types ...string) string {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	g := access.SharingGrant{ID: client.NewKey(), Client: of, Types: types, Purposes: []string{purpose}, NotBefore: now.Add(-time.Hour), Expires: now.AddDate(1, 0, 0), Count: 10}
	if err := s.as(t, "security").JSON(t.Context(), "POST", "/v1/sharing-grants", nil, client.NewKey(), g, nil); err != nil {
		t.Fatal(err)
	}
	return g.ID
}

// TestCertificateLibrary: a department puts a permit, another reads licence and permit in one call and on record, the enterprise is renamed, the
// permit is flagged until its department confirms it, and all of it is done by sealctl over HTTPS.
func TestCertificateLibrary(t *testing.T) {
	s := shared(t)
	e := s.newEnterprise()
	if err := s.tell(t.Context(), e, licence.KindEstablished, time.Hour); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "permit.json"), encode(t, certificate.Draft{Identifier: permitOf(e, 1).Identifier, USCC: e.USCC, Name: e.Name, ValidFrom: "2026-01-01"}))
	write(t, filepath.Join(dir, "permit.pdf"), permitOf(e, 1).File)
	var put struct{ Certificate certificate.Row }
	s.officer(t, "department", &put, "certificate", "put", filepath.Join(dir, "permit.json"), "--file", filepath.Join(dir, "permit.pdf"))
	id := put.Certificate.Identifier
	bank := s.register(t, "department")
	if _, err := bank.PutCertificate(t.Context(), client.NewKey(), encode(t, permitOf(e, 2))); client.Code(err) != "not-entitled" {
		t.Errorf("a department that the catalogue does not name puts a permit: %v", err)
	}
	grant := s.sharing(t, bank.id, stage.FoodPermit)
	folder := mustOf(bank.ShareCertificates(t.Context(), client.NewKey(), client.Sharing{Grant: grant, Purpose: purpose, USCC: e.USCC}))(t)
	if folder.Licence.Name != e.Name || len(folder.Certificates) != 1 || folder.Certificates[0].Identifier != id || len(folder.Certificates[0].Flags) != 0 {
		t.Errorf("shared %+v", folder)
	}
	for _, asked := range []client.Sharing{{Grant: grant, Purpose: "示例.营销", USCC: e.USCC}, {Grant: "none", Purpose: purpose, USCC: e.USCC}} {
		if _, err := bank.ShareCertificates(t.Context(), client.NewKey(), asked); client.Code(err) != "not-entitled" {
			t.Errorf("%+v: %v", asked, err)
		}
	}
	s.sharedOnRecord(t, e.USCC, bank.id, grant)

	e.Name = "洛阳示例更名 " + e.USCC[14:] + " 有限公司"
	e.Name = strings.ReplaceAll(e.Name, " ", "")
	if err := s.tell(t.Context(), e, licence.KindChanged, time.Minute); err != nil {
		t.Fatal(err)
	}
	var waiting struct{ Items []certificate.View }
	s.officer(t, "department", &waiting, "certificate", "list", "--uscc", e.USCC, "--flagged")
	if len(waiting.Items) != 1 || fmt.Sprint(waiting.Items[0].Flags[0].Changed, waiting.Items[0].Flags[0].Version) != "name2" {
		t.Fatalf("after the change of name %+v", waiting)
	}
	s.officer(t, "department", nil, "certificate", "confirm", id, "--licence", "2", "--reason", "示例：已核对")
	s.officer(t, "department", nil, "certificate", "status", id, "--status", "suspended", "--reason", "示例：检查")
	folder = mustOf(bank.ShareCertificates(t.Context(), client.NewKey(), client.Sharing{Grant: grant, Purpose: purpose, USCC: e.USCC}))(t)
	if c := folder.Certificates[0]; c.State != "suspended" || len(c.Flags) != 0 || c.Number != 3 {
		t.Errorf("confirmed and suspended: %+v", c)
	}
	out := filepath.Join(dir, "back.pdf")
	s.officer(t, "department", nil, "certificate", "file", id, "-f", out)
	if b := mustOf(os.ReadFile(out))(t); !bytes.Equal(b, permitOf(e, 1).File) {
		t.Errorf("the file came back as %q", b)
	}
	var rows struct{ Items []certificate.Row }
	s.officer(t, "audit", &rows, "certificate", "versions", id)
	if len(rows.Items) != 3 {
		t.Errorf("%d rows", len(rows.Items))
	}
}

// sharedOnRecord finds the read in the log.
func (s *scene) sharedOnRecord(t *testing.T, uscc, by, grant string) {
	t.Helper()
	entries := mustOf(s.as(t, "audit").Entries(t.Context(), 0, 500))(t)
	for {
		for _, x := range entries.Items {
			if b := string(encode(t, x)); strings.Contains(b, "certificate-share") && strings.Contains(b, uscc) && strings.Contains(b, by) && strings.Contains(b, grant) {
				return
			}
		}
		if len(entries.Items) == 0 {
			t.Fatal("the read is not on record")
		}
		entries = mustOf(s.as(t, "audit").Entries(t.Context(), entries.Items[len(entries.Items)-1].Index+1, 500))(t)
	}
}
