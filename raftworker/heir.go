package raftworker

import (
	"time"

	"github.com/hashicorp/raft"
)

// answers is what a transport may have noted of its peers' answers.
type answers interface {
	LastAck(peer raft.ServerID) (sent time.Time, term uint64)
	MatchIndex(peer raft.ServerID, term uint64) uint64
}

// transfer hands leadership over to a member that may lead. raft itself would
// choose the member that has most of the log.
func (w *Worker) transfer(l *life) raft.Future {
	heir, found := w.heir(l)
	if !found {
		return failed{ErrNoHeir}
	}
	return l.raft.LeadershipTransferToServer(heir.ID, heir.Address)
}

// failed is a future that has failed.
type failed struct{ err error }

// Error implements raft.Future.
func (f failed) Error() error { return f.err }

// heir returns the voter that may lead and has most of the log among those that
// have answered lately, if there is one.
func (w *Worker) heir(l *life) (heir raft.Server, found bool) {
	var best uint64
	for _, s := range l.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter || s.ID == l.config.LocalID || !w.cfg.FitMember(string(s.ID)) {
			continue
		}
		has, lately := w.answered(l, s.ID)
		if lately && (!found || has > best) {
			heir, best, found = s, has, true
		}
	}
	return heir, found
}

// answered says how much of the log a member has, and whether it has answered
// within the time after which raft calls a member gone.
func (w *Worker) answered(l *life, id raft.ServerID) (match uint64, lately bool) {
	noted, is := l.transport.(answers)
	if !is {
		return 0, true
	}
	term := l.raft.CurrentTerm()
	sent, in := noted.LastAck(id)
	return noted.MatchIndex(id, term), in == term && w.cfg.Clock.Now().Sub(sent) < 2*l.config.HeartbeatTimeout
}
