package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/internal/gm"
	"sealkeeper/signer/verify/trust"
)

func (s *settings) trustList() *cobra.Command {
	return noun("trust-list", "whom a region's bureau vouches for: draft a list, have it signed (sealctl sign cms --attached), look at one", s.trustDraft(), s.trustShow())
}

// trustDraft is what a list is made of.
type trustDraft struct {
	region, name, out           string
	version                     uint64
	valid                       time.Duration
	makers, authorities, stamps []string
}

func (s *settings) trustDraft() *cobra.Command {
	d := &trustDraft{}
	cmd := &cobra.Command{Use: "draft --region CODE --name NAME --version N [--maker FILE] [--authority FILE] [--timestamp-authority FILE] --out FILE", Args: args(),
		Short: "write the JSON of a trust list, to be signed with the publisher's seal",
		Long: `Write the JSON of a trust list. It counts for nobody until its publisher has signed it:

  sealctl sign cms --attached --seal ESID --purpose "trust list" --document list.json --out list.p7

and others name the publisher's certificate beside it (sealctl verify --trust-list list.p7 --trust-signer publisher.pem).`,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) }}
	f := cmd.Flags()
	f.StringVar(&d.region, "region", "", "code of the region (GB/T 2260), 2 to 6 digits: the list vouches for seals whose numbers begin with it")
	f.StringVar(&d.name, "name", "", "of the publisher")
	f.Uint64Var(&d.version, "version", 0, "higher than that of any list published before")
	f.DurationVar(&d.valid, "valid", 90*24*time.Hour, "until the next update")
	f.StringArrayVar(&d.makers, "maker", nil, "PEM file of seal makers' certificates, repeated")
	f.StringArrayVar(&d.authorities, "authority", nil, "PEM file of certificate authorities, repeated")
	f.StringArrayVar(&d.stamps, "timestamp-authority", nil, "PEM file of time-stamp authorities, repeated")
	f.StringVar(&d.out, "out", "", "file to write; must not exist")
	require(cmd, "region", "name", "version", "out")
	return cmd
}

func (d *trustDraft) run(cmd *cobra.Command) error {
	now := time.Now().UTC().Truncate(time.Second)
	l := trust.Draft{Format: trust.Format, Region: d.region, Name: d.name, Version: d.version, Issued: now, NextUpdate: now.Add(d.valid)}
	for _, of := range []struct {
		kind  string
		files []string
	}{{trust.Maker, d.makers}, {trust.Authority, d.authorities}, {trust.TimeStampAuthority, d.stamps}} {
		all, err := certificates(of.kind, of.files)
		if err != nil {
			return err
		}
		for _, c := range all {
			l.Entries = append(l.Entries, trust.Item{Kind: of.kind, Name: c.Subject.String(), Certificate: c.Raw})
		}
	}
	if err := l.Check(); err != nil {
		return fmt.Errorf("drafting the trust list: %w", err)
	}
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("writing the draft: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the draft: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d entries; sign it: sealctl sign cms --attached --document %s …\n", len(l.Entries), d.out)
	return nil
}

// shownList is a list as trust-list show prints it.
type shownList struct {
	trust.Draft
	Publisher string `json:"publisher"` // subject of the certificate that signed
	Current   bool   `json:"current"`
}

func (s *settings) trustShow() *cobra.Command {
	var publishers []string
	cmd := &cobra.Command{Use: "show FILE --trust-signer FILE", Args: args("FILE"), Short: "check a signed trust list and print it",
		RunE: func(cmd *cobra.Command, a []string) error {
			pinned, err := certificates("signers of trust lists", publishers)
			if err != nil {
				return err
			}
			l, err := readTrustList(a[0], pinned)
			if err != nil {
				return err
			}
			shown := shownList{l.Draft, l.Signer.Subject.String(), l.Current(time.Now())}
			return s.show(cmd, shown, shown.table)
		}}
	cmd.Flags().StringArrayVar(&publishers, "trust-signer", nil, "PEM file of certificates that may sign trust lists, repeated")
	require(cmd, "trust-signer")
	return cmd
}

func (l shownList) table(w io.Writer) {
	state := "current"
	if !l.Current {
		state = "RAN OUT"
	}
	fmt.Fprintf(w, "region\t%s\nname\t%s\nversion\t%d\npublisher\t%s\nissued\t%s\nnext update\t%s (%s)\n", l.Region, l.Name, l.Version, l.Publisher, when(l.Issued), when(l.NextUpdate), state)
	for _, e := range l.Entries {
		serial := ""
		if c, err := gm.ParseCertificate(e.Certificate); err == nil {
			serial = c.SerialNumber.String()
		}
		fmt.Fprintf(w, "%s\t%s (certificate %s)\n", e.Kind, e.Name, serial)
	}
}
