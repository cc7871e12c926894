package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"sealkeeper/client"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/audit/merkle"
)

func (s *settings) audit() *cobra.Command {
	return noun("audit", "the log: checkpoints, records, proofs, and its check from the file alone", s.auditCheckpoint(), s.auditEntries(), s.auditProof(),
		s.auditConsistency(), s.auditVerify())
}

// auditKey is the flag of the audit key, against which what comes from the appliance is checked here. It is not --key, which is that of TLS.
func auditKey(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "audit-key", "", "audit key to check the answer against: PEM file (certificate or public key) or the 65-byte point in hexadecimal")
}

func (s *settings) auditCheckpoint() *cobra.Command {
	var out, key string
	cmd := &cobra.Command{Use: "checkpoint", Short: "print the latest signed checkpoint; keep it elsewhere, it shows a log that was put back", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.checkpoint(cmd, out, key) }}
	cmd.Flags().StringVarP(&out, "file", "f", "-", "file to write, - for standard output")
	auditKey(cmd, &key)
	return cmd
}

func (s *settings) checkpoint(cmd *cobra.Command, out, key string) error {
	if err := vacant(out); err != nil {
		return err
	}
	cl, err := s.client()
	if err != nil {
		return err
	}
	b, err := cl.Checkpoint(cmd.Context())
	if err != nil {
		return err
	}
	if key != "" {
		if _, err := openCheckpoint(b, key); err != nil {
			return err
		}
	}
	if s.output == "json" && out == "-" {
		return s.show(cmd, map[string]string{"checkpoint": string(b)}, nil)
	}
	return writeOut(cmd, out, 0o644, b)
}

// openCheckpoint checks a signed note; one that does not hold is exit 3.
func openCheckpoint(b []byte, key string) (audit.Checkpoint, error) {
	k, err := publicKey(key)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	c, err := audit.OpenCheckpoint(b, k)
	if err != nil {
		return c, exit{exitInvalid, fmt.Errorf("checking the checkpoint: %w", err)}
	}
	return c, nil
}

func (s *settings) auditEntries() *cobra.Command {
	var from uint64
	var limit int
	cmd := &cobra.Command{Use: "entries", Short: "list records", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return look(s, cmd, "/v1/audit/entries", func(w io.Writer, p client.Page[client.Entry]) {
				fmt.Fprintln(w, "INDEX\tTIME\tKIND\tBY\tSUBJECT")
				for _, e := range p.Items {
					fmt.Fprintf(w, "%d\t%s\t%s\t%s %.12s\t%s\n", e.Index, when(e.Time), e.Kind, e.Actor.Role, e.Actor.ID, e.Subject)
				}
				if p.Next != "" {
					fmt.Fprintf(w, "\nmore: --from %s\n", p.Next)
				}
			}, "from", strconv.FormatUint(from, 10), "limit", strconv.Itoa(limit))
		}}
	cmd.Flags().Uint64Var(&from, "from", 0, "index of the first record")
	cmd.Flags().IntVar(&limit, "limit", 100, "records of one page")
	return cmd
}

// proven is what a proof says once it was checked here.
type proven struct {
	Answer  json.RawMessage `json:"proof"`
	Checked string          `json:"checked"` // what was checked, "" without the audit key
}

func (s *settings) auditProof() *cobra.Command {
	var index, size uint64
	var key string
	cmd := &cobra.Command{Use: "proof --index N", Short: "prove that a record stands in the log", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.prove(cmd, "/v1/audit/proof", "index", index, "size", size, key, checkInclusion)
		}}
	cmd.Flags().Uint64Var(&index, "index", 0, "index of the record")
	cmd.Flags().Uint64Var(&size, "size", 0, "size of the log (default: that of the latest checkpoint)")
	auditKey(cmd, &key)
	require(cmd, "index")
	return cmd
}

