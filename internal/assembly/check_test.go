package assembly

import (
	"database/sql"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
	"github.com/interrex/interrex/transport"
)

// unfit are configurations that only the workers of their sections see the
// fault of, by a word of what is said.
var unfit = map[string]func(*config.Config){
	"ElectionTimeout": func(c *config.Config) {
		c.Raft.HeartbeatTimeout, c.Raft.ElectionTimeout = 2*time.Second, time.Second
	},
	"LeaderLeaseTimeout": func(c *config.Config) { c.Raft.LeaderLeaseTimeout = 5 * time.Second },
	"logging.config":     func(c *config.Config) { c.Logging.Config = "<root>=LOUD" },
}

func TestWhatAWorkerWouldRefuseIsRefusedBefore(t *testing.T) {
	for word, spoil := range unfit {
		c := config.Default()
		spoil(&c)
		a := AgentConfig{Raft: c.Raft, Logging: c.Logging, Notify: config.Notify{LeaseHolders: config.NotifyOff}}
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
		if _, err := a.Check(t.Context()); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the check says %v", word, err)
		}
	}
}

func TestHoldersInSQLiteNeedADriverAndADirectory(t *testing.T) {
	driver := func(string) (*sql.DB, error) { return nil, nil }
	for _, c := range []struct {
		directory string
		driver    func(string) (*sql.DB, error)
		why       string // empty: it is fit
	}{
		{"/data", nil, "no SQLite driver"}, {"", driver, "an agent in memory"}, {"/data", driver, ""},
	} {
		a := AgentConfig{DataDir: c.directory, SQLite: c.driver, Notify: config.Notify{LeaseHolders: config.NotifySQLite}}
		if err := a.Validate(); (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %v, want %q", c.directory, err, c.why)
		}
	}
}

// givenTLS are certificates that nobody looks at.
type givenTLS struct{ transport.TLS }

func TestCertificatesFromGoStandForTheFiles(t *testing.T) {
	a := AgentConfig{Cluster: config.Cluster{BootstrapExpect: 3, Join: []string{"b:1", "c:1"}}}
	if err := a.Validate(); err == nil || !strings.Contains(err.Error(), "cluster.tls") {
		t.Errorf("without certificates: %v", err)
	}
	a.TLS = givenTLS{}
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
}

func TestReloadOfWhatAWorkerWouldRefuseChangesNothing(t *testing.T) {
	for word, spoil := range unfit {
		next := config.Default()
		set, err := New(Config{Agent: AgentConfig{Load: func() (config.Config, error) { return next, nil }}})
		if err != nil {
			t.Fatal(err)
		}
		spoil(&next)
		_, changed := set.configuration.Current()
		if _, err := set.Reload(t.Context()); !errors.Is(err, interrex.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
		select {
		case <-changed:
			t.Errorf("%s: it was taken up", word)
		default:
		}
	}
}

const here, elsewhere = "000102030405060708090a0b0c0d0e0f", "ffffffffffffffffffffffffffffffff"

// peersOf is the peers of an agent whose disk remembers a cluster (empty: none)
// and whose log has named one (empty: none).
func peersOf(t *testing.T, disk, log string) peers {
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
	dir := &dataDir{Identity: datadir.Identity{ClusterID: disk, Epoch: interrex.Epoch{Number: 2, Bits: 5}, Incarnations: map[string]string{"b": "disk b"}}}
	return peers{dir: dir, state: r.State, tables: map[string]uint16{"lease": 3}}
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
		err := peersOf(t, c.disk, c.log).accept(h)
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.name, err, c.why)
		}
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
		if err := (peers{tables: c.mine}).sameTables(c.theirs); (err == nil) != c.same {
			t.Errorf("%v and %v: %v", c.mine, c.theirs, err)
		}
	}
}

// Each setting of the file's section raft is given to raft's worker, and starts it
// again unless a running raft takes it up.
func TestEachSettingOfRaftReachesItsWorker(t *testing.T) {
	plain := config.Default()
	plain.Cluster.Timing = "lan"
	fields := reflect.TypeFor[config.Raft]()
	for i := range fields.NumField() {
		name, c := fields.Field(i).Name, plain
		switch field := reflect.ValueOf(&c.Raft).Elem().Field(i); field.Kind() {
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Uint64:
			field.SetUint(12_345)
		default:
			field.SetInt(12_345)
		}
		want := reflect.ValueOf(c.Raft).Field(i).Interface()
		if got := reflect.ValueOf(raftConfig(raftOf(c))).FieldByName(name).Interface(); got != want {
			t.Errorf("%s: the worker has %v, want %v", name, got, want)
		}
		_, reloaded := reflect.TypeFor[raft.ReloadableConfig]().FieldByName(name)
		if same := pickRaft(c) == pickRaft(plain); same != reloaded {
			t.Errorf("%s: a running raft takes it up: %t, and raft goes on: %t", name, reloaded, same)
		}
	}
	if got := raftConfig(raftOf(plain)).Timing; got != config.TimingLAN {
		t.Errorf("the timing is %q", got)
	}
	other := plain
	other.Cluster.Timing, other.API.Advertise, other.API.Socket = "wan", "h:1", "/s"
	if !reflect.DeepEqual(pickCluster(other), pickCluster(plain)) || !reflect.DeepEqual(pickAPI(other), pickAPI(plain)) {
		t.Error("what others use restarts the transport or the API")
	}
	if pickRaft(other) == pickRaft(plain) {
		t.Error("another timing does not reach raft")
	}
}

