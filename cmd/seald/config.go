package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"sealkeeper/api"
	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
)

// Config is the daemon's one file. Unknown keys stop the start. Relative paths are relative to the file. Each key says what it means, its
// default, and whether someone who controls that thing could cause a false signature.
type Config struct {
	// Mode is production or demo. Production refuses the embedded CA for enterprise seals, test modules and synthetic codes; demo refuses
	// everything else and marks what it makes 演示数据. No default.
	Mode string `yaml:"mode"`
	// Division is the six-digit code (GB/T 2260) of the authority that runs the appliance; it stands in the log's first record and in
	// Audience. No default.
	Division string `yaml:"division"`
	// Audience is this appliance's name in identity assertions. Default sealkeeper-<division>.
	Audience string `yaml:"audience"`
	// Listen is the address of the HTTPS server. Default 127.0.0.1:8443. Cannot cause a false signature.
	Listen string      `yaml:"listen"`
	Store  StoreConfig `yaml:"store"`
	// Modules lists the PKCS#11 libraries that may be loaded, by path and SHA-256. Needed in production; without it, in demo mode, any that
	// nobody but root and this user can write. Who controls the list and a library controls every signature.
	Modules []hsm.Allowed `yaml:"modules"`
	// Profiles is a folder with firmware profiles (*.yaml) beside those that ship with the program, for example one that sealctl token probe
	// printed. Only root and this user may be able to write it and what is in it. Default: none. A wrong profile gives signatures that do not verify.
	Profiles string `yaml:"profiles"`
	// Token is the first token: the anchor's, and that of the appliance's own keys.
	Token TokenConfig `yaml:"token"`
	// FurtherTokens hold keys of seals beside it. With any, every token has its serial and its own latch file. One that is away takes its keys
	// with it and nothing else.
	FurtherTokens []TokenConfig `yaml:"further_tokens"`
	// Anchor is "token" (a data object in the first token, the default) or a path on another disk than the store. Who controls both the store and
	// the anchor can put the past back unless a witness holds a checkpoint.
	Anchor string `yaml:"anchor"`
	// CheckpointOverdue is how long the log may be without a checkpoint, because the audit key's token or the anchor is away, before nothing more is
	// signed. Default 15m, at most 24h. The longer, the more could be put back unnoticed.
	CheckpointOverdue time.Duration  `yaml:"checkpoint_overdue"`
	TLS               TLSConfig      `yaml:"tls"`
	PKI               PKIConfig      `yaml:"pki"`
	Sources           SourcesConfig  `yaml:"sources"`
	Issuance          IssuanceConfig `yaml:"issuance"`
	Custody           CustodyConfig  `yaml:"custody"`
	Backup            BackupConfig   `yaml:"backup"`
	TSA               TSAConfig      `yaml:"tsa"`
	PDF               PDFConfig      `yaml:"pdf"`
	// Connectors are the systems outside. What comes from them counts by the keys in Sources, whatever the connection. Cannot cause a false
	// signature.
	Connectors ConnectorsConfig `yaml:"connectors"`
	// Verification is whom verifications trust beside this appliance. Cannot cause a false signature.
	Verification VerificationConfig `yaml:"verification"`
	// Certificates is about certificates beside the business licence. Cannot cause a false signature.
	Certificates CertificatesConfig `yaml:"certificates"`
	// Pages is the address under which readers reach /v/…, for example https://seal.example.cn; it stands in QR codes. Default: none, and a
	// request for a QR code is refused. Cannot cause a false signature.
	Pages  string     `yaml:"pages"`
	Limits api.Limits `yaml:"limits"`
	// Log is debug, info, warn or error. Default info. Cannot cause a false signature.
	Log string `yaml:"log"`
}

// StoreConfig is where the records live.
type StoreConfig struct {
	// Path of the bbolt file, mode 0600. Who can rewrite it can forge grants and device bindings until the anchor shows it: protect it.
	Path string `yaml:"path"`
	// ReserveMB is how many megabytes must stay free beside the file; with less nothing is taken any more, until there is space again. Default 256.
	// Cannot cause a false signature.
	ReserveMB int `yaml:"reserve_mb"`
}

