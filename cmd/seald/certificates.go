package main

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"sealkeeper/licence/certificate"
)

// CertificatesConfig is about certificates beside the business licence.
type CertificatesConfig struct {
	// Catalogue is the YAML file that lists the types of certificates and the departments' clients that state them; it is read again when it
	// changes. Default: none, and nobody can put a certificate. Cannot cause a false signature.
	Catalogue string `yaml:"catalogue"`
}

// catalogueFile is the catalogue as its file says now. A file that became unusable is complained of, and what it said before stays.
type catalogueFile struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	seen stamped // guarded by mu
	is   *certificate.Catalogue
}

// openCatalogue reads the file; at the start one that cannot be used keeps the daemon from serving.
func openCatalogue(path string, log *slog.Logger) (*catalogueFile, error) {
	f := &catalogueFile{path: path, log: log, is: certificate.EmptyCatalogue()}
	if path == "" {
		return f, nil
	}
	f.seen = f.look()
	return f, f.read()
}

func (f *catalogueFile) look() stamped {
	info, err := os.Stat(f.path)
	if err != nil {
		return stamped{}
	}
	return stamped{info.Size(), info.ModTime()}
}

func (f *catalogueFile) read() error {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("reading the certificate catalogue: %w", err)
	}
	c, err := certificate.ParseCatalogue(b)
	if err != nil {
		return fmt.Errorf("reading the certificate catalogue %s: %w", f.path, err)
	}
	f.is = c
	return nil
}

// now is the catalogue that counts.
func (f *catalogueFile) now() *certificate.Catalogue {
	if f.path == "" {
		return f.is
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if is := f.look(); is != f.seen {
		f.seen = is
		if err := f.read(); err != nil {
			f.log.Warn("the certificate catalogue stays as it was", "error", err.Error())
		} else {
			f.log.Info("the certificate catalogue was read again", "types", len(f.is.Types()))
		}
	}
	return f.is
}

// openCertificates opens the certificate library over licences and access.
func (a *appliance) openCertificates() error {
	catalogue, err := openCatalogue(a.cfg.Certificates.Catalogue, a.log)
	if err != nil {
		return err
	}
	a.certificates, err = certificate.New(certificate.Config{Store: a.store, Licences: a.library, Access: a.access, Catalogue: catalogue.now, Now: time.Now})
	return err
}
