// Package stage sets up a whole appliance from the real binaries: a throw-away token, `seald init`, the daemon, the simulators, and one client per
// role.
//
// The demonstration, the development appliance and the end-to-end tests stand on it. Its promise: everything it starts listens on loopback and
// ends with Close, and everything it writes is under its directory.
package stage

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"sealkeeper/client"
	softhsmtest "sealkeeper/softhsm-test"
)

// Marker is the file that tells a stage's directory from anybody else's.
const Marker = ".sealkeeper-demo"

// Roles are the callers that a stage registers, by the name of their files in clients/.
var Roles = map[string]string{"system": "operator-system", "security": "operator-security", "audit": "operator-audit", "department": "department"}

// Config says where and from what.
type Config struct {
	Dir    string            // made fresh; an existing directory is refused
	Build  string            // holds seald, sealctl and sealsim
	Listen string            // of the daemon; 127.0.0.1:0 when empty
	Say    func(line string) // progress, may be nil
	Anchor string            // token (default) or a file
	More   []string          // further lines of the plan's config, in YAML, without indentation
}

// Stage is a running appliance with its surroundings.
type Stage struct {
	Dir, Build string
	Token      *softhsmtest.Token
	Address    string // https://… of the daemon
	Sim        string // http://… of the simulators
	Config     string // path of seald.yaml
	listen     string
	say        func(string)
	seald, sim *Process
	mu         sync.Mutex // guards clients
	clients    map[string]*client.Client
	ids        map[string]string
}

// New makes the token, everybody's keys and the appliance's state. Nothing runs yet.
func New(ctx context.Context, c Config) (*Stage, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	build, err := filepath.Abs(c.Build)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("laying the stage: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, Marker), nil, 0o600); err != nil {
		return nil, err
	}
	s := &Stage{Dir: dir, Build: build, listen: c.Listen, say: c.Say, clients: map[string]*client.Client{}, ids: map[string]string{},
		Config: filepath.Join(dir, "state", "seald.yaml")}
	if s.say == nil {
		s.say = func(string) {}
	}
	if s.listen == "" {
		s.listen = "127.0.0.1:0"
	}
	if s.Token, err = softhsmtest.InitToken(ctx, filepath.Join(dir, "token"), "sealkeeper-demo"); err != nil {
		return nil, err
	}
	if err := s.writeEnv(); err != nil {
		return nil, err
	}
	return s, s.initialise(ctx, c)
}

