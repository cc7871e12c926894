package main

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sealkeeper/internal/gm/softkey"
	"sealkeeper/issuance/ca"
)

const document = "../../docs/configuration.md"

// keysOf walks a configuration struct and returns its leaves as they are written in YAML, list items without an index.
func keysOf(t reflect.Type, prefix string) []string {
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		ft := f.Type
		if ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && ft != reflect.TypeFor[ca.Period]() {
			all = append(all, keysOf(ft, prefix+name+".")...)
			continue
		}
		all = append(all, prefix+name)
	}
	return all
}

// TestEveryKeyIsDocumented compares the structs with the tables, both ways.
func TestEveryKeyIsDocumented(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	daemon, plan, cut := strings.Cut(string(b), "\n## plan.yaml\n")
	if !cut {
		t.Fatal("no chapter on plan.yaml")
	}
	plan, _, _ = strings.Cut(plan, "\n## ")
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (.+) \\| (.+) \\| (.+) \\|$")
	for name, c := range map[string]struct {
		text string
		of   reflect.Type
	}{"seald.yaml": {daemon, reflect.TypeFor[Config]()}, "plan.yaml": {plan, reflect.TypeFor[Plan]()}} {
		t.Run(name, func(t *testing.T) {
			var written []string
			for _, m := range row.FindAllStringSubmatch(c.text, -1) {
				written = append(written, m[1])
			}
			keys := keysOf(c.of, "")
			slices.Sort(keys)
			slices.Sort(written)
			if !slices.Equal(keys, written) {
				t.Errorf("keys of the struct:\n%s\nkeys in the tables:\n%s", strings.Join(keys, "\n"), strings.Join(written, "\n"))
			}
		})
	}
}

// example returns the chapter's YAML with pinned keys in it that are points.
func example(t *testing.T, chapter string) string {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n## "+chapter+"\n")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	block, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatalf("no example of %s", chapter)
	}
	return strings.ReplaceAll(block, "04…", point(t))
}

func point(t *testing.T) string {
	t.Helper()
	k, err := softkey.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(k.Public().Point())
}

