package raftworker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/founding"
)

// HandOver writes a last stamp and transfers leadership to another voter: to the one
// with that ID or, if it is empty, to the one that has most of the log. The worker
// keeps running, as a follower. If this agent does not lead, or is the only voter, and
// no ID is given, it does nothing. HandOver returns when ctx ends, at the latest.
func (w *Worker) HandOver(ctx context.Context, id string) error {
	if err := w.endError(); err != nil {
		return err
	}
	l := w.life
	transfer := l.transfer
	switch {
	case id != "":
		heir, err := l.named(raft.ServerID(id))
		if err != nil {
			return err
		}
		transfer = func() raft.Future { return l.raft.LeadershipTransferToServer(heir.ID, heir.Address) }
	case l.raft.State() != raft.Leader || founding.OnlyVoter(l.raft.GetConfiguration().Configuration(), l.config.LocalID):
		return nil
	}
	l.lastStamp(ctx)
	done := make(chan error, 1)
	// Raft bounds a transfer by its election timeout.
	go func() { done <- transfer().Error() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("cannot hand leadership over: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot hand leadership over: %w", ctx.Err())
	}
}

// lastStamp writes the cluster time to the log once more, before this leader steps
// down.
func (l *life) lastStamp(ctx context.Context) {
	if err := l.applier.FinalTick(ctx); err != nil {
		l.cfg.Logger.Debugf("no last stamp was written: %v", err)
	}
}

// answers is the optional part of a transport that records its peers' answers.
type answers interface {
	LastAck(peer raft.ServerID) (sent time.Time, term uint64)
	MatchIndex(peer raft.ServerID, term uint64) uint64
}

// transfer hands leadership over to a member that may lead; raft itself would
// choose the one that has most of the log, even if it must not.
func (l *life) transfer() raft.Future {
	heir, found := l.heir()
	if !found {
		return failed{errNoHeir}
	}
	return l.raft.LeadershipTransferToServer(heir.ID, heir.Address)
}

// failed is a future that has failed.
type failed struct{ err error }

// Error implements raft.Future.
func (f failed) Error() error { return f.err }

// heir returns, of the voters that may lead and have responded lately, the one
// that has most of the log.
func (l *life) heir() (heir raft.Server, found bool) {
	var best uint64
	for _, s := range l.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter || s.ID == l.config.LocalID || !l.cfg.FitMember(string(s.ID)) {
			continue
		}
		has, lately := l.answered(s.ID)
		if lately && (!found || has > best) {
			heir, best, found = s, has, true
		}
	}
	return heir, found
}

// named returns the voter with an ID, or why it cannot take over leadership.
func (l *life) named(id raft.ServerID) (raft.Server, error) {
	all := l.raft.GetConfiguration().Configuration().Servers
	at := slices.IndexFunc(all, func(s raft.Server) bool { return s.ID == id })
	_, lately := l.answered(id)
	switch {
	case l.raft.State() != raft.Leader:
		return raft.Server{}, interrex.Errorf(interrex.ErrNotLeader, "agent %s does not lead", l.config.LocalID)
	case at < 0:
		return raft.Server{}, interrex.Errorf(interrex.ErrNotFound, "member %q is not in raft's configuration: 'interrex member list' shows the members", id)
	case id == l.config.LocalID:
		return raft.Server{}, interrex.Errorf(interrex.ErrConflict, "%s leads already: name another voter", id)
	case all[at].Suffrage != raft.Voter:
		return raft.Server{}, interrex.Errorf(interrex.ErrConflict, "%s has no vote: only a voter can lead", id)
	case !lately:
		return raft.Server{}, interrex.Errorf(interrex.ErrUnavailable, "%s does not respond to the leader, %s: leadership stays here", id, l.config.LocalID)
	case !l.cfg.FitMember(string(id)):
		return raft.Server{}, interrex.Errorf(interrex.ErrUnavailable, "%s reports that it must not lead: 'interrex status' on it says why", id)
	}
	return all[at], nil
}

// answered returns the last index of the log that a member has, and whether it has
// responded within the time after which raft considers a member gone.
func (l *life) answered(id raft.ServerID) (match uint64, lately bool) {
	noted, is := l.transport.(answers)
	if !is {
		return 0, true
	}
	term := l.raft.CurrentTerm()
	sent, in := noted.LastAck(id)
	return noted.MatchIndex(id, term), in == term && l.cfg.Clock.Now().Sub(sent) < 2*l.config.HeartbeatTimeout
}