// writeEnv leaves a file to source, so that pkcs11-tool and sealctl open the same token and appliance.
func (s *Stage) writeEnv() error {
	lines := []string{"export SOFTHSM2_CONF=" + s.Token.Conf, "export PKCS11_MODULE=" + s.Token.Module, "export PIN_FILE=" + s.Token.PINFile,
		"# pkcs11-tool --module $PKCS11_MODULE --token-label " + s.Token.Label + " --login --pin file:$PIN_FILE … (older versions: --pin $(cat $PIN_FILE)) -O",
		"export SEALCTL_CA=" + filepath.Join(s.Dir, "state", "client-ca.pem")}
	return os.WriteFile(filepath.Join(s.Dir, "env"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (s *Stage) initialise(ctx context.Context, c Config) error {
	if err := s.run(ctx, "sealsim", "init", "--dir", filepath.Join(s.Dir, "sim")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "clients"), 0o700); err != nil {
		return err
	}
	for name := range Roles {
		if err := s.run(ctx, "sealctl", "csr", "--name", "示例 "+name, "--out", filepath.Join(s.Dir, "clients", name)); err != nil {
			return err
		}
	}
	plan, err := s.plan(c)
	if err != nil {
		return err
	}
	path := filepath.Join(s.Dir, "plan.yaml")
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		return err
	}
	if err := s.run(ctx, "seald", "init", "--plan", path); err != nil {
		return err
	}
	return s.writeCatalogue()
}

// FoodPermit is the type of certificate that the stage's catalogue gives the department.
const FoodPermit = "11100000YYY00AMR1B001"

// PermitIssuer is the issuer part of its identifiers.
const PermitIssuer = "11410300YYY00AMR13"

// writeCatalogue gives the department a type of certificate to issue.
func (s *Stage) writeCatalogue() error {
	id, err := s.ID("department")
	if err != nil {
		return err
	}
	text := fmt.Sprintf("types:\n  - {type: %s, title: 食品经营许可证（演示数据）, department: 示例市市场监督管理局, issuers: [%s], clients: [%q], attributes: [许可项目], public: true}\n",
		FoodPermit, PermitIssuer, id)
	return os.WriteFile(filepath.Join(s.Dir, "catalogue.yaml"), []byte(text), 0o600)
}

// plan writes what an operator would review and sign off.
func (s *Stage) plan(c Config) (string, error) {
	anchor := c.Anchor
	if anchor == "" {
		anchor = "token"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "state: state\nbureau: 示例市市场监督管理局\nhosts: [127.0.0.1, localhost]\nconfig:\n  mode: demo\n  division: \"410300\"\n  listen: %q\n  anchor: %q\n", s.listen, anchor)
	fmt.Fprintf(&b, "  token: {module: %q, profile: softhsm2-sm2, label: %q, pin_file: %q, sessions: 16}\n  sources:\n", s.Token.Module, s.Token.Label, s.Token.PINFile)
	for _, src := range []struct{ key, file string }{{"registration", "registration"}, {"public_security", "public-security"}, {"e_licence", "e-licence"}} {
		pin, err := os.ReadFile(filepath.Join(s.Dir, "sim", src.file+".pin"))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "    %s: [%q]\n", src.key, strings.TrimSpace(string(pin)))
	}
	b.WriteString("  pages: https://seal.example\n  certificates: {catalogue: catalogue.yaml}\n")
	for _, line := range c.More {
		b.WriteString("  " + line + "\n")
	}
	b.WriteString("clients:\n")
	for name, role := range Roles {
		person := ""
		if name != "department" {
			person = ", person: DEMO-" + name
		}
		fmt.Fprintf(&b, "  - {name: 示例 %s, role: %s%s, csr: clients/%s.csr, certificate: clients/%s.crt}\n", name, role, person, name, name)
	}
	for file, role := range map[string]string{"registration": "source-registration", "public-security": "source-public-security", "e-licence": "source-elicence"} {
		fmt.Fprintf(&b, "  - {name: 示例 %s, role: %s, csr: sim/%s.csr, certificate: sim/%s.crt}\n", file, role, file, file)
	}
	return b.String(), nil
}

// run runs one of our programs to its end and shows what it said when it fails.
func (s *Stage) run(ctx context.Context, program string, args ...string) error {
	cmd := s.Command(ctx, program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if program == "seald" {
			s.say("  " + line)
		}
	}
	return nil
}

// Command prepares one of our programs with the token's environment.
func (s *Stage) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Build, program), args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Token.Conf, "SEALCTL_SERVER="+s.Address, "SEALCTL_CA="+s.CA())
	return cmd
}

// CA is the PEM file that verifies the appliance.
func (s *Stage) CA() string { return filepath.Join(s.Dir, "state", "client-ca.pem") }

// As prepares sealctl in one of the Roles, or as a source by the simulator's file name.
func (s *Stage) As(ctx context.Context, role string, args ...string) *exec.Cmd {
	prefix, key := s.prefix(role)
	return s.Command(ctx, "sealctl", append([]string{"--cert", prefix + ".crt", "--key", prefix + key}, args...)...)
}

// Client calls the appliance as one of the Roles, or as a source by the simulator's file name.
func (s *Stage) Client(role string) (*client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[role]; c != nil {
		return c, nil
	}
	prefix, key := s.prefix(role)
	c, err := client.New(client.Config{Address: s.Address, CA: s.CA(), Certificate: prefix + ".crt", Key: prefix + key})
	if err == nil {
		s.clients[role] = c
	}
	return c, err
}

// prefix is where the files of a role, or of a source, begin, and how the name of its key ends.
func (s *Stage) prefix(role string) (prefix, key string) {
	if _, ok := Roles[role]; ok {
		return filepath.Join(s.Dir, "clients", role), ".key"
	}
	return filepath.Join(s.Dir, "sim", role), ".tls.key"
}

// ID is the client identity of a role, or of a source by the simulator's file name: SHA-256 of its public key, hexadecimal.
func (s *Stage) ID(role string) (string, error) {
	prefix, _ := s.prefix(role)
	b, err := os.ReadFile(prefix + ".crt")
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return "", errors.New("no certificate of " + role)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	d := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(d[:]), nil
}

// Close ends what runs.
func (s *Stage) Close() error { return errors.Join(s.StopSim(), s.StopSeald()) }
