package health

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/peering"
)

// voter is the suffrage of members that vote.
const voter = "voter"

// Members returns the members of raft's configuration, as this agent sees them.
func (v View) Members() []interrex.Member {
	r := v.Running()
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
		if v.Transport != nil {
			m.Address, m.APIAddress = v.Transport.Address(m.ID), v.Transport.APIAddress(m.ID)
			v.noteContact(&m, r)
		}
		m.MatchIndex = v.match(m.ID, r)
		all = append(all, m)
	}
	if v.Transport != nil {
		v.identify(all)
	}
	return all
}

// MembersSince returns the members as Members does; those that have not answered anything
// that was sent after a moment are silent.
func (v View) MembersSince(moment time.Time) []interrex.Member {
	all := v.Members()
	for i := range all {
		if m := &all[i]; m.ID != v.ID && !v.LastHeard(m.ID, v.Running()).After(moment) {
			m.Silent = true
		}
	}
	return all
}

// match returns how far a member's log matches the leader's; nil: this agent
// does not lead.
func (v View) match(id string, r *raft.Raft) *uint64 {
	if r.State() != raft.Leader || v.Acks == nil {
		return nil
	}
	at := r.LastIndex()
	if id != v.ID {
		at = v.Acks.MatchIndex(raft.ServerID(id), r.CurrentTerm())
	}
	return &at
}

// LastHeard returns when a member was last heard from; zero: never. A leader counts the
// answers to raft in its term; every other agent counts whatever arrives.
func (v View) LastHeard(id string, r *raft.Raft) time.Time {
	if r.State() == raft.Leader && v.Acks != nil {
		if sent, term := v.Acks.LastAck(raft.ServerID(id)); term == r.CurrentTerm() && !sent.IsZero() {
			return sent
		}
	}
	return v.Transport.Contact(id).Heard
}

// noteContact notes when a member was last heard from, and whether one of the two
// refuses the other. A leader counts the answers to raft in its term; every other
// agent counts whatever arrives.
func (v View) noteContact(m *interrex.Member, r *raft.Raft) {
	if m.ID == v.ID {
		return
	}
	contact, heard := v.Transport.Contact(m.ID), v.LastHeard(m.ID, r)
	if heard.IsZero() {
		m.Silent = v.At.Sub(v.Transport.Began()) > silentAfter
	} else {
		ago := max(v.At.Sub(heard), time.Duration(0))
		m.LastContact, m.Silent = &ago, ago > silentAfter
	}
	switch {
	case m.Silent && contact.Refused:
		m.Refusal = contact.Err.Error()
	case errors.Is(contact.Err, unix.ECONNREFUSED):
		m.Refusal = notListening
	}
}

// notListening is the Refusal of a member whose process does not run, or has left its
// cluster port.
const notListening = "its port refuses connections"

// identify notes the refusal of an agent that is not known by its ID, if it can only be
// the one member that was never met.
func (v View) identify(members []interrex.Member) {
	var unmet []*interrex.Member
	for i := range members {
		if m := &members[i]; m.Silent && m.Address == "" && m.ID != v.ID {
			unmet = append(unmet, m)
		}
	}
	var strangers []peering.Contact
	for _, c := range v.Transport.Contacts() {
		if c.ID == "" && c.Refused {
			strangers = append(strangers, c)
		}
	}
	if len(unmet) == 1 && len(strangers) == 1 {
		unmet[0].Address, unmet[0].Refusal = strangers[0].Address, strangers[0].Err.Error()
	}
}
