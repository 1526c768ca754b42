package manifolds

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/apiserver"
)

// ready are the checks of readiness that only the agent knows.
func (s *Set) ready() []apiserver.Check {
	now := s.view()
	running := apiserver.Check{Name: "raft"}
	caughtUp := apiserver.Check{Name: "caught up", Leader: true}
	if now.raft == nil {
		running.Err = s.withoutRaft()
	} else if r, err := now.raft.Raft(); err != nil {
		running.Err = fmt.Errorf("raft does not run: %w", err)
	} else if now.state != nil && now.acks != nil {
		caughtUp.Err = s.behind(r, now)
	}
	whole := apiserver.Check{Name: "log whole", Err: s.quarantined()}
	drain := apiserver.Check{Name: "not draining"}
	if s.draining.Load() != nil {
		drain.Err = errors.New("the agent stops")
	}
	return []apiserver.Check{running, caughtUp, whole, drain}
}

// withoutRaft says that raft does not run here, and why it ended, if it did.
func (s *Set) withoutRaft() error {
	if err := s.Starts.Down(s.name(RaftName)); err != nil {
		return fmt.Errorf("raft does not run: %w", err)
	}
	return errors.New("raft does not run")
}

// quarantined says why nothing may be read from this agent.
func (s *Set) quarantined() error {
	if w := running[vitals](s, RaftName); w != nil {
		return w.Quarantine()
	}
	return nil
}

// leaving says why this agent must not be elected.
func (s *Set) leaving() error {
	if s.draining.Load() != nil {
		return errors.New("the agent stops")
	}
	return nil
}

// reluctant says why another member had better lead.
func (s *Set) reluctant() error {
	now := s.view()
	if now.machine != nil && now.machine.Stopped() != nil {
		return errors.New("its state machine is stopped")
	}
	if slices.ContainsFunc(s.alarms.Current(), func(a interrex.Alarm) bool { return a.Name == diskLowAlarm }) {
		return errors.New("the file system of its data directory is running out of space")
	}
	return nil
}

// behind says how far this agent is behind the cluster. One that was just
// started knows of nothing committed until its leader has sent it entries, and
// until then its state is as old as its last snapshot.
func (s *Set) behind(r *raft.Raft, now view) error {
	if is := s.Leadership.Current(); is.Leader {
		if !is.Ready {
			return errors.New("this leader has not applied all entries of its predecessors yet")
		}
		return nil
	}
	applied, _ := now.state.Applied()
	return lag(now.acks.Committed(r.CurrentTerm()), r.AppliedIndex(), applied, r.Stats()["fsm_pending"] == "0")
}

// lag compares what the leader has committed with what raft has handed to the
// state here, and what that has applied. raft's internal entries never reach the
// state: before them it is there when nothing is under way to it.
func lag(committed, handed, applied uint64, idle bool) error {
	switch {
	case committed == 0:
		return errors.New("the leader has not said yet what is committed")
	case handed < committed, applied < committed && !idle:
		return fmt.Errorf("the state is at log index %d, and %d was committed a second ago", applied, committed)
	}
	return nil
}
