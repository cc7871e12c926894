package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"sealkeeper/access"
	"sealkeeper/client"
)

// development keeps an appliance running and says what to try.
func development(ctx context.Context, s *show) error {
	f := fields(1)
	order, err := s.establish(ctx, f)
	if err != nil {
		return err
	}
	if err := s.Play(ctx, "/e-licence/collect", map[string]string{"uscc": f.USCC, "order": order}, nil); err != nil {
		return err
	}
	security, err := s.Client("security")
	if err != nil {
		return err
	}
	id, err := s.ID("department")
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	grant := access.Grant{ID: "dev-grant", Client: id, AnyOwner: true, Kinds: []string{"digest", "ofd"}, DigestOnly: true, Purposes: []string{purpose}, NotBefore: now, Expires: now.AddDate(1, 0, 0), Count: 1_000_000}
	if err := security.JSON(ctx, "POST", "/v1/grants", nil, client.NewKey(), grant, nil); err != nil {
		return err
	}
	s.say("%s %s has four active seals", f.USCC, f.Name)
	fmt.Fprintf(os.Stdout, `
开发环境已启动（演示数据）  appliance %s   simulators %s

Try, in another shell from here:
  source %s
  export SEALCTL_SERVER=%s SEALCTL_CERT=%s SEALCTL_KEY=%s PATH=%s:$PATH
  sealctl health
  sealctl seal list --uscc %s
  sealctl licence get %s
  curl --cacert $SEALCTL_CA %s/readyz
  sealctl --help

Ctrl-C ends it.
`, s.Address, s.Sim, s.path("env"), s.Address, s.path("clients", "system.crt"), s.path("clients", "system.key"), s.Build, f.USCC, f.USCC, s.Address)
	<-ctx.Done()
	return nil
}
