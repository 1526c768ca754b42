package assembly

import (
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/backup"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/unit"
)

func pickBackup(c config.Config) config.Backup { return c.Backup }

// startBackup makes copies of the state, where the configuration says so.
func (s *Set) startBackup(u *unit.Unit) (worker.Worker, error) {
	section, now := unit.Need[config.Backup](u, backupConfigName), unit.Need[clock.Clock](u, ClockName)
	dir, st := unit.Need[*datadir.Dir](u, identityName), unit.Need[*machine.State](u, StateName)
	if u.Err == nil && section.To == "" {
		u.Err = errOff
	}
	if u.Err != nil {
		return nil, u.Err
	}
	w, err := backup.NewWorker(backup.Config{
		Dir: section.To, DataDir: s.config.Agent.DataDir, Every: section.Every, Keep: section.Keep, Agent: dir.ID,
		Cluster: func() (string, error) { return s.copyable(st) },
		Freeze:  st.Copy, Fresh: OwnTables, Failed: s.metrics.backups.Inc, Clock: now, Logger: s.logger("backup"),
	})
	if err != nil {
		return nil, err
	}
	u.Give(w)
	return w, nil
}

// copyable returns the ID of the cluster whose state this agent can copy now, and else
// why it cannot.
func (s *Set) copyable(st *machine.State) (string, error) {
	id := st.Identity().ClusterID
	switch {
	case id == "":
		return "", interrex.Errorf(interrex.ErrUnavailable, "the agent is in no cluster yet")
	case !s.HasHeard():
		return "", interrex.Errorf(interrex.ErrUnavailable, "the agent has not heard from a leader since it was started, and does not know how far the cluster is")
	}
	return id, s.quarantined()
}
