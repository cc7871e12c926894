package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	elicence "sealkeeper/connector/elicence/sim"
	phone "sealkeeper/connector/phone/sim"
	publicsecurity "sealkeeper/connector/publicsecurity/sim"
	"sealkeeper/connector/publicsecurity/sim/draw"
	registration "sealkeeper/connector/registration/sim"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/stage"
	"sealkeeper/softhsm-test/synthetic"
)

// set are the types of an enterprise's seals.
var set = []string{"01", "02", "03", "05"}

// purpose is what every grant and approval here is for, unless a test says otherwise.
const purpose = "演示.端到端测试"

// audience is this appliance's name in identity assertions.
const audience = "sealkeeper-410300"

// scene is a stage with the systems around the appliance.
type scene struct {
	*stage.Stage
	registry registration.System
	police   publicsecurity.System
	elicence elicence.System
	ordinal  atomic.Int64 // of enterprises
	filings  atomic.Int64
	dpi      int // of the impressions; zero is the least that is accepted, which is drawn fastest
}

// start starts the daemon and takes the outside systems' keys.
func (s *scene) start(t *testing.T) {
	t.Helper()
	if err := s.StartSeald(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	for file, into := range map[string]**softkey.Key{"registration": &s.registry.Key, "public-security": &s.police.Key, "e-licence": &s.elicence.Key} {
		k, err := softkey.Load(filepath.Join(s.Dir, "sim", file+".key"))
		if err != nil {
			t.Fatal(err)
		}
		*into = k
	}
}

// enterprise is a synthetic one with what it got from the appliance.
type enterprise struct {
	licence.Fields
	order string
	phone *phone.Phone
	seals map[string]string // esID by type
}

// newEnterprise makes up the next one.
func (s *scene) newEnterprise() *enterprise {
	e := synthetic.New("e2e", int(s.ordinal.Add(1)))
	return &enterprise{seals: map[string]string{}, Fields: licence.Fields{USCC: e.USCC, Name: e.Name, EntityType: e.EntityType, LegalRep: e.LegalRep, Capital: e.Capital,
		Established: e.Established, TermFrom: e.TermFrom, TermTo: e.TermTo, Scope: e.Scope, Address: e.Address, Division: e.Division, Authority: e.Authority, Approved: e.Approved}}
}

// send posts a message as one of the sources.
func (s *scene) send(ctx context.Context, source, path, key string, e envelope.Envelope, out any) error {
	c, err := s.Client(source)
	if err != nil {
		return err
	}
	return c.JSON(ctx, "POST", path, nil, key, e, out)
}

// tell sends a licence event that happened some time ago.
func (s *scene) tell(ctx context.Context, e *enterprise, kind licence.Kind, ago time.Duration) error {
	env, err := s.registry.Event(kind, e.Fields, time.Now().Add(-ago))
	if err != nil {
		return err
	}
	var taken client.LicenceTaken
	if err := s.send(ctx, "registration", "/v1/licences", client.NewKey(), env, &taken); err != nil {
		return fmt.Errorf("event %s of %s: %w", kind, e.USCC, err)
	}
	if taken.Order != "" {
		e.order = taken.Order
	}
	return nil
}

// filing has a seal engraved, by the simulator's own recipe where the picture matters.
func (s *scene) filing(e *enterprise, sealType string, defect draw.Defect) (register.Filing, error) {
	n := int(s.filings.Add(1))
	if s.dpi == draw.DefaultDPI || defect != draw.DefectNone {
		return s.police.Engrave(e.Fields, sealType, n, defect, time.Now())
	}
	code := fmt.Sprintf("%.6s%07d", e.Division, n)
	image, w, h, err := draw.Seal(draw.Spec{Type: sealType, Name: e.Name, TaxNumber: e.USCC, Person: e.LegalRep, Code: code, DPI: 300})
	return register.Filing{FilingNumber: "E2E-" + code + "-" + sealType, SealCode: code, SealType: sealType, USCC: e.USCC, Name: e.Name, Format: "PNG",
		WidthMM: float64(w), HeightMM: float64(h), Image: image, Engraver: "示例刻章单位", FiledAt: time.Now().UTC().Truncate(time.Second)}, err
}

// file files impressions without a defect.
func (s *scene) file(ctx context.Context, e *enterprise, types ...string) error {
	for _, sealType := range types {
		f, err := s.filing(e, sealType, draw.DefectNone)
		if err != nil {
			return err
		}
		env, err := s.police.File(f)
		if err != nil {
			return err
		}
		if err := s.send(ctx, "public-security", "/v1/impressions", f.FilingNumber, env, nil); err != nil {
			return fmt.Errorf("filing impression %s of %s: %w", sealType, e.USCC, err)
		}
	}
	return nil
}

// orderOf reads an order.
func (s *scene) orderOf(ctx context.Context, id string) (register.Order, error) {
	var o register.Order
	c, err := s.Client("system")
	if err != nil {
		return o, err
	}
	return o, c.JSON(ctx, "GET", "/v1/orders/"+id, nil, "", nil, &o)
}

// awaitMade waits until the order's set is made and notes its seals.
func (s *scene) awaitMade(ctx context.Context, e *enterprise) error {
	return until(ctx, "the set of order "+e.order, func() (bool, error) {
		o, err := s.orderOf(ctx, e.order)
		if err == nil && o.State == register.OrderException {
			err = fmt.Errorf("order %s is an exception: %+v", o.ID, o.Exception)
		}
		for _, q := range o.Requests {
			e.seals[q.Type] = q.ESID
		}
		return o.State == register.OrderMade || o.State == register.OrderActive, err
	})
}

// collect binds a phone and takes the set over.
func (s *scene) collect(ctx context.Context, e *enterprise) (err error) {
	if e.phone == nil {
		if e.phone, err = phone.New(); err != nil {
			return err
		}
	}
	point, err := e.phone.Public()
	if err != nil {
		return err
	}
	env, err := s.elicence.Sign(s.elicence.Assertion(e.USCC, e.LegalRep, access.AlgP256, point, audience, time.Now()))
	if err != nil {
		return err
	}
	if err := s.send(ctx, "e-licence", "/v1/orders/"+e.order+"/collect", client.NewKey(), env, nil); err != nil {
		return fmt.Errorf("collecting order %s: %w", e.order, err)
	}
	return nil
}

// establish goes from the licence event to four active seals.
func (s *scene) establish(ctx context.Context) (*enterprise, error) {
	e := s.newEnterprise()
	if err := s.tell(ctx, e, licence.KindEstablished, time.Hour); err != nil {
		return nil, err
	}
	if err := s.file(ctx, e, set...); err != nil {
		return nil, err
	}
	if err := s.awaitMade(ctx, e); err != nil {
		return nil, err
	}
	return e, s.collect(ctx, e)
}

// sealsOf lists an enterprise's seals as an operator sees them.
func (s *scene) sealsOf(ctx context.Context, uscc string) ([]register.Seal, error) {
	c, err := s.Client("system")
	if err != nil {
		return nil, err
	}
	var page struct{ Items []register.Seal }
	return page.Items, c.JSON(ctx, "GET", "/v1/enterprises/"+url.PathEscape(uscc)+"/seals", nil, "", nil, &page)
}

// grant lets the department ask for signatures: for the seals named, or for any owner's.
func (s *scene) grant(ctx context.Context, change func(*access.Grant)) error {
	c, err := s.Client("security")
	if err != nil {
		return err
	}
	id, err := s.ID("department")
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	g := access.Grant{ID: client.NewKey(), Client: id, Kinds: []string{"digest", "ofd"}, Purposes: []string{purpose}, NotBefore: now.Add(-time.Hour),
		Expires: now.AddDate(1, 0, 0), Count: 1 << 40, DigestOnly: true}
	change(&g)
	return c.JSON(ctx, "POST", "/v1/grants", nil, client.NewKey(), g, nil)
}

// delegate has the owner consent in advance to a number of uses and returns the delegation's identifier.
func (s *scene) delegate(ctx context.Context, e *enterprise, sealType string, count uint64) (string, error) {
	c, err := s.Client("department")
	if err != nil {
		return "", err
	}
	id, err := s.ID("department")
	if err != nil {
		return "", err
	}
	now := time.Now().UTC()
	d, err := e.phone.Delegate(access.Delegation{ID: client.NewKey(), Seal: e.seals[sealType], Client: id, Purposes: []string{purpose}, Kinds: []string{"digest", "ofd"},
		NotBefore: now.Add(-time.Minute), Expires: now.AddDate(0, 1, 0), Count: count})
	if err != nil {
		return "", err
	}
	return d.ID, c.JSON(ctx, "POST", "/v1/delegations", nil, client.NewKey(), d, nil)
}

// until asks again and again until the answer is yes, an error, or a minute is over.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, err := done()
		if yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// mustOf stops the test on an error.
func mustOf[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// as is a client in one of the stage's roles.
func (s *scene) as(t testing.TB, role string) *client.Client {
	t.Helper()
	return mustOf(s.Client(role))(t)
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	return mustOf(json.Marshal(v))(t)
}
