package timestamp_test

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify/signeddata"
)

// serve answers every query with what handle makes of it.
func serve(t testing.TB, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func reply(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", timestamp.TypeReply)
	w.Write(b)
}

// honest serves an authority as a front end would.
func honest(t testing.TB, a *timestamp.Authority) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != timestamp.TypeQuery {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		answer, err := a.Respond(r.Context(), query)
		if err != nil {
			t.Error(err)
		}
		reply(w, answer)
	})
}

func (w *world) client(t testing.TB, url string, change func(*timestamp.ClientConfig)) *timestamp.Client {
	t.Helper()
	roots := gm.NewCertPool()
	roots.AddCert(w.root)
	cfg := timestamp.ClientConfig{URL: url, Roots: roots, Now: w.clock}
	if change != nil {
		change(&cfg)
	}
	c, err := timestamp.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientAndAuthority(t *testing.T) {
	for _, sm2 := range []bool{true, false} {
		w := newWorld(t, sm2)
		c := w.client(t, honest(t, w.authority(t, nil)), func(c *timestamp.ClientConfig) { c.Policy = policy })
		for _, alg := range []timestamp.Imprint{timestamp.SM3, timestamp.SHA256} {
			der, err := c.Stamp(t.Context(), alg, digestOf(alg, message))
			if err != nil {
				t.Fatal(err)
			}
			if token := must(signeddata.ParseToken(der)); token.Covers(message) != nil || token.Nonce == nil {
				t.Errorf("%+v", token)
			}
		}
	}
}

// TestOpenSSLAnswersUs: the client takes the answers of OpenSSL's authority, over both imprints.
func TestOpenSSLAnswersUs(t *testing.T) {
	w := newWorld(t, false)
	f := newFolder(t)
	f.write("tsa.pem", pemCert(w.cert))
	f.write("tsa.key", w.pkcs8)
	f.write("serial", []byte("01\n"))
	f.write("tsa.cnf", []byte("[t]\nserial = serial\ndefault_policy = "+policy+"\nother_policies = 1.2.3.4\ndigests = sm3, sha256\naccuracy = secs:1, millisecs:500\n"+
		"ordering = yes\ntsa_name = yes\ness_cert_id_chain = no\ness_cert_id_alg = sha256\nsigner_digest = sha256\n"))
	url := serve(t, func(out http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f.write("q.tsq", query)
		f.must("ts -reply -config tsa.cnf -section t -queryfile q.tsq -signer tsa.pem -inkey tsa.key -out r.tsr")
		reply(out, f.read("r.tsr"))
	})
	c := w.client(t, url, func(c *timestamp.ClientConfig) { c.Now = time.Now })
	for _, alg := range []timestamp.Imprint{timestamp.SM3, timestamp.SHA256} {
		der, err := c.Stamp(t.Context(), alg, digestOf(alg, message))
		if err != nil {
			t.Fatal(err)
		}
		token := must(signeddata.ParseToken(der))
		if token.Policy != policy || token.Accuracy != 1500*time.Millisecond || !token.Ordering || token.TSA == nil {
			t.Errorf("%+v", token)
		}
	}
	refused := w.client(t, url, func(c *timestamp.ClientConfig) { c.Policy = "1.2.3" })
	_, err := refused.Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message))
	var why *timestamp.Refusal
	if !errors.Is(err, timestamp.ErrRefused) || !errors.As(err, &why) || why.Failure != timestamp.UnacceptedPolicy {
		t.Errorf("OpenSSL refuses a policy: %v", err)
	}
}

// forgery is a token that lies in one point.
type forgery struct {
	version     int64
	policy      asn1.ObjectIdentifier
	imprint     []byte
	serial      *big.Int
	at          string
	nonce       *big.Int
	extra       func(*cryptobyte.Builder) // at the end of TSTInfo
	cert        []byte
	contentType asn1.ObjectIdentifier
	noESS       bool
	noCert      bool
	after       func(token []byte) []byte
}

func (w *world) forge(q *timestamp.Query, change func(*forgery)) []byte {
	f := forgery{version: 1, policy: asn1.ObjectIdentifier{1, 2, 156, 10197, 99, 1}, imprint: q.Digest, serial: big.NewInt(77), at: w.now.Format("20060102150405Z"),
		nonce: q.Nonce, cert: w.cert, contentType: cms.OIDTSTInfo, after: func(b []byte) []byte { return b }}
	change(&f)
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(f.version)
		b.AddASN1ObjectIdentifier(f.policy)
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401})
			})
			b.AddASN1OctetString(f.imprint)
		})
		b.AddASN1BigInt(f.serial)
		b.AddASN1(tags.GeneralizedTime, func(b *cryptobyte.Builder) { b.AddBytes([]byte(f.at)) })
		if f.nonce != nil {
			b.AddASN1BigInt(f.nonce)
		}
		if f.extra != nil {
			f.extra(b)
		}
	})
	info := b.BytesOrPanic()
	draft := must(cms.Prepare(cms.Request{Form: cms.RFC, Certificate: f.cert, Digest: gm.SM3(info), Content: info, ContentType: f.contentType,
		SigningCertificateV2: !f.noESS, WithoutCertificates: f.noCert}))
	token := must(draft.Assemble(must(w.key(draft.Attributes())), nil))
	return must(timestamp.Reply{Failure: timestamp.NoFailure, Token: f.after(token)}.Marshal())
}

