package main

import "github.com/spf13/cobra"

// token is what an operator does at the device itself, beside the appliance.
func (s *settings) token() *cobra.Command {
	return noun("token", "the PKCS#11 token itself, on this machine", s.tokenList(), s.tokenProbe(), s.tokenDoctor(), s.tokenEnrol())
}
