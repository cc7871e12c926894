package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/backup"
)

func (s *settings) backup() *cobra.Command {
	return noun("backup", "encrypted copies of the store", s.backupNow(), s.backupStatus(), backupIdentity(s), s.backupRestore())
}

// backupState is GET /v1/backups.
type backupState struct {
	Folder  string          `json:"folder"`
	Running bool            `json:"running"`
	Newest  time.Time       `json:"newest,omitzero"`
	Last    *backup.Written `json:"last,omitempty"`
	Error   string          `json:"error,omitempty"`
}

func showBackups(w io.Writer, b backupState) {
	newest := "none"
	if !b.Newest.IsZero() {
		newest = when(b.Newest)
	}
	fmt.Fprintf(w, "folder\t%s\nnewest\t%s\n", b.Folder, newest)
	if b.Last != nil {
		fmt.Fprintf(w, "file\t%s, %d bytes\nSHA-256\t%s\nrecords\t%d\n", b.Last.File, b.Last.Bytes, b.Last.SHA256, b.Last.Records)
	}
	if b.Running {
		fmt.Fprintln(w, "running\tyes")
	}
	if b.Error != "" {
		fmt.Fprintf(w, "failed\t%s\n", b.Error)
	}
}

func (s *settings) backupStatus() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "show the newest copy, and why there is none", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return look(s, cmd, "/v1/backups", showBackups) }}
}

// backupNow begins a copy and waits for its end; the appliance goes on with it whatever becomes of this command.
func (s *settings) backupNow() *cobra.Command {
	return s.keyed(&cobra.Command{Use: "now", Short: "have the appliance make an encrypted copy of its store, and wait for it", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := s.client()
			if err != nil {
				return err
			}
			var b backupState
			if err := cl.JSON(cmd.Context(), "POST", "/v1/backups", nil, s.newKey(), nil, &b); err != nil {
				return err
			}
			for again := time.NewTicker(200 * time.Millisecond); b.Running; {
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-again.C:
				}
				b = backupState{}
				if err := cl.JSON(cmd.Context(), "GET", "/v1/backups", nil, "", nil, &b); err != nil {
					return err
				}
			}
			if b.Error != "" {
				return fmt.Errorf("no backup: %s", b.Error)
			}
			return s.show(cmd, b, func(w io.Writer) { showBackups(w, b) })
		}})
}

// backupIdentity makes a key pair whose private half opens copies.
func backupIdentity(s *settings) *cobra.Command {
	var out string
	cmd := &cobra.Command{Use: "identity --out FILE", Short: "make the key that opens copies; keep the file away from the appliance", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := vacant(out); err != nil {
				return err
			}
			id, err := age.GenerateX25519Identity()
			if err != nil {
				return fmt.Errorf("making the key: %w", err)
			}
			if err := writeOut(cmd, out, 0o600, fmt.Appendf(nil, "# public key: %s\n%s\n", id.Recipient(), id)); err != nil {
				return err
			}
			return s.show(cmd, map[string]string{"file": out, "recipient": id.Recipient().String()}, func(w io.Writer) {
				fmt.Fprintf(w, "private key\t%s\nrecipient\t%s\n", out, id.Recipient())
			})
		}}
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	require(cmd, "out")
	return cmd
}

// restoring opens a copy and verifies its log before anybody starts with it.
type restoring struct {
	*settings
	file, out, identity, key string
	former                   []string
}

func (s *settings) backupRestore() *cobra.Command {
	r := &restoring{settings: s}
	cmd := &cobra.Command{Use: "restore --file BACKUP --identity KEY --audit-key AUDIT.pem --out STORE", Short: "open a copy into a new store file and verify its log; exit 3 when it does not hold", Args: args(),
		Long: `Decrypt a copy into a new store file, which must not exist, and rebuild its log with the audit public key given from outside. A copy that is damaged, or whose log does not
hold, leaves no file.

A restored store is older than its anchor: the daemon starts in recovering, reads only, until two officers decide (sealctl recovery resynchronise). That is meant.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd) }}
	f := cmd.Flags()
	f.StringVar(&r.file, "file", "", "the copy")
	f.StringVar(&r.identity, "identity", "", "file with the private key (sealctl backup identity)")
	f.StringVar(&r.key, "audit-key", "", "audit key: PEM file (certificate or public key), or the 65-byte point in hexadecimal")
	f.StringArrayVar(&r.former, "former-key", nil, "audit key that signed older checkpoints, repeated")
	f.StringVar(&r.out, "out", "", "store file to write")
	require(cmd, "file", "identity", "audit-key", "out")
	return cmd
}

func (r *restoring) run(cmd *cobra.Command) error {
	raw, err := os.ReadFile(r.identity)
	if err != nil {
		return fmt.Errorf("reading the private key: %w", err)
	}
	identities, err := age.ParseIdentities(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("reading the private key %s: %w", r.identity, err)
	}
	check := logCheck{settings: r.settings, file: r.out, key: r.key, former: r.former}
	key, err := publicKey(r.key)
	if err != nil {
		return err
	}
	opts, err := check.options()
	if err != nil {
		return err
	}
	h, err := r.open(cmd, identities)
	if err != nil {
		return err
	}
	opts.Checkpoints = append(opts.Checkpoints, h.Checkpoint)
	step, stop := progress(cmd.ErrOrStderr(), "verifying")
	opts.Progress = step
	report, err := audit.VerifyFile(cmd.Context(), r.out, key, opts)
	stop()
	if err == nil && report.Bad != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "the restored log does not hold: %s\n", report.Bad.Error())
		err = exit{code: exitInvalid}
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.out))
	}
	return r.show(cmd, struct {
		File string `json:"file"`
		backup.Head
	}{r.out, h}, func(w io.Writer) {
		fmt.Fprintf(w, "store\t%s\nlog\t%s\nrecords\t%d, of these %d under a checkpoint\ntaken\t%s\nnext\tthe daemon will start in recovering; two officers decide: sealctl recovery resynchronise\n",
			r.out, h.Log, h.Records, report.Covered, when(h.Taken))
	})
}

// open decrypts.
func (r *restoring) open(cmd *cobra.Command, identities []age.Identity) (backup.Head, error) {
	f, err := os.Open(r.file)
	if err != nil {
		return backup.Head{}, fmt.Errorf("reading the copy: %w", err)
	}
	defer f.Close()
	return backup.Open(cmd.Context(), f, r.out, identities...)
}
