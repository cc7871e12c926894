package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
)

// callers are all roles, by the names of the stage.
var callers = []string{"system", "security", "audit", "department", "registration", "public-security", "e-licence"}

// anyone marks routes that need no certificate.
var anyone = []string{"anyone"}

// route is one row of the matrix: who gets past the question of entitlement. The body has the right form and no effect: it is unsigned, names
// what does not exist, or lacks the owner's consent.
type route struct {
	roles []string
	body  string
}

const (
	unsigned = `{"kind":"x/1","payload":"e30="}`
	because  = `{"reason":"owner-request"}`
	noWindow = `{"id":"x","seal":"x","client":"CLIENT","purposes":["x"],"kinds":["ofd"],"not_before":"2026-01-02T00:00:00Z","expires":"2026-01-01T00:00:00Z","count":1,"nonce":"x","alg":"p256","signature":"AA=="}`
	noGrant  = `{"id":"x","client":"x","any_owner_approves":true,"kinds":["ofd"],"purposes":["x"],"not_before":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z","count":1,"digest_only":false}`
	noKey    = `{"type":"05","request":"AA==","birth":{"id":"00000000000000000000000000000001","label":"x","algorithm":"sm2","attributes":[],"value_read":"x","time":"2026-01-01T00:00:00Z","token":{"label":"x","serial":"x","manufacturer":"x","model":"x","firmware":"x","library":"x","module_sha256":"x","profile":"x","profile_sm3":"x","evidence":"simulated","sessions":1,"epoch":1,"pin_tries_low":false}}}`
	noRights = `{"kind":"digest","seal":"ESID","purpose":"` + purpose + `","digest":"1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"}`
)