// TokenConfig chooses the PKCS#11 token.
type TokenConfig struct {
	// Module is the path of the PKCS#11 library. Who controls it controls every signature.
	Module string `yaml:"module"`
	// Profile is the firmware profile's id, or auto: library, token and mechanism list choose. A wrong one gives signatures that do not verify, and
	// these are never released.
	Profile string `yaml:"profile"`
	// Isolation is worker (the module runs in a child process, and a crash or a hang ends that) or in-process (faster). Default: worker, and
	// in-process for profiles whose evidence is simulated, that is for software tokens made for tests. Cannot cause a false signature.
	Isolation string `yaml:"isolation"`
	// HangAfter is how long one call may be inside the module of a worker before the worker is killed. Default 30s.
	HangAfter time.Duration `yaml:"hang_after"`
	// Label and Serial choose the token; both may be given and must agree. Slots are never used.
	Label  string `yaml:"label"`
	Serial string `yaml:"serial"`
	// PINFile holds the user PIN: mode 0400, this user's, read at every login. Who reads it and reaches the token can sign.
	PINFile string `yaml:"pin_file"`
	// LatchFile remembers a wrong PIN across restarts. Default: pin-latch.json beside the store; none for further tokens, which name their own.
	LatchFile string `yaml:"latch_file"`
	// Sessions bounds the pool. Default 16.
	Sessions int `yaml:"sessions"`
	// Births says which new keys are made in this token: seals, appliance, or a purpose by its name, which comes first. Of several tokens for
	// seals the one with the fewest keys that is there bears the next set. Default: appliance and seals for the first, seals for further ones.
	// Cannot cause a false signature.
	Births []string `yaml:"births"`
}

// TLSConfig is the server's side of the P-256 hierarchy.
type TLSConfig struct {
	// Certificate (PEM chain) and Key (PEM, 0400) of the server. Who holds the key can impersonate the appliance, not sign.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// ClientCA (PEM) verifies client certificates. Who replaces it still needs a registered key to act.
	ClientCA string `yaml:"client_ca"`
}

// PKIConfig names the certificates (PEM) of the embedded authorities; their keys are in the token.
type PKIConfig struct {
	Root    string `yaml:"root"`
	Issuing string `yaml:"issuing"`
	Maker   string `yaml:"maker"`
	// TSASM2 and TSAP256 certify the keys of the time-stamp authority, under the SM2 and the P-256 hierarchy. Without both there is none.
	TSASM2  string `yaml:"tsa_sm2"`
	TSAP256 string `yaml:"tsa_p256"`
	// Statement certifies the key of what the appliance states in its own name. Without it there are no archive receipts.
	Statement string `yaml:"statement"`
}

// TSAConfig says who stamps the time of signatures, and what happens when nobody can.
type TSAConfig struct {
	// Policy is the OID under which the embedded authority issues time stamps (RFC 3161). Cannot cause a false signature.
	Policy string `yaml:"policy"`
	// URL of an outside authority (http or https), asked in place of the embedded one. It can say a false time; each record also holds ours.
	URL string `yaml:"url"`
	// Roots (PEM) verify the outside authority's certificate. Needed with URL.
	Roots string `yaml:"roots"`
	// Timeout of one question to the outside authority. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// WhenDown is refuse (default): a signature for which a time stamp was asked is not made; or sign-without: it is released without one and says so.
	WhenDown string `yaml:"when_down"`
}

// PDFConfig holds names that the standards leave to agreement between platforms.
type PDFConfig struct {
	GM PDFGMConfig `yaml:"gm"`
}

// PDFGMConfig names SM2 signatures in PDF: GM/T 0112's literals are not public, so a platform's own are set here.
type PDFGMConfig struct {
	Filter    string `yaml:"filter"`
	SubFilter string `yaml:"sub_filter"`
	// OIDs is gm (GB/T 35275, default) or rfc: the content types of the SignedData.
	OIDs string `yaml:"oids"`
}

// VerificationConfig names files whose content counts when documents are judged; they are read again when they change.
type VerificationConfig struct {
	// TrustLists are signed lists of other regions; TrustSigners (PEM) are the certificates by which they count.
	TrustLists   []string `yaml:"trust_lists"`
	TrustSigners []string `yaml:"trust_signers"`
	// RevocationLists are CRLs, DER or PEM.
	RevocationLists []string `yaml:"revocation_lists"`
	// TimestampRoots (PEM) are anchors of time stamps beside this appliance's own.
	TimestampRoots []string `yaml:"timestamp_roots"`
}

// SourcesConfig pins the SM2 public keys (hexadecimal 65-byte points) of the systems whose messages are believed. Who controls a pinned key can
// have seals made (registration and public security together) or collected (the licence system) for an enterprise of their choice.
type SourcesConfig struct {
	Registration   []string `yaml:"registration"`
	PublicSecurity []string `yaml:"public_security"`
	ELicence       []string `yaml:"e_licence"`
	// PersonCheck signs the results of real-name and face checks. With the system connected, nothing is collected without one.
	PersonCheck []string `yaml:"person_check"`
}

