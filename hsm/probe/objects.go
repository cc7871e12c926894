package probe

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/miekg/pkcs11"

	"sealkeeper/hsm"
)

func (r *run) open() (pkcs11.SessionHandle, error) {
	return r.c.OpenSession(r.t.Slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
}

// renew exchanges the signing session, in which an operation may be stuck.
func (r *run) renew() error {
	_ = r.c.CloseSession(r.desk) // it may be dead already
	var err error
	r.desk, err = r.open()
	return err
}

// over reports errors after which nothing more can be measured.
func over(err error) bool {
	for _, c := range []uint{pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED} {
		if errors.Is(err, pkcs11.Error(c)) {
			return true
		}
	}
	return false
}

func attr(kind uint, value any) *pkcs11.Attribute { return pkcs11.NewAttribute(kind, value) }

func mech(number uint, param any) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(number, param)}
}

// names is the beginning of every template: whose it is, and that it is a session object where that can be.
func (r *run) names(class uint, id []byte) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_TOKEN, r.onToken), attr(pkcs11.CKA_LABEL, r.tag), attr(pkcs11.CKA_ID, id)}
}

func newID() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never returns an error
	return id
}

// keep takes down what was made.
func (r *run) keep(what string, handles ...pkcs11.ObjectHandle) {
	for _, h := range handles {
		if h != 0 {
			r.made[h] = what
		}
	}
}

// drop destroys what was made; what cannot be destroyed stays on the list for the end.
func (r *run) drop(handles ...pkcs11.ObjectHandle) {
	for _, h := range handles {
		if _, ours := r.made[h]; ours && r.c.DestroyObject(r.t.Login, h) == nil {
			delete(r.made, h)
		}
	}
}

// pairOf makes a key pair from whole templates.
func (r *run) pairOf(number uint, public, private []*pkcs11.Attribute) (pub, priv pkcs11.ObjectHandle, err error) {
	pub, priv, err = r.c.GenerateKeyPair(r.t.Login, mech(number, nil), public, private)
	if err == nil {
		r.keep(fmt.Sprintf("key pair by 0x%08x", number), pub, priv)
	}
	return pub, priv, err
}

// attribute reads one attribute: several at once would fail as a whole for one.
func (r *run) attribute(h pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	a, err := r.c.GetAttributeValue(r.t.Login, h, []*pkcs11.Attribute{attr(kind, nil)})
	if err != nil {
		return nil, err
	}
	return a[0].Value, nil
}

// search lists handles, asking for some at a time.
func (r *run) search(most int, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := r.c.FindObjectsInit(r.t.Login, template); err != nil {
		return nil, err
	}
	var all []pkcs11.ObjectHandle
	for {
		some, _, err := r.c.FindObjects(r.t.Login, most)
		if err != nil {
			return all, errors.Join(err, r.c.FindObjectsFinal(r.t.Login))
		}
		all = append(all, some...)
		if len(some) == 0 || len(all) > 1<<20 {
			return all, r.c.FindObjectsFinal(r.t.Login)
		}
	}
}

// careful is how many handles are asked for at once before it is known how many may be.
const careful = 10

// count is how many token objects there are.
func (r *run) count() (int, error) {
	all, err := r.search(careful, attr(pkcs11.CKA_TOKEN, true))
	if err != nil {
		return 0, fmt.Errorf("listing the token: %w", err)
	}
	return len(all), nil
}

var labelled = regexp.MustCompile(`^` + Label + `([0-9a-f]{16})$`)

// Leftover reports whether an object in a token is one that a probing made and did not come to destroy: label and identifier both say so.
func Leftover(o hsm.Object) bool {
	m := labelled.FindStringSubmatch(o.Label)
	return m != nil && (hex.EncodeToString(o.ID[:8]) == m[1] || string(o.ID[:]) == o.Label[:len(o.ID)])
}

// clear destroys what is left of this run, and makes sure by searching that nothing is.
func (r *run) clear(before int) error {
	for h := range r.made {
		r.drop(h)
	}
	found, err := r.search(careful, attr(pkcs11.CKA_LABEL, r.tag))
	for _, h := range found {
		if r.c.DestroyObject(r.t.Login, h) != nil {
			r.f.Left = append(r.f.Left, fmt.Sprintf("object labelled %s", r.tag))
		}
	}
	if err == nil {
		found, err = r.search(careful, attr(pkcs11.CKA_LABEL, r.tag))
	}
	after, countErr := r.count()
	if err = errors.Join(err, countErr); err != nil {
		r.f.Left = append(r.f.Left, fmt.Sprintf("perhaps objects labelled %s: the token could not be searched", r.tag))
		return fmt.Errorf("clearing up: %w", err)
	}
	if len(found) == 0 && after != before {
		r.f.note("the token held %d objects before and %d afterwards; none carries the label of this run, so somebody else is at work in it", before, after)
	}
	if r.desk != 0 {
		_ = r.c.CloseSession(r.desk) // what mattered in it is over
	}
	return nil
}
