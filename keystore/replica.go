package keystore

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// purposeTransport is of keys that live for one ceremony: their intents never become keys.
const purposeTransport Purpose = "kek-transport"

// KindKEKReplicated is the record of a KEK that another token holds from now on.
const KindKEKReplicated = "kek-replicated"

// ErrReplica: the two tokens do not hold the same keys, or one of them could give them away.
var ErrReplica = errors.New("the tokens do not hold the same wrapping key safely")

// MakeReplicatedKEK makes a wrapping key with its binding key in the first of these tokens and carries both into the others, each encrypted to an RSA key
// of the other that unwraps and does nothing else. They are extractable for as long as that takes; afterwards no copy is, each was read back, and a
// key wrapped in one token has signed in every other. ref names the ceremony: called again with the same ref it returns what that made. When anything
// fails nothing is left, in none of them.
func (k *Keystore) MakeReplicatedKEK(ctx context.Context, ref string, serials []string, first, second audit.Actor) (KEK, error) {
	if first.ID == "" || second.ID == "" || first.ID == second.ID {
		return KEK{}, fmt.Errorf("replicating a wrapping key: %w", ErrCeremony)
	}
	hs, err := k.chosen(serials)
	if err != nil {
		return KEK{}, err
	}
	k.wraps.moving.Lock() // two calls of one ceremony make one
	defer k.wraps.moving.Unlock()
	all, err := k.KEKs(ctx)
	if err != nil {
		return KEK{}, err
	}
	if i := slices.IndexFunc(all, func(e KEK) bool { return e.Ref == ref }); i >= 0 {
		return all[i], nil
	}
	ins := replicaIntents(ref, first, serials)
	if err := k.intend(ctx, nil, first, ref, ins); err != nil {
		return KEK{}, err
	}
	through := context.WithoutCancel(ctx)
	e, err := k.bearReplicas(through, hs, ins, kekChange{Second: second, KEK: KEK{ID: ins[0].ID, Binder: ins[1].ID, Ref: ref, Tokens: serials}})
	gone := ins[2:] // the transport keys
	if err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
		gone = ins
	}
	for _, in := range gone {
		if aerr := k.Abandon(through, in, first); aerr != nil && err == nil {
			k.log.WarnContext(ctx, "a transport key stays until the next start", "id", in.ID.String(), "token", in.Token, "error", aerr.Error())
		} else if aerr != nil {
			err = errors.Join(err, aerr)
		}
	}
	return e, err
}

// chosen returns two or more different configured tokens.
func (k *Keystore) chosen(serials []string) (hs homes, err error) {
	for i, serial := range serials {
		h := k.homes.at(serial)
		if serial == "" || h == nil || slices.Contains(serials[:i], serial) {
			return nil, fmt.Errorf("token %q is not configured, or named twice: %w", serial, ErrTokens)
		}
		hs = append(hs, h)
	}
	if len(hs) < 2 {
		return nil, fmt.Errorf("replicas need two tokens: %w", ErrTokens)
	}
	return hs, nil
}

func replicaIntents(ref string, by audit.Actor, serials []string) []Intent {
	label := "sealkeeper:kek:" + newID().String()[:8]
	in := func(p Purpose, label string, a hsm.Algorithm, token string, copies []string) Intent {
		return Intent{ID: newID(), Purpose: p, Label: label, Algorithm: a, Ref: ref, Since: now(), Actor: by, Token: token, Copies: copies, version: 1}
	}
	all := []Intent{in(PurposeKEK, label, hsm.KEK, serials[0], serials[1:]), in(PurposeBinder, label+":binder", hsm.AES256, serials[0], serials[1:])}
	for _, s := range serials[1:] {
		all = append(all, in(purposeTransport, label+":transport", hsm.Transport, s, nil))
	}
	return all
}

// request is the key of an intent, as a token is asked for it.
func (in Intent) request(portable bool) hsm.GenerateRequest {
	return hsm.GenerateRequest{ID: in.ID, Label: in.Label, Algorithm: in.Algorithm, Portable: portable}
}

