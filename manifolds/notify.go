package manifolds

import (
	"context"
	"fmt"
	"time"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
)

// openTimeout bounds the opening of a database.
const openTimeout = 10 * time.Second

// startProjection opens the table of lease holders in SQL. Every agent does: writing
// the same twice to a shared database is harmless.
func (s *Set) startProjection(u *unit) (worker.Worker, error) {
	section, dir := need[config.Notify](u, notifyConfigName), need[*dataDir](u, identityName)
	if u.err == nil && section.LeaseHolders == config.NotifyOff {
		u.err = errOff
	}
	if u.err != nil {
		return nil, u.err
	}
	holders, err := s.openProjection(section, dir.path)
	if err != nil {
		s.metrics.projections.Inc()
		return nil, fmt.Errorf("notify.lease-holders: %w", err)
	}
	u.free(holders.Close)
	u.give(notify.NewTarget(holders, s.logger("projection")))
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

func (s *Set) notify() node {
	m := notify.Manifold(notify.ManifoldConfig{
		ClockName: s.name(ClockName), RingName: s.name(StateName), LeasesName: s.name(StateName),
		StateName: s.name(StateName), TargetName: s.name(ProjectionName), Logger: s.logger("notify"),
		Failed: s.metrics.projections.Inc,
	})
	return node{
		inputs: []string{ClockName}, visits: []string{StateName, ProjectionName},
		start: func(u *unit) (worker.Worker, error) {
			w, err := m.Start(u.ctx)
			if notifier, is := w.(*notify.Worker); is && err == nil {
				u.give(notifier)
			}
			return w, err
		},
	}
}
