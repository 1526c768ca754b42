package featuretests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
)

// backstopOf switches the backstop of member i on, with a list of members.
func (f *fleet) backstopOf(i int, wanted config.Backstop) {
	f.t.Helper()
	m := f.members[i]
	m.config.Features.Backstop, m.config.Backstop = config.On, wanted
	f.write(m)
	f.signal(i, syscall.SIGHUP)
	f.logged(i, "reloaded; changed sections: [features backstop]")
}

// epoch returns the epoch in which member i answers; -1: it does not.
func (f *fleet) epoch(i int) int64 {
	status, err := f.status(i)
	if err != nil {
		return -1
	}
	return int64(status.GetEpoch())
}

// Two of three agents are gone for good, and the third is told so: it goes on as the
// only member, without a restart of its process, and tokens still increase. One of the
// two comes back after all: both reject each other.
func TestTheLastAgentIsRecoveredByItsBackstop(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, nil)
	f.leader()
	before, err := f.client().Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f.backstopOf(0, config.Backstop{Members: []string{"n1", "n2", "n3"}})
	f.kill(1)
	f.kill(2)
	f.logged(0, "not recovering the cluster: the cluster is meant to have the members n1, n2, n3")
	f.alarms(0, "member-silent", "member-silent", "quorum-lost")
	if f.epoch(0) != 0 {
		t.Error("silence has recovered the cluster")
	}
	f.members[0].config.Backstop.Members = []string{"n1"}
	f.write(f.members[0])
	f.signal(0, syscall.SIGHUP)
	f.eventually("n1 is in epoch 1", func() bool { return f.epoch(0) == 1 })
	f.logged(0, "this agent is now the only member of the cluster, in epoch 1")
	f.lives(0)
	after, err := f.client(0).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "bob", TTL: time.Second, Wait: 2 * time.Minute})
	if err != nil || after.Lease.Token <= before.Lease.Token {
		t.Errorf("the next grant is %+v, %v, after token %d", after, err, before.Lease.Token)
	}
	if kept, _ := filepath.Glob(filepath.Join(f.data(0), "before-recovery-*")); len(kept) != 1 {
		t.Errorf("the files from before are in %v", kept)
	}
	f.start(1)
	for _, i := range []int{0, 1} {
		f.logged(i, "the cluster was recovered without the agent in the lower epoch")
	}
}

// Where a voter lives, is only cut off, or is not known to be off, nothing is
// recovered.
func TestABackstopDoesNotActOnAPartition(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, nil)
	f.leader()
	off := filepath.Join(f.dir, "off")
	if err := os.WriteFile(off, []byte(fmt.Sprintf("#!/bin/sh\necho \"$1 at $2\" >>%s.calls\n[ \"$1\" = n2 ] || { echo \"$1 is powered\"; exit 3; }\n", off)), 0o700); err != nil {
		t.Fatal(err)
	}
	f.backstopOf(0, config.Backstop{Members: []string{"n1", "n2", "n3"}, Command: off})
	f.kill(1)
	f.signal(2, syscall.SIGSTOP) // as in a partition: it lives, and is silent
	f.logged(0, "voter n3 is not known to be off")
	f.logged(0, "exit status 3 n3 is powered")
	if called, err := os.ReadFile(off + ".calls"); err != nil || !strings.Contains(string(called), "n2 at "+f.members[1].config.Cluster.Listen) {
		t.Errorf("the command was called with %q, %v", called, err)
	}
	f.signal(2, syscall.SIGCONT)
	f.leader(0, 2)
	if f.epoch(0) != 0 || f.epoch(2) != 0 {
		t.Error("the cluster was recovered, although a majority lives")
	}
}

// Of five agents three are gone, and the list names one of the two that are left: the
// other one responds, and stops it.
func TestABackstopIsStoppedByAPeerThatResponds(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 5, nil)
	f.leader()
	f.eventually("n1 knows its cluster, which it can recover", func() bool {
		status, err := f.status(0)
		return err == nil && status.GetClusterId() != ""
	})
	f.backstopOf(0, config.Backstop{Members: []string{"n1"}})
	for i := range 3 {
		f.kill(2 + i)
	}
	f.logged(0, "not recovering the cluster: n2 responds")
	if f.epoch(0) != 0 {
		t.Error("the cluster was recovered, although an agent responds")
	}
	f.kill(1)
	f.eventually("n1 is in epoch 1", func() bool { return f.epoch(0) == 1 })
}
