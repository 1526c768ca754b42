package health

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
)

// Check is one line of the readiness probe.
type Check struct {
	Name   string
	Err    error // why the agent is not ready; nil: it is
	Leader bool  // it cannot pass without a leader
}

// Ready returns the checks of readiness that only the agent can make.
func (h *Health) Ready() []Check {
	v := h.look()
	drain := Check{Name: "not draining"}
	if v.Draining {
		drain.Err = errors.New("the agent is stopping")
	}
	if v.Forwards {
		return []Check{{Name: "forwarding", Err: v.notForwarded()}, drain}
	}
	running := Check{Name: "raft"}
	caughtUp := Check{Name: "caught up", Leader: true}
	if v.Raft == nil {
		running.Err = v.withoutRaft()
	} else if r, err := v.Raft.Raft(); err != nil {
		running.Err = fmt.Errorf("raft is not running: %w", err)
	} else if v.State != nil && v.Acks != nil {
		caughtUp.Err = v.behind(r)
	}
	whole := Check{Name: "log whole", Err: v.quarantined()}
	return []Check{running, caughtUp, whole, drain}
}

// withoutRaft says that raft is not running, and why it ended if it did.
func (v View) withoutRaft() error {
	if v.Removed != nil {
		return v.Removed
	}
	if v.Waits != "" {
		return errors.New(v.waits())
	}
	if v.RaftDown != nil {
		return fmt.Errorf("raft is not running: %w", v.RaftDown)
	}
	return errors.New("raft is not running")
}

// quarantined says why nothing may be read from this agent; nil: it may.
func (v View) quarantined() error {
	if v.Vitals != nil {
		return v.Vitals.Quarantine()
	}
	return nil
}

// Reluctant says why another member should lead instead of this one; nil: no reason.
func (h *Health) Reluctant() error {
	if m := h.look().Machine; m != nil && m.Stopped() != nil {
		return errors.New("its state machine is stopped")
	}
	if slices.ContainsFunc(h.alarms.Current(), func(a interrex.Alarm) bool { return a.Name == diskLowAlarm }) {
		return errors.New("the file system of its data directory is running out of space")
	}
	return nil
}

// behind says how far this agent is behind the cluster; nil: it is not. One that was
// just started does not know what is committed until its leader has sent it entries,
// and until then its state is as old as its last snapshot.
func (v View) behind(r *raft.Raft) error {
	if v.Leadership.Leader {
		if !v.Leadership.Ready {
			return errors.New("this leader has not applied all entries of its predecessors yet")
		}
		return nil
	}
	applied, _ := v.State.Applied()
	return lag(v.Acks.Committed(r.CurrentTerm()), r.AppliedIndex(), applied, r.Stats()["fsm_pending"] == "0")
}

// lag compares what the leader has committed with what raft has handed to the state
// here, and what the state has applied. raft's internal entries never reach the
// state: if they are the newest, it has caught up once nothing is on its way to it.
func lag(committed, handed, applied uint64, idle bool) error {
	switch {
	case committed == 0:
		return errors.New("the leader has not yet said what is committed")
	case handed < committed, applied < committed && !idle:
		return fmt.Errorf("the state is at log index %d, and %d was committed a second ago", applied, committed)
	}
	return nil
}
