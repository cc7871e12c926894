package tsa_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/tsa"
	"sealkeeper/signer/verify/signeddata"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

// world is an authority over a throw-away token and a store file.
type world struct {
	*tsa.Service
	cfg  tsa.Config
	path string
	st   *store.Bolt
	gate *gate
	root []byte // of the P-256 certificate, DER
	at   time.Time
}

// gate can fail commits, and counts them.
type gate struct {
	store.Store
	mu   sync.Mutex
	fail error // guarded by mu
}

func (g *gate) Commit(ctx context.Context, m store.Mutation) (store.Receipt, error) {
	g.mu.Lock()
	fail := g.fail
	g.mu.Unlock()
	if fail != nil {
		return store.Receipt{}, fail
	}
	return g.Store.Commit(ctx, m)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "store.db"), at: time.Now().UTC().Truncate(time.Second)}
	k := softhsmtest.New(t)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile, LatchFile: filepath.Join(t.TempDir(), "latch.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	w.open(t, true)
	keys, err := keystore.Open(t.Context(), token, w.st, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	create := func(p keystore.Purpose, a hsm.Algorithm) *keystore.Key {
		key, err := keys.Create(t.Context(), audit.Appliance("test"), keystore.Want{Purpose: p, Label: string(p), Algorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	w.cfg = tsa.Config{SM2: w.sm2(t, create(keystore.PurposeTSASM2, hsm.SM2)), P256: w.p256(t, create(keystore.PurposeTSAP256, hsm.ECDSAP256)), Policy: "1.2.3.4.1", Now: func() time.Time { return w.at }}
	w.serve(t)
	return w
}

func (w *world) open(t *testing.T, fresh bool) {
	t.Helper()
	var err error
	w.st, err = store.Open(store.Config{Path: w.path, Create: fresh, Collections: slices.Concat(keystore.Collections(), tsa.Collections())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.st.Close() })
	w.gate = &gate{Store: w.st}
}

// serve opens the authority anew, with nothing in memory.
func (w *world) serve(t *testing.T) {
	t.Helper()
	w.cfg.Store = w.gate
	var err error
	if w.Service, err = tsa.New(w.cfg); err != nil {
		t.Fatal(err)
	}
}

var stamping = pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte{0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8}}

func (w *world) sm2(t *testing.T, key *keystore.Key) tsa.Identity {
	t.Helper()
	ca, err := softkey.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	root := &gm.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例根"}, NotBefore: w.at.AddDate(-1, 0, 0), NotAfter: w.at.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true, SignatureAlgorithm: gm.SM2WithSM3}
	leaf := &gm.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "示例时间戳"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: gm.KeyUsageDigitalSignature, SignatureAlgorithm: gm.SM2WithSM3, ExtraExtensions: []pkix.Extension{stamping}}
	rootDER, err := gm.CreateCertificate(root, root, ca.Public().ECDSA(), ca.Signer())
	if err != nil {
		t.Fatal(err)
	}
	der, err := gm.CreateCertificate(leaf, root, key.Public().ECDSA(), ca.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return tsa.Identity{Key: key, Certificate: der, Chain: [][]byte{rootDER}}
}

func (w *world) p256(t *testing.T, key *keystore.Key) tsa.Identity {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "示例P-256根"}, NotBefore: w.at.AddDate(-1, 0, 0), NotAfter: w.at.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "示例时间戳"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{stamping}}
	if w.root, err = x509.CreateCertificate(rand.Reader, root, root, ca.Public(), ca); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Standard(), ca)
	if err != nil {
		t.Fatal(err)
	}
	return tsa.Identity{Key: key, Certificate: der, Chain: [][]byte{w.root}}
}

