package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/hsm"
	"sealkeeper/keystore/register"
	"sealkeeper/licence"
	"sealkeeper/softhsm-test/synthetic"
)

// set are the seal types of an enterprise in the demonstration's order.
var set = []string{"01", "02", "03", "05"}

// fields is the registration of a synthetic enterprise.
func fields(n int) licence.Fields {
	e := synthetic.New("demo", n)
	return licence.Fields{USCC: e.USCC, Name: e.Name, EntityType: e.EntityType, LegalRep: e.LegalRep, Capital: e.Capital, Established: e.Established,
		TermFrom: e.TermFrom, TermTo: e.TermTo, Scope: e.Scope, Address: e.Address, Division: e.Division, Authority: e.Authority, Approved: e.Approved}
}

// sealed is a seal as the API tells it.
type sealed struct {
	Seal register.Seal `json:"seal"`
	Key  hsm.Birth     `json:"key"`
}

// establish registers an enterprise, has its four seals engraved and filed, and waits until the set is made.
func (s *show) establish(ctx context.Context, f licence.Fields) (order string, err error) {
	var taken struct {
		Order string `json:"order"`
	}
	if err := s.Play(ctx, "/registration/event", map[string]any{"kind": "established", "licence": f}, &taken); err != nil {
		return "", fmt.Errorf("licence event: %w", err)
	}
	if err := s.Play(ctx, "/public-security/engrave", map[string]any{"uscc": f.USCC, "types": set}, nil); err != nil {
		return "", fmt.Errorf("filing impressions: %w", err)
	}
	return taken.Order, s.awaitMade(ctx, taken.Order)
}

// awaitMade asks for the order until its set is made.
func (s *show) awaitMade(ctx context.Context, order string) error {
	op, err := s.Client("system")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		var o register.Order
		if err := op.JSON(ctx, "GET", "/v1/orders/"+order, nil, "", nil, &o); err != nil {
			return err
		}
		switch o.State {
		case register.OrderMade, register.OrderActive:
			tick.Stop()
			return nil
		case register.OrderException:
			return fmt.Errorf("order %s is an exception: %+v", order, o.Exception)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("order %s is still %s: %w", order, o.State, ctx.Err())
		case <-tick.C:
		}
	}
}

// seals returns an enterprise's seals with the evidence of their keys, in the order of the set.
func (s *show) seals(ctx context.Context, uscc string) ([]sealed, error) {
	op, err := s.Client("system")
	if err != nil {
		return nil, err
	}
	var page struct{ Items []register.Seal }
	if err := op.JSON(ctx, "GET", "/v1/enterprises/"+url.PathEscape(uscc)+"/seals", nil, "", nil, &page); err != nil {
		return nil, err
	}
	all := make([]sealed, len(page.Items))
	for i, x := range page.Items {
		if err := op.JSON(ctx, "GET", "/v1/seals/"+x.ESID, nil, "", nil, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// table shows the seals as an operator would want to see them.
func table(all []sealed) {
	w := tabwriter.NewWriter(os.Stderr, 4, 4, 2, ' ', 0)
	fmt.Fprintln(w, "    esID\ttype\tstate\tcertificate until\tsensitive\textractable\talways sensitive\tnever extractable\tlocal\tevidence")
	for _, x := range all {
		a := map[string]string{}
		for _, at := range x.Key.Attributes {
			a[at.Name] = at.Value
		}
		fmt.Fprintf(w, "    %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Seal.ESID, x.Seal.Type, x.Seal.State, x.Seal.NotAfter.Format(time.DateOnly),
			a["CKA_SENSITIVE"], a["CKA_EXTRACTABLE"], a["CKA_ALWAYS_SENSITIVE"], a["CKA_NEVER_EXTRACTABLE"], a["CKA_LOCAL"], x.Key.Token.Evidence)
	}
	w.Flush()
}

// collected brings an enterprise as far as four active seals.
func (s *show) collected(ctx context.Context, f licence.Fields) ([]sealed, error) {
	order, err := s.establish(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := s.Play(ctx, "/e-licence/collect", map[string]string{"uscc": f.USCC, "order": order}, nil); err != nil {
		return nil, fmt.Errorf("collecting: %w", err)
	}
	return s.seals(ctx, f.USCC)
}

// grant lets the department ask for the given kinds on any seal whose owner approves, for a year.
func (s *show) grant(ctx context.Context, id string, kinds ...string) error {
	security, err := s.Client("security")
	if err != nil {
		return err
	}
	dept, err := s.ID("department")
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	g := access.Grant{ID: id, Client: dept, AnyOwner: true, Kinds: kinds, DigestOnly: slices.Contains(kinds, access.KindDigest), Purposes: []string{purpose},
		NotBefore: now, Expires: now.AddDate(1, 0, 0), Count: 1 << 40}
	if err := security.JSON(ctx, "POST", "/v1/grants", nil, client.NewKey(), g, nil); err != nil {
		return fmt.Errorf("granting: %w", err)
	}
	return nil
}
