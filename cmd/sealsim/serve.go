package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/connector/publicsecurity/sim/draw"
	"sealkeeper/licence"
	"sealkeeper/signer/placement"
)

type serveConfig struct {
	dir, listen, server, ca, audience string
}

// serve answers on loopback until the context ends. It prints its address as the first line.
func serve(ctx context.Context, c serveConfig) error {
	w, err := openWorld(c)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(l.Addr().String()); !net.ParseIP(host).IsLoopback() {
		return errors.Join(fmt.Errorf("%s is not a loopback address", c.listen), l.Close())
	}
	fmt.Fprintf(os.Stdout, "sealsim listening on http://%s\n", l.Addr())
	srv := &http.Server{Handler: w.routes(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (w *world) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /registration/event", act(w.onEvent))
	mux.Handle("POST /registration/tell", act(w.onTell))
	mux.Handle("POST /public-security/engrave", act(w.onEngrave))
	mux.Handle("POST /e-licence/collect", act(w.onCollect))
	mux.Handle("POST /phone/approve", act(w.onApprove))
	mux.Handle("POST /phone/delegate", act(w.onDelegate))
	w.offices.addTo(mux)
	return mux
}

// act decodes, does and encodes; a refusal by the appliance comes back with its code.
func act[I, O any](do func(context.Context, I) (O, error)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in I
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			err = json.Unmarshal(b, &in)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := do(r.Context(), in)
		rw.Header().Set("Content-Type", "application/json")
		if err != nil {
			rw.WriteHeader(http.StatusBadGateway)
			json.NewEncoder(rw).Encode(map[string]string{"error": err.Error(), "code": client.Code(err)})
			return
		}
		json.NewEncoder(rw).Encode(out)
	})
}

type eventOrder struct {
	Kind    licence.Kind   `json:"kind"`
	Licence licence.Fields `json:"licence"` // established, changed: all fields; otherwise the code alone
}

func (w *world) onEvent(ctx context.Context, in eventOrder) (json.RawMessage, error) {
	if in.Licence.Name == "" {
		f, err := w.enterprise(in.Licence.USCC)
		if err != nil {
			return nil, err
		}
		in.Licence = f
	}
	return w.register(ctx, in.Kind, in.Licence)
}

// onTell puts an event into the registration system's feed, where the appliance finds it; nothing is sent.
func (w *world) onTell(_ context.Context, in eventOrder) (told, error) {
	f := in.Licence
	if f.Name == "" {
		var err error
		if f, err = w.enterprise(f.USCC); err != nil {
			return told{}, err
		}
	}
	if err := w.remember(f); err != nil {
		return told{}, err
	}
	if err := w.offices.registry.Tell(in.Kind, f, time.Now()); err != nil {
		return told{}, err
	}
	return told{w.offices.registry.Feed.Len()}, nil
}

type told struct {
	Seq int `json:"seq"`
}

type engraveOrder struct {
	USCC   string      `json:"uscc"`
	Types  []string    `json:"types"`
	Defect draw.Defect `json:"defect,omitempty"`
}

func (w *world) onEngrave(ctx context.Context, in engraveOrder) ([]engraved, error) {
	f, err := w.enterprise(in.USCC)
	if err != nil {
		return nil, err
	}
	return w.engrave(ctx, f, in.Types, in.Defect)
}

type collectOrder struct {
	USCC  string `json:"uscc"`
	Order string `json:"order"`
}

func (w *world) onCollect(ctx context.Context, in collectOrder) (json.RawMessage, error) {
	f, err := w.enterprise(in.USCC)
	if err != nil {
		return nil, err
	}
	return w.collect(ctx, f, in.Order)
}

// approveOrder is what a department shows the owner; the phone signs exactly this.
type approveOrder struct {
	USCC      string         `json:"uscc"`
	Request   string         `json:"request"`
	Seal      string         `json:"seal"`
	Document  string         `json:"document"`  // SM3, hexadecimal
	Placement string         `json:"placement"` // hexadecimal; empty where nothing is placed, or where the plan comes whole
	Plan      placement.Plan `json:"plan"`      // in place of its digest
	Purpose   string         `json:"purpose"`
	Client    string         `json:"client"`
	Expires   time.Time      `json:"expires"`
}

func (w *world) onApprove(_ context.Context, in approveOrder) (access.SignedApproval, error) {
	p, err := w.phoneOf(in.USCC, false)
	if err != nil {
		return access.SignedApproval{}, err
	}
	a := access.Approval{Request: in.Request, Seal: in.Seal, Purpose: in.Purpose, Client: in.Client, Expires: in.Expires}
	if err := errors.Join(digest(a.Document[:], in.Document), digest(a.Placement[:], in.Placement)); err != nil {
		return access.SignedApproval{}, err
	}
	if !in.Plan.Empty() && in.Placement != "" {
		return access.SignedApproval{}, errors.New("a plan and a digest of one: want either")
	}
	return p.ApprovePlan(a, in.Plan)
}

func digest(into []byte, s string) error {
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(into) {
		return fmt.Errorf("%q is not a digest of %d bytes", s, len(into))
	}
	copy(into, b)
	return nil
}

type delegateOrder struct {
	USCC       string            `json:"uscc"`
	Delegation access.Delegation `json:"delegation"`
}

func (w *world) onDelegate(_ context.Context, in delegateOrder) (access.SignedDelegation, error) {
	p, err := w.phoneOf(in.USCC, false)
	if err != nil {
		return access.SignedDelegation{}, err
	}
	return p.Delegate(in.Delegation)
}
