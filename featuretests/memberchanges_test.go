package featuretests

import (
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// memberChanges is the number of changes of TestMembershipChangesUnderLoad.
var memberChanges = flag.Int("member-changes", 10, "make so many changes of members under load")

// leaderWithin is how long a cluster may be without a leader: 5 s, and more on a machine
// that is slow.
const leaderWithin = 20 * time.Second

// Members are demoted and promoted, lose their disks and return, are killed and started,
// and lead by turns, at random and under load. There is a leader soon each time, the
// number of voters becomes odd where it can, and the history of the leases keeps the
// rules.
func TestMembershipChangesUnderLoad(t *testing.T) {
	f := newFleet(t, 5, nil)
	l := startLoad(t, f.client(), f.client(), f.client())
	c := &changes{fleet: f, draw: drawer(0), withheld: map[int]bool{}}
	for n := range *memberChanges {
		c.one()
		if c.led(); t.Failed() {
			t.Fatalf("after %d changes", n+1)
		}
	}
	t.Logf("%d changes: %v; the longest time without a leader was %s", *memberChanges, c.made, c.longest)
	l.check(t, 200)
}

// changes makes changes of members.
type changes struct {
	*fleet
	draw     *rand.Rand
	withheld map[int]bool // members that are to have no vote
	made     map[string]int
	longest  time.Duration
}

// one makes one change that is possible now, and waits until the cluster is in order.
func (c *changes) one() {
	c.t.Helper()
	i := c.draw.IntN(len(c.members))
	kind, do := "transfer", func() { c.ask(i, "transfer-leader", c.id(i)) }
	switch n := c.draw.IntN(5); {
	case n == 0 && c.withheld[i]:
		kind, do = "promote", func() { c.ask(i, "promote", c.id(i)); delete(c.withheld, i) }
	case n == 0 && len(c.withheld) < 2:
		kind, do = "demote", func() { c.ask(i, "demote", c.id(i)); c.withheld[i] = true }
	case n == 1:
		kind, do = "crash", func() { c.kill(i); c.soon(); c.start(i) }
	case n <= 3:
		kind, do = "return", func() { c.replace(i) }
	}
	if c.made == nil {
		c.made = map[string]int{}
	}
	c.made[kind]++
	do()
	c.soon()
	c.settled()
}

// ask sends a command about members to some member; a transfer may be refused.
func (c *changes) ask(i int, args ...string) {
	c.t.Helper()
	out, code := c.says(c.draw.IntN(len(c.members)), append([]string{"member"}, args...)...)
	if code != 0 && args[0] != "transfer-leader" {
		c.t.Errorf("member %v of %s: %s", args, c.id(i), out)
	}
}

// replace takes a member's disk away, and has it return under its name.
func (c *changes) replace(i int) {
	c.t.Helper()
	at := c.members[i].config.Cluster.Listen
	other := c.others(i)[c.draw.IntN(len(c.members)-1)]
	c.kill(i)
	c.soon()
	c.eventually(c.id(i)+" is removed", func() bool { // refused until the leader has noticed
		out, code := c.says(other, "member", "remove", c.id(i))
		return code == 0 || strings.Contains(out, "not found")
	})
	delete(c.withheld, i)
	if err := os.RemoveAll(c.data(i)); err != nil {
		c.t.Fatal(err)
	}
	if out, code := c.says(other, "member", "add", c.id(i), "--address", at); code != 0 {
		c.t.Fatalf("%s is not added: %s", c.id(i), out)
	}
	c.start(i)
}

// soon waits until there is a leader, and notes how long that took.
func (c *changes) soon() {
	c.t.Helper()
	began := time.Now()
	c.leader()
	c.longest = max(c.longest, time.Since(began))
}

// led fails the test if there was no leader for too long.
func (c *changes) led() {
	c.t.Helper()
	if c.longest > leaderWithin {
		c.t.Errorf("there was no leader for %s", c.longest)
	}
}

// settled waits until all members are in, and as many as can be have a vote.
func (c *changes) settled() {
	c.t.Helper()
	last := ""
	for end := time.Now().Add(2 * patience); ; time.Sleep(200 * time.Millisecond) {
		out, code := c.says(c.draw.IntN(len(c.members)), "member", "list")
		may := len(c.members) - len(c.withheld)
		votes := strings.Count(out, " voter ") + strings.Count(out, " leader ")
		rest, spares := strings.Count(out, " nonvoter "), strings.Count(out, " spare ")
		if last = out; code == 0 && votes+rest+spares == len(c.members) && spares == len(c.withheld) && strings.Count(out, "  ok") == len(c.members) && (votes == may || votes == may-1 && votes%2 == 1) {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("it is not in order, with %d that may vote:\n%s", may, last)
		}
	}
}
