package agent_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/interrextest"
)

// observed waits for the next change; raft may do anything meanwhile.
func observed(t *testing.T, c <-chan agent.Observation) agent.Observation {
	t.Helper()
	timeout := time.After(interrextest.Patience)
	for {
		select {
		case o := <-c:
			if _, is := o.Value.(interrex.RaftEvent); !is {
				return o
			}
		case <-timeout:
			t.Fatal("nothing is observed")
		}
	}
}

func TestObserversOfEveryAgentSeeEveryChange(t *testing.T) {
	c, _ := withMachines(t)
	all := make([]chan agent.Observation, 3)
	observers := make([]*agent.Observer, 3)
	for i, a := range c.Agents() {
		all[i] = make(chan agent.Observation, 100)
		observers[i] = agent.NewObserver(all[i], nil)
		a.RegisterObserver(observers[i])
	}
	told := tell(t, c.Agent(0), "a")
	held, err := c.Agent(1).Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		first, second, third := observed(t, all[i]), observed(t, all[i]), observed(t, all[i])
		if first.Revision != told.Revision || first.Kind != fsm.Applied || string(first.Value.(interrex.FSMEvent).Data) != "a" || first.Wall.IsZero() {
			t.Errorf("agent %d: %+v", i, first)
		}
		if l, is := second.Value.(interrex.Lease); !is || l.Token != held.Token() {
			t.Errorf("agent %d: the value is %+v", i, second.Value)
		}
		if second.Kind != interrex.LeaseClaimed || second.Key != "mine/leader" || third.Kind != interrex.LeaseReleased || third.Revision <= second.Revision {
			t.Errorf("agent %d: %+v, %+v", i, second, third)
		}
	}
	// They outlive a restart, and end.
	c.Restart(0)
	for again := true; again; { // what a restart does again is seen again
		tell(t, c.Agent(0), "b")
		o := observed(t, all[0])
		again = o.Kind != fsm.Applied || string(o.Value.(interrex.FSMEvent).Data) != "b"
	}
	c.Agent(0).UnregisterObserver(observers[0])
	for len(all[0]) > 0 {
		<-all[0]
	}
	tell(t, c.Agent(1), "c")
	for o := observed(t, all[1]); o.Kind != fsm.Applied || string(o.Value.(interrex.FSMEvent).Data) != "c"; {
		o = observed(t, all[1])
	}
	if len(all[0]) != 0 {
		t.Error("one that is unregistered sees more")
	}
}
