package manifolds

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
)

// openTimeout bounds the opening of a database.
const openTimeout = 10 * time.Second

// startProjection keeps the table of lease holders in SQL. Every agent does it:
// writing the same twice into a database that they share is harmless.
func (s *Set) startProjection(u *unit) (worker.Worker, error) {
	section, dir := need[config.Notify](u, NotifyConfigName), need[*dataDir](u, IdentityName)
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

// holdersDatabase says how to open the database of lease holders, and what it is.
func (c AgentConfig) holdersDatabase(section config.Notify, dir string) (func() (*sql.DB, error), projection.Dialect, error) {
	if section.LeaseHolders == config.NotifySQLite {
		return func() (*sql.DB, error) { return c.SQLite(filepath.Join(dir, "lease-holders.db")) }, projection.SQLite, nil
	}
	text, err := disk.ReadSmall(section.LeaseHolders)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the PostgreSQL URL: %w", err)
	}
	url := strings.TrimSpace(string(text))
	if !isPostgresURL(url) {
		return nil, "", fmt.Errorf("%s holds no PostgreSQL URL: write postgres://USER:PASSWORD@HOST/DATABASE, where any other @ / ? # is %%40 %%2F %%3F %%23", section.LeaseHolders)
	}
	return func() (*sql.DB, error) {
		db, err := c.Postgres(url)
		if err != nil {
			err = fmt.Errorf("%s: %w", section.LeaseHolders, err)
		}
		return db, err
	}, projection.PostgreSQL, nil
}

// isPostgresURL reports whether it is certain where a URL's password is: the
// errors of a driver hide the password, and show a part of one that it took for
// the host or the database.
func isPostgresURL(url string) bool {
	scheme, rest, _ := strings.Cut(url, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return false
	}
	end := strings.IndexAny(rest, "@/?#")
	return end < 0 || !strings.Contains(rest[end+1:], "@")
}

func (s *Set) openProjection(section config.Notify, dir string) (*projection.Holders, error) {
	open, dialect, err := s.config.Agent.holdersDatabase(section, dir)
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
