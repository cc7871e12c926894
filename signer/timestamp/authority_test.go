package timestamp_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/signer/timestamp"
	"sealkeeper/signer/verify/signeddata"
)

func pemKey(k *ecdsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(k))})
}

// TestOpenSSLAsksUs: queries that OpenSSL writes are answered so that OpenSSL verifies the reply, imprint by SM3 and by SHA-256, with the
// certificates enclosed and without.
func TestOpenSSLAsksUs(t *testing.T) {
	w := newWorld(t, false)
	a := w.authority(t, nil)
	for _, hash := range []string{"sm3", "sha256"} {
		for _, want := range []string{"-cert", ""} {
			f := newFolder(t)
			f.write("data", message)
			f.write("root.pem", w.pem)
			f.write("tsa.pem", pemCert(w.cert))
			f.must("ts -query -data data -" + hash + " -tspolicy " + policy + " " + want + " -out q.tsq")
			reply, err := a.Respond(t.Context(), f.read("q.tsq"))
			if err != nil {
				t.Fatal(err)
			}
			f.write("r.tsr", reply)
			for _, against := range []string{"-data data", "-queryfile q.tsq"} {
				out, err := f.openssl("ts -verify " + against + " -in r.tsr -CAfile root.pem -untrusted tsa.pem")
				if err != nil || !strings.Contains(out, "Verification: OK") {
					t.Errorf("%s %q, %s: %v\n%s", hash, want, against, err, out)
				}
			}
			f.write("data", append(slices.Clone(message), '!'))
			if out, err := f.openssl("ts -verify -data data -in r.tsr -CAfile root.pem -untrusted tsa.pem"); err == nil {
				t.Errorf("OpenSSL takes the stamp for other data: %s", out)
			}
			parsed := must(timestamp.ParseReply(reply))
			token := must(signeddata.ParseToken(parsed.Token))
			if enclosed := len(token.Signed.Certificates) == 1; enclosed != (want == "-cert") {
				t.Errorf("certReq %q: %d certificates", want, len(token.Signed.Certificates))
			}
		}
	}
}

func TestStamp(t *testing.T) {
	for _, sm2 := range []bool{true, false} {
		w := newWorld(t, sm2)
		for _, gmTypes := range []bool{false, true} {
			var recorded []timestamp.Issued
			a := w.authority(t, func(c *timestamp.AuthorityConfig) {
				c.GM, c.Accuracy, c.Chain = gmTypes, 1002003*time.Microsecond, [][]byte{w.root.Raw}
				c.Record = func(_ context.Context, i timestamp.Issued) error {
					recorded = append(recorded, i)
					return nil
				}
			})
			for n, alg := range []timestamp.Imprint{timestamp.SM3, timestamp.SHA256} {
				der, err := a.Stamp(t.Context(), alg, digestOf(alg, message))
				if err != nil {
					t.Fatal(err)
				}
				token, err := signeddata.ParseToken(der)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(token.Verify(), token.Covers(message)); err != nil {
					t.Error(err)
				}
				if err := token.Covers([]byte("other")); !errors.Is(err, signeddata.ErrImprint) {
					t.Errorf("other message: %v", err)
				}
				if token.Policy != policy || !token.GenTime.Equal(w.now) || token.Accuracy != 1002003*time.Microsecond || token.Nonce != nil ||
					token.Serial.Uint64() != uint64(n+1) || token.DigestOID != alg.OID() || token.Signed.GM != gmTypes || len(token.Signed.Certificates) != 2 {
					t.Errorf("token %+v", token)
				}
				if notes := slices.Concat(token.Notes, token.Signed.AllNotes()); len(notes) != 0 {
					t.Errorf("notes %v", notes)
				}
				if r := recorded[n]; !bytes.Equal(r.Token, der) || r.Serial != uint64(n+1) || r.Imprint != alg || !r.Time.Equal(w.now) {
					t.Errorf("recorded %+v", r)
				}
			}
		}
	}
}

var contextZero = regexp.MustCompile(`(?m)^ *(\d+):d=\d+ +hl=(\d+) l= *(\d+) cons: cont \[ 0 \]`)

