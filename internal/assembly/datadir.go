package assembly

import (
	"errors"
	"fmt"
	"os"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/unit"
)

// dataDir is an agent's directory and identity, locked for as long as the
// worker lives.
type dataDir struct {
	datadir.Identity
	path string
}

func (s *Set) startIdentity(u *unit.Unit) (worker.Worker, error) {
	dir, free, err := s.openDataDir()
	if err != nil {
		return nil, err
	}
	u.Free(free)
	u.Give(dir, dir.Identity)
	u.ReportBy(func() map[string]any {
		return map[string]any{"id": dir.ID, "incarnation": dir.Incarnation, "directory": dir.path}
	})
	return nil, nil
}

func (s *Set) openDataDir() (*dataDir, func() error, error) {
	path, remove, err := s.config.Agent.directory()
	if err != nil {
		return nil, nil, err
	}
	id, err := datadir.OpenIdentity(path, check.ID(s.config.Agent.ID, path))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("agent.data-dir: %w", err), remove())
	}
	lock, err := disk.LockDir(path, "agent "+id.ID)
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	free := func() error { return errors.Join(lock.Unlock(), remove()) }
	return &dataDir{Identity: id, path: path}, free, nil
}

// directory returns the data directory. An agent in memory has one in a file
// system that is memory, where there is one, and leaves nothing behind.
func (c AgentConfig) directory() (path string, remove func() error, err error) {
	if c.DataDir != "" {
		return c.DataDir, func() error { return nil }, nil
	}
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	path, err = os.MkdirTemp(parent, "interrex-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a directory for an agent in memory: %w", err)
	}
	return path, func() error { return os.RemoveAll(path) }, nil
}
