package register_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/register"
	"sealkeeper/keystore/store"
	softhsmtest "sealkeeper/softhsm-test"
)

func TestMain(m *testing.M) { os.Exit(softhsmtest.Main(m)) }

const uscc = "91410302YYY00002X7"

var (
	police    = audit.Actor{Role: register.RolePublicSecurity, ID: "public-security"}
	registrar = audit.Actor{Role: register.RoleRegistration, ID: "registration"}
	system    = audit.Actor{Role: register.RoleSystem, ID: "operator-1"}
	security  = audit.Actor{Role: register.RoleSecurity, ID: "operator-2"}
	maker     = audit.Actor{Role: register.RoleAppliance, ID: "issuance"}
)

// desk is a register over a real token and a real store file.
type desk struct {
	testing.TB
	ctx  context.Context
	path string
	st   *store.Bolt
	keys *keystore.Keystore
	reg  *register.Register
	key  *softkey.Key // public security's

	person string // whose name the filed seals show
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	k := softhsmtest.New(t)
	set, err := firmware.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := set.Profile("softhsm2-sm2")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := hsm.Open(t.Context(), hsm.Config{Module: k.Module, Profile: profile, Serial: k.Serial, PINFile: k.PINFile,
		LatchFile: filepath.Join(t.TempDir(), "latch")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tok.Close() })
	d := &desk{TB: t, ctx: t.Context(), path: filepath.Join(t.TempDir(), "store")}
	d.st, err = store.Open(store.Config{Path: d.path, Create: true, Collections: append(register.Collections(), keystore.Collections()...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.st.Close() })
	if d.keys, err = keystore.Open(t.Context(), tok, d.st, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	d.reg = register.New(register.Config{Store: d.st, Keys: d.keys})
	if d.key, err = softkey.Generate(nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// picture makes a PNG whose bytes hardly compress, so that any run of them identifies it.
func picture(t testing.TB, seed uint64) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range m.Pix {
		m.Pix[i] = byte(r.Uint32())
	}
	m.SetNRGBA(0, 0, color.NRGBA{255, 0, 0, 255})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func filing(t testing.TB, number string) register.Filing {
	return register.Filing{FilingNumber: number, SealCode: "", SealType: "01", USCC: uscc, Name: "洛阳老城示例商贸有限公司", Format: "PNG",
		WidthMM: 40, HeightMM: 40, Image: picture(t, uint64(len(number))), Engraver: "示例刻章店", FiledAt: time.Now().Add(-time.Hour)}
}

func (d *desk) sign(f register.Filing) envelope.Envelope {
	d.Helper()
	e, err := envelope.Seal(register.FilingKind, f, d.key.Sign)
	if err != nil {
		d.Fatal(err)
	}
	return e
}

func (d *desk) commit(r register.Draft) error {
	_, err := d.st.Commit(d.ctx, r.Mutation(nil))
	return err
}

// file enters a filing.
func (d *desk) file(f register.Filing) (register.Impression, error) {
	d.Helper()
	i, r, err := d.reg.File(d.ctx, d.sign(f), f, register.Entry{Order: "order", Person: d.person}, police)
	if err != nil {
		return i, err
	}
	return i, d.commit(r)
}

func (d *desk) must(i register.Impression, err error) register.Impression {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
	return i
}

// lastRecord parses the newest record of the log.
func (d *desk) lastRecord() audit.Event {
	d.Helper()
	size := d.st.State().Size
	rs, err := d.st.Records(d.ctx, size-1, 1)
	if err != nil || len(rs) != 1 {
		d.Fatalf("record %d: %v", size-1, err)
	}
	e, err := audit.ParseBody(rs[0].Body)
	if err != nil {
		d.Fatal(err)
	}
	return e
}
