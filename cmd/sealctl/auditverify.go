package main

import (
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/term"

	"sealkeeper/access"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	"sealkeeper/licence"
)

// logCheck is the check of a log from its file alone.
type logCheck struct {
	*settings
	file, key           string
	former, checkpoints []string
}

func (s *settings) auditVerify() *cobra.Command {
	c := &logCheck{settings: s}
	cmd := &cobra.Command{Use: "verify --file STORE --key AUDIT.pem", Short: "rebuild the log from the store file alone; exit 3 when it does not hold", Args: args(),
		Long: `Rebuild everything from the store file alone with the audit public key given from outside: every record's form, order, time and request, the tree, every
checkpoint, counters and indexes. The first thing that is wrong is named, with the number of the record. The file is only read; the daemon must not hold it, so
check a copy or a backup of a running appliance.

A file and its own checkpoints can be put back together. --checkpoint brings one that was kept elsewhere (the anchor, a witness's copy, the output of
sealctl audit checkpoint): a log that is older than it, or differs from it, does not hold.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) }}
	f := cmd.Flags()
	f.StringVar(&c.file, "file", "", "store file")
	f.StringVar(&c.key, "key", "", "audit key: PEM file (certificate or public key), or the 65-byte point in hexadecimal")
	f.StringArrayVar(&c.former, "former-key", nil, "audit key that signed older checkpoints of this log, repeated")
	f.StringArrayVar(&c.checkpoints, "checkpoint", nil, "signed checkpoint kept outside the file, repeated")
	require(cmd, "file", "key")
	return cmd
}

func (c *logCheck) run(cmd *cobra.Command) error {
	key, err := publicKey(c.key)
	if err != nil {
		return err
	}
	opts, err := c.options()
	if err != nil {
		return err
	}
	var stop func()
	opts.Progress, stop = progress(cmd.ErrOrStderr(), "records")
	r, err := audit.VerifyFile(cmd.Context(), c.file, key, opts)
	stop()
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("%w: seald holds %s; check a copy or a backup of it", err, c.file)
	} else if err != nil {
		return err
	}
	if err := c.show(cmd, r, func(w io.Writer) { showLog(w, r) }); err != nil {
		return err
	}
	if r.Bad != nil {
		return exit{code: exitInvalid}
	}
	return nil
}

func (c *logCheck) options() (audit.Options, error) {
	o := audit.Options{Collections: c.collections()}
	for _, f := range c.former {
		k, err := publicKey(f)
		if err != nil {
			return o, err
		}
		o.FormerKeys = append(o.FormerKeys, k)
	}
	for _, f := range c.checkpoints {
		b, err := os.ReadFile(f)
		if err != nil {
			return o, fmt.Errorf("reading the checkpoint: %w", err)
		}
		o.Checkpoints = append(o.Checkpoints, b)
	}
	return o, nil
}

// collections are those of the appliance, so that their indexes are compared with what they index.
func (c *logCheck) collections() []*store.Collection {
	var all []*store.Collection
	for _, of := range [][]*store.Collection{keystore.Collections(), register.Collections(), licence.Collections(), access.Collections(), audit.Collections()} {
		all = append(all, of...)
	}
	return all
}

func showLog(w io.Writer, r audit.Report) {
	verdict := "the log holds"
	if r.Bad != nil {
		verdict = "THE LOG DOES NOT HOLD: " + r.Bad.Error()
	}
	fmt.Fprintf(w, "%s\nlog\t%s\ntree hash\t%s\nrecords\t%d\nunder checkpoints\t%d, by %d checkpoints\n", verdict, r.Log, r.Hash, r.Records, r.Covered, r.Checkpoints)
	if r.Bad != nil {
		return
	}
	fmt.Fprintf(w, "root\t%x\nfirst record\t%s\nlast record\t%s\n", r.Root[:], when(r.First), when(r.Last))
	if n := r.Records - r.Covered; n > 0 {
		fmt.Fprintf(w, "note\tthe last %d records agree with the file, but no checkpoint signs for them yet\n", n)
	}
}

// progress draws a bar on a terminal and nothing elsewhere.
func progress(w io.Writer, what string) (step func(done, total uint64), stop func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(uint64, uint64) {}, func() {}
	}
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100e6))
	return func(done, total uint64) {
		bar.ChangeMax64(int64(total))
		bar.Set64(int64(done))
	}, func() { bar.Finish() }
}

// errAuditKey says that a key given by the user is no SM2 public key.
var errAuditKey = errors.New("want a PEM file (certificate or public key) or 130 hexadecimal digits 04…")

// publicKey reads an SM2 public key: hexadecimal point, PEM certificate, or PEM SubjectPublicKeyInfo.
func publicKey(s string) (*gm.PublicKey, error) {
	if point, err := hex.DecodeString(s); err == nil && len(point) == 65 {
		return gm.NewPublicKey(point)
	}
	b, err := os.ReadFile(s)
	if err != nil {
		return nil, fmt.Errorf("reading the audit key: %w: %w", errAuditKey, err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("reading the audit key %s: %w", s, errAuditKey)
	}
	if block.Type == "CERTIFICATE" {
		c, err := gm.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the audit key %s: %w", s, err)
		}
		return gm.CertificateKey(c)
	}
	point, ok := pointOf(block.Bytes)
	if block.Type != "PUBLIC KEY" || !ok {
		return nil, fmt.Errorf("reading the audit key %s: %w", s, errAuditKey)
	}
	k, err := gm.NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("reading the audit key %s: %w", s, err)
	}
	return k, nil
}

// pointOf takes the point out of a SubjectPublicKeyInfo (RFC 5480) on sm2p256v1.
func pointOf(der []byte) (point []byte, ok bool) {
	// id-ecPublicKey, then the named curve 1.2.156.10197.1.301.
	const algorithm = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d"
	in := cryptobyte.String(der)
	var spki, alg cryptobyte.String
	ok = in.ReadASN1(&spki, asn1.SEQUENCE) && in.Empty() && spki.ReadASN1(&alg, asn1.SEQUENCE) && string(alg) == algorithm &&
		spki.ReadASN1BitStringAsBytes(&point) && spki.Empty()
	return point, ok
}
