package main

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"sealkeeper/client"
)

// byCode says what to do about a refusal, where there is something to do from here.
var byCode = map[string]string{
	"no-client-certificate":  "name your certificate and key with --cert and --key (SEALCTL_CERT, SEALCTL_KEY); sealctl csr makes a key",
	"unknown-client":         "a security operator registers this certificate's key with sealctl client add",
	"not-entitled":           "use the certificate of a role that may do this, or ask a security operator for a grant on this seal",
	"approval-missing":       "have the owner approve (sealctl phone approve) and pass the file with --approval, or name a delegation with --delegation",
	"approval-foreign":       "approve exactly this request: the same Idempotency-Key, seal, document, stamps, purpose and client",
	"approval-replayed":      "each approval counts once: have the owner approve again under a new Idempotency-Key",
	"approval-expired":       "have the owner approve again",
	"no-device":              "the enterprise collects its seals first: sealctl order collect",
	"key-outside":            "sign where the seal's key is: plug its token in and add --seal-key PREFIX.key.yaml",
	"key-inside":             "leave --seal-key out: the appliance has this key",
	"reservation-void":       "repeat the same command with the same --idempotency-key",
	"signature-wrong":        "use the token that holds the seal's key (sealctl seal show)",
	"digest-only":            "send the document itself (sealctl sign ofd), or ask for a grant with --digest-only",
	"idempotency-key-reused": "use a fresh --idempotency-key: this one answered another request",
	"conflict":               "somebody else changed the record meanwhile: look at it and repeat",
	"clock":                  "compare the appliance's clock with another; a system operator then runs sealctl clock accept",
	"read-only":              "sealctl health names the reason; after a rollback two operators run sealctl recovery resynchronise",
	"pin-latched":            "a wrong PIN was tried once: correct the PIN file, clear the latch on the appliance and restart seald",
	"token-gone":             "put the token back; seald goes on by itself",
	"token-interrupted":      "repeat the call with the same Idempotency-Key; seald has started a new process for the token",
	"unknown-outcome":        "repeat the same command with the same --idempotency-key",
	"too-many-requests":      "wait a second and repeat, with fewer calls at once",
	"busy":                   "wait a second and repeat",
}

// advice says what to do about an error, or "".
func advice(err error) string {
	var p *client.Problem
	if errors.As(err, &p) {
		return byCode[p.Code]
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var dns *net.DNSError
	switch {
	case errors.As(err, &authority):
		return "name the PEM file of the appliance's own CA with --ca (SEALCTL_CA)"
	case errors.As(err, &host):
		return "use an address for which the appliance's certificate was made (--server)"
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &dns):
		return "start seald, or name its address with --server (SEALCTL_SERVER)"
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), "the appliance's CA"):
		return "name the PEM file that verifies the appliance with --ca (SEALCTL_CA)"
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(err.Error(), "the client's certificate"):
		return "name your certificate and key with --cert and --key (SEALCTL_CERT, SEALCTL_KEY)"
	case errors.Is(err, fs.ErrExist):
		return "name another file, or remove this one: sealctl never overwrites"
	}
	return ""
}
