package main

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"time"

	"sealkeeper/access"
	"sealkeeper/access/ceremony"
	"sealkeeper/connector/account"
	certifier "sealkeeper/connector/authority"
	"sealkeeper/connector/delivery"
	"sealkeeper/connector/feed"
	"sealkeeper/issuance"
	"sealkeeper/issuance/ca"
	"sealkeeper/issuance/clerk"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
	"sealkeeper/licence/certificate"
	"sealkeeper/licence/onecode"
	"sealkeeper/licence/presented"
	"sealkeeper/licence/receipt"
	"sealkeeper/signer"
	"sealkeeper/signer/statement"
	"sealkeeper/signer/tsa"
)

// appliance is the floors, built from the ground up.
type appliance struct {
	cfg       *Config
	log       *slog.Logger
	store     *store.Bolt
	tokens    []keystore.Member
	keys      *keystore.Keystore
	audit     *audit.Log
	library   *licence.Library
	register  *register.Register
	access    *access.Access
	authority *ca.Embedded // certifies now; of authorities the last
	tls       *ca.TLS
	issuance  *issuance.Issuance
	signer    *signer.Signer
	clerk     *clerk.Clerk // issues the bureau's papers
	stamps    *tsa.Service // nil without an embedded time-stamp authority
	outside   *outside
	backups   *backups // nil without a folder for them

	statements *statement.Service // nil without a key of statements
	presented  *presented.Desk
	receipts   *receipt.Office

	issued    [][]byte // the SM2 chain: root, issuing, maker, DER
	judge     *judging
	started   time.Time
	unsettled []string // serials of tokens that were away at the start

	authorities []authority          // the SM2 ones, the oldest first
	licensed    *certifier.Connector // certifies enterprise seals in place of authority; nil when none is connected

	ceremonies *ceremony.Desk

	certificates *certificate.Library
	codes        *onecode.Desk
}

// self is how the appliance names itself in its records.
var self = audit.Actor{Role: "appliance", ID: "seald"}

func collections() []*store.Collection {
	var all []*store.Collection
	for _, of := range [][]*store.Collection{keystore.Collections(), register.Collections(), licence.Collections(), access.Collections(), ceremony.Collections(), audit.Collections(),
		signer.Collections(), tsa.Collections(), delivery.Collections(), feed.Collections(), account.Collections(), certificate.Collections(), onecode.Collections(), receipt.Collections(), outsideCollections()} {
		all = append(all, of...)
	}
	return all
}

