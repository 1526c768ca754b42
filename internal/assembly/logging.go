package assembly

import (
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/unit"
)

// startLogging applies changed levels without a restart.
func (s *Set) startLogging(u *unit.Unit) (worker.Worker, error) {
	before, changed := s.configuration.Current()
	u.Follow(changed, func() <-chan struct{} {
		now, next := s.configuration.Current()
		if now.Logging != before.Logging {
			if err := logs.SetLevels(s.loggers, now.Logging); err != nil {
				s.logger("logging").Errorf("%v", err)
			}
		}
		before = now
		return next
	})
	return nil, nil
}
