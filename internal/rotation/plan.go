// Package rotation decides the steps in which the cluster's CA is replaced, and takes
// them where this agent leads. It also gets leadership to a voter that has the CA's key.
package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/wording"
)

// Agent is what is known of one agent of the cluster.
type Agent struct {
	ID     string
	Voter  bool
	Leader bool
	Alive  bool // it was heard of lately
	Silent time.Duration
	Met    bool // it was ever heard of
	Fit    bool // it may lead

	// As it says itself, by their pins: the CAs that it trusts, and those whose keys it
	// keeps.
	Trusts, Keys []string
	// Issuer is the pin of the CA of its certificate, as it is recorded.
	Issuer string
}

// Cluster is what a plan is made from. CAs are named by their pins.
type Cluster struct {
	Agents []Agent // by ID
	CA     string  // the cluster's; empty: its certificates come from elsewhere
	// Rotation is the one under way; nil: none is. Next is the next CA, Former
	// are those that were.
	Rotation *member.Rotation
	Next     string
	Former   []string
}

// Kind is what a step does.
type Kind int

// The kinds of steps.
const (
	None     Kind = iota
	Wait          // for the members in Waiting
	Offer         // this leader makes the next CA
	Advance       // the phase is complete
	HandOver      // this leader has no key, and another voter has it
)

// Step is one step of a rotation.
type Step struct {
	Kind Kind
	ID   string // of the agent to hand over to
	// Waiting are the members that the phase waits for, with the reason.
	Waiting map[string]string
}

// Next returns the next step.
func Next(c Cluster) Step {
	switch r := c.Rotation; {
	case c.CA == "":
		return Step{}
	case r == nil:
		if s := c.keep(c.CA); s.Kind == HandOver {
			return s
		}
		return Step{}
	case r.Phase == member.Asked:
		return Step{Kind: Offer}
	case r.Phase == member.Trusting:
		return c.keepAnd(c.Next, func(a Agent) string {
			return unless(slices.Contains(a.Trusts, c.Next), "it does not trust the next CA yet")
		})
	case r.Phase == member.Handing:
		return c.keepAnd(c.Next, func(a Agent) string {
			return unless(!a.Voter || slices.Contains(a.Keys, c.Next), "it does not have the next CA's key yet")
		})
	case r.Phase == member.Renewing:
		return c.keepAnd(c.CA, func(a Agent) string {
			return unless(a.Issuer == c.CA, "it has no certificate of the new CA yet")
		})
	}
	return c.when(func(a Agent) string {
		former := slices.ContainsFunc(c.Former, func(pin string) bool { return slices.Contains(a.Trusts, pin) })
		return unless(a.Met && !former, "it still trusts the former CA")
	})
}

func unless(so bool, why string) string {
	if so {
		return ""
	}
	return why
}

// KeyMissing reports, where this agent leads, whether it lacks the cluster's CA's key,
// and which voters are known to have it.
func KeyMissing(c Cluster) (voters []string, missing bool) {
	if c.CA == "" {
		return nil, false
	}
	for _, a := range c.Agents {
		has := slices.Contains(a.Keys, c.CA)
		if a.Leader {
			missing = !has
		} else if has && a.Voter {
			voters = append(voters, a.ID)
		}
	}
	return voters, missing
}

// keepAnd is the step of a phase that needs the key of a CA: see keep and when.
func (c Cluster) keepAnd(pin string, lacks func(Agent) string) Step {
	if s := c.keep(pin); s.Kind != None {
		return s
	}
	return c.when(lacks)
}

// keep returns what is to be done so that the leader has the key of a CA; none: it has.
// If no voter has it another CA is to be made, but not while one may be off that has it.
func (c Cluster) keep(pin string) Step {
	if slices.ContainsFunc(c.Agents, func(a Agent) bool { return a.Leader && slices.Contains(a.Keys, pin) }) {
		return Step{}
	}
	waiting := map[string]string{}
	for _, a := range c.Agents {
		has := slices.Contains(a.Keys, pin)
		switch {
		case a.Leader || !a.Voter:
		case has && a.Alive && a.Fit:
			return Step{Kind: HandOver, ID: a.ID}
		case (has || !a.Alive) && !c.without(a):
			waiting[a.ID] = "it may have the CA's key, which this leader lacks: " + a.contact()
		}
	}
	if len(waiting) > 0 {
		return Step{Kind: Wait, Waiting: waiting}
	}
	return Step{Kind: Offer}
}

// when is to advance once no agent lacks anything, but for those that are left out.
func (c Cluster) when(lacks func(Agent) string) Step {
	waiting := map[string]string{}
	for _, a := range c.Agents {
		if why := lacks(a); why != "" && !c.without(a) {
			waiting[a.ID] = why
			if !a.Alive {
				waiting[a.ID] = why + ": " + a.contact()
			}
		}
	}
	if len(waiting) > 0 {
		return Step{Kind: Wait, Waiting: waiting}
	}
	return Step{Kind: Advance}
}

func (c Cluster) without(a Agent) bool {
	return c.Rotation != nil && slices.Contains(c.Rotation.Without, a.ID)
}

// contact says when an agent was last heard of.
func (a Agent) contact() string {
	switch {
	case a.Alive:
		return "it responds, and may not lead"
	case !a.Met:
		return "it has not been met"
	}
	return fmt.Sprintf("nothing heard from it for %s", wording.Rounded(a.Silent.Round(time.Second)))
}

// Describe says which members a phase waits for, with the reasons.
func Describe(waiting map[string]string) string {
	var all []string
	for id, why := range waiting {
		all = append(all, id+": "+why)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}
