package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/hsm"
	"sealkeeper/issuance/ca"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
)

func initCommand() *cobra.Command {
	var plan string
	cmd := &cobra.Command{Use: "init --plan FILE", Short: "make an appliance's keys, certificates and first clients from a reviewed plan", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := loadPlan(plan)
			if err != nil {
				return err
			}
			return initialise(cmd.Context(), p, logger("warn"), func(line string) { fmt.Fprintln(cmd.OutOrStdout(), line) })
		}}
	cmd.Flags().StringVar(&plan, "plan", "plan.yaml", "the reviewed plan")
	return cmd
}

// founding is one init on its way.
type founding struct {
	plan   *Plan
	cfg    *Config
	life   ca.Lifetimes
	now    time.Time
	store  *store.Bolt
	tokens []keystore.Member
	keys   *keystore.Keystore
	made   map[keystore.Purpose]*keystore.Key
	sm2    *ca.Embedded
	tls    *ca.TLS
	log    *slog.Logger
	tell   func(string)

	outside []string // files made outside the state directory
}

// wanted are the appliance's own keys in the order they are made.
func wanted(now time.Time) []keystore.Want {
	var all []keystore.Want
	for _, w := range []struct {
		p keystore.Purpose
		a hsm.Algorithm
	}{{keystore.PurposeSM2Root, hsm.SM2}, {keystore.PurposeSM2Issuing, hsm.SM2}, {keystore.PurposeMaker, hsm.SM2}, {keystore.PurposeAudit, hsm.SM2},
		{keystore.PurposeTLSRoot, hsm.ECDSAP256}, {keystore.PurposeTLSClient, hsm.ECDSAP256}, {keystore.PurposeTSASM2, hsm.SM2}, {keystore.PurposeTSAP256, hsm.ECDSAP256},
		{keystore.PurposeStatement, hsm.SM2},
		{keystore.ImpressionPurpose(now.Year()), hsm.AES256}} {
		all = append(all, keystore.Want{Purpose: w.p, Label: labelPrefix + string(w.p), Algorithm: w.a})
	}
	return all
}

// labelPrefix begins every label of this appliance in the token.
const labelPrefix = "sealkeeper:"