// TestSM2TokenByExtraction has OpenSSL check an SM2 token in the only way it can: the signed attributes and the signature value cut out
// of the DER by what asn1parse says of it, the value checked with dgst.
func TestSM2TokenByExtraction(t *testing.T) {
	w := newWorld(t, true)
	der := must(w.authority(t, nil).Stamp(t.Context(), timestamp.SM3, digestOf(timestamp.SM3, message)))
	f := newFolder(t)
	f.write("t.der", der)
	f.write("tsa.pem", pemCert(w.cert))
	dump := f.must("asn1parse -inform DER -in t.der")
	all := contextZero.FindAllStringSubmatch(dump, -1)
	last := all[len(all)-1]
	at, header, length := must(strconv.Atoi(last[1])), must(strconv.Atoi(last[2])), must(strconv.Atoi(last[3]))
	attributes := slices.Clone(der[at : at+header+length])
	attributes[0] = 0x31
	f.write("sa.der", attributes)
	octets := regexp.MustCompile(`(?m)^ *(\d+):d=\d+ +hl=\d+ l= *\d+ prim: OCTET STRING`).FindAllStringSubmatch(dump, -1)
	f.must("asn1parse -inform DER -in t.der -strparse " + octets[len(octets)-1][1] + " -noout -out sig.der")
	f.write("pub.pem", []byte(f.must("x509 -in tsa.pem -noout -pubkey")))
	if out := f.must("dgst -sm3 -verify pub.pem -sigopt distid:1234567812345678 -signature sig.der sa.der"); !strings.Contains(out, "Verified OK") {
		t.Error(out)
	}
	// The messageDigest inside is SM3 of the TSTInfo.
	token := must(signeddata.ParseToken(der))
	f.write("info.der", token.Signed.Content)
	if out := f.must("dgst -sm3 info.der"); !strings.Contains(f.must("asn1parse -inform DER -in sa.der"),
		strings.ToUpper(strings.TrimSpace(out[strings.LastIndex(out, " ")+1:]))) {
		t.Errorf("messageDigest is not %s", out)
	}
}

// raw builds a TimeStampReq that no writer of ours would.
func raw(version int64, hash asn1.ObjectIdentifier, digest []byte, more func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(version)
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(hash) })
			b.AddASN1OctetString(digest)
		})
		if more != nil {
			more(b)
		}
	})
	return b.BytesOrPanic()
}

