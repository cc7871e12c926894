package timestamp

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/cms"
	"sealkeeper/signer/verify/signeddata"
)

// Key signs a whole message and returns the value as CMS carries it: strict DER SEQUENCE{r,s}. It never sees a digest (law 11).
type Key interface {
	Sign(ctx context.Context, message []byte) (value []byte, err error)
}

// Serials gives out serial numbers. No number may come twice for one authority, restarts and restored stores included (RFC 3161 §2.4.2).
type Serials interface {
	Next(ctx context.Context) (uint64, error)
}

// Issued is one token on its way out, for the record.
type Issued struct {
	Serial  uint64
	Time    time.Time
	Imprint Imprint
	Digest  []byte
	Policy  string
	Nonce   *big.Int
	Token   []byte
}

// AuthorityConfig is what an Authority is made of.
type AuthorityConfig struct {
	Key         Key
	Certificate []byte   // DER; its key is SM2 or P-256, its extended key usage critical and timeStamping alone
	Chain       [][]byte // enclosed after Certificate where a request wants certificates
	Serials     Serials
	Policy      string        // dotted: the one policy of this authority
	Accuracy    time.Duration // stated in every token, whole microseconds; zero leaves it out
	Now         func() time.Time
	GM          bool // tokens in the content types of GB/T 35275, which the tools of RFC 3161 do not read
	// Record, where set, is called with every token before it leaves; an error keeps the token back (law 2).
	Record func(ctx context.Context, i Issued) error
}

var (
	// ErrAuthority says that an Authority cannot be made of its configuration.
	ErrAuthority = errors.New("configuration of the time-stamp authority is not usable")
	// ErrCertificateTime says that the authority's certificate is not valid now; no token leaves.
	ErrCertificateTime = errors.New("the authority's certificate is not valid now")
)

// Authority issues time stamps. It is safe for concurrent use where its Key, Serials and Record are.
type Authority struct {
	cfg       AuthorityConfig
	policy    asn1.ObjectIdentifier
	form      cms.Form
	algorithm cms.Algorithm
	cert      *signeddata.Certificate
}

// NewAuthority checks the configuration. Errors: ErrAuthority.
func NewAuthority(cfg AuthorityConfig) (*Authority, error) {
	policy, err := parseOID(cfg.Policy)
	if err != nil || policy == nil || cfg.Key == nil || cfg.Serials == nil || cfg.Now == nil {
		return nil, fmt.Errorf("policy %q, key, serial numbers or clock: %w", cfg.Policy, ErrAuthority)
	}
	if cfg.Accuracy < 0 || cfg.Accuracy%time.Microsecond != 0 {
		return nil, fmt.Errorf("accuracy %v: %w", cfg.Accuracy, ErrAuthority)
	}
	cert, err := signeddata.ReadCertificate(cfg.Certificate)
	if err == nil {
		err = cert.ForTimestamps()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	a := &Authority{cfg: cfg, policy: policy, form: cms.RFC, cert: cert}
	if cfg.GM {
		a.form = cms.GM
	}
	switch cert.Public.(type) {
	case *gm.PublicKey:
		a.algorithm = cms.SM2
	case *ecdsa.PublicKey:
		a.algorithm = cms.ECDSAP256
	default:
		return nil, fmt.Errorf("kind of key: %w", ErrAuthority)
	}
	// A draft over any digest shows whether the writer takes these certificates.
	probe := cms.Request{Form: a.form, Algorithm: a.algorithm, Certificate: cfg.Certificate, Chain: cfg.Chain, Digest: [32]byte{1}}
	if _, err := cms.Prepare(probe); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuthority, err)
	}
	return a, nil
}

// Certificate returns the authority's certificate in DER.
func (a *Authority) Certificate() []byte { return a.cfg.Certificate }

// Stamp issues a token with certificates over a digest. Errors: *Refusal, ErrCertificateTime, and those of key, serial numbers and
// record.
func (a *Authority) Stamp(ctx context.Context, alg Imprint, digest []byte) ([]byte, error) {
	return a.issue(ctx, &Query{Imprint: alg, Digest: digest, CertReq: true})
}

