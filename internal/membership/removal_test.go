package membership

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
)

func TestARemovedAgentIsRefusedOnceRaftIsWithoutIt(t *testing.T) {
	r := rulesOf(t, here, here)
	inRaft := true
	r.InRaft = func(string) bool { return inRaft }
	record(t, r.Members, &member.See{ID: "b", Incarnation: "disk b"})
	peer := peering.Hello{ID: "b", ClusterID: here, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnation: "disk b", Tables: r.Tables}
	r.Disk.ID, r.Disk.Incarnation = "b", "disk b"
	check := func(what string, removed bool) {
		t.Helper()
		if err := r.Accept(peer); (interrex.KindOf(err) == interrex.ErrRemoved) != removed || !removed && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if out := r.Out(); out != removed {
			t.Errorf("%s: it is out itself: %v", what, out)
		}
	}
	check("a member", false)
	record(t, r.Members, &member.Remove{ID: "b"})
	check("removed, and in raft's configuration still", false)
	inRaft = false
	check("removed", true)
	inRaft = true
	record(t, r.Members, &member.Add{ID: "b", Address: "h:1"})
	check("its ID is admitted on another disk", false)
	record(t, r.Members, &member.See{ID: "b", Incarnation: "new"})
	check("its ID is in on another disk", true)
}

func TestARemovalIsBelievedFromTheSameClusterOnly(t *testing.T) {
	for _, c := range []struct {
		name, disk, joins string
		peer              peering.Hello
		believed          bool
	}{
		{"a peer of the cluster", here, "", peering.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 2}}, true},
		{"of a later epoch", here, "", peering.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 3}}, true},
		{"of an epoch that is over", here, "", peering.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 1}}, false},
		{"of another cluster", here, "", peering.Hello{ClusterID: elsewhere, Epoch: interrex.Epoch{Number: 9}}, false},
		{"of none", here, "", peering.Hello{}, false},
		{"of the cluster that it joins", "", here, peering.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 2}}, true},
		{"while it is in none", "", "", peering.Hello{Epoch: interrex.Epoch{Number: 9}}, false},
	} {
		r := rulesOf(t, c.disk, "")
		r.Disk.Joins = c.joins
		if got := r.Believes(c.peer); got != c.believed {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestARemovalIsLearnedOnce(t *testing.T) {
	r := NewRemoval()
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	r.Note("b", "first")
	r.Note("b", "second")
	<-r.Done()
	if err := r.Err(); interrex.KindOf(err) != interrex.ErrRemoved || !strings.Contains(err.Error(), "first") {
		t.Error(err)
	}
}