// initialise carries the plan out. It refuses an existing state directory and a token that holds an appliance already; when it fails it
// takes back what it made.
func initialise(ctx context.Context, p *Plan, log *slog.Logger, tell func(string)) (err error) {
	if err := os.MkdirAll(filepath.Dir(p.State), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(p.State, 0o700); err != nil {
		return fmt.Errorf("init never touches existing state: %w", err)
	}
	c := &founding{plan: p, cfg: p.config(), life: p.Lifetimes.over(ca.DefaultLifetimes()), now: time.Now().UTC(), made: map[keystore.Purpose]*keystore.Key{}, log: log, tell: tell}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.undo(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []func(context.Context) error{c.open, c.makeKeys, c.makeKEK, c.certifySM2, c.certifyTLS, c.certifyTSA, c.found, c.startLog, c.writeConfig} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return errors.Join(closeTokens(c.tokens), c.store.Close())
}

// undo destroys the keys that this ceremony made and removes its directory and its files elsewhere.
func (c *founding) undo(ctx context.Context) error {
	var errs []error
	for _, m := range c.tokens {
		for _, k := range c.made {
			if k.Token() == m.Serial {
				errs = append(errs, m.Token.Destroy(ctx, k.ID()))
			}
		}
	}
	errs = append(errs, closeTokens(c.tokens))
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	for _, f := range c.outside {
		errs = append(errs, os.Remove(f))
	}
	return errors.Join(append(errs, os.RemoveAll(c.plan.State))...)
}

func (c *founding) open(ctx context.Context) (err error) {
	if c.tokens, err = openTokens(ctx, c.cfg, false, c.log); err != nil {
		return err
	}
	for _, m := range c.tokens {
		if err := unused(ctx, m); err != nil {
			return err
		}
	}
	if c.store, err = store.Open(store.Config{Path: c.cfg.Store.Path, Create: true, Collections: collections(), Now: time.Now, Log: c.log}); err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	c.keys, err = keystore.OpenSeveral(ctx, c.tokens, c.store, c.log)
	return err
}

func unused(ctx context.Context, m keystore.Member) error {
	objects, err := m.Token.Objects(ctx)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if len(o.Label) > len(labelPrefix) && o.Label[:len(labelPrefix)] == labelPrefix {
			return fmt.Errorf("token %s holds %q already: it belongs to another appliance; init never shares a token", m.Serial, o.Label)
		}
	}
	return nil
}

// begin writes the log's first record.
func (c *founding) begin(ctx context.Context) error {
	genesis, err := audit.GenesisEvent(c.store.State(), self, c.cfg.Audience, struct {
		Mode     string `json:"mode"`
		Division string `json:"division"`
		Bureau   string `json:"bureau"`
	}{c.cfg.Mode, c.cfg.Division, c.plan.Bureau}).Body()
	if err != nil {
		return err
	}
	_, err = c.store.Commit(ctx, store.Mutation{Audit: [][]byte{genesis}})
	return err
}

func (c *founding) makeKeys(ctx context.Context) error {
	for _, w := range wanted(c.now) {
		k, err := c.keys.Create(ctx, self, w)
		if err != nil {
			return err
		}
		c.made[w.Purpose] = k
		c.tell(fmt.Sprintf("key %-18s %-11s %s", w.Purpose, w.Algorithm, k.ID()))
	}
	return nil
}

func (c *founding) name(cn string) pkix.Name {
	if c.cfg.Mode == "demo" {
		cn = "DEMO 演示数据 " + cn
	}
	return pkix.Name{Country: []string{"CN"}, Organization: []string{c.plan.Bureau}, CommonName: cn}
}

func (c *founding) certifySM2(ctx context.Context) error {
	root, issuing, maker := c.made[keystore.PurposeSM2Root], c.made[keystore.PurposeSM2Issuing], c.made[keystore.PurposeMaker]
	rootDER, err := ca.Root(ctx, root, c.name("Seal Root CA"), c.now, c.life.Root)
	if err != nil {
		return err
	}
	issuingDER, err := ca.Issuing(ctx, root, rootDER, issuing.Public(), c.name("Seal Issuing CA"), c.now, c.life.Issuing)
	if err != nil {
		return err
	}
	c.sm2, err = ca.NewEmbedded(issuing, ca.Config{RootDER: rootDER, IssuingDER: issuingDER, Lifetimes: c.life, Subject: ca.DefaultSubjectTemplate(), Now: time.Now})
	if err != nil {
		return err
	}
	makerDER, err := c.sm2.IssueMaker(ctx, maker.Public(), c.name("电子印章制作系统"))
	if err != nil {
		return err
	}
	auditDER, err := c.sm2.IssueAudit(ctx, c.made[keystore.PurposeAudit].Public(), c.name("Audit Log"))
	if err != nil {
		return err
	}
	c.tell("certificates: SM2 root, issuing, seal maker, audit")
	return errors.Join(writeCertificates(c.cfg.PKI.Root, rootDER), writeCertificates(c.cfg.PKI.Issuing, issuingDER),
		writeCertificates(c.cfg.PKI.Maker, makerDER), writeCertificates(filepath.Join(c.plan.State, "audit.pem"), auditDER))
}

func (c *founding) certifyTLS(ctx context.Context) error {
	root, err := c.made[keystore.PurposeTLSRoot].CryptoSigner()
	if err != nil {
		return err
	}
	signing, err := c.made[keystore.PurposeTLSClient].CryptoSigner()
	if err != nil {
		return err
	}
	rootDER, err := ca.TLSRoot(root, c.name("TLS Root CA"), c.now, c.life.TLSRoot)
	if err != nil {
		return err
	}
	issuingDER, err := ca.TLSIssuing(root, rootDER, signing.Public(), c.name("TLS Issuing CA"), c.now, c.life.TLSIssuing)
	if err != nil {
		return err
	}
	if c.tls, err = ca.NewTLS(signing, ca.TLSConfig{RootDER: rootDER, IssuingDER: issuingDER, Lifetimes: c.life, Now: time.Now}); err != nil {
		return err
	}
	c.tell("certificates: P-256 root, issuing, server")
	return errors.Join(writeCertificates(c.cfg.TLS.ClientCA, issuingDER, rootDER), c.certifyServer(issuingDER))
}

// certifyTSA certifies the two keys of the time-stamp authority, each under its own hierarchy, beside the key of statements.
func (c *founding) certifyTSA(ctx context.Context) error {
	sm2, err := c.sm2.IssueTSA(ctx, c.made[keystore.PurposeTSASM2].Public(), c.name("Time Stamp SM2"))
	if err != nil {
		return err
	}
	p256, err := c.tls.IssueTSA(c.made[keystore.PurposeTSAP256].Standard(), c.name("Time Stamp P-256"))
	if err != nil {
		return err
	}
	own, err := c.sm2.IssueStatement(ctx, c.made[keystore.PurposeStatement].Public(), c.name("Statements"))
	if err != nil {
		return err
	}
	c.tell("certificates: time stamps, SM2 and P-256; statements")
	return errors.Join(writeCertificates(c.cfg.PKI.Statement, own), writeCertificates(c.cfg.PKI.TSASM2, sm2), writeCertificates(c.cfg.PKI.TSAP256, p256))
}

// certifyServer makes the server's own key, a 0400 file: /readyz must answer when the token is gone.
func (c *founding) certifyServer(issuingDER []byte) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	var names []string
	var addresses []net.IP
	for _, h := range c.plan.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, h)
		}
	}
	der, err := c.tls.IssueServer(key.Public(), c.name("Sealkeeper"), names, addresses)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(writeNew(c.cfg.TLS.Key, 0o400, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		writeCertificates(c.cfg.TLS.Certificate, der, issuingDER))
}

