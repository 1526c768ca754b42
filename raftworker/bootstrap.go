package raftworker

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/raftdir"
)

// Bootstrap makes StorageDir the log of a cluster of one, LocalID, without
// starting raft. It needs Logger, StorageDir and LocalID, and refuses what it
// would not use: `non-nil X during Bootstrap not valid`. A second call on the
// same directory returns `bootstrap only works on new clusters`.
//
// Unlike Juju's it runs no worker, so it needs no placeholder for the state
// machine, the target and the applier.
func Bootstrap(cfg Config) error {
	if err := cfg.validateBootstrap(); err != nil {
		return err
	}
	rc, err := NewRaftConfig(cfg)
	if err != nil {
		return err
	}
	dir, err := raftdir.Open(cfg.StorageDir, cfg.directory(nil))
	if err != nil {
		return err
	}
	return errors.Join(bootstrapDir(cfg, rc, dir), dir.Close())
}

func (c Config) validateBootstrap() error {
	switch {
	case c.State != nil:
		return errors.New("non-nil State during Bootstrap not valid")
	case c.Transport != nil:
		return errors.New("non-nil Transport during Bootstrap not valid")
	case c.NewApplier != nil:
		return errors.New("non-nil NewApplier during Bootstrap not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.StorageDir == "":
		return errors.New("empty StorageDir not valid")
	case c.LocalID == "":
		return errors.New("empty LocalID not valid")
	}
	return nil
}

func bootstrapDir(cfg Config, rc *raft.Config, dir *raftdir.Directory) error {
	_, nowhere := raft.NewInmemTransport(raft.ServerAddress(cfg.LocalID))
	err := raft.BootstrapCluster(rc, dir, dir.Stable(), dir.Snapshots(), nowhere, founding.Members(string(cfg.LocalID)))
	if err != nil {
		return fmt.Errorf("bootstrapping raft cluster: %w", err)
	}
	return nil
}

// bootstrapEmpty writes the first members into an empty log before raft
// starts, if they are decided by then, so that raft does not start without any.
func (l *life) bootstrapEmpty() error {
	has, err := raft.HasExistingState(l.dir, l.dir.Stable(), l.snapshots)
	if err != nil {
		return fmt.Errorf("cannot check for an earlier raft: %w", err)
	}
	if has {
		return nil
	}
	ids, decided := l.cfg.founding().Decide()
	if !decided {
		return nil
	}
	err = raft.BootstrapCluster(l.config, l.dir, l.dir.Stable(), l.snapshots, l.transport, founding.Members(ids...))
	if err != nil {
		return fmt.Errorf("bootstrapping raft cluster: %w", err)
	}
	l.cfg.Logger.Infof("bootstrapped a cluster of %v", ids)
	return nil
}