// TestClientRefusesTokens: each token lies in exactly one point and is refused by its name.
func TestClientRefusesTokens(t *testing.T) {
	w, stranger := newWorld(t, true), newWorld(t, true)
	recertify := func(change func(*gm.Certificate)) func(*forgery) {
		tpl := w.template()
		change(tpl)
		der := w.issue(tpl, w.pub)
		return func(f *forgery) { f.cert = der }
	}
	strange := stranger.issue(w.template(), w.pub)
	for name, c := range map[string]struct {
		change func(*forgery)
		want   error
	}{
		"nothing":             {func(*forgery) {}, nil},
		"fraction of second":  {func(f *forgery) { f.at = w.now.Format("20060102150405") + ".25Z" }, nil},
		"imprint":             {func(f *forgery) { f.imprint = digestOf(timestamp.SM3, []byte("other")) }, signeddata.ErrImprint},
		"nonce":               {func(f *forgery) { f.nonce = new(big.Int).Add(f.nonce, big.NewInt(1)) }, timestamp.ErrNonce},
		"no nonce":            {func(f *forgery) { f.nonce = nil }, timestamp.ErrNonce},
		"policy":              {func(f *forgery) { f.policy = asn1.ObjectIdentifier{1, 2, 3} }, timestamp.ErrPolicy},
		"time in the past":    {func(f *forgery) { f.at = w.now.Add(-time.Hour).Format("20060102150405Z") }, timestamp.ErrClock},
		"time to come":        {func(f *forgery) { f.at = w.now.Add(time.Hour).Format("20060102150405Z") }, timestamp.ErrClock},
		"time without zone":   {func(f *forgery) { f.at = w.now.Format("20060102150405") }, signeddata.ErrToken},
		"time of day only":    {func(f *forgery) { f.at = "1200Z" }, signeddata.ErrToken},
		"bare fraction":       {func(f *forgery) { f.at = w.now.Format("20060102150405") + ".Z" }, signeddata.ErrToken},
		"version":             {func(f *forgery) { f.version = 2 }, signeddata.ErrToken},
		"serial 0":            {func(f *forgery) { f.serial = big.NewInt(0) }, signeddata.ErrToken},
		"serial negative":     {func(f *forgery) { f.serial = big.NewInt(-1) }, signeddata.ErrToken},
		"serial of 21 octets": {func(f *forgery) { f.serial = new(big.Int).Lsh(big.NewInt(1), 160) }, signeddata.ErrToken},
		"serial of 20 octets": {func(f *forgery) { f.serial = new(big.Int).Lsh(big.NewInt(1), 159) }, nil},
		"critical extension":  {func(f *forgery) { f.extra = extensionOf(true) }, signeddata.ErrToken},
		"other extension":     {func(f *forgery) { f.extra = extensionOf(false) }, nil},
		"bytes in TSTInfo":    {func(f *forgery) { f.extra = func(b *cryptobyte.Builder) { b.AddASN1OctetString(nil) } }, signeddata.ErrToken},
		"content type":        {func(f *forgery) { f.contentType = asn1.ObjectIdentifier{1, 2, 3} }, signeddata.ErrToken},
		"no ESS":              {func(f *forgery) { f.noESS = true }, signeddata.ErrESS},
		"no certificate":      {func(f *forgery) { f.noCert = true }, signeddata.ErrCertificate},
		"no purpose":          {recertify(func(c *gm.Certificate) { c.ExtraExtensions = nil }), signeddata.ErrPurpose},
		"two purposes":        {recertify(func(c *gm.Certificate) { c.ExtraExtensions = extKeyUsage(true, withServerAuth) }), signeddata.ErrPurpose},
		"purpose optional":    {recertify(func(c *gm.Certificate) { c.ExtraExtensions = extKeyUsage(false, timeStamping) }), signeddata.ErrPurpose},
		"certificate over":    {recertify(func(c *gm.Certificate) { c.NotAfter = w.now.Add(-time.Hour) }), signeddata.ErrExpired},
		"certificate to come": {recertify(func(c *gm.Certificate) { c.NotBefore = w.now.Add(time.Hour) }), signeddata.ErrExpired},
		"stranger's root":     {func(f *forgery) { f.cert = strange }, timestamp.ErrTrust},
		"signature": {func(f *forgery) {
			f.after = func(b []byte) []byte { b = slices.Clone(b); b[len(b)-1] ^= 1; return b }
		}, signeddata.ErrSignature},
		"TSTInfo changed": {func(f *forgery) {
			f.after = func(b []byte) []byte {
				return bytes.Replace(b, []byte{2, 1, 77, 0x18}, []byte{2, 1, 78, 0x18}, 1)
			}
		}, signeddata.ErrDigest},
		"BER": {func(f *forgery) {
			f.after = func(b []byte) []byte { return []byte{0x30, 3, 0x30, 0x80, 0} }
		}, signeddata.ErrBER},
	} {
		url := serve(t, func(out http.ResponseWriter, r *http.Request) {
			reply(out, w.forge(must(timestamp.ParseQuery(must(io.ReadAll(r.Body)))), c.change))
		})
		_, err := w.client(t, url, func(c *timestamp.ClientConfig) { c.Policies = []string{policy} }).Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message))
		if c.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != nil && (!errors.Is(err, c.want) || !errors.Is(err, timestamp.ErrAnswer)) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func extensionOf(critical bool) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(tags.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 3})
				if critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1OctetString(nil)
			})
		})
	}
}

