package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealkeeper/access/ceremony"
	"sealkeeper/client"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestUSBKey: an officer whose key was born in a token of their own, never leaves it, opens the TLS connection and approves a ceremony.
func TestUSBKey(t *testing.T) {
	s := shared(t)
	dir := t.TempDir()
	usb := mustOf(softhsmtest.InitToken(t.Context(), filepath.Join(dir, "usb"), "usb-key"))(t)
	prefix := filepath.Join(dir, "officer")
	run := func(args ...string) (int, string, string) {
		t.Helper()
		cmd := s.Command(t.Context(), "sealctl", args...)
		for i, v := range cmd.Env { // the officer's machine: their token, and not the appliance's
			if strings.HasPrefix(v, "SOFTHSM2_CONF=") {
				cmd.Env[i] = "SOFTHSM2_CONF=" + usb.Conf
			}
		}
		var errs strings.Builder
		cmd.Stderr = &errs
		out, _ := cmd.Output()
		return cmd.ProcessState.ExitCode(), string(out), errs.String()
	}
	if code, _, errs := run("token", "enrol", "--module", usb.Module, "--profile", "softhsm2-sm2", "--serial", usb.Serial, "--pin-file", usb.PINFile, "--name", "示例 安全员", "--out", prefix); code != 0 {
		t.Fatalf("enrol: %d %s", code, errs)
	}
	_, certificate := s.appoint(t, dir, "operator-security", "E2E-"+client.NewKey(), string(mustOf(os.ReadFile(prefix+".csr"))(t)))
	write(t, prefix+".crt", []byte(certificate))
	own := []string{"--cert", prefix + ".crt", "--key", prefix + ".key.yaml"}
	if code, out, errs := run(append(own, "client", "list")...); code != 0 || !strings.Contains(out, "operator-security") {
		t.Fatalf("mutual TLS with the key in the token: %d %s%s", code, out, errs)
	}
	var c ceremony.Ceremony
	s.officer(t, "system", &c, "ceremony", planned(t, dir, "  - action: clear-pin-latch\n    token: none\n", 1))
	if code, _, errs := run(append(own, "ceremony", "approve", c.ID, "--yes")...); code != 0 {
		t.Fatalf("approving with the key in the token: %d %s", code, errs)
	}
	s.officer(t, "system", &c, "ceremony", "show", c.ID)
	if len(c.Approvals) != 1 || c.Approvals[0].Role != "operator-security" {
		t.Errorf("approvals %+v", c.Approvals)
	}
	if exit, _, errs := s.sealctl(t, "system", "ceremony", "execute", c.ID); exit != 2 || !strings.Contains(errs, "ceremony-refused") {
		t.Errorf("no latch to clear: %d %s", exit, errs)
	}
	s.officer(t, "system", &c, "ceremony", "abandon", c.ID, "--reason", "演示")
}
