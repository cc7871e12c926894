package softhsmtest_test

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	"github.com/miekg/pkcs11"
)

// tool gives the path of a program, or skips aloud.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("REQUIRE_SOFTHSM") == "1" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	return path
}

func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	return string(out), err
}

// folder holds the files a command reads.
type folder struct {
	t   *testing.T
	dir string
}

func (f folder) write(name string, data []byte) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f folder) publicKey(pub *ecdsa.PublicKey) string {
	f.t.Helper()
	der, err := smx509.MarshalPKIXPublicKey(pub)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.write("pub.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestOpenSSLAccepts(t *testing.T) {
	openssl := tool(t, "openssl")
	r := open(t)
	k := r.generate()
	f := folder{t, t.TempDir()}
	pub := f.publicKey(r.public(k))
	e, msg := randomBytes(t, 32), randomBytes(t, 500)
	eFile, msgFile := f.write("e", e), f.write("msg", msg)
	otherFile := f.write("other", append([]byte{e[0] ^ 1}, e[1:]...))
	sigE := f.write("e.der", derSignature(t, r.sign(mechSM2E, nil, k.priv, e)))
	sigMsg := f.write("msg.der", derSignature(t, r.sign(mechSM3SM2, nil, k.priv, msg)))
	sigAlice := f.write("alice.der", derSignature(t, r.sign(mechSM3SM2, []byte("ALICE123@YAHOO.COM"), k.priv, msg)))
	for _, c := range []struct {
		name string
		good bool
		args []string
	}{
		{"e", true, []string{"pkeyutl", "-verify", "-pubin", "-inkey", pub, "-in", eFile, "-sigfile", sigE}},
		{"other e", false, []string{"pkeyutl", "-verify", "-pubin", "-inkey", pub, "-in", otherFile, "-sigfile", sigE}},
		{"message", true, []string{"dgst", "-sm3", "-sigopt", "distid:1234567812345678", "-verify", pub, "-signature", sigMsg, msgFile}},
		{"other message", false, []string{"dgst", "-sm3", "-sigopt", "distid:1234567812345678", "-verify", pub, "-signature", sigMsg, eFile}},
		{"identity", true, []string{"dgst", "-sm3", "-sigopt", "distid:ALICE123@YAHOO.COM", "-verify", pub, "-signature", sigAlice, msgFile}},
		{"other identity", false, []string{"dgst", "-sm3", "-sigopt", "distid:1234567812345678", "-verify", pub, "-signature", sigAlice, msgFile}},
		{"raw message", true, []string{"pkeyutl", "-verify", "-pubin", "-inkey", pub, "-rawin", "-digest", "sm3",
			"-pkeyopt", "distid:1234567812345678", "-in", msgFile, "-sigfile", sigMsg}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out, err := run(t, openssl, c.args...); (err == nil) != c.good {
				t.Errorf("openssl accepts: %v, want %v\n%s", err == nil, c.good, out)
			}
		})
	}
}

// pkcs11Tool calls pkcs11-tool on the token; the PIN travels in the child's
// environment, which ends with it.
func pkcs11Tool(t *testing.T, r *rig, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, "pkcs11-tool"), append([]string{"--module", r.token.Module,
		"--token-label", r.token.Label, "--login", "--pin", "env:SEALKEEPER_TEST_PIN"}, args...)...)
	cmd.Env = append(os.Environ(), "SEALKEEPER_TEST_PIN="+r.token.PIN())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPKCS11ToolLists(t *testing.T) {
	r := open(t)
	r.generate(attr(pkcs11.CKA_LABEL, "listed key"))
	r.ok(r.p.Finalize())
	out, err := pkcs11Tool(t, r, "-L", "-M")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{r.token.Label, r.token.Serial, "SoftHSM2+SM2 sim",
		"mechtype-0x80008001", "mechtype-0x80008100", "mechtype-0x80008105", "ECDSA", "RSA-PKCS"} {
		if !strings.Contains(out, want) {
			t.Errorf("pkcs11-tool does not list %q\n%s", want, out)
		}
	}
	if out, err = pkcs11Tool(t, r, "-I"); err != nil || !strings.Contains(out, "Sealkeeper SM2 simulator") {
		t.Errorf("pkcs11-tool does not name the simulator: %v\n%s", err, out)
	}
	out, err = pkcs11Tool(t, r, "-O", "--type", "privkey")
	if err != nil || !strings.Contains(out, "listed key") || !strings.Contains(out, "sensitive, always sensitive, never extractable, local") {
		t.Errorf("pkcs11-tool does not list the key as born here and closed: %v\n%s", err, out)
	}
}

// Another process signs with a key made in this one, and checks a signature.
func TestPKCS11ToolSigns(t *testing.T) {
	r := open(t)
	k := r.generate()
	pub := r.public(k)
	r.ok(r.p.Finalize())
	f := folder{t, t.TempDir()}
	msg := randomBytes(t, 3000) // several parts, as the tool reads by blocks
	msgFile, sigFile := f.write("msg", msg), filepath.Join(f.dir, "sig")
	args := []string{"--mechanism", "0x80008100", "--id", "6b31", "--input-file", msgFile}
	if out, err := pkcs11Tool(t, r, append(args, "--sign", "--output-file", sigFile)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sig, err := os.ReadFile(sigFile)
	r.ok(err)
	if len(sig) != 64 || !sm2.VerifyASN1WithSM2(pub, []byte("1234567812345678"), msg, derSignature(t, sig)) {
		t.Errorf("the signature of pkcs11-tool does not verify: %x", sig)
	}
	out, err := pkcs11Tool(t, r, append(args, "--verify", "--signature-file", sigFile)...)
	if err != nil || !strings.Contains(out, "Signature is valid") {
		t.Errorf("pkcs11-tool rejects its signature: %v\n%s", err, out)
	}
	sig[10] ^= 1
	out, err = pkcs11Tool(t, r, append(args, "--verify", "--signature-file", f.write("bad", sig))...)
	if err == nil && !strings.Contains(out, "Invalid signature") {
		t.Errorf("pkcs11-tool accepts a changed signature\n%s", out)
	}
}

// The module hides its own names: two modules in one process must not meet.
func TestModuleExportsOneName(t *testing.T) {
	nm := tool(t, "nm")
	r := open(t)
	out, err := run(t, nm, "-D", "--defined-only", r.token.Module)
	r.ok(err)
	lines := bytes.Split(bytes.TrimSpace([]byte(out)), []byte("\n"))
	if len(lines) != 1 || !bytes.HasSuffix(lines[0], []byte(" C_GetFunctionList")) {
		t.Errorf("exported names:\n%s", out)
	}
}

// SOFTHSM2_LIB chooses the library underneath; a wrong one is an error at
// loading and no crash.
func TestLibraryOverride(t *testing.T) {
	tool(t, "pkcs11-tool")
	r := open(t)
	r.ok(r.p.Finalize())
	for _, c := range []struct{ name, library, want string }{
		{"Debian's", "/usr/lib/softhsm/libsofthsm2.so", "Sealkeeper SM2 simulator"},
		{"missing", "/nonexistent/lib.so", "libsealkeeper-sm2: loading SoftHSM2"},
		{"itself", r.token.Module, "gives no PKCS#11 function list"},
		{"no PKCS#11", "libcrypto.so.3", "gives no PKCS#11 function list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "pkcs11-tool", "--module", r.token.Module, "-I")
			cmd.Env = append(os.Environ(), "SOFTHSM2_LIB="+c.library)
			if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), c.want) {
				t.Errorf("pkcs11-tool says\n%s\nwant %q", out, c.want)
			}
		})
	}
}