// matrix says who may do what. It repeats the policy on purpose: a change of either must be a change of both.
var matrix = map[string]route{
	"POST /v1/licences":                         {[]string{"registration"}, unsigned},
	"GET /v1/licences":                          {[]string{"system", "security", "audit", "registration"}, ""},
	"GET /v1/licence-changes":                   {[]string{"system", "security", "audit", "registration"}, ""},
	"POST /v1/licence-imports":                  {[]string{"registration"}, `{"events":[` + unsigned + `]}`},
	"GET /v1/licences/{uscc}":                   {[]string{"system", "security", "audit", "department", "registration", "e-licence"}, ""},
	"GET /v1/licences/{uscc}/file":              {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/seals/{esid}/certificates":         {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/seals/{esid}/certificates/{kind}":  {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/licences/{uscc}/versions":          {[]string{"system", "security", "audit", "department", "registration", "e-licence"}, ""},
	"POST /v1/licences/verify":                  {[]string{"system", "security", "audit", "department"}, "x"},
	"POST /v1/licences/archive-receipts":        {[]string{"department"}, `{"file_sm3":"x","purpose":"x","biz_no":"x"}`},
	"GET /v1/licences/archived/changes":         {[]string{"department"}, ""},
	"POST /v1/impressions":                      {[]string{"public-security"}, unsigned},
	"POST /v1/institutions/impressions":         {[]string{"system", "registration"}, unsigned},
	"GET /v1/standing-delegations":              {[]string{"department", "security", "audit", "e-licence"}, ""},
	"GET /v1/impressions/{id}":                  {[]string{"system", "security", "audit"}, ""},
	"GET /v1/orders":                            {[]string{"system", "security", "audit", "registration", "e-licence"}, ""},
	"GET /v1/orders/{id}":                       {[]string{"system", "security", "audit", "registration", "e-licence"}, ""},
	"POST /v1/orders/{id}/collect":              {[]string{"system", "e-licence"}, unsigned},
	"POST /v1/orders/{id}/resolve":              {[]string{"system"}, `{"resolution":"continue","reason":"x"}`},
	"POST /v1/enterprises/{uscc}/orders":        {[]string{"system", "e-licence"}, unsigned},
	"POST /v1/invitations":                      {[]string{"system"}, `{"usccs":["x"]}`},
	"GET /v1/outside":                           {[]string{"system", "security", "audit"}, ""},
	"GET /v1/outbox/{queue}":                    {[]string{"system", "security", "audit"}, ""},
	"POST /v1/outbox-messages/{id}/redeliver":   {[]string{"system"}, "{}"},
	"POST /v1/outbox-messages/{id}/discard":     {[]string{"system"}, `{"reason":"x"}`},
	"GET /v1/feeds/{feed}/held":                 {[]string{"system", "security", "audit"}, ""},
	"POST /v1/feeds/{feed}/held/{seq}/retry":    {[]string{"system"}, "{}"},
	"POST /v1/feeds/{feed}/held/{seq}/drop":     {[]string{"system"}, `{"reason":"x"}`},
	"POST /v1/enterprises/{uscc}/device":        {[]string{"system", "e-licence"}, unsigned},
	"GET /v1/enterprises/{uscc}/seals":          {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/seals/{esid}":                      {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/seals/{esid}/esl":                  {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/seals/{esid}/certificate":          {[]string{"system", "security", "audit", "e-licence"}, ""},
	"GET /v1/seals/{esid}/document-certificate": {[]string{"system", "security", "audit", "e-licence"}, ""},
	"POST /v1/seals/{esid}/document-key":        {[]string{"security"}, ""},
	"POST /tsa":                                 {anyone, "x"},
	"GET /v/{id}":                               {anyone, ""},
	"GET /v1/reconciliation":                    {[]string{"system", "security", "audit"}, ""},
	"POST /v1/seals/{esid}/reissue":             {[]string{"system"}, `{"evidence":"x"}`},
	"POST /v1/seal-notices":                     {[]string{"public-security"}, unsigned},
	"POST /v1/enterprises/{uscc}/device/freeze": {[]string{"system", "security", "e-licence"}, `{"evidence":"x"}`},
	"POST /v1/seals/{esid}/suspend":             {[]string{"system", "security", "e-licence"}, `{"reason":"x"}`},
	"POST /v1/seals/{esid}/resume":              {[]string{"security"}, `{"reason":"x"}`},
	"POST /v1/seals/{esid}/cancel":              {[]string{"system"}, `{"reason":"x"}`},
	"POST /v1/signatures":                       {[]string{"department"}, noRights},
	"POST /v1/signatures/reservations":          {[]string{"department"}, noRights},
	"POST /v1/signatures/reservations/{id}":     {[]string{"department"}, `{"signatures":["AA=="]}`},
	"POST /v1/orders/{id}/keys":                 {[]string{"system"}, noKey},
	"POST /v1/signatures/batch":                 {[]string{"department"}, `{"items":[{"key":"k",` + noRights[1:] + `]}`},
	"POST /v1/verifications":                    {anyone, "x"},
	"GET /v1/audit/entries":                     {[]string{"audit"}, ""},
	"GET /v1/impression-reads":                  {[]string{"audit"}, ""},
	"GET /v1/audit/proof?index=0":               {callers, ""},
	"GET /v1/audit/consistency?from=1&to=1":     {callers, ""},
	"GET /v1/audit/checkpoint":                  {callers, ""},
	"POST /v1/clients":                          {[]string{"security"}, `{"name":"x","role":"department","csr":"x"}`},
	"GET /v1/clients":                           {[]string{"security", "audit"}, ""},
	"POST /v1/clients/{id}/disable":             {[]string{"security"}, because},
	"POST /v1/grants":                           {[]string{"security"}, noGrant},
	"GET /v1/grants":                            {[]string{"department", "security", "audit"}, ""},
	"POST /v1/grants/{id}/withdraw":             {[]string{"security"}, because},
	"POST /v1/delegations":                      {[]string{"department", "e-licence"}, noWindow},
	"GET /v1/delegations":                       {[]string{"department", "security", "audit", "e-licence"}, ""},
	"POST /v1/delegations/{id}/withdraw":        {[]string{"security", "e-licence"}, because},
	"POST /v1/ceremonies":                       {officers, `{"plan":"x"}`},
	"GET /v1/ceremonies":                        {officers, ""},
	"GET /v1/ceremonies/{id}":                   {officers, ""},
	"POST /v1/ceremonies/{id}/approve":          {officers, `{"key":"eA==","expires":"2030-01-01T00:00:00Z","signature":"eA=="}`},
	"POST /v1/ceremonies/{id}/execute":          {officers, ""},
	"POST /v1/ceremonies/{id}/abandon":          {officers, because},
	"GET /v1/ceremonies/{id}/transcript":        {officers, ""},
	"GET /v1/keys":                              {officers, ""},
	"GET /v1/wrapping-keys":                     {officers, ""},
	"GET /v1/backups":                           {[]string{"system", "security", "audit"}, ""},
	"POST /v1/backups":                          {[]string{"system"}, ""},
	"GET /v1/appliance":                         {[]string{"system", "security", "audit"}, ""},
	"POST /v1/appliance/clock":                  {[]string{"system"}, ""},
	"POST /v1/appliance/resynchronise":          {[]string{"system", "security"}, ""},
	"GET /metrics":                              {[]string{"system", "security", "audit"}, ""},
	"GET /v1/revocation-list":                   {anyone, ""},
	"GET /livez":                                {anyone, ""},
	"GET /readyz":                               {anyone, ""},
	"GET /openapi.json":                         {anyone, ""},
}

// undescribed are routes that the OpenAPI document leaves out.
var undescribed = []string{"GET /metrics", "GET /openapi.json"}

// officers are the three operators.
var officers = []string{"system", "security", "audit"}

// call fills a row's path and body in.
func (s *scene) call(t *testing.T, e *enterprise, row string) client.Call {
	method, path, _ := strings.Cut(row, " ")
	esid := e.seals["01"]
	if method == "POST" {
		esid = "41030299999999"
	}
	for name, value := range map[string]string{"{uscc}": e.USCC, "{esid}": esid, "{id}": "00000000000000000000000000000000", "{queue}": "filing", "{feed}": "none",
		"{certificate}": "x", "{kind}": "made", "{seq}": "1"} {
		path = strings.ReplaceAll(path, name, value)
	}
	c := client.Call{Method: method, Path: path}
	if method != "POST" {
		return c
	}
	c.Key = client.NewKey()
	if body := matrix[row].body; body != "" {
		c.Body = []byte(strings.NewReplacer("CLIENT", s.clientID(t, "department"), "ESID", e.seals["01"], `"k"`, `"`+client.NewKey()+`"`).Replace(body))
	}
	return c
}

// codeOf is the problem of a call; the one item's of a batch.
func codeOf(a *client.Answer, err error) string {
	if err != nil || a == nil {
		return client.Code(err)
	}
	var batch struct{ Outcomes []client.BatchOutcome }
	if json.Unmarshal(a.Body, &batch) == nil && len(batch.Outcomes) == 1 && batch.Outcomes[0].Problem != nil {
		return batch.Outcomes[0].Problem.Code
	}
	return ""
}

// TestRoles asks every route of the OpenAPI document in every role, without a certificate, and as a client that was disabled.
func TestRoles(t *testing.T) {
	s := shared(t)
	e := mustOf(s.establish(t.Context()))(t)
	if err := s.grant(t.Context(), func(g *access.Grant) { g.AnyOwner = true }); err != nil {
		t.Fatal(err)
	}
	t.Run("every route has a row", func(t *testing.T) { s.everyRoute(t) })
	nobody := mustOf(client.New(client.Config{Address: s.Address, CA: s.CA()}))(t)
	gone := s.register(t, "department")
	if _, err := s.as(t, "security").DisableClient(t.Context(), client.NewKey(), gone.id, "示例"); err != nil {
		t.Fatal(err)
	}
	before := s.snapshot(t, e)
	for _, row := range slices.Sorted(maps.Keys(matrix)) {
		open := slices.Equal(matrix[row].roles, anyone)
		t.Run(row, func(t *testing.T) {
			for _, role := range callers {
				a, err := s.as(t, role).Do(t.Context(), s.call(t, e, row))
				code := codeOf(a, err)
				if err != nil && code == "" {
					t.Fatal(err)
				}
				if may := open || slices.Contains(matrix[row].roles, role); (code != "not-entitled") != may {
					t.Errorf("%s: entitled %v, answer %q", role, may, code)
				}
			}
			for who, c := range map[string]*client.Client{"no-client-certificate": nobody, "unknown-client": gone.Client} {
				_, err := c.Do(t.Context(), s.call(t, e, row))
				if got := client.Code(err) == who; got == open {
					t.Errorf("without a registered certificate: %v", err)
				}
			}
		})
	}
	before.same(t, s.snapshot(t, e))
}

// everyRoute compares the matrix with the document that the appliance serves.
func (s *scene) everyRoute(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := s.as(t, "system").JSON(t.Context(), "GET", "/openapi.json", nil, "", nil, &doc); err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for row := range matrix {
		path, _, _ := strings.Cut(row, "?")
		rows[path] = true
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			row := strings.ToUpper(method) + " " + path
			if !rows[row] {
				t.Errorf("%s has no row in the matrix", row)
			}
			delete(rows, row)
		}
	}
	for _, row := range undescribed {
		delete(rows, row)
	}
	for row := range rows {
		t.Errorf("%s is not described", row)
	}
}

// TestForeignCertificate shows certificates that the appliance's client CA did not sign: the handshake ends, whatever the route.
func TestForeignCertificate(t *testing.T) {
	s := shared(t)
	key := mustOf(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "DEMO 演示数据 TLS Issuing CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der := mustOf(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(mustOf(os.ReadFile(s.CA()))(t))
	// The callback shows the certificate although the server asks for another CA's.
	foreign := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
		}}}}
	for _, path := range []string{"/v1/clients", "/livez"} {
		resp, err := foreign.Get(s.Address + path)
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s with a certificate of another CA: %s", path, resp.Status)
		} else if !strings.Contains(err.Error(), "tls: unknown certificate authority") {
			t.Errorf("%s with a certificate of another CA: %v", path, err)
		}
	}
}
