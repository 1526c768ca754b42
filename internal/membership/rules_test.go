package membership

import (
	"math"
	"strings"
	"testing"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
	"github.com/interrex/interrex/transport"
)

const here, elsewhere = "000102030405060708090a0b0c0d0e0f", "ffffffffffffffffffffffffffffffff"

// rulesOf are the rules of an agent whose disk remembers a cluster (empty: none)
// and whose log has named one (empty: none).
func rulesOf(t *testing.T, disk, log string) Rules {
	t.Helper()
	r := statetest.NewReplica(t, func() []state.Table { return []state.Table{lease.New()} })
	if log != "" {
		c := &state.SetIdentity{Identity: state.Identity{
			ClusterID: log, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnations: map[string]string{"b": "disk b"},
		}}
		if res := r.Do(1, state.Operation{Table: state.SystemTable, Data: c.Append(nil)}); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
	}
	dir := datadir.Identity{ClusterID: disk, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnations: map[string]string{"b": "disk b"}}
	return Rules{Disk: dir, State: r.State, Members: member.New(), InRaft: func(string) bool { return false }, Tables: map[string]uint16{"lease": 3}}
}

func TestOnlyWhoBelongsToTheClusterIsLetIn(t *testing.T) {
	tables := map[string]uint16{"lease": 3}
	mine := transport.Hello{ID: "b", ClusterID: here, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnation: "disk b", Tables: tables}
	for _, c := range []struct {
		name, disk, log string
		edit            func(*transport.Hello)
		why             string // empty: it is let in
	}{
		{"a member", here, here, func(*transport.Hello) {}, ""},
		{"one of another cluster", here, here, func(h *transport.Hello) { h.ClusterID = elsewhere }, "belongs to the cluster"},
		{"one of another cluster, by the disk", here, "", func(h *transport.Hello) { h.ClusterID = elsewhere }, "belongs to the cluster"},
		{"one of an older epoch", here, here, func(h *transport.Hello) { h.Epoch.Number = 1 }, "is in epoch 1"},
		{"one of another recovery", here, here, func(h *transport.Hello) { h.Epoch.Bits = 6 }, "is in epoch 2"},
		{"one with another disk", here, here, func(h *transport.Hello) { h.Incarnation = "new" }, "a different disk"},
		{"one of whom the log says nothing", here, here, func(h *transport.Hello) { h.ID = "c" }, ""},
		{"a member that has read nothing", here, here, func(h *transport.Hello) { h.ClusterID = "" }, ""},
		{"a member that has read nothing, by the disk", here, "", func(h *transport.Hello) { h.ClusterID = "" }, ""},
		{"a wiped member, by the disk", here, "", func(h *transport.Hello) { h.ClusterID, h.Incarnation = "", "new" }, "a different disk"},
		{"a stranger, by the disk", here, "", func(h *transport.Hello) { h.ClusterID, h.ID = "", "c" }, "not a member"},
		{"a wiped member", here, here, func(h *transport.Hello) { h.ClusterID, h.Incarnation = "", "new" }, "a different disk"},
		{"a stranger", here, here, func(h *transport.Hello) { h.ClusterID, h.ID = "", "c" }, "not a member"},
		{"anybody, while this agent is in no cluster", "", "", func(h *transport.Hello) { h.ClusterID = elsewhere }, ""},
		{"other tables, while this agent is in no cluster", "", "", func(h *transport.Hello) { h.Tables = nil }, "its tables are"},
		{"what the log says goes before the disk", elsewhere, here, func(*transport.Hello) {}, ""},
	} {
		h := mine
		c.edit(&h)
		err := rulesOf(t, c.disk, c.log).Accept(h)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.name, err, c.why)
		}
	}
}

// do applies a command to the table of members.
func do(t *testing.T, table *member.Table, c state.Command) {
	t.Helper()
	if err := table.Check(0, c); err != nil {
		t.Fatal(err)
	}
	table.Apply(&state.Turn{Revision: 1, Table: state.MemberTable}, c)
}

