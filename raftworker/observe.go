package raftworker

import (
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
)

// observed is what raft was last seen to do. Raft calls look and saw in goroutines of
// its own: they never wait for anybody.
type observed struct {
	to func(kind, peer string, e interrex.RaftEvent)

	mu     sync.Mutex
	raft   *raft.Raft // nil: it has not started
	last   interrex.RaftEvent
	peers  []raft.Server
	failed map[raft.ServerID]bool // the peers whose heartbeats fail
}

// begin begins with raft as it is now; its peers are not new.
func (o *observed) begin(r *raft.Raft) {
	o.mu.Lock()
	o.raft, o.peers = r, r.GetConfiguration().Configuration().Servers
	o.mu.Unlock()
	o.look()
}

// saw is the filter of raft's observer.
func (o *observed) saw(news *raft.Observation) bool {
	switch n := news.Data.(type) {
	case raft.FailedHeartbeatObservation:
		o.heartbeat(n.PeerID, true, interrex.RaftEvent{LastContact: n.LastContact})
	case raft.ResumedHeartbeatObservation:
		o.heartbeat(n.PeerID, false, interrex.RaftEvent{})
	default:
		o.look()
	}
	return true
}

// look passes on what has changed since the last time.
func (o *observed) look() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.raft == nil {
		return
	}
	_, leader := o.raft.LeaderWithID()
	now := interrex.RaftEvent{State: strings.ToLower(o.raft.State().String()), LeaderID: string(leader), Term: o.raft.CurrentTerm()}
	last := o.last
	o.last = now
	if now.State != last.State {
		o.failed = map[raft.ServerID]bool{}
		o.to(interrex.RaftStateChanged, "", now)
	}
	if now.LeaderID != last.LeaderID || now.LeaderID != "" && now.Term != last.Term {
		o.to(interrex.RaftLeaderChanged, "", now)
	}
	o.lookAtPeers(o.raft.GetConfiguration().Configuration().Servers)
}

// lookAtPeers passes on how raft's configuration has changed. The lock is held.
func (o *observed) lookAtPeers(now []raft.Server) {
	before := suffrages(o.peers)
	o.peers = now
	for _, s := range now {
		was, known := before[s.ID]
		delete(before, s.ID)
		switch {
		case !known:
			o.peer(interrex.RaftPeerAdded, s.ID, s.Suffrage == raft.Voter)
		case was != s.Suffrage:
			o.peer(interrex.RaftPeerChanged, s.ID, s.Suffrage == raft.Voter)
		}
	}
	for id, was := range before {
		delete(o.failed, id)
		o.peer(interrex.RaftPeerRemoved, id, was == raft.Voter)
	}
}

func suffrages(servers []raft.Server) map[raft.ServerID]raft.ServerSuffrage {
	all := map[raft.ServerID]raft.ServerSuffrage{}
	for _, s := range servers {
		all[s.ID] = s.Suffrage
	}
	return all
}

func (o *observed) peer(kind string, id raft.ServerID, voter bool) {
	e := o.last
	e.Voter = voter
	o.to(kind, string(id), e)
}

// heartbeat passes on that the heartbeats to a peer begin to fail, or fail no longer.
func (o *observed) heartbeat(id raft.ServerID, fails bool, e interrex.RaftEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed[id] == fails {
		return
	}
	kind := interrex.RaftHeartbeatResumed
	if fails {
		kind = interrex.RaftHeartbeatFailed
	}
	o.failed[id] = fails
	e.State, e.LeaderID, e.Term = o.last.State, o.last.LeaderID, o.last.Term
	e.Voter = suffrages(o.peers)[id] == raft.Voter
	o.to(kind, string(id), e)
}
