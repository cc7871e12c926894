package api

import (
	"context"
	"errors"
	"time"

	"sealkeeper/access"
	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/backup"
)

// BackupState is how the copies stand.
type BackupState struct {
	Folder  string          `json:"folder" doc:"on the appliance; empty where none is configured"`
	Running bool            `json:"running"`
	Newest  time.Time       `json:"newest,omitzero" doc:"when the newest copy in the folder was taken"`
	Last    *backup.Written `json:"last,omitempty" doc:"the last copy since the start"`
	Error   string          `json:"error,omitempty" doc:"why the last attempt made none"`
}

// Backups makes encrypted copies of the store.
type Backups interface {
	// Now begins one unless one is being made.
	Now(ctx context.Context, by audit.Actor) BackupState
	State() BackupState
}

// errNoBackups: no folder is configured.
var errNoBackups = errors.New("no folder for backups is configured")

func (s *Server) backups() {
	route(s, "GET", "/v1/backups", "get-backups", "appliance", "How the encrypted copies of the store stand", s.getBackups)
	route(s, "POST", "/v1/backups", "make-backup", "appliance", "Begin an encrypted copy of the store, unless one is being made", s.makeBackup)
}

func (s *Server) getBackups(_ context.Context, in *struct{ Caller }) (BackupState, error) {
	if err := s.allow(in.Caller, access.ApplianceRead); err != nil {
		return BackupState{}, err
	}
	if s.use.Backups == nil {
		return BackupState{}, nil
	}
	return s.use.Backups.State(), nil
}

func (s *Server) makeBackup(ctx context.Context, in *actInput) (BackupState, error) {
	if err := s.allow(in.Caller, access.ApplianceOperate); err != nil {
		return BackupState{}, err
	}
	if s.use.Backups == nil {
		return BackupState{}, errNoBackups
	}
	return s.use.Backups.Now(ctx, in.actor.Audit()), nil
}
