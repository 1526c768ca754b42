// Package clusterer brings raft's configuration in line with the table of members,
// one change at a time: it adds the agents that were admitted, gives votes to those
// that have caught up, keeps the number of voters odd, and replaces voters that are
// dead.
package clusterer

import (
	"cmp"
	"slices"
	"time"

	"github.com/interrex/interrex/internal/limits"
)

// minVoters is the number of voters below which none is taken away because it is
// dead.
const minVoters = 3

// Agent is what the leader knows of one agent.
type Agent struct {
	ID string

	// As raft's configuration has it.
	InRaft, Voter bool
	// As the table of members has it. Removed: what is in raft's configuration is no member
	// any more; one of its ID that was admitted since then is not seen yet.
	Admitted, Removed bool
	NonVoter          bool // it must not have a vote
	Seen              bool // the table has the disk with which it runs

	// As the leader sees it now.
	Alive    bool          // it answers, on the disk that the table has
	Silent   time.Duration // since when it does not answer; 0: it does
	CaughtUp bool          // it has all that is committed, or nearly
	Fit      bool          // it may lead
	Leader   bool          // it is this agent
}

// Kind is what a step does.
type Kind int

// The kinds of steps.
const (
	None        Kind = iota
	AddNonvoter      // an admitted agent enters raft's configuration
	Promote          // it gets a vote
	Demote           // it loses its vote
	Remove           // it leaves raft's configuration
	HandOver         // this leader hands over, because it is to lose its vote or its membership
)

// String returns the phase's name for reports.
func (k Kind) String() string {
	return [...]string{"stable", "adding", "promoting", "demoting", "removing", "handing over"}[k]
}

// Step is one change of raft's configuration.
type Step struct {
	Kind Kind
	ID   string
	Why  string
}

// Next returns the next step for a cluster in which dead is the time after which a
// silent voter may be replaced. At most one step is under way at a time.
func Next(agents []Agent, dead time.Duration) Step {
	p := plan{agents: slices.SortedFunc(slices.Values(agents), func(a, b Agent) int { return cmp.Compare(a.ID, b.ID) }), dead: dead}
	for _, rule := range []func() Step{p.remove, p.demote, p.bury, p.promote, p.replace, p.add} {
		if s := rule(); s.Kind != None {
			return s
		}
	}
	return Step{}
}

type plan struct {
	agents []Agent
	dead   time.Duration
}

// voters counts the voters for which keep is true.
func (p plan) voters(keep func(Agent) bool) (n int) {
	for _, a := range p.agents {
		if a.Voter && keep(a) {
			n++
		}
	}
	return n
}

func everyone(Agent) bool { return true }

// survives reports whether the voters have a quorum that is alive without one of
// them.
func (p plan) survives(without string) bool {
	rest := func(a Agent) bool { return a.ID != without }
	return p.voters(func(a Agent) bool { return rest(a) && a.Alive }) > p.voters(rest)/2
}

// away is the step that takes an agent's vote or membership: this leader hands over
// first.
func (p plan) away(a Agent, s Step) Step {
	if a.Voter && !p.survives(a.ID) {
		return Step{}
	}
	if !a.Leader {
		return s
	}
	for _, other := range p.agents {
		if other.Voter && other.Alive && other.Fit && !other.Leader && !other.Removed && !other.NonVoter {
			return Step{HandOver, other.ID, s.Why}
		}
	}
	return Step{}
}

// remove takes removed agents out, those without a vote first.
func (p plan) remove() Step {
	for _, voter := range []bool{false, true} {
		for _, a := range p.agents {
			if a.InRaft && a.Removed && a.Voter == voter {
				if s := p.away(a, Step{Remove, a.ID, "it was removed"}); s.Kind != None {
					return s
				}
			}
		}
	}
	return Step{}
}

// demote takes the vote of those that must not have one.
func (p plan) demote() Step {
	for _, a := range p.agents {
		if a.Voter && a.NonVoter {
			if s := p.away(a, Step{Demote, a.ID, "it is to have no vote"}); s.Kind != None {
				return s
			}
		}
	}
	return Step{}
}

// bury takes the vote of a dead voter, where a spare has got one in exchange.
func (p plan) bury() Step {
	n := p.voters(everyone)
	if n%2 == 1 || n <= minVoters {
		return Step{}
	}
	for _, a := range p.agents {
		if p.isDead(a) && p.survives(a.ID) {
			return Step{Demote, a.ID, "it is dead, and another has got a vote"}
		}
	}
	return Step{}
}

func (p plan) isDead(a Agent) bool { return a.Voter && !a.Alive && a.Silent >= p.dead && !a.Leader }

// spares returns the agents that can get a vote.
func (p plan) spares() (all []Agent) {
	for _, a := range p.agents {
		if a.InRaft && !a.Voter && a.Admitted && !a.NonVoter && a.Seen && a.Alive && a.CaughtUp && a.Fit {
			all = append(all, a)
		}
	}
	return all
}

// promote gives a vote where that makes the number of voters odd, or where two can
// get one.
func (p plan) promote() Step {
	spares, n := p.spares(), p.voters(everyone)
	if len(spares) == 0 || n >= limits.MaxVoters || n%2 == 1 && (len(spares) < 2 || n+2 > limits.MaxVoters) {
		return Step{}
	}
	return Step{Promote, spares[0].ID, "it has caught up"}
}

// replace gives a vote to a spare in exchange for that of a dead voter, which bury
// takes.
func (p plan) replace() Step {
	spares := p.spares()
	if len(spares) == 0 || !slices.ContainsFunc(p.agents, p.isDead) {
		return Step{}
	}
	if p.voters(everyone)%2 == 0 {
		return Step{} // bury could not take one
	}
	return Step{Promote, spares[0].ID, "it has caught up, and a voter is dead"}
}

// add lets an admitted agent in.
func (p plan) add() Step {
	for _, a := range p.agents {
		if a.Admitted && a.Seen && a.Alive && !a.InRaft {
			return Step{AddNonvoter, a.ID, "it was admitted"}
		}
	}
	return Step{}
}