// found registers the first clients in one commit and writes their certificates.
func (c *founding) found(ctx context.Context) error {
	acc, err := access.New(c.store, access.Config{Audience: c.cfg.Audience, Now: time.Now, Owner: owner(register.New(register.Config{Store: c.store, Keys: c.keys}))})
	if err != nil {
		return err
	}
	var founders []access.Client
	for _, pc := range c.plan.Clients {
		csr, err := os.ReadFile(pc.CSR)
		if err != nil {
			return err
		}
		id, chain, err := certify(c.tls, csr, pc.Name)
		if err != nil {
			return fmt.Errorf("client %q: %w", pc.Name, err)
		}
		founders = append(founders, access.Client{ID: id, Name: pc.Name, Role: access.Role(pc.Role), Person: pc.Person, Certificate: chain})
		if err := writeNew(pc.Certificate, 0o644, []byte(chain)); err != nil {
			return err
		}
		c.outside = append(c.outside, pc.Certificate)
		c.tell(fmt.Sprintf("client %-22s %s %.16s…", pc.Role, pc.Name, id))
	}
	change, err := acc.Founders(self, founders)
	if err != nil {
		return err
	}
	_, err = c.store.Commit(ctx, change.Mutation(nil))
	return err
}

func (c *founding) startLog(ctx context.Context) error {
	log, err := openLog(ctx, c.cfg, c.store, c.tokens[0].Token, c.keys, true, c.log)
	if err != nil {
		return err
	}
	if why := log.Recovering(); why != "" {
		return fmt.Errorf("%s is another appliance's anchor: %s", c.cfg.Anchor, why)
	}
	if c.cfg.Anchor != "token" {
		c.outside = append(c.outside, c.cfg.Anchor)
	}
	return log.Close(ctx)
}

func (c *founding) writeConfig(context.Context) error {
	b, err := yaml.Marshal(c.cfg)
	if err != nil {
		return err
	}
	path := filepath.Join(c.plan.State, "seald.yaml")
	c.tell("configuration " + path)
	return writeNew(path, 0o600, b)
}

// certify issues a client certificate for a request and returns the client's identity and the PEM chain.
func certify(authority *ca.TLS, csr []byte, name string) (id, chain string, err error) {
	block, _ := pem.Decode(csr)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return "", "", fmt.Errorf("no PEM certificate request: %w", access.ErrClientForm)
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", access.ErrClientForm, err)
	}
	if err := req.CheckSignature(); err != nil {
		return "", "", fmt.Errorf("the request is not signed by its own key: %w: %w", access.ErrClientForm, err)
	}
	der, err := authority.IssueClient(crypto.PublicKey(req.PublicKey), pkix.Name{CommonName: name})
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", access.ErrClientForm, err)
	}
	all := append([][]byte{der}, authority.Chain()[0])
	return access.ClientID(req.RawSubjectPublicKeyInfo), string(encodeCertificates(all...)), nil
}

func encodeCertificates(ders ...[]byte) []byte {
	var b []byte
	for _, der := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return b
}

func writeCertificates(path string, ders ...[]byte) error {
	return writeNew(path, 0o644, encodeCertificates(ders...))
}

// writeNew never overwrites.
func writeNew(path string, mode os.FileMode, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
