package featuretests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testport"
)

// The certificates come from elsewhere: an agent that has one is added, gets a vote in
// place of a founder that is dead and is removed, and leaves.
func TestMembersAreAddedRemovedAndLeaveWithACAFromElsewhere(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, nil)
	fourth := f.admitted(t)
	f.refused(0, 4, "n4", "member", "add", "n4", "--address", "127.0.0.1:1")
	leader := f.leader()
	f.refused(leader, 4, "has no vote", "member", "transfer-leader", "n4")
	if out, code := f.says(fourth, "member", "promote", "n4"); code != 0 || !strings.Contains(out, "4 voters tolerate no more failures than 3") {
		t.Errorf("it is promoted with exit code %d: %s", code, out)
	}
	f.refused(leader, 4, "leads already", "member", "transfer-leader", f.id(leader))
	f.refused(fourth, 3, "n9", "member", "transfer-leader", "n9")
	dead, next := f.others(leader)[0], f.others(leader)[1]
	f.eventually(f.id(next)+" leads", func() bool { // raft may refuse one that is behind, or answer late
		out, code := f.says(fourth, "member", "transfer-leader", f.id(next))
		return code == 0 && strings.HasPrefix(out, f.id(next)+" leads in term") || strings.Contains(out, f.id(next)+" leads already")
	})
	f.kill(dead)
	f.alarms(next, "member-silent")
	f.refused(next, 6, "does not respond", "member", "transfer-leader", f.id(dead))
	f.refused(leader, 4, "no quorum", "agent", "leave")
	f.eventually("the fourth has a vote in place of the dead one", func() bool {
		f.says(next, "member", "remove", f.id(dead)) // not found after the first time
		out, _ := f.says(next, "member", "list")
		return strings.Count(out, " voter ")+strings.Count(out, " leader ") == 3 && !strings.Contains(out, f.id(dead))
	})
	if out, code := f.says(fourth, "agent", "leave", "--purge"); code != 0 {
		t.Fatalf("it does not leave: exit code %d, %s", code, out)
	}
	if code := f.exit(fourth); code != 0 {
		t.Errorf("the agent that has left ends with exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(f.data(fourth), "raft")); !os.IsNotExist(err) {
		t.Errorf("raft's data is there still: %v", err)
	}
	if out := f.mustRun("member", "list", "--addr", f.socket(next)); strings.Contains(out, "n4") || strings.Count(out, "\n") != 2 {
		t.Errorf("the members are\n%s", out)
	}
	f.start(fourth)
	f.saysRemoved(fourth)
}

// admitted starts one agent more, which waits, and adds it.
func (f *fleet) admitted(t *testing.T) (i int) {
	t.Helper()
	i = len(f.members)
	ports := testport.Ports(t, 2)
	var join []string
	for _, m := range f.members {
		join = append(join, m.config.Cluster.Listen)
	}
	own := fmt.Sprintf("127.0.0.1:%d", ports[1])
	f.members = append(f.members, f.member(f.ca, i, ports[0], append(slices.Clone(join), own), func(_ int, c *config.Config) {
		c.Cluster.BootstrapExpect = 0
	}))
	f.start(i)
	f.logged(i, "is not a member of this cluster")
	f.mustRun("member", "add", f.id(i), "--address", own, "--addr", f.socket(0))
	f.eventually("it is in", func() bool {
		out, _ := f.says(0, "member", "list")
		return strings.Contains(out, f.id(i)+"  nonvoter")
	})
	f.answers(i)
	return i
}

// refused checks that a command on member i ends with an exit code, and says why.
func (f *fleet) refused(i, exit int, why string, args ...string) {
	f.t.Helper()
	if out, code := f.says(i, args...); code != exit || !strings.Contains(out, why) {
		f.t.Errorf("%v ends with exit code %d: %s; want %d, and %q", args, code, out, exit, why)
	}
}

func TestTheLastVoterDoesNotLeave(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, nil)
	f.refused(0, 4, "the last voter", "agent", "leave", "--purge")
	f.refused(0, 4, "the last voter", "member", "remove", "n1", "--force")
	f.refused(0, 4, "the only voter", "member", "transfer-leader")
	f.answers(0)
}
