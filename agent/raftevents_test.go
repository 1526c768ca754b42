package agent_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// seen is what one observer has seen.
type seen struct {
	t  *testing.T
	id string

	mu  sync.Mutex
	all []agent.Observation
}

// observe registers a hook with an agent.
func observe(t *testing.T, a *agent.Agent) *seen {
	s := &seen{t: t, id: a.ID()}
	a.RegisterObserver(agent.NewObserver(nil, func(o *agent.Observation) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, *o)
		return true
	}))
	return s
}

// until waits until it has seen an event of raft, at or after an index, and returns the
// index behind it.
func (s *seen) until(from int, kind, peer string, fits func(interrex.RaftEvent) bool) int {
	s.t.Helper()
	for deadline := time.Now().Add(interrextest.Patience); ; time.Sleep(5 * time.Millisecond) { // a poll
		s.mu.Lock()
		all := slices.Clone(s.all)
		s.mu.Unlock()
		for i, o := range all[from:] {
			if e, is := o.Value.(interrex.RaftEvent); is && o.Kind == kind && o.Key == peer && o.Revision == 0 && !o.Wall.IsZero() && fits(e) {
				return from + i + 1
			}
		}
		if time.Now().After(deadline) {
			text := ""
			for _, o := range all[from:] {
				text += fmt.Sprintf("\n%s %s %+v", o.Kind, o.Key, o.Value)
			}
			s.t.Fatalf("%s has not seen %s %s, but%s", s.id, kind, peer, text)
		}
	}
}

func whatever(interrex.RaftEvent) bool { return true }

func TestObserversSeeLeadersAndStatesWithTheirTerms(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	first := c.Leader()
	var all []*seen
	for _, a := range c.Agents() {
		all = append(all, observe(t, a))
	}
	watch, err := c.Agent(first).Leadership()
	if err != nil {
		t.Fatal(err)
	}
	was, err := watch.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Stop(first)
	second := c.Leader()
	leads := func(e interrex.RaftEvent) bool {
		return e.LeaderID == c.Agent(second).ID() && e.Term > was.Term
	}
	for i := range all {
		if i != first {
			all[i].until(0, interrex.RaftLeaderChanged, "", leads)
		}
	}
	all[second].until(0, interrex.RaftStateChanged, "", func(e interrex.RaftEvent) bool { return e.State == "leader" && e.Term > was.Term })
	at := all[first].until(0, interrex.RaftStateChanged, "", func(e interrex.RaftEvent) bool { return e.State == "shutdown" && e.LeaderID == "" })
	// They outlive the restart.
	c.Start(first)
	at = all[first].until(at, interrex.RaftStateChanged, "", func(e interrex.RaftEvent) bool { return e.State == "follower" })
	all[first].until(at, interrex.RaftLeaderChanged, "", leads)
}

func TestTheLeadersObserversSeeWhoseHeartbeatsFail(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	away := (leader + 1) % 3
	s, began := observe(t, c.Agent(leader)), time.Now()
	c.Isolate(away)
	id := c.Agent(away).ID()
	at := s.until(0, interrex.RaftHeartbeatFailed, id, func(e interrex.RaftEvent) bool {
		return e.State == "leader" && e.Voter && e.LastContact.After(began.Add(-time.Minute))
	})
	c.Heal()
	at = s.until(at, interrex.RaftHeartbeatResumed, id, whatever)
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := 0
	for _, o := range s.all[:at] {
		if o.Kind == interrex.RaftHeartbeatFailed && o.Key == id {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("one failure was shown %d times", failed)
	}
}

func TestObserversSeePeersAndMembersChange(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	var all []*seen
	for _, a := range c.Agents() {
		all = append(all, observe(t, a))
	}
	other := (leader + 1) % 3
	id := c.Agent(other).ID()
	if _, err := c.Agent(leader).Members().SetVoter(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		s.until(0, interrex.RaftPeerChanged, id, func(e interrex.RaftEvent) bool { return !e.Voter })
		eventually(t, fmt.Sprintf("agent %d sees the member change", i), func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.ContainsFunc(s.all, func(o agent.Observation) bool {
				m, is := o.Value.(interrex.Member)
				return is && o.Kind == interrex.MemberChanged && o.Key == id && m.ID == id && m.NonVoter && o.Revision > 0
			})
		})
	}
	if _, err := c.Agent(leader).Members().SetVoter(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.until(0, interrex.RaftPeerChanged, id, func(e interrex.RaftEvent) bool { return e.Voter })
	}
	c.Stop(other)
	if _, err := c.Agent(leader).Members().Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if i != other {
			s.until(0, interrex.RaftPeerRemoved, id, func(e interrex.RaftEvent) bool { return e.Term > 0 })
		}
	}
}
