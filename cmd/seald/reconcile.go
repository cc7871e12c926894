package main

import (
	"context"
	"errors"

	"sealkeeper/connector/account"
	"sealkeeper/issuance/reconcile"
)

// reconciliation wires what is compared with what.
func (a *appliance) reconciliation() reconcile.Parts {
	p := reconcile.Parts{Library: a.library, Register: a.register, Access: a.access, Keys: a.keys, Lists: a.issuance.RevocationLists, Outside: a.outside.queues}
	if _, connected := a.cfg.Connectors.system(sysAccount); connected {
		at := &account.Connector{Store: a.store}
		p.Accounts = func(ctx context.Context, uscc string) (reconcile.Account, error) {
			x, err := at.Get(ctx, uscc)
			if errors.Is(err, account.ErrUnknown) {
				return reconcile.Account{}, nil
			}
			return reconcile.Account{State: x.State, Licence: x.Licence}, err
		}
	}
	return p
}

func (o *outside) queues(ctx context.Context) []reconcile.Queue {
	var all []reconcile.Queue
	for _, s := range o.Systems(ctx) {
		all = append(all, reconcile.Queue{Name: s.Queue + s.Feed, Feed: s.Feed != "", Waiting: s.Waiting, Dead: s.Dead, Held: s.Held})
	}
	return all
}
