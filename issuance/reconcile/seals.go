package reconcile

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
)

// listLag is how much later than the register a revocation list may be.
const listLag = 2 * time.Minute

// revoked are the certificates that the lists name, by issuer and serial number; nil when an outside authority publishes them.
type revoked map[string]bool

func (l *look) revoked(ctx context.Context) (revoked, error) {
	if l.Lists == nil {
		return nil, nil
	}
	lists, err := l.Lists(ctx)
	if err != nil || len(lists) == 0 {
		return nil, err
	}
	all := revoked{}
	for _, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("reading a revocation list: %w", err)
		}
		for _, e := range list.RevokedCertificateEntries {
			all[string(list.RawIssuer)+e.SerialNumber.String()] = true
		}
	}
	return all, nil
}

func (l *look) register(ctx context.Context, cursor string, limit int) error {
	seals, next, err := l.Register.All(ctx, cursor, limit)
	if err != nil {
		return err
	}
	lists, err := l.revoked(ctx)
	if err != nil {
		return err
	}
	l.page.Seals = len(seals)
	for _, x := range seals {
		for _, step := range []func(context.Context, register.Seal) error{l.parts, l.filing, l.edition,
			func(ctx context.Context, x register.Seal) error { return l.certificate(ctx, x, lists) }} {
			if err := step(ctx, x); err != nil {
				return err
			}
		}
	}
	if next != "" {
		l.page.Next = inRegister + next
	}
	return nil
}

const restore = "restore the store from a backup: sealctl backup"

// parts looks for what a seal consists of: licence, key, data.
func (l *look) parts(ctx context.Context, x register.Seal) error {
	if !x.Institutional {
		if _, _, err := l.Library.Standing(ctx, x.USCC); errors.Is(err, licence.ErrUnknown) {
			l.find("seal-without-licence", x.ESID, x.USCC, restore, "the library has no licence %s", x.USCC)
		} else if err != nil {
			return err
		}
	}
	if !x.State.Final() {
		if _, err := l.Keys.Birth(ctx, x.Key); errors.Is(err, keystore.ErrKeyNotFound) {
			l.find("seal-without-key", x.ESID, x.USCC, restore, "custody has no record of key %s", x.Key)
		} else if err != nil {
			return err
		}
	}
	esl, err := l.Register.ESL(ctx, x.ESID)
	if err != nil && !errors.Is(err, register.ErrUnknown) {
		return err
	}
	if d := sha256.Sum256(esl); hex.EncodeToString(d[:]) != x.ESLSHA256 {
		l.find("seal-data-differs", x.ESID, x.USCC, restore, "the seal data are missing or not those of the record")
	}
	return nil
}

// filing looks at what public security said.
func (l *look) filing(ctx context.Context, x register.Seal) error {
	if x.Institutional {
		return nil
	}
	f, _, err := l.Register.Filing(ctx, x.ESID)
	switch {
	case errors.Is(err, register.ErrUnknown):
		l.find("filing-missing", x.ESID, x.USCC, restore, "nothing says how far its filing is")
	case err != nil:
		return err
	case f.State == register.FilingRefused:
		l.find("filing-refused", x.ESID, x.USCC, "clear it up with public security, which files it again; or "+strings.Replace(decide, "ESID", x.ESID, 1), "refused under %q", f.Reference)
	case f.Overdue(l.now):
		l.find("filing-overdue", x.ESID, x.USCC, "sealctl outbox list filing --state waiting", "not answered since %s", f.Since.Format(time.RFC3339))
	}
	return nil
}

// edition looks at the seal in whose place this one came.
func (l *look) edition(ctx context.Context, x register.Seal) error {
	if x.Replaces == "" {
		return nil
	}
	old, _, err := l.Register.Seal(ctx, x.Replaces)
	switch {
	case errors.Is(err, register.ErrUnknown):
		l.find("edition-missing", x.ESID, x.USCC, restore, "replaces %s, which is not in the register", x.Replaces)
	case err != nil:
		return err
	case x.State == register.Active && !old.State.Final():
		l.find("edition-not-superseded", old.ESID, x.USCC, strings.Replace(decide, "ESID", old.ESID, 1), "%s, and seal %s, which replaces it, is active", old.State, x.ESID)
	case old.State == register.Superseded && old.ReplacedBy != x.ESID && x.State == register.Active:
		l.find("edition-differs", old.ESID, x.USCC, restore, "names %q as its successor, which is %s", old.ReplacedBy, x.ESID)
	}
	return nil
}

// certificate compares a seal's certificate with its record and with the lists.
func (l *look) certificate(ctx context.Context, x register.Seal, lists revoked) error {
	der, err := l.Register.Certificate(ctx, x.ESID)
	if err != nil && !errors.Is(err, register.ErrUnknown) {
		return err
	}
	if d := sha256.Sum256(der); hex.EncodeToString(d[:]) != x.CertSHA256 {
		l.find("certificate-differs", x.ESID, x.USCC, restore, "the certificate is missing or not that of the record")
		return nil
	}
	c, err := gm.ParseCertificate(der)
	if err != nil {
		l.find("certificate-differs", x.ESID, x.USCC, restore, "the certificate cannot be read: %v", err)
		return nil
	}
	ended := x.State == register.Cancelled || x.State == register.Superseded
	listed := lists[string(c.RawIssuer)+c.SerialNumber.String()]
	switch {
	case lists == nil:
	case ended && !listed && l.now.Sub(x.EndedAt) > listLag:
		l.find("certificate-not-revoked", x.ESID, x.USCC, "sealctl seal revocations -f FILE shows the list; the log says why none was made since", "%s since %s, and no list names it", x.State, x.EndedAt.Format(time.RFC3339))
	case !ended && listed:
		l.find("certificate-revoked", x.ESID, x.USCC, strings.Replace(decide, "ESID", x.ESID, 1), "%s, and a list names it as revoked", x.State)
	}
	return nil
}