func TestTheClusterIsOnDiskOnceItIsKnown(t *testing.T) {
	r := statetest.NewReplica(t, func() []state.Table { return nil })
	path := t.TempDir()
	id, err := datadir.OpenIdentity(path, "a")
	if err != nil {
		t.Fatal(err)
	}
	now := testclock.NewClock(time.Now())
	w := unit.Run(identityKeeper{state: r.State, dir: &dataDir{Identity: id, path: path}, clock: now}.run)
	c := &state.SetIdentity{Identity: state.Identity{ClusterID: here, Epoch: interrex.Epoch{Bits: 1}, Incarnations: map[string]string{"b": "disk b"}}}
	if res := r.Do(1, state.Operation{Table: state.SystemTable, Data: c.Append(nil)}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	file := filepath.Join(path, "identity.json")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // no time of the worker's passes
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), here) && strings.Contains(string(b), "disk b") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("on disk is %s", b)
		}
	}
	look := func() { // twice, so that the first look is over
		t.Helper()
		for range 2 {
			if err := now.WaitAdvance(200*time.Millisecond, 20*time.Second, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := now.WaitAdvance(0, 20*time.Second, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	look()
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is on disk already is written again: %v", err)
	}
	epoch := &state.Recover{ClusterID: here, Bits: 7, Survivor: "a", Incarnation: id.Incarnation}
	if res := r.Do(2, state.Operation{Table: state.SystemTable, Data: epoch.Append(nil)}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	look()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the new epoch is not on disk: %v", err)
	}
	w.Kill()
	if err := w.Wait(); err != nil {
		t.Error(err)
	}
}

func TestOnlyAnAgentOfNoClusterMakesOne(t *testing.T) {
	for _, c := range []struct {
		disk   string
		expect int
		alone  bool
	}{{"", 1, true}, {here, 1, false}, {"", 3, false}} {
		s, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		file := config.Default()
		file.Cluster.BootstrapExpect = c.expect
		s.configuration = newSections(file)
		p := peers{set: s, dir: &dataDir{Identity: datadir.Identity{ID: "a", ClusterID: c.disk}}}
		port, err := transport.New(transport.Config{
			ID: "a", Hello: func() transport.Hello { return transport.Hello{Expect: c.expect} },
			Accept: func(transport.Hello) error { return nil }, Clock: clock.WallClock, Logger: s.logger("transport"),
		})
		if err != nil {
			t.Fatal(err)
		}
		members, now, err := p.bootstrap(port)
		testworker.Stop(t, port)
		if err != nil || now != c.alone || (len(members) == 1 && members[0] == "a") != c.alone {
			t.Errorf("%+v: %v, %v, %v", c, members, now, err)
		}
	}
}

func TestAPortThatIsNotBoundYetIsNoAddress(t *testing.T) {
	for _, c := range []struct {
		section              config.API
		bound, before, after string
	}{
		{config.API{Listen: "127.0.0.1:0"}, "127.0.0.1:41000", "", "127.0.0.1:41000"},
		{config.API{Listen: "127.0.0.1:7400"}, "127.0.0.1:7400", "127.0.0.1:7400", "127.0.0.1:7400"},
		{config.API{Listen: "127.0.0.1:0", Advertise: "a:1"}, "127.0.0.1:41000", "a:1", "a:1"},
		{config.API{}, "", "", ""},
	} {
		s, err := New(Config{Agent: AgentConfig{API: c.section}})
		if err != nil {
			t.Fatal(err)
		}
		before := s.advertisedAPI()
		s.ports.Note(ports.API, c.bound)
		if after := s.advertisedAPI(); before != c.before || after != c.after {
			t.Errorf("%+v: %q, then %q", c.section, before, after)
		}
	}
}

func TestAMemberMayLeadThatSaysSo(t *testing.T) {
	met := map[string]transport.Hello{"b": {}, "c": {Log: transport.LogState{Unfit: "halted"}}}
	peer := func(id string) (transport.Hello, bool) { said, ok := met[id]; return said, ok }
	for id, want := range map[string]bool{"b": true, "c": false, "d": false} {
		if got := mayLead(id, peer); got != want {
			t.Errorf("%s may lead: %v", id, got)
		}
	}
}