func TestAuthorityRefuses(t *testing.T) {
	w := newWorld(t, false)
	a := w.authority(t, nil)
	sm3, sha1 := asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	d := digestOf(timestamp.SM3, message)
	sound := must(timestamp.Query{Imprint: timestamp.SM3, Digest: d}.Marshal())
	extension := func(critical bool) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			b.AddASN1(tags.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
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
	for name, c := range map[string]struct {
		query []byte
		want  timestamp.Failure
	}{
		"unknown hash":          {raw(1, sha1, d[:20], nil), timestamp.BadAlg},
		"digest too short":      {raw(1, sm3, d[:31], nil), timestamp.BadDataFormat},
		"digest too long":       {raw(1, sm3, append(slices.Clone(d), 0), nil), timestamp.BadDataFormat},
		"version 2":             {raw(2, sm3, d, nil), timestamp.BadRequest},
		"critical extension":    {raw(1, sm3, d, extension(true)), timestamp.UnacceptedExtension},
		"other extension":       {raw(1, sm3, d, extension(false)), timestamp.UnacceptedExtension},
		"another policy":        {must(timestamp.Query{Imprint: timestamp.SM3, Digest: d, Policy: "1.2.3"}.Marshal()), timestamp.UnacceptedPolicy},
		"enormous nonce":        {raw(1, sm3, d, func(b *cryptobyte.Builder) { b.AddASN1BigInt(new(big.Int).Lsh(big.NewInt(1), 300)) }), timestamp.BadDataFormat},
		"bytes inside":          {raw(1, sm3, d, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nil) }), timestamp.BadDataFormat},
		"bytes behind":          {append(slices.Clone(sound), 0), timestamp.BadDataFormat},
		"nothing":               {nil, timestamp.BadDataFormat},
		"garbage":               {[]byte("POST /tsa HTTP/1.1"), timestamp.BadDataFormat},
		"BER":                   {[]byte{0x30, 0x80, 0, 0}, timestamp.BadDataFormat},
		"longer than any query": {bytes.Repeat([]byte{0x30}, timestamp.MaxQuery+1), timestamp.BadDataFormat},
	} {
		answer, err := a.Respond(t.Context(), c.query)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r, err := timestamp.ParseReply(answer)
		if err != nil || r.Status != timestamp.StatusRejection || r.Failure != c.want || r.Token != nil || r.Text == "" {
			t.Errorf("%s: %+v %v, want %v", name, r, err, c.want)
		}
		f := newFolder(t)
		f.write("r.tsr", answer)
		if out, _ := f.openssl("ts -reply -in r.tsr -text"); !strings.Contains(out, "Status: Rejected") {
			t.Errorf("%s: OpenSSL reads %s", name, out)
		}
	}
	if _, err := a.Stamp(t.Context(), timestamp.Imprint(9), d); !errors.Is(err, timestamp.ErrRefused) {
		t.Errorf("imprint 9: %v", err)
	}
	if _, err := a.Stamp(t.Context(), timestamp.SM3, d[:31]); !errors.Is(err, timestamp.ErrRefused) {
		t.Errorf("short digest: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Next(context.Context) (uint64, error)         { return 0, f.err }
func (f failing) Sign(context.Context, []byte) ([]byte, error) { return nil, f.err }

// TestAuthorityFails: what goes wrong inside is told to the log, not to the requester, and no token leaves.
func TestAuthorityFails(t *testing.T) {
	w := newWorld(t, true)
	broken := errors.New("示例 fault")
	query := must(timestamp.Query{Imprint: timestamp.SM3, Digest: digestOf(timestamp.SM3, message)}.Marshal())
	for name, c := range map[string]struct {
		change func(*timestamp.AuthorityConfig)
		want   timestamp.Failure
		err    error
	}{
		"key":             {func(c *timestamp.AuthorityConfig) { c.Key = failing{broken} }, timestamp.SystemFailure, broken},
		"serial numbers":  {func(c *timestamp.AuthorityConfig) { c.Serials = failing{broken} }, timestamp.SystemFailure, broken},
		"serial number 0": {func(c *timestamp.AuthorityConfig) { c.Serials = failing{nil} }, timestamp.SystemFailure, timestamp.ErrAuthority},
		"a false signature": {func(c *timestamp.AuthorityConfig) {
			c.Key = signing(func([]byte) ([]byte, error) { return []byte{0x30, 0}, nil })
		}, timestamp.SystemFailure, nil},
		"record": {func(c *timestamp.AuthorityConfig) {
			c.Record = func(context.Context, timestamp.Issued) error { return broken }
		}, timestamp.SystemFailure, broken},
		"certificate over": {func(c *timestamp.AuthorityConfig) {
			c.Now = func() time.Time { return w.now.AddDate(2, 0, 0) }
		}, timestamp.TimeNotAvailable, timestamp.ErrCertificateTime},
	} {
		answer, err := w.authority(t, c.change).Respond(t.Context(), query)
		if err == nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		r := must(timestamp.ParseReply(answer))
		if r.Failure != c.want || r.Token != nil || strings.Contains(r.Text, "fault") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestAuthorityConfiguration(t *testing.T) {
	w := newWorld(t, false)
	k := must(rsa.GenerateKey(rand.Reader, 2048))
	other := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	issue := func(pub any, critical bool, value []byte) func(*timestamp.AuthorityConfig) {
		return func(c *timestamp.AuthorityConfig) {
			tpl := w.template()
			tpl.ExtraExtensions = extKeyUsage(critical, value)
			if value == nil {
				tpl.ExtraExtensions = nil
			}
			c.Certificate = w.issue(tpl, pub)
		}
	}
	for name, change := range map[string]func(*timestamp.AuthorityConfig){
		"no policy":            func(c *timestamp.AuthorityConfig) { c.Policy = "" },
		"policy in words":      func(c *timestamp.AuthorityConfig) { c.Policy = "policy" },
		"impossible policy":    func(c *timestamp.AuthorityConfig) { c.Policy = "1.40.1" },
		"no key":               func(c *timestamp.AuthorityConfig) { c.Key = nil },
		"no serials":           func(c *timestamp.AuthorityConfig) { c.Serials = nil },
		"no clock":             func(c *timestamp.AuthorityConfig) { c.Now = nil },
		"accuracy":             func(c *timestamp.AuthorityConfig) { c.Accuracy = time.Nanosecond },
		"no certificate":       func(c *timestamp.AuthorityConfig) { c.Certificate = nil },
		"broken chain":         func(c *timestamp.AuthorityConfig) { c.Chain = [][]byte{{1}} },
		"no purpose":           issue(w.pub, true, nil),
		"purpose not critical": issue(w.pub, false, timeStamping),
		"two purposes":         issue(w.pub, true, withServerAuth),
		"RSA key":              issue(&k.PublicKey, true, timeStamping),
		"P-384 key":            issue(&other.PublicKey, true, timeStamping),
	} {
		cfg := w.config()
		change(&cfg)
		if _, err := timestamp.NewAuthority(cfg); !errors.Is(err, timestamp.ErrAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNonceIsEchoed(t *testing.T) {
	w := newWorld(t, true)
	a := w.authority(t, nil)
	for _, text := range []string{"1", "-5", "18446744073709551615", "0"} {
		nonce, _ := new(big.Int).SetString(text, 10)
		q := must(timestamp.Query{Imprint: timestamp.SHA256, Digest: digestOf(timestamp.SHA256, message), Nonce: nonce, Policy: policy}.Marshal())
		r := must(timestamp.ParseReply(must(a.Respond(t.Context(), q))))
		token := must(signeddata.ParseToken(r.Token))
		if token.Nonce == nil || token.Nonce.Cmp(nonce) != 0 {
			t.Errorf("nonce %s came back as %v", text, token.Nonce)
		}
	}
}

func TestReplyRoundTrip(t *testing.T) {
	for _, f := range []timestamp.Failure{timestamp.NoFailure, timestamp.BadAlg, timestamp.BadRequest, timestamp.BadDataFormat, timestamp.TimeNotAvailable,
		timestamp.UnacceptedPolicy, timestamp.UnacceptedExtension, timestamp.AddInfoNotAvailable, timestamp.SystemFailure} {
		want := timestamp.Reply{Status: timestamp.StatusRejection, Text: "示例", Failure: f}
		got, err := timestamp.ParseReply(must(want.Marshal()))
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(want) {
			t.Errorf("%v: %+v %v", f, got, err)
		}
	}
	sound := must(timestamp.Reply{Status: 2, Failure: timestamp.BadAlg}.Marshal())
	for name, b := range map[string][]byte{"empty": nil, "bytes behind": append(slices.Clone(sound), 0), "BER": {0x30, 0x80, 0, 0}, "no status": {0x30, 2, 0x30, 0},
		"granted without token": must(timestamp.Reply{Failure: timestamp.NoFailure}.Marshal()), "refused with token": must(timestamp.Reply{Status: 2, Failure: -1, Token: []byte{0x30, 0}}.Marshal())} {
		if _, err := timestamp.ParseReply(b); !errors.Is(err, timestamp.ErrReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, q := range map[string]timestamp.Query{"no imprint": {}, "short digest": {Imprint: timestamp.SM3, Digest: []byte{1}},
		"policy": {Imprint: timestamp.SM3, Digest: digestOf(timestamp.SM3, message), Policy: "a.b"}} {
		if _, err := q.Marshal(); !errors.Is(err, timestamp.ErrQuery) {
			t.Errorf("query with %s: %v", name, err)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add(must(timestamp.Query{Imprint: timestamp.SM3, Digest: digestOf(timestamp.SM3, message), Policy: policy, Nonce: big.NewInt(9), CertReq: true}.Marshal()))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := timestamp.ParseQuery(b)
		if err != nil {
			if !errors.Is(err, timestamp.ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		if _, err := q.Marshal(); err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add(must(timestamp.Reply{Status: 2, Failure: timestamp.SystemFailure, Text: "示例"}.Marshal()))
	f.Add(must(timestamp.Reply{Failure: timestamp.NoFailure, Token: []byte{0x30, 0}}.Marshal()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := timestamp.ParseReply(b); err == nil {
			if _, err := r.Marshal(); err != nil {
				t.Fatalf("%+v: %v", r, err)
			}
		}
	})
}
