package featuretests

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// memberChanges is the number of changes of TestMembershipChangesUnderLoad.
var memberChanges = flag.Int("member-changes", 12, "make so many changes of members under load")

// Agents are demoted and promoted, removed and added, lose their disks and return, are
// killed and started, and lead by turns, at random and under load. In the middle of many
// changes the leader or the agent itself is killed, and some begin before the one before
// them is through. There is one leader soon each time, callers are served, the number of
// voters becomes odd where it can, all members agree on who they are, a removed agent
// learns that it was, and the history of the leases keeps the rules.
func TestMembershipChangesUnderLoad(t *testing.T) {
	f := newFleet(t, 5, nil)
	l := startLoad(t, f.client(), f.client(), f.client())
	w := f.watchLeaders()
	c := &changes{
		fleet: f, admin: f.client().Members(), draw: drawer(0),
		withheld: map[int]bool{}, out: map[int]bool{}, made: map[string]int{},
	}
	for n := range *memberChanges {
		if c.one(); t.Failed() {
			t.Fatalf("after %d changes", n+1)
		}
	}
	c.settled("all changes")
	t.Logf("%d changes: %v", *memberChanges, c.made)
	for i := range c.out {
		c.saysRemoved(i)
	}
	w.check(t, l.history.longestPause())
	l.check(t, 200)
}

// changes makes changes of members.
type changes struct {
	*fleet
	admin    interrex.Members
	draw     *rand.Rand
	withheld map[int]bool // members that are to have no vote
	out      map[int]bool // agents that were removed, and run
	made     map[string]int
	since    int // changes since the cluster was in order
	votes    int // when it was
}

// one makes one change that is possible now, and kills an agent in the middle of every
// second. After two of three it waits until the cluster is in order.
func (c *changes) one() {
	c.t.Helper()
	i := c.draw.IntN(len(c.members))
	kind, change := c.drawn(i)
	c.made[kind]++
	change(i)
	c.since++
	if n := c.draw.IntN(4); n < 2 {
		victim, what := i, "killed itself"
		if n == 0 {
			victim, what = c.leader(c.in()...), "leader killed"
		}
		c.made[what]++
		pause(c.t.Context(), time.Duration(c.draw.IntN(1500))*time.Millisecond)
		c.crash(victim)
	}
	if c.draw.IntN(3) > 0 {
		c.settled(kind + " " + c.id(i))
	}
}

// drawn returns a change that agent i can go through now. At least three members that
// may vote remain.
func (c *changes) drawn(i int) (kind string, change func(int)) {
	spared := len(c.withheld)+len(c.out) < 2
	switch n := c.draw.IntN(7); {
	case c.out[i]:
		return "add", func(i int) { c.kill(i); c.add(i); delete(c.out, i) }
	case n == 0 && c.withheld[i]:
		return "promote", func(i int) { c.setVoter(i, true); delete(c.withheld, i) }
	case n == 0 && spared:
		return "demote", func(i int) { c.setVoter(i, false); c.withheld[i] = true }
	case n == 1 && (spared || c.withheld[i]):
		return "remove", func(i int) { c.remove(i); c.out[i] = true }
	case n <= 3:
		return "crash", c.crash
	case n <= 5:
		return "return", c.replace
	}
	return "transfer", c.transfer
}

// in returns the agents that are members.
func (c *changes) in() (all []int) {
	for i := range c.members {
		if !c.out[i] {
			all = append(all, i)
		}
	}
	return all
}

func (c *changes) crash(i int) { c.kill(i); c.start(i) }

// replace takes an agent's disk away, and adds the agent anew. The disk counts as a voter
// that is off until raft is without it, so no other may be in that state.
func (c *changes) replace(i int) {
	c.t.Helper()
	c.settled("a change before " + c.id(i) + " loses its disk")
	c.kill(i)
	c.remove(i)
	c.add(i)
}

func (c *changes) setVoter(i int, voter bool) {
	c.t.Helper()
	if _, err := c.admin.SetVoter(c.t.Context(), c.id(i), voter); err != nil {
		c.t.Errorf("whether %s may vote is not set: %v", c.id(i), err)
	}
}

