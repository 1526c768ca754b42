package membership

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/state"
)

const here, elsewhere = "000102030405060708090a0b0c0d0e0f", "ffffffffffffffffffffffffffffffff"

// rulesOf are the rules of an agent whose disk remembers a cluster (empty: none)
// and whose log has named one (empty: none).
func rulesOf(t *testing.T, disk, log string) Rules {
	t.Helper()
	r := testreplica.New(t, func() []state.Table { return []state.Table{lease.New()} })
	if log != "" {
		c := &machine.SetIdentity{Identity: machine.Identity{
			ClusterID: log, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnations: map[string]string{"b": "disk b"},
		}}
		if res := r.Do(1, state.Operation{Table: machine.SystemTable, Data: c.Append(nil)}); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
	}
	dir := datadir.Identity{ClusterID: disk, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnations: map[string]string{"b": "disk b"}}
	return Rules{Disk: dir, State: r.State, Members: member.New(), InRaft: func(string) bool { return false }, Tables: map[string]uint16{"lease": 3}}
}

// While what an agent was on another disk may have a vote, raft is open to that and not
// to the new one.
func TestRaftIsOpenToTheDiskThatIsRecorded(t *testing.T) {
	r := rulesOf(t, here, here)
	r.Disk.Incarnations = nil
	open := func(incarnation string, want bool) {
		t.Helper()
		for _, vote := range []bool{false, true} {
			if err := r.KnownDisk(peering.Hello{ID: "b", Incarnation: incarnation}, vote); (err == nil) != want {
				t.Errorf("disk %q, for a vote %v: %v", incarnation, vote, err)
			}
		}
	}
	turn := &state.Turn{Revision: 1, Table: machine.MemberTable}
	open("any", true) // nothing is recorded
	r.Members.Apply(turn, &member.Add{ID: "b", Address: "h:1"})
	open("first", false)
	r.Members.Apply(turn, &member.See{ID: "b", Incarnation: "first"})
	open("first", true)
	open("second", false)
	r.Members.Apply(turn, &member.Remove{ID: "b"})
	open("first", true) // until raft's configuration is without it
	r.Members.Apply(turn, &member.Add{ID: "b", Address: "h:1"})
	open("first", true)
	open("second", false)
	r.Members.Apply(turn, &member.See{ID: "b", Incarnation: "second"})
	open("first", false)
	open("second", true)
}

// An agent that was off while another one was replaced hears that one, and asks it for
// no vote: its own disk tells what it knew last.
func TestAnAgentThatWasOffHearsThoseThatWereReplaced(t *testing.T) {
	for _, applied := range []bool{false, true} { // whether its log has been read
		r := rulesOf(t, here, "")
		if applied {
			r.Members.Apply(&state.Turn{Revision: 1, Table: machine.MemberTable}, &member.See{ID: "b", Incarnation: "disk b"})
			record(t, r.Members, &member.Add{ID: "c", Address: "h:1"}) // what let it in is not here yet
			peer := peering.Hello{ID: "c", ClusterID: here, Incarnation: "disk c"}
			if r.KnownDisk(peer, false) != nil || r.KnownDisk(peer, true) == nil {
				t.Errorf("one that was admitted: %v, for a vote: %v", r.KnownDisk(peer, false), r.KnownDisk(peer, true))
			}
		}
		for incarnation, known := range map[string]bool{"disk b": true, "another": false} {
			peer := peering.Hello{ID: "b", ClusterID: here, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnation: incarnation, Tables: r.Tables}
			if err := errors.Join(r.Accept(peer), r.KnownDisk(peer, false)); err != nil {
				t.Errorf("%s, applied %v: %v", incarnation, applied, err)
			}
			if err := r.KnownDisk(peer, true); (err == nil) != known {
				t.Errorf("%s, applied %v, for a vote: %v", incarnation, applied, err)
			}
		}
	}
}

