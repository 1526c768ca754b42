package assembly

import (
	"context"
	"fmt"
	"time"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
)

// openTimeout bounds the opening of a database.
const openTimeout = 10 * time.Second

// startProjection opens the table of lease holders in SQL. Every agent does: writing
// the same twice to a shared database is harmless.
func (s *Set) startProjection(u *unit.Unit) (worker.Worker, error) {
	section, dir := unit.Need[config.Notify](u, notifyConfigName), unit.Need[*datadir.Dir](u, identityName)
	if u.Err == nil && section.Off() {
		u.Err = errOff
	}
	if u.Err != nil {
		return nil, u.Err
	}
	holders, err := s.openProjection(section, dir.Path)
	if err != nil {
		s.metrics.projections.Inc()
		return nil, fmt.Errorf("notify.lease-holders: %w", err)
	}
	u.Free(holders.Close)
	u.Give(notify.NewTarget(holders, s.logger("projection")))
	return nil, nil
}

func (s *Set) openProjection(section config.Notify, dir string) (*projection.Holders, error) {
	open, dialect, err := s.config.Agent.checked().HoldersDatabase(section, dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	return projection.Open(ctx, open, dialect)
}

func (s *Set) notify() unit.Node {
	m := notify.Manifold(notify.ManifoldConfig{
		ClockName: s.Name(ClockName), RingName: s.Name(StateName), LeasesName: s.Name(StateName),
		StateName: s.Name(StateName), TargetName: s.Name(ProjectionName), Logger: s.logger("notify"),
		Failed: s.metrics.projections.Inc,
	})
	return unit.Node{
		Inputs: []string{ClockName}, Visits: []string{StateName, ProjectionName},
		Start: func(u *unit.Unit) (worker.Worker, error) {
			w, err := m.Start(u.Context)
			if notifier, is := w.(*notify.Worker); is && err == nil {
				u.Give(notifier)
			}
			return w, err
		},
	}
}