func (s *settings) auditConsistency() *cobra.Command {
	var from, to uint64
	var key, old string
	cmd := &cobra.Command{Use: "consistency --from N | --checkpoint FILE", Short: "prove that an earlier log is the beginning of the present one", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if old == "" {
				return s.prove(cmd, "/v1/audit/consistency", "from", from, "to", to, key, nil)
			}
			b, err := os.ReadFile(old)
			if err != nil {
				return fmt.Errorf("reading the older checkpoint: %w", err)
			}
			c, err := openCheckpoint(b, key)
			if err != nil {
				return err
			}
			return s.prove(cmd, "/v1/audit/consistency", "from", c.Size, "to", to, key, checkConsistency(b))
		}}
	cmd.Flags().Uint64Var(&from, "from", 0, "size of the earlier log")
	cmd.Flags().StringVar(&old, "checkpoint", "", "signed checkpoint kept from the earlier log; checked together with the proof")
	cmd.Flags().Uint64Var(&to, "to", 0, "size of the later log (default: that of the latest checkpoint)")
	auditKey(cmd, &key)
	cmd.MarkFlagsOneRequired("from", "checkpoint")
	cmd.MarkFlagsRequiredTogether("checkpoint", "audit-key")
	cmd.MarkFlagsMutuallyExclusive("from", "checkpoint")
	return cmd
}

// prove fetches a proof and, given the audit key, checks it here instead of believing it.
func (s *settings) prove(cmd *cobra.Command, path, a string, m uint64, b string, n uint64, key string, check func(raw []byte, key string) (string, error)) error {
	cl, err := s.client()
	if err != nil {
		return err
	}
	q := url.Values{a: {strconv.FormatUint(m, 10)}, b: {strconv.FormatUint(n, 10)}}
	answer, err := cl.Do(cmd.Context(), client.Call{Method: http.MethodGet, Path: path, Query: q})
	if err != nil {
		return err
	}
	p := proven{Answer: answer.Body}
	if key != "" && check != nil {
		if p.Checked, err = check(answer.Body, key); err != nil {
			return err
		}
	}
	if p.Checked == "" {
		return printJSON(cmd.OutOrStdout(), answer.Body)
	}
	return s.show(cmd, p, func(w io.Writer) { fmt.Fprintln(w, p.Checked) })
}

func checkInclusion(raw []byte, key string) (string, error) {
	var p audit.Proof
	if err := json.Unmarshal(raw, &p); err != nil {
		return "", fmt.Errorf("decoding the proof: %w", err)
	}
	c, err := openCheckpoint([]byte(p.Checkpoint), key)
	if err != nil {
		return "", err
	}
	h, err := c.Hasher()
	if err != nil {
		return "", exit{exitInvalid, err}
	}
	if c.Size != p.Size {
		return "", exit{exitInvalid, fmt.Errorf("checking the proof: its checkpoint is of size %d, it says %d", c.Size, p.Size)}
	}
	if err := merkle.VerifyInclusion(h, p.Index, p.Size, merkle.Hash(p.Leaf), hashes(p.Hashes), c.Root); err != nil {
		return "", exit{exitInvalid, fmt.Errorf("checking the proof: %w", err)}
	}
	leaf, err := p.Leaf.MarshalText()
	return fmt.Sprintf("record %d with leaf %s stands in the log of %d records that the audit key signed for", p.Index, leaf, p.Size), err
}

func hashes(list []audit.Hash) []merkle.Hash {
	out := make([]merkle.Hash, len(list))
	for i, h := range list {
		out[i] = merkle.Hash(h)
	}
	return out
}

func checkConsistency(older []byte) func(raw []byte, key string) (string, error) {
	return func(raw []byte, key string) (string, error) {
		var p audit.Consistency
		if err := json.Unmarshal(raw, &p); err != nil {
			return "", fmt.Errorf("decoding the proof: %w", err)
		}
		k, err := publicKey(key)
		if err != nil {
			return "", err
		}
		if p.Checkpoint == "" {
			return "", errors.New("the appliance keeps no checkpoint of that size: leave --to out")
		}
		if err := audit.VerifyConsistency(k, older, []byte(p.Checkpoint), p.Hashes); err != nil {
			return "", exit{exitInvalid, fmt.Errorf("checking the proof: %w", err)}
		}
		return fmt.Sprintf("the log of %d records is the beginning of the one of %d; the audit key signed for both", p.From, p.To), nil
	}
}