func TestOnlyWhoBelongsToTheClusterIsLetIn(t *testing.T) {
	tables := map[string]uint16{"lease": 3}
	mine := peering.Hello{ID: "b", ClusterID: here, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnation: "disk b", Tables: tables}
	for _, c := range []struct {
		name, disk, log string
		edit            func(*peering.Hello)
		why             string // empty: it is let in
	}{
		{"a member", here, here, func(*peering.Hello) {}, ""},
		{"one of another cluster", here, here, func(h *peering.Hello) { h.ClusterID = elsewhere }, "belongs to the cluster"},
		{"one of another cluster, by the disk", here, "", func(h *peering.Hello) { h.ClusterID = elsewhere }, "belongs to the cluster"},
		{"one of an older epoch", here, here, func(h *peering.Hello) { h.Epoch.Number = 1 }, "is in epoch 1"},
		{"one of another recovery", here, here, func(h *peering.Hello) { h.Epoch.Bits = 6 }, "is in epoch 2"},
		{"one that was replaced, with a disk that is not known here", here, here, func(h *peering.Hello) { h.Incarnation = "new" }, ""},
		{"one of whom the log says nothing", here, here, func(h *peering.Hello) { h.ID = "c" }, ""},
		{"a member that has read nothing", here, here, func(h *peering.Hello) { h.ClusterID = "" }, ""},
		{"a member that has read nothing, by the disk", here, "", func(h *peering.Hello) { h.ClusterID = "" }, ""},
		{"a wiped member, by the disk", here, "", func(h *peering.Hello) { h.ClusterID, h.Incarnation = "", "new" }, "a different disk"},
		{"a stranger, by the disk", here, "", func(h *peering.Hello) { h.ClusterID, h.ID = "", "c" }, "not a member"},
		{"a wiped member", here, here, func(h *peering.Hello) { h.ClusterID, h.Incarnation = "", "new" }, "a different disk"},
		{"a stranger", here, here, func(h *peering.Hello) { h.ClusterID, h.ID = "", "c" }, "not a member"},
		{"anybody, while this agent is in no cluster", "", "", func(h *peering.Hello) { h.ClusterID = elsewhere }, ""},
		{"other tables, while this agent is in no cluster", "", "", func(h *peering.Hello) { h.Tables = nil }, "its tables are"},
		{"what the log says goes before the disk", elsewhere, here, func(*peering.Hello) {}, ""},
	} {
		h := mine
		c.edit(&h)
		err := rulesOf(t, c.disk, c.log).Accept(h)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.name, err, c.why)
		}
	}
}

// record applies commands to a table of members.
func record(t *testing.T, table *member.Table, all ...state.Command) {
	t.Helper()
	for _, c := range all {
		decoded, err := table.Decode(c.Append(nil))
		if err == nil {
			err = table.Check(0, decoded)
		}
		if err != nil {
			t.Fatal(err)
		}
		table.Apply(&state.Turn{Revision: 1, Wall: testreplica.Wall(0), Table: machine.MemberTable}, decoded)
	}
}

func TestTheTableOfMembersDecidesWhoIsLetIn(t *testing.T) {
	tables := map[string]uint16{"lease": 3}
	epoch := interrex.Epoch{Number: 2, Bits: 5}
	r := rulesOf(t, here, here)
	record(t, r.Members,
		&member.See{ID: "b", Incarnation: "disk b"}, &member.See{ID: "b", Was: "disk b", Incarnation: "second disk"},
		&member.See{ID: "c", Incarnation: "disk c"}, &member.See{ID: "d", Incarnation: "disk d"}, &member.Remove{ID: "d"},
	)
	for _, c := range []struct{ id, cluster, disk, why string }{
		{"b", here, "second disk", ""},
		{"b", here, "third disk", ""}, // this agent was off when it was replaced
		{"b", "", "second disk", ""},
		{"b", "", "disk b", "a different disk"},
		{"c", "", "disk c", ""},
		{"c", "", "wiped", "a different disk"},
		{"d", here, "disk d", "was removed from the cluster"},
		{"d", "", "disk d", "was removed from the cluster"},
		{"d", "", "new disk", "is not a member"},
	} {
		h := peering.Hello{ID: c.id, ClusterID: c.cluster, Incarnation: c.disk, Tables: tables}
		if c.cluster != "" {
			h.Epoch = epoch
		}
		err := r.Accept(h)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v", c, err)
		}
		if removed := strings.Contains(c.why, "removed"); errors.Is(err, interrex.ErrRemoved) != removed {
			t.Errorf("%+v: it is removed: %v", c, !removed)
		}
	}
}

// admitted records that an agent was admitted, with a token of a CA.
func admitted(t *testing.T, r Rules, id string, forwards bool) {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token := jointoken.New(ca.Pin())
	_, csr, err := authority.NewRequest(id, nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	session, sum := jointoken.Session{1}, sha256.Sum256(csr)
	record(t, r.Members, &member.SetCA{Cert: string(ca.Cert())},
		&member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 1, TTL: time.Hour},
		&member.Admit{
			ID: id, Token: token.ID(), Key: string(request.RawSubjectPublicKeyInfo), Session: string(session[:]), Request: string(sum[:]),
			Signature: string(token.Sign(session, csr)), Forwards: forwards,
		})
}

func TestOnlyAnAgentThatWasAdmittedForItForwards(t *testing.T) {
	r := rulesOf(t, here, here)
	if err := r.MayForward("f"); err != nil {
		t.Errorf("where the certificates come from elsewhere: %v", err)
	}
	admitted(t, r, "f", true)
	record(t, r.Members, &member.See{ID: "b", Incarnation: "disk b"})
	if err := r.MayForward("f"); err != nil {
		t.Error(err)
	}
	if err := r.MayForward("b"); interrex.KindOf(err) != interrex.ErrDenied {
		t.Errorf("a member: %v", err)
	}
	hello := peering.Hello{ID: "f", Incarnation: "disk f", Tables: r.Tables}
	if err := r.Accept(hello); err == nil || !strings.Contains(err.Error(), "the raft protocol is closed to it") {
		t.Errorf("with raft it is let in: %v", err)
	}
	record(t, r.Members, &member.Remove{ID: "f"})
	if err := r.MayForward("f"); interrex.KindOf(err) != interrex.ErrRemoved {
		t.Errorf("once it was removed: %v", err)
	}
	if err := rulesOf(t, "", "").MayForward("f"); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("at an agent in no cluster: %v", err)
	}
}