// TestClientRefusesAnswers: what is not a reply at all, and servers that do not serve.
func TestClientRefusesAnswers(t *testing.T) {
	w := newWorld(t, true)
	good := honest(t, w.authority(t, nil))
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		want   error
	}{
		"garbage":      {func(w http.ResponseWriter, r *http.Request) { reply(w, []byte("<html>")) }, timestamp.ErrAnswer},
		"nothing":      {func(w http.ResponseWriter, r *http.Request) { reply(w, nil) }, timestamp.ErrAnswer},
		"oversized":    {func(w http.ResponseWriter, r *http.Request) { reply(w, make([]byte, timestamp.MaxReply+1)) }, timestamp.ErrAnswer},
		"another type": {func(w http.ResponseWriter, r *http.Request) { w.Write([]byte{0x30, 0}) }, timestamp.ErrAnswer},
		"status 500":   {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "示例", 500) }, timestamp.ErrUnavailable},
		"redirect":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, good, http.StatusTemporaryRedirect) }, timestamp.ErrUnavailable},
		"broken off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			reply(w, []byte{0x30})
		}, timestamp.ErrUnavailable},
		"refusal": {func(w http.ResponseWriter, r *http.Request) {
			reply(w, must(timestamp.Reply{Status: timestamp.StatusRejection, Failure: timestamp.SystemFailure, Text: "示例"}.Marshal()))
		}, timestamp.ErrRefused},
	} {
		_, err := w.client(t, serve(t, c.handle), nil).Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	if _, err := w.client(t, nobody, nil).Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message)); !errors.Is(err, timestamp.ErrUnavailable) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := w.client(t, nobody, nil).Stamp(t.Context(), timestamp.SM3, nil); !errors.Is(err, timestamp.ErrQuery) {
		t.Errorf("no digest: %v", err)
	}
}

// TestClientDoesNotWait: a server that takes the query and never answers ends with the caller's context, or with the client's own
// time-out, and is named unavailable.
func TestClientDoesNotWait(t *testing.T) {
	w := newWorld(t, true)
	asked, end := make(chan struct{}, 2), make(chan struct{})
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-end
	})
	t.Cleanup(func() { close(end) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := w.client(t, url, func(c *timestamp.ClientConfig) { c.Timeout = time.Hour }).Stamp(ctx, timestamp.SM3, digestOf(timestamp.SM3, message))
	if !errors.Is(err, timestamp.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err = w.client(t, url, func(c *timestamp.ClientConfig) { c.Timeout = time.Millisecond }).Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message))
	if !errors.Is(err, timestamp.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("time-out: %v", err)
	}
}

func TestClientConfiguration(t *testing.T) {
	w := newWorld(t, true)
	roots := gm.NewCertPool()
	roots.AddCert(w.root)
	good := timestamp.ClientConfig{URL: "http://127.0.0.1:1/tsa", Roots: roots, Now: w.clock}
	for name, change := range map[string]func(*timestamp.ClientConfig){
		"no URL":            func(c *timestamp.ClientConfig) { c.URL = "" },
		"a file":            func(c *timestamp.ClientConfig) { c.URL = "file:///tmp/x" },
		"no roots":          func(c *timestamp.ClientConfig) { c.Roots = nil },
		"no clock":          func(c *timestamp.ClientConfig) { c.Now = nil },
		"policy":            func(c *timestamp.ClientConfig) { c.Policy = "x" },
		"negative time-out": func(c *timestamp.ClientConfig) { c.Timeout = -1 },
		"negative skew":     func(c *timestamp.ClientConfig) { c.Skew = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := timestamp.NewClient(cfg); !errors.Is(err, timestamp.ErrClient) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