// bearReplicas does the work of MakeReplicatedKEK between its intents and its commit.
func (k *Keystore) bearReplicas(ctx context.Context, hs homes, ins []Intent, c kekChange) (KEK, error) {
	from, keys := hs[0], ins[:2]
	for _, in := range keys {
		if _, err := from.generate(ctx, in.request(true)); err != nil {
			return KEK{}, fmt.Errorf("generating %s key %s: %w", in.Purpose, in.ID, err)
		}
	}
	copies := map[ID][]hsm.Birth{}
	for i, to := range hs[1:] {
		transport, err := to.generate(ctx, ins[2+i].request(false))
		if err != nil {
			return KEK{}, fmt.Errorf("generating transport key %s: %w", ins[2+i].ID, err)
		}
		for _, in := range keys {
			b, err := carry(ctx, from, to, in, transport)
			if err != nil {
				return KEK{}, err
			}
			copies[in.ID] = append(copies[in.ID], b)
		}
	}
	var m store.Mutation
	for _, in := range keys {
		locked, err := from.lock(ctx, in.request(false))
		if err != nil {
			return KEK{}, fmt.Errorf("locking %s key %s: %w", in.Purpose, in.ID, err)
		}
		if err := k.addReplicated(&m, in, locked, copies[in.ID]); err != nil {
			return KEK{}, err
		}
	}
	for _, to := range hs[1:] {
		if err := same(ctx, from, to, c.KEK.wrapping()); err != nil {
			return KEK{}, err
		}
	}
	c.KEK.Since = time.Now().UTC()
	if err := c.add(&m, KindKEKMade, keys[0].Actor); err != nil {
		return KEK{}, err
	}
	if _, err := k.st.Commit(ctx, m); err != nil {
		return KEK{}, fmt.Errorf("recording wrapping key %s: %w", c.KEK.ID, err)
	}
	k.changed()
	return c.KEK, nil
}

func carry(ctx context.Context, from, to *home, in Intent, transport hsm.Birth) (hsm.Birth, error) {
	blob, err := from.export(ctx, hsm.ExportRequest{Key: in.ID, Algorithm: in.Algorithm, To: transport.Public})
	if err != nil {
		return hsm.Birth{}, fmt.Errorf("carrying %s key %s: %w", in.Purpose, in.ID, err)
	}
	b, err := to.take(ctx, hsm.ImportRequest{GenerateRequest: in.request(false), Transport: transport.ID, Blob: blob})
	if err != nil {
		return hsm.Birth{}, fmt.Errorf("carrying %s key %s: %w", in.Purpose, in.ID, err)
	}
	to.held.Add(1)
	return b, nil
}

// addReplicated turns an intent into a key that several tokens hold.
func (k *Keystore) addReplicated(m *store.Mutation, in Intent, birth hsm.Birth, copies []hsm.Birth) error {
	r := record{ID: in.ID, Purpose: in.Purpose, Label: in.Label, Algorithm: in.Algorithm, Ref: in.Ref, Birth: birth, Copies: copies}
	put, body, err := r.encode(audit.KindKeyBirth, in.Actor)
	if err != nil {
		return err
	}
	m.Put = append(m.Put, put, store.Put{Collection: intents, Key: in.ID[:]})
	m.Expect = append(m.Expect, store.Expect{Collection: records, Key: in.ID[:]}, store.Expect{Collection: intents, Key: in.ID[:], Version: in.version})
	m.Audit = append(m.Audit, body)
	return nil
}

// DeclareReplica takes on record, by ceremony, that another token holds a KEK with its binding key because the vendor's means cloned it. Nobody is believed:
// both are there under the same identifiers and cannot be got out, and keys wrapped in either token sign in the other. Declared already, it stays as it is.
func (k *Keystore) DeclareReplica(ctx context.Context, id ID, serial string, first, second audit.Actor, reason string) error {
	if err := checkCeremony(first, second, reason); err != nil {
		return fmt.Errorf("declaring a replica of wrapping key %s: %w", id, err)
	}
	e, err := k.kek(ctx, id)
	if err != nil {
		return err
	}
	to := k.homes.at(serial)
	if serial == "" || to == nil || e.Destroyed != nil || len(k.homes) < 2 {
		return fmt.Errorf("declaring a replica of wrapping key %s in token %q, which is not one of several: %w", id, serial, ErrTokens)
	}
	if k.holds(to, e) {
		return nil
	}
	var m store.Mutation
	for _, part := range []ID{e.ID, e.Binder} {
		if err := k.addCopy(ctx, &m, part, to, first); err != nil {
			return err
		}
	}
	if err := same(ctx, k.homes.of(e.Tokens[0]), to, e.wrapping()); err != nil {
		return err
	}
	e.Tokens = append(slices.Clone(e.Tokens), serial)
	if err := (kekChange{second, reason, e}).add(&m, KindKEKReplicated, first); err != nil {
		return err
	}
	if _, err := k.st.Commit(ctx, m); err != nil {
		return fmt.Errorf("recording the replica of wrapping key %s: %w", id, err)
	}
	k.changed()
	return nil
}

