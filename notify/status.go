package notify

import (
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

// phase is what the worker is doing, for its report.
type phase string

const (
	phaseStarting phase = "starting"
	phaseIdle     phase = "in step"
	phaseTelling  phase = "telling"
	phaseMending  phase = "comparing"
	phaseResting  phase = "resting"
	phaseFailing  phase = "waiting to try again"
)

// status is what Report returns. Its lock is never held for long.
type status struct {
	mu       sync.Mutex
	phase    phase
	position projection.Position
	upToDate time.Time // when the target was last up to date
	failures int       // since the start
	last     error
	row      int       // consecutive failures
	since    time.Time // when the first of them happened
}

// Progress returns the progress of the notifications.
type Progress struct {
	Lag      uint64    // revisions that were not sent to the target yet
	Fresh    time.Time // since when it has been behind
	Failures int       // consecutive; 0: all is well
	Since    time.Time // when the first of them happened
	Err      error     // the newest of them
}

func (s *status) enter(p phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = p
}

// knows records that the target was up to date at a time.
func (s *status) knows(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upToDate = until
}

func (s *status) reach(p projection.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = p
}

func (s *status) fail(err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.row == 0 {
		s.since = now
	}
	s.row++
	s.phase = phaseFailing
	s.failures++
	s.last = err
}

// recover resets the consecutive failures.
func (s *status) recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row = 0
}

// progress returns the progress of a copy of a state that is at a revision now. While
// there is nothing to copy yet, the copy is up to date.
func (s *status) progress(at interrex.Revision, now time.Time) Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := s.behind(at)
	if s.phase == phaseStarting && lag == 0 {
		s.upToDate = now
	}
	p := Progress{Lag: lag, Fresh: s.upToDate}
	if s.row > 0 {
		p.Failures, p.Since, p.Err = s.row, s.since, s.last
	}
	return p
}

// behind returns by how many revisions a copy of a state at a revision lags. The lock
// is held. A copy that is in step does not lag, even if extends have raised the
// revision since.
func (s *status) behind(at interrex.Revision) uint64 {
	if s.phase == phaseIdle || at <= s.position.Revision {
		return 0
	}
	return uint64(at - s.position.Revision)
}

// report returns the status of a copy of a state at a revision.
func (s *status) report(at interrex.Revision) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	report := map[string]any{
		"phase":    string(s.phase),
		"position": uint64(s.position.Revision),
		"lag":      s.behind(at),
		"failures": s.failures,
	}
	if s.last != nil {
		report["last-error"] = s.last.Error()
	}
	return report
}
