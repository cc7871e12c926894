package register

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// Why an impression is refused by its keys. Nothing is stored.
var (
	// ErrFilingReused: the filing number was used with other content.
	ErrFilingReused = errors.New("filing number was used for something else")
	// ErrSealCodeTaken: another filing has this seal code.
	ErrSealCodeTaken = errors.New("seal code belongs to another filing")
	// ErrImpressionTaken: the same picture was filed for another entity.
	ErrImpressionTaken = errors.New("impression belongs to another entity")
	// ErrImpressionDamaged: what was decrypted is not what was filed.
	ErrImpressionDamaged = errors.New("impression does not decrypt to what was filed")
)

// Impression (印模) is everything about a filed picture but the picture.
type Impression struct {
	ID         string  `json:"id"` // 32 hexadecimal digits
	Filing     string  `json:"filing"`
	SealCode   string  `json:"seal_code,omitempty"`
	Type       string  `json:"type"`
	USCC       string  `json:"uscc"`
	Name       string  `json:"name"`
	Format     string  `json:"format"`
	WidthMM    float64 `json:"width_mm"`
	HeightMM   float64 `json:"height_mm"`
	Size       int     `json:"size"`       // bytes of the image file
	SM3        string  `json:"sm3"`        // of the image file
	SHA256     string  `json:"sha256"`     // of the image file
	PayloadSM3 string  `json:"payload"`    // of the signed payload
	Signature  []byte  `json:"signature"`  // of the sender, over the payload that is kept encrypted
	Derivation string  `json:"derivation"` // how the picture of the seal is derived, filled by issuance
	Overlap    float64 `json:"overlap"`    // of the ink of both, intersection over union
	Order      string  `json:"order"`
	// Institution: of an institution's own seal, filed under its own signature, without an order.
	Institution bool      `json:"institution,omitempty"`
	Engraver    string    `json:"engraver,omitempty"`
	FiledAt     time.Time `json:"filed_at"`
	ReceivedAt  time.Time `json:"received_at"`
	Warnings    []string  `json:"warnings,omitempty"`
}

// filedRecord is the detail of an impression-filed record.
type filedRecord struct {
	Filing    string  `json:"filing"`
	Type      string  `json:"type"`
	USCC      string  `json:"uscc"`
	Order     string  `json:"order"`
	SM3       string  `json:"sm3"`
	Overlap   float64 `json:"overlap"`
	Payload   string  `json:"payload"`
	Signature []byte  `json:"signature"`
}

// boundTo is the value of the three unique collections.
type boundTo struct {
	ID      string `json:"id"`
	USCC    string `json:"uscc"`
	Person  string `json:"person,omitempty"`
	Payload string `json:"payload"`
}

// Entry is what the workflow knows of a filing beyond the filing.
type Entry struct {
	Order string
	Look
	// Person is whose name a name seal shows, empty for the others: people of one name, or one person with two enterprises, have
	// seals of one picture.
	Person string
	// Institution: the impression is of an institution's own seal.
	Institution bool
}

// ByFiling finds the impression that was filed under a number.
func (r *Register) ByFiling(ctx context.Context, number string) (Impression, error) {
	var b boundTo
	if _, err := r.read(ctx, byFiling, number, &b); err != nil {
		return Impression{}, err
	}
	i, _, err := r.Impression(ctx, b.ID)
	return i, err
}

// Filed finds the impression of a filing number. ErrFilingReused when its content was another.
func (r *Register) Filed(ctx context.Context, f Filing, payloadSM3 string) (Impression, bool, error) {
	var b boundTo
	_, found, err := r.lookup(ctx, byFiling, f.FilingNumber, &b)
	if err != nil || !found {
		return Impression{}, false, err
	}
	if b.Payload != payloadSM3 {
		return Impression{}, false, fmt.Errorf("filing %s: %w", f.FilingNumber, ErrFilingReused)
	}
	i, _, err := r.Impression(ctx, b.ID)
	return i, true, err
}