// Respond answers a TimeStampReq with a TimeStampResp, which is a refusal with its reason where no token can be given. The error,
// for the log, tells what went wrong inside; the answer does not.
func (a *Authority) Respond(ctx context.Context, query []byte) (reply []byte, err error) {
	answer := Reply{Status: StatusGranted, Failure: NoFailure}
	q, err := ParseQuery(query)
	if err == nil {
		answer.Token, err = a.issue(ctx, q)
	}
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		answer = Reply{Status: refusal.Status, Text: refusal.Text, Failure: refusal.Failure}
		err = nil
	} else if err != nil {
		answer = Reply{Status: StatusRejection, Text: "no time stamp can be given now", Failure: failureOf(err)}
	}
	reply, marshalling := answer.Marshal()
	return reply, errors.Join(err, marshalling)
}

func failureOf(err error) Failure {
	if errors.Is(err, ErrCertificateTime) {
		return TimeNotAvailable
	}
	return SystemFailure
}

func (a *Authority) issue(ctx context.Context, q *Query) ([]byte, error) {
	if imprintOIDs[q.Imprint] == nil {
		return nil, refuse(BadAlg, "imprint algorithm %d", int(q.Imprint))
	}
	if len(q.Digest) != digestSize {
		return nil, refuse(BadDataFormat, "%v digest of %d bytes", q.Imprint, len(q.Digest))
	}
	if q.Policy != "" && q.Policy != a.cfg.Policy {
		return nil, refuse(UnacceptedPolicy, "policy %s", q.Policy)
	}
	serial, err := a.cfg.Serials.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("taking a serial number: %w", err)
	}
	if serial == 0 {
		return nil, fmt.Errorf("serial number 0: %w", ErrAuthority)
	}
	at := a.cfg.Now().UTC().Truncate(time.Second)
	if !a.cert.ValidAt(at) {
		return nil, ErrCertificateTime
	}
	token, err := a.sign(ctx, q, serial, at)
	if err != nil {
		return nil, err
	}
	if a.cfg.Record != nil {
		issued := Issued{serial, at, q.Imprint, q.Digest, a.cfg.Policy, q.Nonce, token}
		if err := a.cfg.Record(ctx, issued); err != nil {
			return nil, fmt.Errorf("recording the time stamp: %w", err)
		}
	}
	return token, nil
}

func (a *Authority) sign(ctx context.Context, q *Query, serial uint64, at time.Time) ([]byte, error) {
	info, err := a.info(q, serial, at)
	if err != nil {
		return nil, fmt.Errorf("building TSTInfo: %w", err)
	}
	r := cms.Request{Form: a.form, Algorithm: a.algorithm, Certificate: a.cfg.Certificate, Chain: a.cfg.Chain, Content: info,
		ContentType: cms.OIDTSTInfo, SigningCertificateV2: true, WithoutCertificates: !q.CertReq}
	if a.algorithm == cms.SM2 {
		r.Digest = gm.SM3(info)
	} else {
		r.Digest = sha256.Sum256(info)
	}
	draft, err := cms.Prepare(r)
	if err != nil {
		return nil, err
	}
	value, err := a.cfg.Key.Sign(ctx, draft.Attributes())
	if err != nil {
		return nil, fmt.Errorf("signing the time stamp: %w", err)
	}
	return draft.Assemble(value, nil)
}

// info writes TSTInfo (RFC 3161 §2.4.2).
func (a *Authority) info(q *Query, serial uint64, at time.Time) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1ObjectIdentifier(a.policy)
		addImprint(b, imprintOIDs[q.Imprint], q.Digest)
		b.AddASN1Uint64(serial)
		b.AddASN1GeneralizedTime(at)
		if a.cfg.Accuracy > 0 {
			b.AddASN1(tags.SEQUENCE, a.addAccuracy)
		}
		if q.Nonce != nil {
			b.AddASN1BigInt(q.Nonce)
		}
	})
	return b.Bytes()
}

// addAccuracy writes the parts that are not zero: seconds, then milliseconds and microseconds of 1 to 999.
func (a *Authority) addAccuracy(b *cryptobyte.Builder) {
	micros := a.cfg.Accuracy.Microseconds()
	if s := micros / 1e6; s > 0 {
		b.AddASN1Int64(s)
	}
	for tag, part := range []int64{micros / 1e3 % 1e3, micros % 1e3} {
		if part > 0 {
			b.AddASN1Int64WithTag(part, tags.Tag(tag).ContextSpecific())
		}
	}
}