func TestARemovedAgentIsRefusedOnceRaftIsWithoutIt(t *testing.T) {
	r := rulesOf(t, here, here)
	inRaft := true
	r.InRaft = func(string) bool { return inRaft }
	do(t, r.Members, &member.See{ID: "b", Incarnation: "disk b"})
	peer := transport.Hello{ID: "b", ClusterID: here, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnation: "disk b", Tables: r.Tables}
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
	do(t, r.Members, &member.Remove{ID: "b"})
	check("removed, and in raft's configuration still", false)
	inRaft = false
	check("removed", true)
	inRaft = true
	do(t, r.Members, &member.See{ID: "b", Incarnation: "new"})
	check("its ID is in on another disk", true)
}

func TestARemovalIsBelievedFromTheSameClusterOnly(t *testing.T) {
	for _, c := range []struct {
		name, disk, joins string
		peer              transport.Hello
		believed          bool
	}{
		{"a peer of the cluster", here, "", transport.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 2}}, true},
		{"of a later epoch", here, "", transport.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 3}}, true},
		{"of an epoch that is over", here, "", transport.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 1}}, false},
		{"of another cluster", here, "", transport.Hello{ClusterID: elsewhere, Epoch: interrex.Epoch{Number: 9}}, false},
		{"of none", here, "", transport.Hello{}, false},
		{"of the cluster that it joins", "", here, transport.Hello{ClusterID: here, Epoch: interrex.Epoch{Number: 2}}, true},
		{"while it is in none", "", "", transport.Hello{}, false},
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

func TestTablesOfPeersAreAtMostOneVersionApart(t *testing.T) {
	for _, c := range []struct {
		mine, theirs map[string]uint16
		same         bool
	}{
		{map[string]uint16{"a": 3}, map[string]uint16{"a": 3}, true},
		{map[string]uint16{"a": 3}, map[string]uint16{"a": 2}, true},
		{map[string]uint16{"a": 3}, map[string]uint16{"a": 4}, true},
		{map[string]uint16{"a": 3}, map[string]uint16{"a": 1}, false},
		{map[string]uint16{"a": 3}, map[string]uint16{"a": 5}, false},
		{map[string]uint16{"a": 3}, map[string]uint16{}, false},
		{map[string]uint16{"a": 3}, map[string]uint16{"a": 3, "b": 1}, false},
		{map[string]uint16{"a": 0}, map[string]uint16{}, false},
		{map[string]uint16{"a": math.MaxUint16}, map[string]uint16{"a": math.MaxUint16}, true},
		{map[string]uint16{"a": math.MaxUint16}, map[string]uint16{"a": 0}, false},
	} {
		if err := (Rules{Tables: c.mine}).sameTables(c.theirs); (err == nil) != c.same {
			t.Errorf("%v and %v: %v", c.mine, c.theirs, err)
		}
	}
}

func TestOnlyAnAgentOfNoClusterMakesOne(t *testing.T) {
	for _, c := range []struct {
		disk   string
		expect int
		alone  bool
	}{{"", 1, true}, {here, 1, false}, {"", 3, false}} {
		r := Rules{Disk: datadir.Identity{ID: "a", ClusterID: c.disk}}
		port, err := transport.New(transport.Config{
			ID: "a", Hello: func() transport.Hello { return transport.Hello{Expect: c.expect} },
			Accept: func(transport.Hello) error { return nil }, Clock: clock.WallClock, Logger: silent.Logger{},
		})
		if err != nil {
			t.Fatal(err)
		}
		members, now, err := r.Bootstrap(port, config.Cluster{BootstrapExpect: c.expect})
		testworker.Stop(t, port)
		if err != nil || now != c.alone || (len(members) == 1 && members[0] == "a") != c.alone {
			t.Errorf("%+v: %v, %v, %v", c, members, now, err)
		}
	}
}

func TestAMemberMayLeadThatSaysSo(t *testing.T) {
	met := map[string]transport.Hello{"b": {}, "c": {Log: transport.LogState{Unfit: "halted"}}}
	peer := func(id string) (transport.Hello, bool) { said, ok := met[id]; return said, ok }
	for id, want := range map[string]bool{"b": true, "c": false, "d": false} {
		if got := MayLead(id, peer); got != want {
			t.Errorf("%s may lead: %v", id, got)
		}
	}
}