// File encrypts a filed impression and drafts its entry. The envelope has been opened into f by the caller, who also judges the picture
// and fills the entry. Errors: ErrFilingReused, ErrSealCodeTaken, ErrImpressionTaken; nothing is stored by this method but, in a new
// year, its key.
func (r *Register) File(ctx context.Context, env envelope.Envelope, f Filing, e Entry, actor audit.Actor) (Impression, Draft, error) {
	i, err := r.newImpression(env, f)
	if err != nil {
		return i, Draft{}, err
	}
	i.Order, i.Derivation, i.Overlap, i.Institution = e.Order, e.Derivation, e.Overlap, e.Institution
	var d Draft
	if err := r.bind(ctx, &d, i, e.Person); err != nil {
		return i, d, err
	}
	if err := r.bindLike(ctx, &d, &i, e, actor); err != nil {
		return i, d, err
	}
	sealed, err := r.sealPicture(ctx, i, env.Payload, actor)
	if err != nil {
		return i, d, err
	}
	d.putRaw(pictures, i.ID, sealed, 0)
	err = errors.Join(d.put(impressions, i.ID, i, 0),
		d.record(audit.Event{Kind: audit.KindImpression, Actor: actor, Subject: i.ID,
			Detail: filedRecord{i.Filing, i.Type, i.USCC, i.Order, i.SM3, i.Overlap, i.PayloadSM3, i.Signature}}))
	return i, d, err
}

func (r *Register) newImpression(env envelope.Envelope, f Filing) (Impression, error) {
	now := r.now().UTC()
	warnings, err := f.Check(now)
	if err != nil {
		return Impression{}, err
	}
	id := make([]byte, 16)
	rand.Read(id) // never returns an error
	image, payload := sha256.Sum256(f.Image), gm.SM3(env.Payload)
	return Impression{ID: hex.EncodeToString(id), Filing: f.FilingNumber, SealCode: f.SealCode, Type: f.SealType, USCC: f.USCC,
		Name: f.Name, Format: f.Format, WidthMM: f.WidthMM, HeightMM: f.HeightMM, Size: len(f.Image), SM3: f.SM3(),
		SHA256: hex.EncodeToString(image[:]), PayloadSM3: hex.EncodeToString(payload[:]), Signature: env.Signature, Engraver: f.Engraver,
		FiledAt: f.FiledAt.UTC(), ReceivedAt: now, Warnings: warnings}, nil
}

// bind claims filing number, seal code and digest. The versions that were read are expected, so of two claims at once one fails.
func (r *Register) bind(ctx context.Context, d *Draft, i Impression, person string) error {
	for _, k := range []struct {
		c    *store.Collection
		key  string
		same func(boundTo) bool
		err  error
	}{
		{byFiling, i.Filing, func(boundTo) bool { return false }, ErrFilingReused},
		{byCode, i.SealCode, func(boundTo) bool { return false }, ErrSealCodeTaken},
		{byDigest, i.SM3, func(b boundTo) bool { return b.USCC == i.USCC || person != "" && b.Person == person }, ErrImpressionTaken},
	} {
		if k.key == "" {
			continue
		}
		var b boundTo
		at, found, err := r.lookup(ctx, k.c, k.key, &b)
		if err != nil {
			return err
		}
		if found && b.Payload == i.PayloadSM3 { // the very same filing came while this one was looked at
			return fmt.Errorf("filing %s: %w", i.Filing, store.ErrConflict)
		}
		if found && !k.same(b) {
			return fmt.Errorf("filing %s: %w", i.Filing, k.err)
		}
		if err := d.put(k.c, k.key, boundTo{i.ID, i.USCC, person, i.PayloadSM3}, at); err != nil {
			return err
		}
	}
	return nil
}

// sealedPicture is the header of a value in impression-data: its JSON behind four bytes of its length, then the AES-256-GCM text. The
// plain text is the payload as the sender signed it, so that his signature can be checked again after decryption.
type sealedPicture struct {
	Key   keystore.Sealed `json:"key"`   // the data key, encrypted by the token's key of the year
	Nonce []byte          `json:"nonce"` // of the text
}

// binding is what both encryptions are bound to: nothing of another impression decrypts in this one's place.
func (i Impression) binding() []byte {
	return []byte("sealkeeper-impression-v1\n" + i.ID + "\n" + i.Filing + "\n" + i.SM3 + "\n")
}

func (r *Register) sealPicture(ctx context.Context, i Impression, payload []byte, actor audit.Actor) ([]byte, error) {
	year, err := r.yearKey(ctx, i.ReceivedAt.Year(), actor)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	defer clear(key)
	rand.Read(key) // never returns an error
	h := sealedPicture{Nonce: make([]byte, 12)}
	rand.Read(h.Nonce)
	if h.Key, err = r.keys.SealData(ctx, year, i.binding(), key); err != nil {
		return nil, fmt.Errorf("sealing the data key of impression %s: %w", i.ID, err)
	}
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding impression %s: %w", i.ID, err)
	}
	out := make([]byte, 4, 4+len(header)+len(payload)+aead.Overhead())
	binary.BigEndian.PutUint32(out, uint32(len(header)))
	return aead.Seal(append(out, header...), h.Nonce, payload, i.binding()), nil
}