// transfer hands leadership to agent i; it may be refused.
func (c *changes) transfer(i int) {
	c.t.Helper()
	_, err := c.admin.TransferLeader(c.t.Context(), c.id(i))
	if kind := interrex.KindOf(err); err != nil && kind != interrex.ErrConflict && !kind.Retryable() && kind != interrex.ErrOutcomeUnknown {
		c.t.Errorf("leadership is not handed to %s: %v", c.id(i), err)
	}
}

// remove removes a member. That is refused while the leader hears too few of the others.
func (c *changes) remove(i int) {
	c.t.Helper()
	eventually(c.t, c.id(i)+" is removed", func() error {
		_, err := c.admin.Remove(c.t.Context(), c.id(i))
		if errors.Is(err, interrex.ErrNotFound) {
			err = nil // an attempt before this one has removed it
		}
		return err
	})
	delete(c.withheld, i)
}

// add adds an agent, with an empty disk.
func (c *changes) add(i int) {
	c.t.Helper()
	if err := os.RemoveAll(c.data(i)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.admin.Add(c.t.Context(), c.id(i), c.members[i].config.Cluster.Listen); err != nil {
		c.t.Fatalf("%s is not added: %v", c.id(i), err)
	}
	c.start(i)
}

// settled waits until each member sees the same members, in order.
func (c *changes) settled(after string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*patience)
	defer cancel()
	for {
		var views []string
		var bad error
		votes := 0
		for _, i := range c.in() {
			all, err := c.view(ctx, i)
			if err == nil {
				votes, err = c.inOrder(all)
			}
			bad = cmp.Or(bad, err)
			views = append(views, roles(all))
		}
		if bad == nil && len(slices.Compact(views)) == 1 {
			c.odd(after, votes)
			return
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			c.t.Fatalf("after %s it is not in order: %v; the members see %q", after, bad, views)
		}
	}
}

// odd fails the test if a single change has made the number of voters rise to an even one.
func (c *changes) odd(after string, votes int) {
	c.t.Helper()
	if c.since == 1 && votes%2 == 0 && c.votes > 0 && votes > c.votes {
		c.t.Errorf("after %s %d have a vote, and before it %d had", after, votes, c.votes)
	}
	c.since, c.votes = 0, votes
}

// view returns the members as one of them sees them.
func (c *changes) view(ctx context.Context, i int) ([]interrex.Member, error) {
	one, err := client.Dial(ctx, client.Config{Addresses: []string{c.socket(i)}, OneShot: true, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	defer one.Close()
	all, _, err := one.Members().List(ctx, interrex.ReadOptions{Consistency: interrex.Strong})
	return all, err
}

// inOrder returns why the members are not as they are to be: all are in and respond, one
// leads, and of those that may have a vote all have one, or all but one if that makes
// the number of voters odd. It returns that number.
func (c *changes) inOrder(all []interrex.Member) (votes int, err error) {
	in := map[string]int{}
	for _, i := range c.in() {
		in[c.id(i)] = i
	}
	leaders := 0
	for _, m := range all {
		i, is := in[m.ID]
		switch delete(in, m.ID); {
		case !is || m.Leaving || m.Suffrage == "" || m.Silent || m.Refusal != "":
			return 0, fmt.Errorf("%s is %+v", m.ID, m)
		case c.withheld[i] != m.NonVoter, m.NonVoter && m.Suffrage == "voter":
			return 0, fmt.Errorf("%s is a %s, and is to have no vote: %v", m.ID, m.Suffrage, c.withheld[i])
		case m.Suffrage == "voter":
			votes++
		}
		if m.Leader {
			leaders++
		}
	}
	may := len(c.in()) - len(c.withheld)
	if len(in) > 0 || leaders != 1 || votes != may && (votes != may-1 || votes%2 == 0) {
		return 0, fmt.Errorf("%v are missing, %d lead, and %d of %d that may vote do", in, leaders, votes, may)
	}
	return votes, nil
}

// roles says in a line what each member is.
func roles(all []interrex.Member) string {
	var text []string
	for _, m := range all {
		text = append(text, fmt.Sprintf("%s:%s:%s:%t", m.ID, m.Suffrage, m.Incarnation, m.Leader))
	}
	slices.Sort(text)
	return strings.Join(text, " ")
}
