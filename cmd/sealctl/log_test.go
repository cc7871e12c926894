package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// writeLog writes store.db, a closed store with a log of 301 records and its anchor; older.db, the same store as it was after 201 of them, with
// anchor.older;
// damaged.db, where one record was changed; cut.db, its first 40 KiB; the audit key as audit.pem (certificate), audit.pub (public key) and audit.hex; and
// other.hex, a key that signed nothing.
func writeLog(dir string) error {
	o, err := newOffice(time.Now().UTC().Add(-time.Hour).Truncate(time.Second))
	if err != nil {
		return err
	}
	return o.writeLog(dir)
}

func (o *office) writeLog(dir string) error {
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := o.fill(dir, true, 200); err != nil {
		return err
	}
	if err := errors.Join(copyTo(at("store.db"), at("older.db")), copyTo(at("anchor"), at("anchor.older"))); err != nil {
		return err
	}
	if err := o.fill(dir, false, 100); err != nil {
		return err
	}
	b, err := os.ReadFile(at("store.db"))
	if err != nil {
		return err
	}
	return errors.Join(damage(dir, b), o.writeKeys(dir))
}

// damage writes damaged.db and cut.db.
func damage(dir string, b []byte) error {
	damaged := bytes.ReplaceAll(b, []byte("order 150 示例"), []byte("order 150 演示"))
	if bytes.Equal(damaged, b) {
		return errors.New("the record to damage is not in the file")
	}
	return errors.Join(write(dir, "damaged.db", damaged), write(dir, "cut.db", b[:40<<10]))
}

func (o *office) writeKeys(dir string) error {
	other, err := newSoftKey()
	if err != nil {
		return err
	}
	spki, err := spkiPEM(o.auditKey.Public())
	return errors.Join(err, write(dir, "audit.pem", certificatePEM(o.audit)), write(dir, "audit.pub", spki), write(dir, "audit.hex", pointHex(o.auditKey)), write(dir, "other.hex", pointHex(other)))
}

func pointHex(k softKey) []byte { return []byte(hex.EncodeToString(k.Public().Point())) }

// fill opens the store, adds records and closes it, as the daemon would.
func (o *office) fill(dir string, create bool, n int) error {
	ctx := context.Background()
	st, log, err := o.open(ctx, dir, create)
	if err != nil {
		return err
	}
	for range n {
		e := audit.Event{Kind: audit.KindOrder, Actor: audit.Appliance("test"), Subject: fmt.Sprintf("order %d 示例", st.State().Size)}
		if err := commit(ctx, st, e); err != nil {
			return err
		}
	}
	return errors.Join(log.Close(ctx), st.Close())
}

func (o *office) open(ctx context.Context, dir string, create bool) (*store.Bolt, *audit.Log, error) {
	st, err := store.Open(store.Config{Path: filepath.Join(dir, "store.db"), Create: create, Now: time.Now, Collections: (&logCheck{}).collections()})
	if err != nil {
		return nil, nil, err
	}
	if create {
		if err := commit(ctx, st, audit.GenesisEvent(st.State(), audit.Appliance("init"), "test", nil)); err != nil {
			return nil, nil, err
		}
	}
	log, err := audit.Open(ctx, st, audit.Config{Key: o.auditKey, Anchor: audit.FileAnchor{Path: filepath.Join(dir, "anchor")}, Genesis: create})
	return st, log, err
}

func commit(ctx context.Context, st *store.Bolt, e audit.Event) error {
	b, err := e.Body()
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx, store.Mutation{Audit: [][]byte{b}})
	return err
}

func copyTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// spkiPEM encodes a SubjectPublicKeyInfo by hand, as openssl pkey -pubout writes it.
func spkiPEM(k *gm.PublicKey) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier([]int{1, 2, 840, 10045, 2, 1})
			b.AddASN1ObjectIdentifier([]int{1, 2, 156, 10197, 1, 301})
		})
		b.AddASN1BitString(k.Point())
	})
	der, err := b.Bytes()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}
