package manifolds

import (
	"errors"
	"fmt"

	"github.com/interrex/interrex/api"
)

// maxBehind is how many entries of the log an agent may be behind what it knows
// to be committed, and count as caught up. A busy follower is always some behind.
const maxBehind = 1024

// ready are the checks of readiness that only the agent knows.
func (s *Set) ready() []api.Check {
	now := s.Present.now()
	running := api.Check{Name: "raft"}
	caughtUp := api.Check{Name: "caught up", Leader: true}
	if now.raft == nil {
		running.Err = errors.New("raft does not run")
	} else if r, err := now.raft.Raft(); err != nil {
		running.Err = fmt.Errorf("raft does not run: %w", err)
	} else if now.state != nil {
		applied, _ := now.state.Applied()
		caughtUp.Err = behind(r.CommitIndex(), applied)
	}
	drain := api.Check{Name: "not draining"}
	if now.draining {
		drain.Err = errors.New("the agent stops")
	}
	return []api.Check{running, caughtUp, drain}
}

// behind says how far an agent is behind the cluster. One that was just started
// knows of nothing committed until its leader has sent it entries, and until
// then its state is as old as its last snapshot.
func behind(committed, applied uint64) error {
	switch {
	case committed == 0:
		return errors.New("the leader has not said yet what is committed")
	case committed > applied+maxBehind:
		return fmt.Errorf("the state is at log index %d of %d", applied, committed)
	}
	return nil
}
