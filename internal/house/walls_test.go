package house

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "sealkeeper/"

// wall forbids what a package may reach. A package name ending in "/..." covers its children too; forbidden names are prefixes.
type wall struct {
	pkg       string
	forbidden []string
	reason    string
}

// deep walls are checked over everything a package links (go list -deps).
var deep = []wall{
	{"cmd/seald", []string{"sealkeeper/connector/publicsecurity/sim", "sealkeeper/connector/registration/sim", "sealkeeper/connector/elicence/sim",
		"sealkeeper/connector/phone/sim", "sealkeeper/connector/account/sim", "sealkeeper/connector/notice/sim", "sealkeeper/connector/authority/sim", "sealkeeper/connector/person/sim", "sealkeeper/connector/sim", "sealkeeper/softhsm-test", "sealkeeper/internal/gm/softkey"}, "no simulator and no software key in the daemon"},
	{"cmd/seald", []string{"golang.org/x/image/vector", "golang.org/x/image/font", "image/draw/"}, "law 5: the daemon links no drawing code"},
	{"signer", []string{"github.com/gin-gonic", "sealkeeper/api", "sealkeeper/connector", "sealkeeper/issuance"}, "the signing path has four hops"},
	{"signer/verify", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/signer/ofd", "sealkeeper/signer/pdf", "sealkeeper/signer/cms", "github.com/miekg"}, "the verifier runs without a token and trusts no signing parser"},
	{"signer/cms", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/signer/verify", "net/http"}, "bytes in, bytes out"},
	{"signer/timestamp", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/licence", "sealkeeper/access", "github.com/miekg"}, "keys and serial numbers come through small interfaces"},
	{"signer/verify/signeddata", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/signer/cms", "sealkeeper/signer/timestamp", "sealkeeper/signer/ofd",
		"sealkeeper/signer/pdf", "net/http"}, "law 6: the judging reader shares nothing with the writer"},
	{"signer/verify/stated", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/signer/cms", "sealkeeper/signer/statement", "net/http"}, "law 6: the judging reader shares nothing with the writer"},
	{"licence/presented", []string{"sealkeeper/api", "sealkeeper/connector", "sealkeeper/issuance", "github.com/gin-gonic"}, "the national system is behind an interface"},
	{"licence/receipt", []string{"sealkeeper/api", "sealkeeper/connector", "sealkeeper/issuance", "github.com/gin-gonic"}, "imports go down"},
	{"signer/statement", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/signer/verify", "net/http"}, "the key comes through a small interface"},
	{"signer/verify/pdf", []string{"sealkeeper/", "image"}, "law 6: the judging reader shares nothing with the writer"},
	{"signer/verify/trust", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/signer/cms", "net/http"}, "lists come as bytes"},
	{"signer/placement", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/signer/ofd", "sealkeeper/signer/verify"}, "places, whatever the container"},
	{"signer/pdf", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/signer/verify", "image/draw"}, "bytes in, bytes out; law 5"},
	{"signer/ofd", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/signer/verify"}, "bytes in, bytes out"},
	{"seal", []string{"sealkeeper/keystore", "sealkeeper/hsm", "sealkeeper/licence", "sealkeeper/access"}, "the standard's structures know nothing of us"},
	{"seal/impression", []string{"sealkeeper/keystore", "sealkeeper/hsm", "golang.org/x/image/vector", "golang.org/x/image/font"}, "the picture, no storage, no drawing"},
	{"issuance/reconcile", []string{"sealkeeper/api", "sealkeeper/connector", "sealkeeper/signer"}, "compares what others keep, and can do nothing about it"},
	{"issuance", []string{"sealkeeper/api", "sealkeeper/connector", "github.com/gin-gonic"}, "imports go down"},
	{"issuance/paper", []string{"sealkeeper/signer", "sealkeeper/hsm", "sealkeeper/issuance", "sealkeeper/softhsm-test", "sealkeeper/seal", "image/draw", "golang.org/x/image"}, "facts in, pages out; law 5: lines and text, no picture"},
	{"issuance/clerk", []string{"sealkeeper/api", "sealkeeper/connector", "github.com/gin-gonic", "sealkeeper/softhsm-test"}, "imports go down"},
	{"keystore", []string{"sealkeeper/seal", "sealkeeper/signer", "sealkeeper/licence", "sealkeeper/access"}, "custody knows keys, not seals"},
	{"licence", []string{"sealkeeper/issuance", "sealkeeper/signer", "sealkeeper/api"}, "imports no workflow"},
	{"licence/onecode", []string{"sealkeeper/issuance", "sealkeeper/api", "sealkeeper/keystore/register", "sealkeeper/hsm/worker"}, "shows what the libraries hold, and knows no seal"},
	{"licence/certificate", []string{"sealkeeper/issuance", "sealkeeper/signer", "sealkeeper/api", "sealkeeper/keystore/register"}, "keeps what departments state, and knows no seal"},
	{"keystore/register", []string{"sealkeeper/issuance", "sealkeeper/signer", "sealkeeper/api", "sealkeeper/licence", "sealkeeper/access"}, "imports no workflow"},
	{"keystore/backup", []string{"sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/licence", "sealkeeper/access"}, "copies a store, and knows nothing of what is in it"},
	{"keystore/store", []string{"sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/licence"}, "the engine knows bytes"},
	{"hsm/worker", []string{"sealkeeper/keystore", "sealkeeper/seal", "sealkeeper/signer", "sealkeeper/api", "net/http"}, "the child knows a token and its parent, nothing else"},
	{"hsm/probe", []string{"sealkeeper/keystore", "sealkeeper/seal", "sealkeeper/signer", "sealkeeper/api", "net/http"}, "it measures a token on this machine, and knows no seal"},
	{"hsm/doctor", []string{"sealkeeper/keystore", "sealkeeper/seal", "sealkeeper/signer", "sealkeeper/api", "net/http"}, "it examines a token on this machine, and knows no seal"},
	{"cmd/seald", []string{"sealkeeper/hsm/probe", "sealkeeper/hsm/doctor"}, "the daemon measures nothing: a token that serves is not experimented with"},
	{"firmware-profiles", []string{"sealkeeper/hsm", "sealkeeper/keystore"}, "imports nothing of ours"},
	{"connector/wire", []string{"sealkeeper/"}, "the way out knows nothing of what goes over it"},
	{"connector/feed", []string{"sealkeeper/issuance", "sealkeeper/signer", "sealkeeper/licence", "sealkeeper/access", "sealkeeper/keystore/register"}, "reads messages and does not know what they mean"},
	{"connector/delivery", []string{"sealkeeper/issuance", "sealkeeper/signer", "sealkeeper/licence", "sealkeeper/access", "sealkeeper/keystore/register"}, "carries messages and does not know what they mean"},
	{"access/ceremony", []string{"sealkeeper/hsm/worker", "sealkeeper/issuance", "sealkeeper/signer", "sealkeeper/seal", "sealkeeper/api", "sealkeeper/licence"}, "decides and records; acts are given to it"},
	{"client", []string{"sealkeeper/"}, "the Go client imports nothing of ours"},
	{"internal/gm/comb", []string{"sealkeeper/", "github.com/", "math/big"}, "arithmetic of its own, which both libraries judge in tests"},
	{"internal/gm", []string{"sealkeeper/hsm", "sealkeeper/keystore", "sealkeeper/seal"}, "the door stands on the ground floor"},
}

// direct walls are checked over a package's own imports, tests left out.
var direct = []wall{
	{"api", []string{"sealkeeper/hsm", "sealkeeper/keystore/store", "sealkeeper/connector"}, "handlers call use cases"},
	{"signer", []string{"sealkeeper/hsm", "go.etcd.io/bbolt", "github.com/miekg", "github.com/ThalesGroup"}, "the signing path goes through keystore"},
	{"hsm/worker", []string{"github.com/miekg", "github.com/ThalesGroup"}, "the parent of a worker never loads a module"},
	{"signer/tsa", []string{"sealkeeper/hsm", "sealkeeper/seal", "sealkeeper/access"}, "stamps digests with keys in custody, and knows no seal"},
	{"issuance", []string{"sealkeeper/hsm", "sealkeeper/signer"}, "issuance asks keystore for keys"},
}

// sole lists what only one package (with its children) may import.
var sole = []struct {
	imported, by, reason string
}{
	{"github.com/miekg/pkcs11", "hsm", "handles and CKR codes never leave hsm"},
	{"github.com/ThalesGroup/crypto11", "hsm", "one owner of the module"},
	{"github.com/emmansun/gmsm", "internal/gm", "the one door to SM2 and SM3"},
	{"github.com/tjfoc/gmsm", "internal/gm", "the one door to SM2 and SM3"},
	{"go.etcd.io/bbolt", "keystore/store", "no bucket crosses the seam"},
	{"github.com/gin-gonic/gin", "api", "no gin.Context leaves api"},
	{"github.com/danielgtaylor/huma/v2", "api", "routes are described in api"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Doc        string
	Name       string
	GoFiles    []string
	CgoFiles   []string
	Dir        string
}

func list(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,Doc,Name,GoFiles,CgoFiles,Dir", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	all := map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func TestWalls(t *testing.T) {
	all := list(t)
	check := func(w wall, imports func(listed) []string) {
		p, ok := all[module+w.pkg]
		if !ok {
			t.Errorf("the wall names %s, which does not exist", w.pkg)
			return
		}
		for _, imp := range imports(p) {
			for _, f := range w.forbidden {
				if imp != module+w.pkg && (imp == f || strings.HasPrefix(imp, strings.TrimSuffix(f, "/")+"/")) {
					t.Errorf("%s reaches %s: %s", w.pkg, imp, w.reason)
				}
			}
		}
	}
	for _, w := range deep {
		check(w, func(p listed) []string { return p.Deps })
	}
	for _, w := range direct {
		check(w, func(p listed) []string { return p.Imports })
	}
}

func TestSoleImporters(t *testing.T) {
	for path, p := range list(t) {
		for _, imp := range p.Imports {
			for _, s := range sole {
				inside := path == module+s.by || strings.HasPrefix(path, module+s.by+"/")
				if (imp == s.imported || strings.HasPrefix(imp, s.imported+"/")) && !inside {
					t.Errorf("%s imports %s, which belongs to %s: %s", path, imp, s.by, s.reason)
				}
			}
		}
	}
}

func TestNothingImportsCommands(t *testing.T) {
	for path, p := range list(t) {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module+"cmd/") {
				t.Errorf("%s imports %s", path, imp)
			}
			if strings.HasPrefix(imp, module+"connector/") && !strings.HasPrefix(path, module+"cmd/") && !strings.HasPrefix(path, module+"connector/") && !strings.HasPrefix(path, module+"softhsm-test/") {
				t.Errorf("%s imports %s; connectors are wired in cmd alone", path, imp)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for path, p := range list(t) {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue
		}
		if len(strings.Fields(p.Doc)) < 5 {
			t.Errorf("%s has no package comment", path)
		}
		if p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" ") {
			t.Errorf("%s: the comment must begin with %q", path, "Package "+p.Name)
		}
	}
}
