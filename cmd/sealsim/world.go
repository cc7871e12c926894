package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sealkeeper/client"
	elicence "sealkeeper/connector/elicence/sim"
	phone "sealkeeper/connector/phone/sim"
	publicsecurity "sealkeeper/connector/publicsecurity/sim"
	"sealkeeper/connector/publicsecurity/sim/draw"
	registration "sealkeeper/connector/registration/sim"
	"sealkeeper/internal/envelope"
	"sealkeeper/internal/gm/softkey"
	"sealkeeper/licence"
)

// world is the four systems together with what they remember, on disk, so that a restart forgets nothing.
type world struct {
	dir      string
	audience string
	calls    map[string]*client.Client // by source
	reg      registration.System
	ps       publicsecurity.System
	el       elicence.System
	offices  *offices
	mu       sync.Mutex // guards number
	number   int
}

func openWorld(c serveConfig) (*world, error) {
	w := &world{dir: c.dir, audience: c.audience, calls: map[string]*client.Client{}}
	keys := map[string]*softkey.Key{}
	for _, name := range sources {
		prefix := filepath.Join(c.dir, name)
		k, err := softkey.Load(prefix + ".key")
		if err != nil {
			return nil, err
		}
		keys[name] = k
		if w.calls[name], err = client.New(client.Config{Address: c.server, CA: c.ca, Certificate: prefix + ".crt", Key: prefix + ".tls.key"}); err != nil {
			return nil, err
		}
	}
	filed, err := os.ReadDir(filepath.Join(c.dir, "impressions"))
	if err != nil {
		return nil, err
	}
	w.number = len(filed) // numbers go on after a restart
	w.reg.Key, w.ps.Key, w.el.Key = keys["registration"], keys["public-security"], keys["e-licence"]
	w.offices, err = openOffices(c.dir, w.reg.Key, w.ps.Key, w.enterprise)
	return w, err
}

// send posts an envelope as one of the sources. The key is the message's own, so sending again changes nothing.
func (w *world) send(ctx context.Context, source, path, key string, e envelope.Envelope) (json.RawMessage, error) {
	var out json.RawMessage
	err := w.calls[source].JSON(ctx, "POST", path, nil, key, e, &out)
	return out, err
}

func (w *world) enterprise(uscc string) (licence.Fields, error) {
	var f licence.Fields
	b, err := os.ReadFile(filepath.Join(w.dir, "enterprises", filepath.Base(uscc)+".json"))
	if err != nil {
		return f, fmt.Errorf("enterprise %s is not known here: %w", uscc, err)
	}
	return f, json.Unmarshal(b, &f)
}

func (w *world) remember(f licence.Fields) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "enterprises", filepath.Base(f.USCC)+".json"), b, 0o600)
}

// register sends a licence event.
func (w *world) register(ctx context.Context, kind licence.Kind, f licence.Fields) (json.RawMessage, error) {
	e, err := w.reg.Event(kind, f, time.Now())
	if err != nil {
		return nil, err
	}
	if err := w.remember(f); err != nil {
		return nil, err
	}
	return w.send(ctx, "registration", "/v1/licences", client.NewKey(), e)
}

type engraved struct {
	Type   string          `json:"type"`
	File   string          `json:"file"`
	Filing string          `json:"filing"`
	Answer json.RawMessage `json:"answer"`
}

// engrave draws the impressions of the given types, keeps the pictures, and files them one by one.
func (w *world) engrave(ctx context.Context, f licence.Fields, types []string, defect draw.Defect) ([]engraved, error) {
	var done []engraved
	for _, t := range types {
		w.mu.Lock()
		w.number++
		n := w.number
		w.mu.Unlock()
		filing, err := w.ps.Engrave(f, t, n, defect, time.Now())
		if err != nil {
			return done, err
		}
		file := filepath.Join(w.dir, "impressions", fmt.Sprintf("%s-%s.%s", f.USCC, t, strings.ToLower(filing.Format)))
		if err := os.WriteFile(file, filing.Image, 0o600); err != nil {
			return done, err
		}
		e, err := w.ps.File(filing)
		if err != nil {
			return done, err
		}
		answer, err := w.send(ctx, "public-security", "/v1/impressions", filing.FilingNumber, e)
		if err != nil {
			return done, err
		}
		done = append(done, engraved{t, file, filing.FilingNumber, answer})
	}
	return done, nil
}

// collect makes the owner's device key on first use, has the e-licence system vouch for it, and takes the order's seals over.
func (w *world) collect(ctx context.Context, f licence.Fields, order string) (json.RawMessage, error) {
	p, err := w.phoneOf(f.USCC, true)
	if err != nil {
		return nil, err
	}
	point, err := p.Public()
	if err != nil {
		return nil, err
	}
	e, err := w.el.Sign(w.el.Assertion(f.USCC, f.LegalRep, "p256", point, w.audience, time.Now()))
	if err != nil {
		return nil, err
	}
	return w.send(ctx, "e-licence", "/v1/orders/"+order+"/collect", client.NewKey(), e)
}

func (w *world) phoneOf(uscc string, create bool) (*phone.Phone, error) {
	path := filepath.Join(w.dir, "phones", filepath.Base(uscc)+".pem")
	p, err := phone.Load(path)
	if err == nil || !create || !os.IsNotExist(err) {
		return p, err
	}
	if p, err = phone.New(); err != nil {
		return nil, err
	}
	return p, p.Save(path)
}
