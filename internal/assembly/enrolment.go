package assembly

import (
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/unit"
)

// certified is the flag of an agent that needs no certificate, or has one.
type certified bool

// Check implements gate.Flag.
func (c certified) Check() bool { return bool(c) }

// startEnrolment gets the agent's certificate, where its configuration says how and its
// directory has none. What needs the certificate waits for it.
func (s *Set) startEnrolment(u *unit.Unit) (worker.Worker, error) {
	now, dir := unit.Need[clock.Clock](u, ClockName), unit.Need[*datadir.Dir](u, identityName)
	if u.Err != nil {
		return nil, u.Err
	}
	if !check.Pending(s.section()) {
		u.Give(certified(true))
		return nil, nil
	}
	if err := enrolment.CheckDir(dir.Present()); err != nil {
		return nil, err
	}
	w := enrolment.NewWorker(enrolment.WorkerConfig{
		Dir: dir, Configuration: s.section, Clock: now, Logger: logs.NewRepeats(now, s.logger("enrolment")),
	})
	u.Give(certified(false), w)
	return w, nil
}
