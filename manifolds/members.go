package manifolds

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
)

// voter is the suffrage of members that decide.
const voter = "voter"

// running returns the raft that runs; nil: none does.
func (v view) running() *raft.Raft {
	if v.raft == nil {
		return nil
	}
	r, err := v.raft.Raft()
	if err != nil {
		return nil
	}
	return r
}

// members returns the members of raft's configuration, as this agent sees them.
func (s *Set) members(now view) []interrex.Member {
	r := now.running()
	if r == nil {
		return nil
	}
	_, leader := r.LeaderWithID()
	var all []interrex.Member
	for _, server := range r.GetConfiguration().Configuration().Servers {
		m := interrex.Member{ID: string(server.ID), Suffrage: voter, Leader: server.ID == leader}
		if server.Suffrage != raft.Voter {
			m.Suffrage = "nonvoter"
		}
		if now.transport != nil {
			m.Address, m.APIAddress = now.transport.Address(m.ID), now.transport.APIAddress(m.ID)
			s.hear(&m, r, now)
		}
		m.MatchIndex = now.match(m.ID, s.ID(), r)
		all = append(all, m)
	}
	return all
}

// match returns how far a member's log matches the leader's; nil: this agent
// does not lead. The leader has all of it itself.
func (v view) match(id, self string, r *raft.Raft) *uint64 {
	if r.State() != raft.Leader || v.acks == nil {
		return nil
	}
	at := r.LastIndex()
	if id != self {
		at = v.acks.MatchIndex(raft.ServerID(id), r.CurrentTerm())
	}
	return &at
}

// hear notes when a member was last heard of, and whether one refuses the other. A
// leader counts what raft has answered it in its term; everybody else what arrives
// of any kind.
func (s *Set) hear(m *interrex.Member, r *raft.Raft, now view) {
	if m.ID == s.ID() {
		return
	}
	contact := now.transport.Contact(m.ID)
	heard := contact.Heard
	if r.State() == raft.Leader && now.acks != nil {
		if sent, term := now.acks.LastAck(raft.ServerID(m.ID)); term == r.CurrentTerm() && !sent.IsZero() {
			heard = sent
		}
	}
	at := s.config.Agent.Clock.Now()
	if heard.IsZero() {
		m.Silent = at.Sub(now.transport.Began()) > silentAfter
	} else {
		ago := max(at.Sub(heard), time.Duration(0))
		m.LastContact, m.Silent = &ago, ago > silentAfter
	}
	if m.Silent && contact.Refused {
		m.Refusal = contact.Err.Error()
	}
}