func (w *world) stamp(t *testing.T, alg timestamp.Imprint, message string) *signeddata.Token {
	t.Helper()
	der, err := w.Stamp(t.Context(), alg, digest(alg, message))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signeddata.ParseToken(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(token.Verify(), token.CoversDigest(alg.OID(), digest(alg, message))); err != nil {
		t.Error(err)
	}
	return token
}

func digest(alg timestamp.Imprint, message string) []byte {
	if alg == timestamp.SM3 {
		d := gm.SM3([]byte(message))
		return d[:]
	}
	d := sha256.Sum256([]byte(message))
	return d[:]
}

// TestStamp: each imprint is answered by its own key, and every token stands in the log whole before it is out.
func TestStamp(t *testing.T) {
	w := newWorld(t)
	for alg, want := range map[timestamp.Imprint][]byte{timestamp.SM3: w.cfg.SM2.Certificate, timestamp.SHA256: w.cfg.P256.Certificate} {
		size := w.st.State().Size
		token := w.stamp(t, alg, "示例")
		if !bytes.Equal(token.Signed.Signer().Certificate, want) || token.Policy != "1.2.3.4.1" || !token.GenTime.Equal(w.at) {
			t.Errorf("%v: policy %s, time %s", alg, token.Policy, token.GenTime)
		}
		rs, err := w.st.Records(t.Context(), size, 10)
		if err != nil || len(rs) != 1 {
			t.Fatalf("%d records (%v), want one", len(rs), err)
		}
		e, err := audit.ParseBody(rs[0].Body)
		if err != nil || e.Kind != tsa.EventKind || e.Actor != audit.Appliance("signer") {
			t.Fatalf("record %+v (%v)", e, err)
		}
		var d struct{ Token []byte }
		if err := json.Unmarshal(e.Detail.(json.RawMessage), &d); err != nil || !bytes.Equal(d.Token, token.Signed.Raw) {
			t.Errorf("%v: the record holds another token (%v)", alg, err)
		}
	}
}

// TestLaw02NoTokenWithoutItsRecord: a token whose record cannot be written does not leave, neither to a signature nor to a caller.
func TestLaw02NoTokenWithoutItsRecord(t *testing.T) {
	w := newWorld(t)
	w.stamp(t, timestamp.SM3, "reserves the numbers")
	for _, fail := range []error{store.ErrUnavailable, store.ErrReadOnly, store.ErrClock, store.ErrUnknownOutcome} {
		w.gate.fail = fail
		if der, err := w.Stamp(t.Context(), timestamp.SM3, digest(timestamp.SM3, "x")); !errors.Is(err, fail) || der != nil {
			t.Errorf("%v: %x, %v", fail, der, err)
		}
		q := timestamp.Query{Imprint: timestamp.SHA256, Digest: digest(timestamp.SHA256, "x"), CertReq: true}
		query, err := q.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		reply, err := w.Answer(t.Context(), audit.Actor{Role: "anonymous"}, query)
		if !errors.Is(err, fail) {
			t.Errorf("%v: answered with %v", fail, err)
		}
		if r, err := timestamp.ParseReply(reply); err == nil && r.Token != nil {
			t.Errorf("%v: a token left", fail)
		}
	}
}

// TestSerialsNeverRepeat: not across restarts, not at once, and not after the store was taken back to an earlier state.
func TestSerialsNeverRepeat(t *testing.T) {
	w := newWorld(t)
	seen := map[string]bool{}
	take := func(n int) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				token := w.stamp(t, []timestamp.Imprint{timestamp.SM3, timestamp.SHA256}[i%2], "x")
				mu.Lock()
				defer mu.Unlock()
				if s := token.Serial.String(); seen[s] {
					t.Errorf("serial %s twice", s)
				} else {
					seen[s] = true
				}
			})
		}
		all.Wait()
	}
	take(8)
	earlier := filepath.Join(t.TempDir(), "earlier.db")
	copyStore(t, w.st, earlier)
	for range 3 { // restarts
		if err := w.st.Close(); err != nil {
			t.Fatal(err)
		}
		w.open(t, false)
		w.serve(t)
		take(4)
	}
	w.path, w.at = earlier, w.at.Add(time.Second)
	w.open(t, false)
	w.serve(t)
	take(4)
}

func copyStore(t *testing.T, st *store.Bolt, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.Backup(t.Context(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestAnswerWithOpenSSL: openssl asks, and accepts the answer over either imprint's algorithm where it can.
func TestAnswerWithOpenSSL(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
		return string(out), err
	}
	data, query := file("data", []byte("演示数据")), filepath.Join(dir, "q.tsq")
	if out, err := run("ts", "-query", "-data", data, "-sha256", "-cert", "-out", query); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(query)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := w.Answer(t.Context(), audit.Actor{Role: "anonymous"}, b)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root.pem")
	if out, err := run("x509", "-inform", "DER", "-in", file("root.der", w.root), "-out", root); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := run("ts", "-verify", "-queryfile", query, "-in", file("r.tsr", reply), "-CAfile", root)
	if err != nil || !strings.Contains(out, "Verification: OK") {
		t.Errorf("openssl ts -verify: %v\n%s", err, out)
	}
	for name, bad := range map[string][]byte{"empty": nil, "garbage": []byte("garbage"), "cut": b[:len(b)-1]} {
		reply, err := w.Answer(t.Context(), audit.Actor{Role: "anonymous"}, bad)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r, err := timestamp.ParseReply(reply); err != nil || r.Token != nil || r.Status != timestamp.StatusRejection {
			t.Errorf("%s: %+v (%v)", name, r, err)
		}
	}
}

// TestConfig: an authority is not made of certificates of others.
func TestConfig(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*tsa.Config){
		"no policy":            func(c *tsa.Config) { c.Policy = "" },
		"a root's certificate": func(c *tsa.Config) { c.P256.Certificate = w.root },
		"no certificate":       func(c *tsa.Config) { c.SM2.Certificate = nil },
	} {
		cfg := w.cfg
		change(&cfg)
		if _, err := tsa.New(cfg); !errors.Is(err, timestamp.ErrAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
