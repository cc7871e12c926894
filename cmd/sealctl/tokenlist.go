package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	firmware "sealkeeper/firmware-profiles"
	"sealkeeper/hsm"
)

func (s *settings) tokenList() *cobra.Command {
	var t tokenFlags
	cmd := &cobra.Command{Use: "list (--config seald.yaml | --module LIBRARY)", Short: "list a module's slots and the tokens in them, without logging in", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := t.place()
			if err != nil {
				return err
			}
			seen, err := hsm.Survey(p.Config)
			if err != nil {
				return fmt.Errorf("listing the tokens: %w", err)
			}
			set, err := hsm.Profiles(p.profiles)
			if err != nil {
				return err
			}
			return s.show(cmd, seen, func(w io.Writer) { showTokens(w, seen, set) })
		}}
	t.locate(cmd)
	return cmd
}

func showTokens(w io.Writer, s *hsm.Surveyed, set *firmware.Set) {
	fmt.Fprintf(w, "module\t%s\nSHA-256\t%s\nlibrary\t%s, %s %s (PKCS#11 %s)\n\n", s.Module, s.ModuleSHA256, s.Manufacturer, s.Description, s.Version, s.Cryptoki)
	fmt.Fprintln(w, "SLOT\tLABEL\tSERIAL\tMODEL\tFIRMWARE\tMECHANISMS\tPIN TRIES LEFT\tPROFILE\tSTATE")
	for _, slot := range s.Slots {
		t := slot.Token
		if t == nil {
			fmt.Fprintf(w, "%d\t-\t-\t-\t-\t-\t-\t-\t%s\n", slot.Number, first(slot.Trouble, "empty"))
			continue
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", slot.Number, orDash(t.Label), orDash(t.Serial), orDash(t.Model), t.Firmware, len(t.Mechanisms),
			t.Flags.Tries(), profileOf(set, s.Facts(t)), first(slot.Trouble, state(t.Flags)))
	}
}

// profileOf names the shipped profile that fits, or why there is not one.
func profileOf(set *firmware.Set, f firmware.Facts) string {
	p, err := set.Match(f)
	switch {
	case err == nil:
		return p.ID
	case errors.Is(err, firmware.ErrAmbiguous):
		return "several"
	}
	return "none"
}

// state says what stands in the way of using the token, or what is special about it.
func state(f hsm.TokenFlags) string {
	var words []string
	for _, w := range []struct {
		holds bool
		word  string
	}{{!f.Initialised, "not initialised"}, {f.Initialised && !f.PINInitialised, "no user PIN"}, {f.PINToBeChanged, "PIN must be changed"},
		{f.WriteProtected, "write-protected"}, {f.ProtectedPath, "PIN at the device"}} {
		if w.holds {
			words = append(words, w.word)
		}
	}
	if len(words) == 0 {
		return "ready"
	}
	return strings.Join(words, ", ")
}