// addCopy reads back what a token says of a cloned key and adds it to the key's record.
func (k *Keystore) addCopy(ctx context.Context, m *store.Mutation, id ID, to *home, by audit.Actor) error {
	r, v, err := k.record(ctx, id)
	if err != nil {
		return err
	}
	b := hsm.Birth{ID: id, Label: r.Label, Algorithm: r.Algorithm, ValueRead: "not tried", Time: now()}
	if b.Attributes, err = to.attributes(ctx, id); err != nil {
		return fmt.Errorf("reading key %s: %w", id, err)
	}
	if b.Token, err = to.info(ctx); err != nil {
		return err
	}
	for name, want := range map[string]string{"CKA_EXTRACTABLE": "false", "CKA_SENSITIVE": "true"} {
		if !slices.Contains(b.Attributes, hsm.Attribute{Name: name, Value: want}) {
			return fmt.Errorf("the copy of key %s in token %s does not read %s %s: %w", id, to.Serial, name, want, ErrReplica)
		}
	}
	r.Copies = append(slices.Clone(r.Copies), b)
	put, body, err := r.encode(KindKEKReplicated, by)
	if err != nil {
		return err
	}
	m.Put, m.Audit = append(m.Put, put), append(m.Audit, body)
	m.Expect = append(m.Expect, store.Expect{Collection: records, Key: id[:], Version: v})
	return nil
}

// same proves that two tokens hold the same keys: each signs with a key that was born and wrapped in the other. The keys are nobody's and are not kept.
func same(ctx context.Context, a, b *home, w hsm.Wrapping) error {
	for _, way := range [][2]*home{{a, b}, {b, a}} {
		var id ID
		rand.Read(id[:])
		born, err := bornFor(ctx, way[0], hsm.WrapRequest{GenerateRequest: hsm.GenerateRequest{ID: id, Label: "passing:" + id.String()}, Wrapping: w, Context: "replica"})
		if err != nil {
			return fmt.Errorf("wrapping a key to compare tokens by: %w", err)
		}
		var digest [32]byte
		rand.Read(digest[:])
		sig, err := way[1].sign(ctx, hsm.SignRequest{Key: id, Algorithm: born.Wrapped.Algorithm, Digest: digest, Wrapped: &born.Wrapped})
		if err == nil {
			err = verifies(born.Birth, digest, sig)
		}
		if err != nil {
			return fmt.Errorf("a key wrapped in token %s does not sign in token %s: %w: %w", way[0].Serial, way[1].Serial, ErrReplica, err)
		}
		for _, h := range way { // what they have open of it
			if err := h.destroy(ctx, id); err != nil && !errors.Is(err, hsm.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// bornFor makes a wrapped key of the first algorithm that the token wraps.
func bornFor(ctx context.Context, h *home, r hsm.WrapRequest) (b hsm.WrappedBirth, err error) {
	for _, r.Algorithm = range []hsm.Algorithm{hsm.ECDSAP256, hsm.SM2} {
		b, err = h.generateWrapped(ctx, r)
		if !errors.Is(err, hsm.ErrUnproven) && !errors.Is(err, hsm.ErrUnsupported) {
			break
		}
	}
	return b, err
}

func verifies(b hsm.Birth, digest [32]byte, sig []byte) error {
	if len(sig) != 64 {
		return ErrSignatureWrong
	}
	if b.Algorithm == hsm.SM2 {
		key, err := gm.NewPublicKey(b.Public)
		if err != nil {
			return err
		}
		return key.VerifyE(digest, [64]byte(sig))
	}
	std, err := x509.ParsePKIXPublicKey(b.Public)
	if err != nil {
		return err
	}
	key, ok := std.(*ecdsa.PublicKey)
	if !ok || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return ErrSignatureWrong
	}
	return nil
}