// yearKey names the token key of a year and makes it when the year is new. It encrypts data keys and does nothing else.
func (r *Register) yearKey(ctx context.Context, year int, actor audit.Actor) (keystore.Purpose, error) {
	p := keystore.ImpressionPurpose(year)
	r.year.Lock()
	defer r.year.Unlock()
	_, err := r.keys.ByPurpose(ctx, p)
	if errors.Is(err, keystore.ErrKeyNotFound) {
		_, err = r.keys.Create(ctx, actor, keystore.Want{Purpose: p, Label: string(p), Algorithm: hsm.AES256})
	}
	if err != nil {
		return p, fmt.Errorf("finding the key of the year %d: %w", year, err)
	}
	return p, nil
}

// readRecord is the detail of an impression-read record.
type readRecord struct {
	Purpose   string       `json:"purpose"`
	Reference string       `json:"reference,omitempty"`
	Second    *audit.Actor `json:"second,omitempty"`
	Filing    string       `json:"filing"`
	SM3       string       `json:"sm3"`
}

// Open returns the image file of one impression as filed; see OpenAll.
func (r *Register) Open(ctx context.Context, id string, p Purpose, actor audit.Actor) ([]byte, error) {
	all, err := r.OpenAll(ctx, []string{id}, p, actor)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// OpenAll returns the image files of impressions, in the order asked. The records of the reading, one for each, are durable before
// anything is decrypted. Errors: ErrPurpose, ErrUnknown, ErrImpressionDamaged, those of the store (no record, no picture) and the token.
func (r *Register) OpenAll(ctx context.Context, ids []string, p Purpose, actor audit.Actor) ([][]byte, error) {
	if err := p.check(actor); err != nil {
		return nil, err
	}
	var d Draft
	is := make([]Impression, len(ids))
	for n, id := range ids {
		var err error
		if is[n], _, err = r.Impression(ctx, id); err != nil {
			return nil, err
		}
		detail := readRecord{Purpose: p.name, Reference: p.reference, Filing: is[n].Filing, SM3: is[n].SM3}
		if p.second != (audit.Actor{}) {
			detail.Second = &p.second
		}
		if err := d.record(audit.Event{Kind: audit.KindImpressionRead, Actor: actor, Subject: id, Detail: detail}); err != nil {
			return nil, err
		}
	}
	if _, err := r.st.Commit(ctx, d.Mutation(nil)); err != nil {
		return nil, fmt.Errorf("recording the reading of an impression: %w", err)
	}
	out := make([][]byte, len(ids))
	for n, i := range is {
		var err error
		if out[n], err = r.openPicture(ctx, i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *Register) openPicture(ctx context.Context, i Impression) ([]byte, error) {
	it, err := r.st.Get(ctx, pictures, []byte(i.ID))
	if err != nil {
		return nil, named(err, pictures, i.ID)
	}
	damaged := func(err error) error {
		return fmt.Errorf("opening impression %s: %w: %w", i.ID, ErrImpressionDamaged, err)
	}
	h, text, err := splitPicture(it.Value)
	if err != nil {
		return nil, damaged(err)
	}
	key, err := r.keys.OpenData(ctx, h.Key, i.binding())
	if err != nil {
		return nil, fmt.Errorf("opening the data key of impression %s: %w", i.ID, err)
	}
	defer clear(key)
	aead, err := newGCM(key)
	if err != nil {
		return nil, damaged(err)
	}
	payload, err := aead.Open(nil, h.Nonce, text, i.binding())
	if err != nil {
		return nil, damaged(err)
	}
	var f Filing
	if err := json.Unmarshal(payload, &f); err != nil {
		return nil, damaged(err)
	}
	if f.SM3() != i.SM3 {
		return nil, damaged(errors.New("digest differs"))
	}
	return f.Image, nil
}

func splitPicture(value []byte) (h sealedPicture, text []byte, err error) {
	if len(value) < 4 || int64(binary.BigEndian.Uint32(value)) > int64(len(value)-4) {
		return h, nil, errors.New("header is cut short")
	}
	n := 4 + int(binary.BigEndian.Uint32(value))
	if err := json.Unmarshal(value[4:n], &h); err != nil {
		return h, nil, err
	}
	if len(h.Nonce) != 12 {
		return h, nil, errors.New("nonce is not 12 bytes")
	}
	return h, value[n:], nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return cipher.NewGCM(block)
}
