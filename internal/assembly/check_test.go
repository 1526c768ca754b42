package assembly

import (
	"database/sql"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/ports"
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
		a := AgentConfig{Raft: c.Raft, Logging: c.Logging, Notify: config.Notify{LeaseHolders: "off"}}
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
		if _, err := a.Check(t.Context()); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the check says %v", word, err)
		}
	}
}

func TestABackstopNeedsAStatementAboutTheOthers(t *testing.T) {
	on := config.Features{Backstop: config.On}
	for why, a := range map[string]AgentConfig{
		"silence of the others is no reason": {DataDir: "/data", Features: on},
		"in memory":                          {Features: on, Backstop: config.Backstop{Members: []string{"a"}}},
		"executable file not found":          {DataDir: t.TempDir(), ID: "a", Features: on, Backstop: config.Backstop{Command: "no-such-command"}},
		"is not a DNS label":                 {DataDir: "/data", Features: on, Backstop: config.Backstop{Members: []string{"A"}}},
	} {
		_, err := a.Check(t.Context())
		if err = errors.Join(err, a.Validate()); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %q", err, why)
		}
	}
	for _, a := range []AgentConfig{
		{DataDir: "/data", Backstop: config.Backstop{Command: "no-such-command"}},
		{DataDir: "/data", Features: on, Backstop: config.Backstop{Members: []string{"a"}}},
		{DataDir: "/data", Features: on, Backstop: config.Backstop{Command: "true"}},
		{DataDir: "/data", Features: on, Wanted: func() []string { return nil }},
	} {
		if err := a.Validate(); err != nil {
			t.Error(err)
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
		a := AgentConfig{DataDir: c.directory, SQLite: c.driver, Notify: config.Notify{LeaseHolders: "sqlite"}}
		if err := a.Validate(); (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %v, want %q", c.directory, err, c.why)
		}
	}
	forwards := config.Config{Raft: config.Raft{Enabled: config.Off}, Notify: config.Notify{LeaseHolders: "sqlite"}}
	if err := (check.Agent{}).Notify(forwards); err != nil {
		t.Errorf("without raft: %v, and there is no table", err)
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

// Each setting of the file's section raft is given to raft's worker, and starts it
// again unless a running raft takes it up.
func TestEachSettingOfRaftReachesItsWorker(t *testing.T) {
	plain := config.Default()
	plain.Cluster.Timing = "lan"
	fields := reflect.TypeFor[config.Raft]()
	for i := range fields.NumField() {
		name, c := fields.Field(i).Name, plain
		if name == "Enabled" {
			continue // it needs another agent
		}
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
	if got := raftConfig(raftOf(plain)).Timing; got != "lan" {
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
