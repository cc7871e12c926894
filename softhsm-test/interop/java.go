package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var (
	//go:embed java/Interop.java
	source []byte
	//go:embed java/pom.xml
	pom []byte
)

// errNoJava: there is no JDK, no Maven, or Maven cannot get what pom.xml names.
var errNoJava = errors.New("no JDK and Maven with ofdrw")

// java is the compiled other side.
type java struct{ classPath string }

// newJava has Maven resolve the libraries and javac compile the program.
func newJava(ctx context.Context, dir string) (*java, error) {
	for _, tool := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoJava, err)
		}
	}
	work, err := filepath.Abs(filepath.Join(dir, "java"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, err
	}
	for name, b := range map[string][]byte{"pom.xml": pom, "Interop.java": source} {
		if err := os.WriteFile(filepath.Join(work, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	list := filepath.Join(work, "classpath")
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", filepath.Join(work, "pom.xml"), "dependency:build-classpath", "-Dmdep.outputFile="+list)
	if out, err := mvn.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w: %s", errNoJava, err, firstLine(out))
	}
	libraries, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSpace(string(libraries))
	if out, err := exec.CommandContext(ctx, "javac", "-nowarn", "-cp", path, "-d", work, filepath.Join(work, "Interop.java")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling: %w: %s", err, out)
	}
	return &java{classPath: work + string(os.PathListSeparator) + path}, nil
}

// verdict is one line of the other side.
type verdict struct {
	ok        bool
	act, rest string
}

// run executes one command and returns its verdicts.
func (j *java) run(ctx context.Context, args ...string) ([]verdict, error) {
	cmd := exec.CommandContext(ctx, "java", append([]string{"-cp", j.classPath, "Interop"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w: %s", args[0], err, firstLine(stderr.Bytes()))
	}
	var all []verdict
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		act, rest, _ := strings.Cut(rest, " ")
		if word == "ok" || word == "no" {
			all = append(all, verdict{word == "ok", act, rest})
		}
	}
	return all, nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
