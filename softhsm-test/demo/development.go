package main

import (
	"context"
	"fmt"
	"os"
)

// development keeps an appliance running and says what to try.
func development(ctx context.Context, s *show) error {
	f := fields(1)
	if _, err := s.collected(ctx, f); err != nil {
		return err
	}
	if err := s.grant(ctx, "dev-grant", "digest", "ofd"); err != nil {
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