// An agent that was admitted has no disk that is known until it is seen.
func TestAnAdmittedAgentIsLetInForTheFirstTime(t *testing.T) {
	r := rulesOf(t, here, here)
	hello := peering.Hello{ID: "e", Incarnation: "disk e", Tables: r.Tables}
	if err := r.Accept(hello); err == nil {
		t.Error("it is let in before it was admitted")
	}
	admitted(t, r, "e", false)
	if err := r.Accept(hello); err != nil {
		t.Error(err)
	}
	record(t, r.Members, &member.See{ID: "e", Incarnation: "disk e"})
	if err := r.Accept(hello); err != nil {
		t.Errorf("with the disk that was seen: %v", err)
	}
	hello.Incarnation = "another"
	if err := r.Accept(hello); err == nil {
		t.Error("another disk is let in")
	}
}

func TestAnAgentThatJoinsTalksToItsCluster(t *testing.T) {
	r := rulesOf(t, "", "")
	r.Disk.Joins = here
	for cluster, why := range map[string]string{here: "", "": "", elsewhere: "this one joins"} {
		err := r.Accept(peering.Hello{ID: "b", ClusterID: cluster, Tables: r.Tables})
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("a member of %q: %v", cluster, err)
		}
	}
}

func TestACharterComesBackAsTheFirstEntry(t *testing.T) {
	dir := t.TempDir()
	if c, err := ReadCharter(dir); err != nil || len(c.Operations()) != 0 {
		t.Fatalf("without a file: %v, %v", c, err)
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token, operator := jointoken.New(ca.Pin()), accesstoken.New()
	hash := operator.Hash()
	given := Charter{CA: ca.Cert(), Operators: [][]byte{hash[:]}, JoinTokens: []CharterJoinToken{{PublicKey: token.PublicKey(), Uses: 4, TTL: time.Hour}}}
	if err := given.Save(dir); err != nil {
		t.Fatal(err)
	}
	back, err := ReadCharter(dir)
	if err != nil {
		t.Fatal(err)
	}
	members, tokens := member.New(), access.New()
	r := testreplica.New(t, func() []state.Table { return []state.Table{members, tokens} })
	for i, res := range r.Do(1, back.Operations()...) {
		if res.Err != nil || res.Revision == 0 {
			t.Errorf("operation %d: %v at %d", i, res.Err, res.Revision)
		}
	}
	if members.CA() != string(ca.Cert()) || members.JoinToken(token.ID()) == nil {
		t.Errorf("the CA, or the join token: %v", members.JoinTokens())
	}
	if grant, err := tokens.Grant(operator.String()); err != nil || !grant.Operator {
		t.Errorf("the operator's token: %+v, %v", grant, err)
	}
	if err := os.WriteFile(filepath.Join(dir, CharterName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCharter(dir); err == nil {
		t.Error("half a charter is read")
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
		disk, joins string
		cluster     config.Cluster
		alone       bool
	}{
		{"", "", config.Cluster{BootstrapExpect: 1}, true}, {here, "", config.Cluster{BootstrapExpect: 1}, false},
		{"", "", config.Cluster{BootstrapExpect: 3}, false}, {"", "", config.Cluster{}, true},
		{"", here, config.Cluster{}, false}, {"", "", config.Cluster{Join: []string{"b:1"}}, false},
	} {
		r := Rules{Disk: datadir.Identity{ID: "a", Incarnation: "disk a", ClusterID: c.disk, Joins: c.joins}}
		port, err := peering.New(peering.Config{
			ID: "a", Hello: func() peering.Hello { return peering.Hello{Expect: c.cluster.BootstrapExpect} },
			Accept: func(peering.Hello) error { return nil }, Clock: clock.WallClock, Logger: silent.Logger{},
		})
		if err != nil {
			t.Fatal(err)
		}
		members, now, err := r.Bootstrap(port, c.cluster)
		if disks := r.Incarnations(port); len(disks) != 1 || disks["a"] != "disk a" {
			t.Errorf("it founds with the disks %v", disks)
		}
		testworker.Stop(t, port)
		if err != nil || now != c.alone || (len(members) == 1 && members[0] == "a") != c.alone {
			t.Errorf("%+v: %v, %v, %v", c, members, now, err)
		}
	}
}

func TestAMemberMayLeadThatSaysSo(t *testing.T) {
	met := map[string]peering.Hello{"b": {}, "c": {Log: peering.LogState{Unfit: "halted"}}}
	peer := func(id string) (peering.Hello, bool) { said, ok := met[id]; return said, ok }
	for id, want := range map[string]bool{"b": true, "c": false, "d": false} {
		if got := MayLead(id, peer); got != want {
			t.Errorf("%s may lead: %v", id, got)
		}
	}
}
