package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sealkeeper/client"
)

// ask calls the appliance and shows the answer: as JSON exactly what came, or else a table of it.
func ask[T any](s *settings, cmd *cobra.Command, c client.Call, table func(w io.Writer, v T)) error {
	cl, err := s.client()
	if err != nil {
		return err
	}
	a, err := cl.Do(cmd.Context(), c)
	if err != nil {
		return s.repeatable(c, err)
	}
	var v T
	if err := json.Unmarshal(a.Body, &v); err != nil {
		return fmt.Errorf("decoding the answer to %s %s: %w", c.Method, c.Path, err)
	}
	if s.output == "json" {
		return printJSON(cmd.OutOrStdout(), a.Body)
	}
	return s.show(cmd, v, func(w io.Writer) { table(w, v) })
}

func printJSON(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// tell is ask for a mutating call: body goes out as JSON under an Idempotency-Key.
func tell[T any](s *settings, cmd *cobra.Command, path string, body any, table func(w io.Writer, v T)) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	return ask(s, cmd, client.Call{Method: http.MethodPost, Path: path, Key: s.newKey(), Body: raw}, table)
}

// look is ask for a GET; pairs of name and value make the query, empty values are left out.
func look[T any](s *settings, cmd *cobra.Command, path string, table func(w io.Writer, v T), pairs ...string) error {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return ask(s, cmd, client.Call{Method: http.MethodGet, Path: path, Query: q}, table)
}

// keyed gives a mutating command its flag.
func (s *settings) keyed(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&s.idempotency, "idempotency-key", "", "repeat an earlier call safely: the same key with the same request gives the same answer (default: a fresh one)")
	return cmd
}

func (s *settings) newKey() string {
	if s.idempotency == "" {
		s.idempotency = client.NewKey()
	}
	return s.idempotency
}

// repeatable tells the key of a mutating call that got no answer: whether it took effect is not known.
func (s *settings) repeatable(c client.Call, err error) error {
	var p *client.Problem
	if c.Key == "" || errors.As(err, &p) && p.Status < http.StatusInternalServerError {
		return err
	}
	return fmt.Errorf("%w; repeat the command with --idempotency-key %s, which is safe whether or not it took effect", err, c.Key)
}

// route joins a path and an identifier given by the user.
func route(path, id string, rest string) string { return path + "/" + url.PathEscape(id) + rest }

// fetch writes a binary answer to a new file, or to standard output for "-".
func (s *settings) fetch(cmd *cobra.Command, path, out string) error {
	return s.fetchOf(cmd, path, nil, out)
}

// fetchOf is fetch with a query.
func (s *settings) fetchOf(cmd *cobra.Command, path string, query url.Values, out string) error {
	if err := vacant(out); err != nil {
		return err
	}
	cl, err := s.client()
	if err != nil {
		return err
	}
	a, err := cl.Do(cmd.Context(), client.Call{Method: http.MethodGet, Path: path, Query: query})
	if err != nil {
		return err
	}
	if err := writeOut(cmd, out, 0o644, a.Body); err != nil || out == "-" {
		return err
	}
	return s.show(cmd, map[string]any{"file": out, "bytes": len(a.Body)}, func(w io.Writer) { fmt.Fprintf(w, "%s\t%d bytes\n", out, len(a.Body)) })
}

// vacant refuses an output that exists, before anything is done that cannot be undone.
func vacant(out string) error {
	if out == "-" {
		return nil
	}
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("writing %s: %w", out, os.ErrExist)
	}
	return nil
}

// writeOut writes a new file, or standard output for "-".
func writeOut(cmd *cobra.Command, out string, mode os.FileMode, b []byte) error {
	if out == "-" {
		_, err := cmd.OutOrStdout().Write(b)
		return err
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("writing %s: %w", out, err)
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", out, err)
	}
	return f.Close()
}

// when prints a time for people.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// more tells how to see the next page.
func more(w io.Writer, next string) {
	if next != "" {
		fmt.Fprintf(w, "\nmore: --cursor %s\n", next)
	}
}
