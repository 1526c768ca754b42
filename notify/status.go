package notify

import (
	"sync"

	"github.com/interrex/interrex"
)

// phase is what the worker is doing, for its report.
type phase string

const (
	phaseStarting phase = "starting"
	phaseIdle     phase = "in step"
	phaseTelling  phase = "telling"
	phaseMending  phase = "comparing"
	phaseFailing  phase = "waiting to try again"
)

// status is what Report gives. Nobody holds its lock for long.
type status struct {
	mu       sync.Mutex
	phase    phase
	position Position
	failures int // since the start
	last     error
}

func (s *status) enter(p phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = p
}

func (s *status) reach(p Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = p
}

func (s *status) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phaseFailing
	s.failures++
	s.last = err
}

// lag is how far a copy of a state at a revision is behind it. A copy that is in
// step lags by nothing, though extends have raised the revision since.
func (s *status) lag(at interrex.Revision) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind(at)
}

// behind is lag, with the lock held.
func (s *status) behind(at interrex.Revision) uint64 {
	if s.phase == phaseIdle || at <= s.position.Revision {
		return 0
	}
	return uint64(at - s.position.Revision)
}

// report gives the status of a copy of a state at a revision.
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