// IssuanceConfig is what a set is made of.
type IssuanceConfig struct {
	// Set lists the seal types made for an enterprise. Default [01, 02, 03, 05].
	Set []string `yaml:"set"`
	// Sets lists the types by the first two characters of the credit code, where they are others: 92 is an individual business.
	Sets map[string][]string `yaml:"sets"`
	// ExpireImpressions and ExpireCollection end orders that have waited so long for an impression, or to be collected. Default 0: never.
	ExpireImpressions time.Duration `yaml:"expire_impressions"`
	ExpireCollection  time.Duration `yaml:"expire_collection"`
	// RemakeBefore orders a seal anew from the same impression so long before it expires. Default 0: operators do (sealctl seal reissue).
	RemakeBefore time.Duration `yaml:"remake_before"`
	// RenameEndsPersonal ends the legal representative's seal, too, when the enterprise is renamed. Default false.
	RenameEndsPersonal bool `yaml:"rename_ends_personal"`
	// Release is together (default) or as-filed.
	Release string `yaml:"release"`
	// SealYears is the life of a seal and its certificate. Default 3.
	SealYears int `yaml:"seal_years"`
	// SealVersion is 4 (GB/T 38540-2020, default) or 5 (GM/T 0031-2025): seals of version 5 carry a time stamp where there is an authority.
	SealVersion int `yaml:"seal_version"`
}

// LoadConfig reads and checks a configuration file.
func LoadConfig(path string) (*Config, error) {
	c := &Config{}
	if err := loadStrict(path, c); err != nil {
		return nil, err
	}
	c.defaults()
	c.resolve(filepath.Dir(path))
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

func loadStrict(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(v); err != nil {
		return fmt.Errorf("reading %s: %s", path, yaml.FormatError(err, false, true))
	}
	return nil
}

func (c *Config) defaults() {
	c.Listen, c.Anchor, c.Log = or(c.Listen, "127.0.0.1:8443"), or(c.Anchor, "token"), or(c.Log, "info")
	c.Store.ReserveMB = or(c.Store.ReserveMB, 256)
	c.CheckpointOverdue = or(c.CheckpointOverdue, 15*time.Minute)
	c.Token.LatchFile = or(c.Token.LatchFile, filepath.Join(filepath.Dir(c.Store.Path), "pin-latch.json"))
	for i, t := range c.tokens() {
		t.defaults(i == 0)
	}
	c.Issuance.Release, c.Issuance.SealYears = or(c.Issuance.Release, "together"), or(c.Issuance.SealYears, 3)
	c.Issuance.SealVersion = or(c.Issuance.SealVersion, 4)
	c.Custody.Seals = or(c.Custody.Seals, "resident")
	c.TSA.Policy, c.TSA.WhenDown, c.TSA.Timeout = or(c.TSA.Policy, "1.2.3.4.1"), or(c.TSA.WhenDown, "refuse"), or(c.TSA.Timeout, 10*time.Second)
	c.PDF.GM = PDFGMConfig{or(c.PDF.GM.Filter, "Adobe.PPKLite"), or(c.PDF.GM.SubFilter, "adbe.pkcs7.detached"), or(c.PDF.GM.OIDs, "gm")}
	c.Connectors.defaults()
	if c.Backup.Folder != "" {
		c.Backup.Every, c.Backup.Keep = or(c.Backup.Every, 24*time.Hour), or(c.Backup.Keep, 14)
	}
	c.Audience = or(c.Audience, "sealkeeper-"+c.Division)
	if len(c.Issuance.Set) == 0 {
		c.Issuance.Set = []string{"01", "02", "03", "05"}
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (c *Config) resolve(base string) {
	for _, t := range c.tokens() {
		t.resolve(base)
	}
	for _, p := range []*string{&c.Store.Path, &c.Profiles, &c.TLS.Certificate, &c.TLS.Key,
		&c.TLS.ClientCA, &c.PKI.Root, &c.PKI.Issuing, &c.PKI.Maker, &c.PKI.TSASM2, &c.PKI.TSAP256, &c.PKI.Statement, &c.TSA.Roots} {
		*p = under(base, *p)
	}
	c.Verification.resolve(base)
	c.Certificates.Catalogue = under(base, c.Certificates.Catalogue)
	c.Connectors.resolve(base)
	c.Backup.Folder = under(base, c.Backup.Folder)
	for i := range c.Modules {
		c.Modules[i].Path = under(base, c.Modules[i].Path)
	}
	if c.Anchor != "token" {
		c.Anchor = under(base, c.Anchor)
	}
}

func (v *VerificationConfig) resolve(base string) {
	for _, list := range [][]string{v.TrustLists, v.TrustSigners, v.RevocationLists, v.TimestampRoots} {
		for i, p := range list {
			list[i] = under(base, p)
		}
	}
}

func under(base, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(base, p)
}

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

func (c *Config) check() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Mode == "production" || c.Mode == "demo", "mode must be production or demo")
	need(sixDigits.MatchString(c.Division), "division must be six digits")
	need(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log), "log must be debug, info, warn or error")
	need(c.Store.Path != "", "store.path is missing")
	need(c.Store.ReserveMB >= 64, "store.reserve_mb must be 64 or more")
	need(c.CheckpointOverdue > 0 && c.CheckpointOverdue <= 24*time.Hour, "checkpoint_overdue must be within 24h")
	c.checkTokens(need)
	c.Custody.check(need)
	c.Backup.check(need)
	need(c.Mode != "production" || len(c.Modules) > 0, "modules: production mode wants the list of PKCS#11 libraries that may be loaded")
	for _, m := range c.Modules {
		need(m.Path != "" && (m.SHA256 == "" || sha256Hex.MatchString(m.SHA256)), "modules: each needs a path, and sha256 is 64 hexadecimal digits")
	}
	need(c.TLS.Certificate != "" && c.TLS.Key != "" && c.TLS.ClientCA != "", "tls.certificate, tls.key and tls.client_ca are needed")
	need(c.Issuance.Release == "together" || c.Issuance.Release == "as-filed", "issuance.release must be together or as-filed")
	need(c.Issuance.SealYears >= 1 && c.Issuance.SealYears <= 10, "issuance.seal_years must be 1..10")
	need(c.Issuance.SealVersion == 4 || c.Issuance.SealVersion == 5, "issuance.seal_version must be 4 or 5")
	need(len(c.Issuance.Set) > 0, "issuance.set is empty")
	need(c.Issuance.ExpireImpressions >= 0 && c.Issuance.ExpireCollection >= 0 && c.Issuance.RemakeBefore >= 0, "issuance.expire_impressions, expire_collection and remake_before must not be negative")
	for kind, set := range c.Issuance.Sets {
		need(entityKind.MatchString(kind) && len(set) > 0, "issuance.sets: keys are the first two characters of a credit code, and no set is empty")
	}
	errs = append(errs, c.Connectors.check(c.Mode))
	need(!c.Connectors.Sign || c.PKI.Statement != "", "connectors.sign needs pki.statement: requests are signed by the key of statements")
	_, checked := c.Connectors.system(sysPersonCheck)
	need(!checked || len(c.Sources.PersonCheck) > 0, "connectors.systems: person-check needs the keys in sources.person_check")
	c.checkFormats(need)
	l := c.Limits
	need(l.JSON >= 0 && l.Document >= 0 && l.Batch >= 0 && l.PerClient >= 0 && l.InFlight >= 0, "limits must not be negative")
	need(l.Batch <= 100, "limits.batch is over 100")
	need(l.Timeout >= 0 && l.Timeout <= 10*time.Minute, "limits.timeout must be within ten minutes")
	for _, list := range [][]string{c.Sources.Registration, c.Sources.PublicSecurity, c.Sources.ELicence, c.Sources.PersonCheck} {
		_, err := points(list)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var (
	sha256Hex = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

	entityKind = regexp.MustCompile(`^[0-9A-Y][0-9A-Y]$`)

	dotted  = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]{0,9}))+$`)
	pdfName = regexp.MustCompile(`^[A-Za-z0-9.#_-]{1,64}$`)
)

