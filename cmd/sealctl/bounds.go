package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/access"
	"sealkeeper/client"
	"sealkeeper/signer/placement"
)

// window is a time span given as its start and either its end or its length. Whole seconds, UTC.
type window struct {
	from, until string
	length      time.Duration
}

func (w *window) flags(cmd *cobra.Command, length time.Duration) {
	f := cmd.Flags()
	f.StringVar(&w.from, "from", "", "RFC 3339 time it begins (default: now)")
	f.StringVar(&w.until, "until", "", "RFC 3339 time of the last second that counts")
	f.DurationVar(&w.length, "for", length, "how long it lasts, in place of --until")
	cmd.MarkFlagsMutuallyExclusive("until", "for")
}

func (w *window) times(now time.Time) (from, until time.Time, err error) {
	from = now.UTC().Truncate(time.Second)
	if w.from != "" {
		if from, err = instant("--from", w.from); err != nil {
			return from, until, err
		}
	}
	until = from.Add(w.length).Truncate(time.Second)
	if w.until != "" {
		until, err = instant("--until", w.until)
	}
	if err == nil && until.Before(from) {
		err = fmt.Errorf("it would end at %s, before it begins at %s", when(until), when(from))
	}
	return from, until, err
}

func instant(flag, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Nanosecond() != 0 {
		return t, fmt.Errorf("%s %q is no RFC 3339 time of whole seconds, for example 2026-01-31T16:00:00+08:00", flag, text)
	}
	return t.UTC(), nil
}

// clientID takes a client identifier, or a PEM file that holds the client's certificate, whose first one counts.
func clientID(s string) (string, error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == 32 {
		return strings.ToLower(s), nil
	}
	b, err := os.ReadFile(s)
	if err != nil {
		return "", fmt.Errorf("client %q is neither 64 hexadecimal digits nor a readable file: %w", s, err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", fmt.Errorf("client file %s holds no PEM certificate", s)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("client file %s: %w", s, err)
	}
	return access.ClientID(c.RawSubjectPublicKeyInfo), nil
}

// stamps is the repeated flag --stamp page,x,y,w,h.
type stamps []placement.Stamp

func (s *stamps) flag(cmd *cobra.Command) {
	cmd.Flags().Var(s, "stamp", "`page,x,y,w,h`: where the picture stands, pages from 1, millimetres from the page's top left corner; repeated")
}

// Type names the form.
func (s *stamps) Type() string { return "page,x,y,w,h" }

func (s *stamps) String() string {
	var all []string
	for _, t := range *s {
		all = append(all, fmt.Sprintf("%d,%g,%g,%g,%g", t.Page, t.X, t.Y, t.W, t.H))
	}
	return strings.Join(all, " ")
}

// Set reads one stamp.
func (s *stamps) Set(text string) error {
	parts := strings.Split(text, ",")
	if len(parts) != 5 {
		return fmt.Errorf("want page,x,y,w,h")
	}
	page, err := strconv.Atoi(parts[0])
	if err != nil || page < 1 {
		return fmt.Errorf("page %q: pages count from 1", parts[0])
	}
	t := placement.Stamp{Page: page}
	for i, mm := range []*float64{&t.X, &t.Y, &t.W, &t.H} {
		*mm, err = strconv.ParseFloat(parts[i+1], 64)
		if err != nil || !(*mm > -1e5 && *mm < 1e5) || i > 1 && *mm <= 0 {
			return fmt.Errorf("%q is no usable number of millimetres", parts[i+1])
		}
	}
	*s = append(*s, t)
	return nil
}

func (s stamps) wire() []client.Stamp {
	var all []client.Stamp
	for _, t := range s {
		all = append(all, client.Stamp{Page: t.Page, X: t.X, Y: t.Y, W: t.W, H: t.H})
	}
	return all
}
