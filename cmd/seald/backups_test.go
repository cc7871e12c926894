package main

import (
	"testing"

	"filippo.io/age"

	"sealkeeper/access"
	"sealkeeper/keystore"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/backup"
)

// TestBackupAfterRenewal: a copy is made after the audit key was renewed while the daemon runs, and after the former key was destroyed: what it signed stays
// in the log.
func TestBackupAfterRenewal(t *testing.T) {
	b := newBureau(t)
	id, err := age.GenerateX25519Identity()
	b.must(err)
	to, err := backup.Recipients([]string{id.Recipient().String()})
	b.must(err)
	b.cfg.Backup = BackupConfig{Folder: t.TempDir(), Recipients: []string{id.Recipient().String()}, Keep: -1}
	copies := func() *backups { return &backups{a: b.appliance, to: to} }
	running, old := copies(), b.key(keystore.PurposeAudit).ID()
	for _, step := range []string{"", "action: renew-key\npurpose: audit", "action: destroy-key\nkey: " + old.String()} {
		if step != "" {
			_, err := b.carry(access.RoleSystem, step)
			b.must(err)
		}
		w, err := running.write(t.Context(), audit.Appliance("test"))
		if err != nil || w.Records == 0 || w.Covered != w.Records {
			t.Errorf("after %q: %+v, %v", step, w, err)
		}
	}
}