func put(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExamplesLoad(t *testing.T) {
	if _, err := LoadConfig(put(t, example(t, "seald.yaml"))); err != nil {
		t.Error(err)
	}
	p, err := loadPlan(put(t, example(t, "plan.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if l := p.Lifetimes.over(ca.DefaultLifetimes()); l != ca.DefaultLifetimes() {
		t.Errorf("the example gives other lifetimes than the defaults: %+v", l)
	}
	if len(p.Clients) != 3 || p.Clients[1].Role != "operator-security" {
		t.Errorf("clients %+v", p.Clients)
	}
}

func TestDefaults(t *testing.T) {
	path := put(t, example(t, "seald.yaml"))
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	beside := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	if c.Listen != "127.0.0.1:8443" || c.Log != "info" || c.Audience != "sealkeeper-410300" || c.Token.Sessions != 16 ||
		c.Issuance.Release != "together" || c.Issuance.SealYears != 3 || !slices.Equal(c.Issuance.Set, []string{"01", "02", "03", "05"}) {
		t.Errorf("defaults: %+v", c)
	}
	if c.Store.Path != beside("sealkeeper.db") || c.Token.LatchFile != beside("pin-latch.json") || c.TLS.Key != beside("server.key") || c.PKI.Root != beside("root.pem") {
		t.Errorf("relative paths: %+v", c)
	}
	if c.Token.Module != "/opt/example/libpkcs11.so" || c.Anchor != "/var/lib/sealkeeper-anchor/checkpoint" {
		t.Errorf("absolute paths: %+v", c)
	}
	bare := regexp.MustCompile(`(?m)^anchor: .*$`).ReplaceAllString(example(t, "seald.yaml"), "")
	if c, err = LoadConfig(put(t, bare)); err != nil || c.Anchor != "token" {
		t.Errorf("anchor %q, %v", c.Anchor, err)
	}
}

// TestLaw10UnknownKeysStopTheStart puts a key that nobody knows into every mapping of both files.
func TestLaw10UnknownKeysStopTheStart(t *testing.T) {
	daemon := func(path string) error { _, err := LoadConfig(path); return err }
	plan := func(path string) error { _, err := loadPlan(path); return err }
	for name, c := range map[string]struct {
		chapter, at, with string
		load              func(string) error
	}{
		"top":             {"seald.yaml", "mode: demo", "mode: demo\nmood: demo", daemon},
		"store":           {"seald.yaml", "store: {", "store: {mood: 1, ", daemon},
		"token":           {"seald.yaml", "  label: sealkeeper", "  label: sealkeeper\n  mood: 1", daemon},
		"tls":             {"seald.yaml", "tls: {", "tls: {mood: 1, ", daemon},
		"pki":             {"seald.yaml", "pki: {", "pki: {mood: 1, ", daemon},
		"sources":         {"seald.yaml", "sources:\n", "sources:\n  mood: []\n", daemon},
		"issuance":        {"seald.yaml", "mode: demo", "mode: demo\nissuance: {mood: 1}", daemon},
		"limits":          {"seald.yaml", "mode: demo", "mode: demo\nlimits: {mood: 1}", daemon},
		"connectors":      {"seald.yaml", "mode: demo", "mode: demo\nconnectors: {mood: 1}", daemon},
		"system outside":  {"seald.yaml", "mode: demo", "mode: demo\nconnectors: {systems: [{system: notice, url: http://x, mood: 1}]}", daemon},
		"key given twice": {"seald.yaml", "mode: demo", "mode: demo\nmode: demo", daemon},
		"plan":            {"plan.yaml", "hosts:", "mood: 1\nhosts:", plan},
		"plan's config":   {"plan.yaml", "  mode: demo", "  mode: demo\n  mood: 1", plan},
		"plan's store":    {"plan.yaml", "  mode: demo", "  mode: demo\n  store: {path: elsewhere}", plan},
		"plan's client":   {"plan.yaml", "person: DEMO-1", "person: DEMO-1, mood: 1", plan},
		"plan's lifetime": {"plan.yaml", "lifetimes: {", "lifetimes: {seal: 3y, ", plan},
	} {
		t.Run(name, func(t *testing.T) {
			text := example(t, c.chapter)
			changed := strings.Replace(text, c.at, c.with, 1)
			if changed == text {
				t.Fatalf("the example has no %q", c.at)
			}
			if err := c.load(put(t, changed)); err == nil {
				t.Error("it starts")
			} else if word := regexp.MustCompile(`mood|mode|store|seal`); !word.MatchString(err.Error()) {
				t.Errorf("the key is not named: %v", err)
			}
		})
	}
}

// TestLaw10WrongValuesAreNamed changes one value each; the error names its key.
func TestLaw10WrongValuesAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ at, with, says string }{
		"mode":                   {"mode: demo", "mode: trial", "mode must be"},
		"no mode":                {"mode: demo", "", "mode must be"},
		"division":               {`"410300"`, `"4103"`, "division"},
		"division's text":        {`"410300"`, `"41030x"`, "division"},
		"store":                  {"{path: sealkeeper.db}", `{path: ""}`, "store.path"},
		"module":                 {"module: /opt/example/libpkcs11.so", `module: ""`, "token.module"},
		"token":                  {"label: sealkeeper", `label: ""`, "token.label or token.serial"},
		"pin":                    {"pin_file: /run/credentials/seald/pin", `pin_file: ""`, "token.pin_file"},
		"sessions":               {"label: sealkeeper", "label: sealkeeper\n  sessions: many", "many"},
		"tls":                    {"key: server.key", `key: ""`, "tls.key"},
		"log":                    {"mode: demo", "mode: demo\nlog: loud", "log must be"},
		"release":                {"mode: demo", "mode: demo\nissuance: {release: sometimes}", "issuance.release"},
		"custody":                {"mode: demo", "mode: demo\ncustody: {seals: anywhere}", "custody.seals"},
		"keys per KEK":           {"mode: demo", "mode: demo\ncustody: {keys_per_kek: -1}", "custody.keys_per_kek"},
		"open keys":              {"mode: demo", "mode: demo\ncustody: {open_keys: 2000000}", "custody.open_keys"},
		"renewal":                {"mode: demo", "mode: demo\ncustody: {renew_after: 10}", "custody.renew_after"},
		"years":                  {"mode: demo", "mode: demo\nissuance: {seal_years: 11}", "issuance.seal_years"},
		"timeout":                {"mode: demo", "mode: demo\nlimits: {timeout: 11m}", "limits.timeout"},
		"timeout's unit":         {"mode: demo", "mode: demo\nlimits: {timeout: 30}", "timeout"},
		"negative limit":         {"mode: demo", "mode: demo\nlimits: {per_client: -1}", "limits"},
		"unknown system":         {"mode: demo", "mode: demo\nconnectors: {systems: [{system: weather, url: http://x}]}", "connectors.systems.system"},
		"system twice":           {"mode: demo", "mode: demo\nconnectors: {systems: [{system: notice, url: http://x}, {system: notice, url: http://y}]}", "twice"},
		"system without address": {"mode: demo", "mode: demo\nconnectors: {systems: [{system: notice}]}", "connectors.systems.url"},
		"system's file":          {"mode: demo", "mode: demo\nconnectors: {systems: [{system: notice, url: file:///x}]}", "connectors.systems.url"},
		"system's key alone":     {"mode: demo", "mode: demo\nconnectors: {systems: [{system: notice, url: http://x, key: k}]}", "go together"},
		"system's patience":      {"mode: demo", "mode: demo\nconnectors: {systems: [{system: notice, url: http://x, timeout: 6m}]}", "connectors.systems.timeout"},
		"dead letters":           {"mode: demo", "mode: demo\nconnectors: {dead_tries: -1}", "connectors"},
		"set of a kind":          {"mode: demo", "mode: demo\nissuance: {sets: {\"9\": [\"01\"]}}", "issuance.sets"},
		"expiry":                 {"mode: demo", "mode: demo\nissuance: {expire_collection: -1h}", "issuance.expire"},
		"batch":                  {"mode: demo", "mode: demo\nlimits: {batch: 1000}", "limits.batch"},
		"pinned, no hex":         {"registration: [", `registration: ["zz", `, "hexadecimal"},
		"pinned, short":          {"e_licence: [", `e_licence: ["0401", `, "pinned key"},
		"pinned, no point":       {"public_security: [", `public_security: ["04` + strings.Repeat("01", 64) + `", `, "pinned key"},
	} {
		t.Run(name, func(t *testing.T) {
			text := example(t, "seald.yaml")
			changed := strings.Replace(text, c.at, c.with, 1)
			if changed == text {
				t.Fatalf("the example has no %q", c.at)
			}
			if _, err := LoadConfig(put(t, changed)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a missing file starts")
	}
}

func TestLaw10WrongPlansAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ at, with, says string }{
		"state":    {"state: /var/lib/sealkeeper", `state: ""`, "state, bureau and hosts"},
		"hosts":    {"hosts: [seal.example.cn, 127.0.0.1]", "hosts: []", "state, bureau and hosts"},
		"client":   {"csr: audit.csr, ", "", "示例 审计员"},
		"lifetime": {"root: 20y", "root: 20 years", "period"},
		"nothing":  {"root: 20y", "root: 0y", "period"},
		"division": {`"410300"`, `"洛阳"`, "division"},
		"mode":     {"mode: demo", "mode: trial", "mode must be"},
	} {
		t.Run(name, func(t *testing.T) {
			text := example(t, "plan.yaml")
			changed := strings.Replace(text, c.at, c.with, 1)
			if changed == text {
				t.Fatalf("the example has no %q", c.at)
			}
			if _, err := loadPlan(put(t, changed)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
}