func (c *Config) checkFormats(need func(ok bool, what string)) {
	need(dotted.MatchString(c.TSA.Policy), "tsa.policy must be a dotted object identifier")
	need(c.TSA.WhenDown == "refuse" || c.TSA.WhenDown == "sign-without", "tsa.when_down must be refuse or sign-without")
	need(c.TSA.Timeout > 0 && c.TSA.Timeout <= time.Minute, "tsa.timeout must be within a minute")
	need((c.PKI.TSASM2 == "") == (c.PKI.TSAP256 == ""), "pki.tsa_sm2 and pki.tsa_p256 go together")
	need(c.TSA.URL == "" || webAddress(c.TSA.URL) && c.TSA.Roots != "", "tsa.url must be an http or https address, and needs tsa.roots")
	need(len(c.Verification.TrustLists) == 0 || len(c.Verification.TrustSigners) > 0, "verification.trust_lists need verification.trust_signers")
	need(c.Pages == "" || webAddress(c.Pages) && !strings.HasSuffix(c.Pages, "/"), "pages must be an http or https address without a slash at its end")
	need(pdfName.MatchString(c.PDF.GM.Filter) && pdfName.MatchString(c.PDF.GM.SubFilter), "pdf.gm.filter and pdf.gm.sub_filter must be PDF names without a slash")
	need(c.PDF.GM.OIDs == "gm" || c.PDF.GM.OIDs == "rfc", "pdf.gm.oids must be gm or rfc")
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// pinned reads one key.
func pinned(s string) (*gm.PublicKey, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("pinned key %.12s… is not hexadecimal", s)
	}
	k, err := gm.NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("pinned key %.12s…: %w", s, err)
	}
	return k, nil
}

// points reads pinned keys.
func points(list []string) ([]*gm.PublicKey, error) {
	var keys []*gm.PublicKey
	for _, s := range list {
		k, err := pinned(s)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}