// build opens every floor. On an error it closes what it opened.
func build(ctx context.Context, cfg *Config, log *slog.Logger) (_ *appliance, err error) {
	a := &appliance{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []func(context.Context) error{a.openStore, a.openKeys, a.openAudit, a.openRecords, a.openAuthorities, a.openStamps, a.openStatements, a.openArchive, a.openCodes, a.openWork, a.openClerk, a.openOutside, a.openCeremonies, a.openBackups} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *appliance) openStore(ctx context.Context) (err error) {
	a.store, err = store.Open(store.Config{Path: a.cfg.Store.Path, Collections: collections(), Now: time.Now, Log: a.log, Reserve: int64(a.cfg.Store.ReserveMB) << 20})
	return err
}

func (a *appliance) openKeys(ctx context.Context) (err error) {
	if a.tokens, err = openTokens(ctx, a.cfg, true, a.log); err != nil {
		return err
	}
	if a.keys, err = keystore.OpenSeveral(ctx, a.tokens, a.store, a.log); err != nil {
		return err
	}
	return a.cfg.Custody.apply(a.keys)
}

// openRecords opens the libraries that need nothing but the store and the keys.
func (a *appliance) openRecords(ctx context.Context) error {
	registration, err := points(a.cfg.Sources.Registration)
	if err != nil {
		return err
	}
	if a.library, err = licence.New(a.store, licence.Config{Mode: licence.Mode(a.cfg.Mode), Pinned: registration, Now: time.Now}); err != nil {
		return err
	}
	a.register = register.New(register.Config{Store: a.store, Keys: a.keys})
	a.access, err = access.New(a.store, access.Config{Audience: a.cfg.Audience, Now: time.Now, Owner: owner(a.register)})
	if err != nil {
		return err
	}
	return a.openCertificates()
}

// owner lets access ask the register whose a seal is.
func owner(r *register.Register) func(context.Context, string) (access.Owner, error) {
	return func(ctx context.Context, esid string) (access.Owner, error) {
		s, _, err := r.Seal(ctx, esid)
		if errors.Is(err, register.ErrUnknown) {
			return access.Owner{}, fmt.Errorf("%w: %w", store.ErrNotFound, err)
		}
		return access.Owner{USCC: s.USCC, SealType: s.Type, Institutional: s.Institutional}, err
	}
}

func (a *appliance) openTLS(ctx context.Context) error {
	chain, err := readCertificates(a.cfg.TLS.ClientCA)
	if err != nil {
		return err
	}
	if len(chain) != 2 {
		return fmt.Errorf("%s holds %d certificates, want the issuing one and the root", a.cfg.TLS.ClientCA, len(chain))
	}
	signing, err := a.tlsKey(ctx)
	if err != nil {
		return err
	}
	a.tls, err = ca.NewTLS(signing, ca.TLSConfig{IssuingDER: chain[0], RootDER: chain[1], Lifetimes: ca.DefaultLifetimes(), Now: time.Now})
	return err
}

func (a *appliance) tlsKey(ctx context.Context) (crypto.Signer, error) {
	k, err := a.keys.ByPurpose(ctx, keystore.PurposeTLSClient)
	if err != nil {
		return nil, err
	}
	return k.CryptoSigner()
}

// openWork opens issuance and the signing path.
func (a *appliance) openWork(ctx context.Context) error {
	maker, err := a.keys.ByPurpose(ctx, keystore.PurposeMaker)
	if err != nil {
		return err
	}
	stamper, err := a.stamper()
	if err != nil {
		return err
	}
	cfg, err := a.issuanceConfig()
	if err != nil {
		return err
	}
	if stamper != nil {
		cfg.Timestamp = a.sealStamp(stamper)
	}
	persons, err := a.personCheck()
	if err != nil {
		return err
	}
	a.issuance, err = issuance.New(issuance.Parts{Store: a.store, Library: a.library, Register: a.register, Keys: a.keys, Access: a.access,
		Issuer: a.issuer(), Maker: issuance.Maker{Key: maker, Certificate: a.issued[2]}, Documents: a.tls, Persons: persons, Lists: a.lists()}, cfg)
	if err != nil {
		return err
	}
	gm := a.cfg.PDF.GM
	a.signer, err = signer.New(signer.Config{Store: a.store, Access: a.access, Licences: a.library, Seals: a.register, Keys: a.keys,
		Refuse: a.audit.Refuse, Hold: a.hold, Log: a.log, Now: time.Now, Provider: signer.Provider{Name: "Sealkeeper", Version: version}, Parallel: a.cfg.sessions(),
		PDF: signer.PDF{Filter: gm.Filter, SubFilter: gm.SubFilter, OIDs: gm.OIDs}, Pages: a.cfg.Pages,
		Stamper: stamper, WithoutStamp: a.cfg.TSA.WhenDown == "sign-without"})
	return err
}

func (a *appliance) issuanceConfig() (issuance.Config, error) {
	cfg := issuance.DefaultConfig()
	cfg.Log, cfg.SealYears, cfg.Release = a.log, a.cfg.Issuance.SealYears, register.Release(a.cfg.Issuance.Release)
	cfg.HeaderVersion = a.cfg.Issuance.SealVersion
	cfg.Outside = a.licensed != nil
	cfg.Sets = map[string][]string{"": a.cfg.Issuance.Set}
	maps.Copy(cfg.Sets, a.cfg.Issuance.Sets)
	cfg.RemakeBefore, cfg.RenameEndsPersonal = a.cfg.Issuance.RemakeBefore, a.cfg.Issuance.RenameEndsPersonal
	cfg.ExpireImpressions, cfg.ExpireCollection = a.cfg.Issuance.ExpireImpressions, a.cfg.Issuance.ExpireCollection
	_, cfg.Accounts = a.cfg.Connectors.system(sysAccount)
	_, cfg.Notices = a.cfg.Connectors.system(sysNotice)
	var err error
	if cfg.PublicSecurity, err = points(a.cfg.Sources.PublicSecurity); err != nil {
		return cfg, err
	}
	if cfg.Institutions, err = points(a.cfg.Sources.Registration); err != nil {
		return cfg, err
	}
	cfg.ELicence, err = points(a.cfg.Sources.ELicence)
	return cfg, err
}

// close ends the floors from the top down: the log's last checkpoint still needs key and store.
func (a *appliance) close(ctx context.Context) error {
	var errs []error
	errs = append(errs, a.closeEpoch(ctx))
	if a.audit != nil {
		errs = append(errs, a.audit.Close(ctx))
	}
	errs = append(errs, closeTokens(a.tokens))
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}

func readCertificate(path string) ([]byte, error) {
	all, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%s holds %d certificates, want one", path, len(all))
	}
	return all[0], nil
}

func readCertificates(path string) ([][]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	var all [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			all = append(all, block.Bytes)
		}
	}
	return all, nil
}

func logger(level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
}
