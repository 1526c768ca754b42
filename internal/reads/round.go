package reads

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
)

const (
	// recheck is how often a round without answers checks that this agent still
	// leads: a deposed leader gets no more answers.
	recheck = 50 * time.Millisecond
	// retryAfter is the delay before a retry, in errors.
	retryAfter = 50 * time.Millisecond
)

// round is one proof of leadership, shared by every reader that joined before it
// started. Fields other than done are read only after done is closed.
type round struct {
	done    chan struct{}
	readers int // guarded by Rounds.mu

	index uint64
	err   error
}

// proof is what a round records at its start.
type proof struct {
	term   uint64
	index  uint64
	start  time.Time // after index was read
	voters []raft.ServerID
}

// prove returns the log index that a read must wait for.
func (r *Rounds) prove() (uint64, error) {
	p, err := r.begin()
	if err != nil {
		return 0, err
	}
	timeout := r.config.Clock.NewTimer(r.config.Timeout)
	defer timeout.Stop()
	for first := true; ; first = false {
		changed := r.config.Acks.AckChanged()
		enough, err := r.enough(p)
		if enough || err != nil {
			return p.index, err
		}
		if first {
			r.provoke()
		}
		if err := r.await(changed, timeout.Chan()); err != nil {
			return 0, err
		}
	}
}

// begin reads the commit index, and only then the time after which the answered
// requests must have been sent.
func (r *Rounds) begin() (proof, error) {
	p := proof{term: r.config.Raft.CurrentTerm()}
	if err := r.leading(p.term); err != nil {
		return p, err
	}
	if ready := r.config.ReadyTerm(); ready != p.term {
		return p, retryable(interrex.ErrUnavailable,
			"%s leads term %d and has not applied an entry of it yet; try again", r.config.ID, p.term)
	}
	p.index = r.config.Raft.CommitIndex()
	p.start = r.config.Clock.Now()
	var err error
	p.voters, err = r.voters()
	return p, err
}

// enough reports whether a quorum has answered, in this term, requests that were sent
// after the start. If the voters have changed since, it must be a quorum of the old
// and of the new ones: quorums overlap across one change, but not across two.
func (r *Rounds) enough(p proof) (bool, error) {
	voters, err := r.voters()
	if err != nil || !r.quorum(p, p.voters) || !r.quorum(p, voters) {
		return false, cmp.Or(err, r.leading(p.term))
	}
	// Read last: if the term is still the same, it was at every answer.
	return true, r.leading(p.term)
}

func (r *Rounds) quorum(p proof, voters []raft.ServerID) bool {
	answered := 0
	for _, id := range voters {
		if string(id) == r.config.ID {
			answered++
			continue
		}
		if sent, term := r.config.Acks.LastAck(id); term == p.term && sent.After(p.start) {
			answered++
		}
	}
	return answered > len(voters)/2
}

func (r *Rounds) voters() ([]raft.ServerID, error) {
	future := r.config.Raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, retryable(interrex.ErrUnavailable, "cannot read the configuration of %s: %v", r.config.ID, err)
	}
	var ids []raft.ServerID
	for _, server := range future.Configuration().Servers {
		if server.Suffrage == raft.Voter {
			ids = append(ids, server.ID)
		}
	}
	return ids, nil
}

// leading fails unless this agent leads term.
func (r *Rounds) leading(term uint64) error {
	if state := r.config.Raft.State(); state != raft.Leader {
		return retryable(interrex.ErrNotLeader, "%s is %s; try the leader", r.config.ID, state)
	}
	if now := r.config.Raft.CurrentTerm(); now != term {
		return retryable(interrex.ErrNotLeader, "%s led term %d and term %d has begun; try the leader", r.config.ID, term, now)
	}
	return nil
}

// await returns when answers may have arrived, or after recheck.
func (r *Rounds) await(changed <-chan struct{}, timeout <-chan time.Time) error {
	timer := r.config.Clock.NewTimer(recheck)
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.Chan():
		return nil
	case <-timeout:
		return retryable(interrex.ErrUnavailable, "%s leads and no quorum has responded within %s; try again",
			r.config.ID, r.config.Timeout)
	case <-r.catacomb.Dying():
		return r.stopping()
	}
}

func retryable(kind interrex.Kind, format string, args ...any) error {
	err := interrex.Errorf(kind, "cannot read strongly: %s", fmt.Sprintf(format, args...))
	err.RetryAfter = retryAfter
	return err
}
