package hsm

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
)

const samplePIN = "19283746"

func TestPINIsNeverPrinted(t *testing.T) {
	pin, err := checkPIN([]byte(samplePIN))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		for _, v := range []any{pin, &pin, []secret{pin}, struct{ P secret }{pin}} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, samplePIN) || strings.Contains(s, fmt.Sprintf("%x", samplePIN)) ||
				strings.Contains(s, "49 57") {
				t.Errorf("%s of %T prints %s", verb, v, s)
			}
		}
	}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "pin", pin)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "pin", pin)
	j, err := json.Marshal(struct{ P secret }{pin})
	if err != nil || strings.Contains(b.String()+string(j), samplePIN) || !strings.Contains(b.String(), hidden) {
		t.Errorf("%s %s %v", b.String(), j, err)
	}
	pin.clear()
	if err := pin.lend(func(s string) error {
		if strings.Trim(s, "\x00") != "" {
			t.Errorf("%q is left after clearing", s)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestPINFile(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // "" is refused
	}{
		"plain":          {samplePIN, 0o400, samplePIN},
		"line end":       {samplePIN + "\n", 0o600, samplePIN},
		"Windows end":    {samplePIN + "\r\n", 0o400, samplePIN},
		"two line ends":  {samplePIN + "\n\n", 0o400, samplePIN + "\n"},
		"longest":        {strings.Repeat("7", 255) + "\n", 0o400, strings.Repeat("7", 255)},
		"group reads":    {samplePIN, 0o440, ""},
		"others read":    {samplePIN, 0o404, ""},
		"group writes":   {samplePIN, 0o420, ""},
		"empty":          {"", 0o400, ""},
		"line end alone": {"\n", 0o400, ""},
		"too long":       {strings.Repeat("7", 256), 0o400, ""},
		"much too long":  {strings.Repeat("7", 9999), 0o400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			pin, err := Config{PINFile: file}.fetchPIN()
			if c.want == "" {
				if !errors.Is(err, ErrPINFile) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || string(pin.b) != c.want {
				t.Errorf("got %q, %v", pin.b, err)
			}
		})
	}
	for name, file := range map[string]string{"missing": filepath.Join(dir, "nothing"), "a folder": dir} {
		if _, err := (Config{PINFile: file}).fetchPIN(); !errors.Is(err, ErrPINFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("no officer present")
	if _, err := (Config{PIN: func() ([]byte, error) { return nil, broken }}).fetchPIN(); !errors.Is(err, broken) {
		t.Errorf("callback: %v", err)
	}
}

func TestPINFlags(t *testing.T) {
	for name, c := range map[string]struct {
		flags uint
		want  error
	}{
		"all well":  {pkcs11.CKF_TOKEN_INITIALIZED, nil},
		"count low": {pkcs11.CKF_USER_PIN_COUNT_LOW, nil},
		"last try":  {pkcs11.CKF_USER_PIN_FINAL_TRY | pkcs11.CKF_USER_PIN_COUNT_LOW, ErrPINLatched},
		"locked":    {pkcs11.CKF_USER_PIN_LOCKED, ErrPINLatched},
	} {
		if err := checkPINFlags(c.flags); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLatchFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "latch.json")
	if l, err := ReadLatch(file); l != nil || err != nil {
		t.Errorf("no file: %v, %v", l, err)
	}
	if err := ClearLatch(file); err != nil {
		t.Errorf("clearing nothing: %v", err)
	}
	pin, other := secret{[]byte(samplePIN)}, secret{[]byte("55555555")}
	if err := setLatch(file, "0123", pin, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(b), samplePIN) {
		t.Errorf("latch %s, %v", b, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	l, err := ReadLatch(file)
	if err != nil || l.Serial != "0123" || l.Time.IsZero() || !l.samePIN(pin) || l.samePIN(other) {
		t.Errorf("%+v, %v", l, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := ReadLatch(file); l == nil || err == nil {
		t.Errorf("a damaged latch reads as %v, %v: it must still latch", l, err)
	}
	if err := ClearLatch(file); err != nil {
		t.Fatal(err)
	}
	if l, err := ReadLatch(file); l != nil || err != nil {
		t.Errorf("after clearing: %v, %v", l, err)
	}
}
