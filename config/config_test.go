package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
)

func load(t *testing.T, yaml string, environ ...string) (config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "interrex.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Source{Path: path, Environ: environ}.Load()
}

func TestDefaultIsValidAndReadsItselfBack(t *testing.T) {
	text, err := config.Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.YAML()
	if err != nil || string(again) != string(text) {
		t.Fatalf("read back %s, %v", again, err)
	}
}

func TestFlagStandsAboveEnvironmentAboveFileAboveDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "interrex.yaml")
	if err := os.WriteFile(path, []byte("agent: {id: file, data-dir: /file}\nraft: {snapshot-interval: 30s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Source{
		Path:    path,
		Environ: []string{"INTERREX_AGENT_ID=env", "INTERREX_AGENT_DATA_DIR=/env", "INTERREX_CLUSTER_TLS_CA=x", "INTERREX_CLUSTER_TLS_CERT=y", "INTERREX_CLUSTER_TLS_KEY=z", "INTERREX_CLUSTER_JOIN=a:1, b:2", "INTERREX_CLUSTER_BOOTSTRAP_EXPECT=3", "INTERREX_FEATURES_LEASES=false", "HOME=/x"},
		Flags:   func(c *config.Config) { c.Agent.ID = "flag" },
	}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Agent.ID != "flag" || c.Agent.DataDir != "/env" || c.Raft.SnapshotInterval != 30*time.Second || c.Raft.NoLeaderTimeout != time.Minute {
		t.Fatalf("got %+v", c)
	}
	if len(c.Cluster.Join) != 2 || c.Cluster.Join[1] != "b:2" || c.Features.Leases.On() {
		t.Fatalf("got %+v", c)
	}
}

func TestWrongValuesAreNamed(t *testing.T) {
	for _, test := range []struct{ yaml, want string }{
		{"compare: {every: 100ms}", "compare.every: 1s to 24h are allowed, not 100ms: to compare nothing, set compare.enabled to false"},
		{"compare: {every: 25h}", "compare.every: 1s to 24h are allowed, not 25h0m0s"},
		{"raft: {heartbeet-timeout: 1s}", "line 1: there is no key raft.heartbeet-timeout: did you mean raft.heartbeat-timeout?"},
		{"data-dir: /x", "did you mean agent.data-dir?"},
		{"clutser: {}", "did you mean cluster?"},
		{"raft: 3", "raft: a section with keys is expected"},
		{"raft: {heartbeat-timeout: 1}", "line 1: raft.heartbeat-timeout: \"1\" is not valid: use a duration with a unit"},
		{"raft: {heartbeat-timeout: 1ms}", "heartbeat-timeout: 50ms to 1h are"},
		{"raft: {heartbeat-timeout: soon}", "\"soon\" is not valid: use a duration"},
		{"raft: {snapshot-retention: 2, snapshot-retention: 3}", "raft.snapshot-retention is set on line 1 already"},
		{"raft: {x: 1}", "did you mean agent.id?"},
		{"api: {listen: [1]}", "api.listen: a list is not valid: use a text"},
		{"raft: {heartbeat-timeout: 100ms, leader-lease-timeout: 100ms}", "must be shorter than raft.heartbeat-timeout"},
		{"agent: {id: Big_One}", "is not a DNS label"},
		{"api: {listen: 0.0.0.0:7400}", "beyond loopback"},
		{"api: {listen: nowhere}", "is not HOST:PORT"},
		{"cluster: {join: [a:1]}", "cluster.tls"},
		{"cluster: {bootstrap-expect: 3, join: [a:1], tls: {ca: a, cert: b}}", "ca, cert and key go together"},
		{"cluster: {bootstrap-expect: 3, tls: {ca: a, cert: b, key: c}}", "cluster.join"},
		{"cluster: {join: ['a:1'], join-token-file: a, ca-key-file: b}", "cluster.ca-key-file: cluster.join-token-file is set, too"},
		{"cluster: {join-token-file: a}", "cluster.join: it is empty"},
		{"cluster: {join: ['a:1'], join-token-file: a, bootstrap-expect: 3}", "an agent that joins a cluster creates none"},
		{"cluster: {join: ['a:1'], ca-key-file: a}", "give the number of agents that create the cluster"},
		{"cluster: {advertise: 0.0.0.0:1}", "cannot be dialled"},
		{"cluster: {timing: fast}", "neither lan nor wan"},
		{"logging: {level: loud}", "is not one of"},
		{"cluster: {bootstrap-expect: 2, join: [''], tls: {ca: a, cert: b, key: c}}", `cluster.join: "" is not HOST:PORT`},
		{"backup: {to: backups}", "backup.to: \"backups\" is not an absolute path"},
		{"backup: {to: /b, every: 30s}", "backup.every: 1m to 8760h are allowed, not 30s"},
		{"backup: {to: /b, keep: -1}", "backup.keep: 1 to 1000 are allowed, not -1"},
		{"{backup: {to: /b}, raft: {enabled: false}, cluster: {join: ['a:1'], tls: {ca: a, cert: b, key: c}}}", "backup.to: raft.enabled is false"},
		{"features: {leases: perhaps}", "\"perhaps\" is not valid: use true or false"},
		{"a: [", "did not find"},
	} {
		_, err := load(t, test.yaml)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.yaml, err, test.want)
		}
	}
}

func TestWhatIsRightIsTaken(t *testing.T) {
	for _, yaml := range []string{
		"raft:\napi:\n", "", "api: {listen: '0.0.0.0:7400', tls: {cert: c, key: k}}", "api: {listen: '127.0.0.1:7400'}",
		"api: {tls: &pair {cert: c, key: k}}\ncluster: {tls: *pair}\n",
	} {
		c := config.Default()
		if err := config.Parse([]byte(yaml), &c); err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
		if strings.Contains(yaml, "*pair") {
			if c.Cluster.TLS.Cert != "c" || c.API.TLS.Key != "k" {
				t.Errorf("%q is read as %+v", yaml, c)
			}
			continue
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

func TestAnEmptyVariableIsNoValueWhereItCannotBeOne(t *testing.T) {
	c, err := load(t, "agent: {id: a}\ncluster: {join: ['a:1'], bootstrap-expect: 2, tls: {ca: a, cert: b, key: c}}",
		"INTERREX_RAFT_SNAPSHOT_RETENTION=", "INTERREX_FEATURES_LEASES=", "INTERREX_RAFT_HEARTBEAT_TIMEOUT=", "INTERREX_AGENT_ID=", "INTERREX_CLUSTER_JOIN=", "INTERREX_CLUSTER_BOOTSTRAP_EXPECT=1")
	if err != nil {
		t.Fatal(err)
	}
	if c.Raft.SnapshotRetention != config.Default().Raft.SnapshotRetention || c.Agent.ID != "" || len(c.Cluster.Join) != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestAnEmptyVariableIsNotToBlame(t *testing.T) {
	_, err := load(t, "raft: {snapshot-retention: 1000}", "INTERREX_RAFT_SNAPSHOT_RETENTION=")
	if err == nil || !strings.Contains(err.Error(), "interrex.yaml, line 1: raft.snapshot-retention") {
		t.Errorf("got %v", err)
	}
}

func TestWrongEnvironmentIsNamed(t *testing.T) {
	_, err := load(t, "", "INTERREX_RAFT_SNAPSHOT_RETENTION=two")
	if err == nil || !strings.Contains(err.Error(), "INTERREX_RAFT_SNAPSHOT_RETENTION") {
		t.Fatalf("got %v", err)
	}
}

func TestAbsentFileIsAnErrorUnlessOptional(t *testing.T) {
	s := config.Source{Path: filepath.Join(t.TempDir(), "none.yaml")}
	if _, err := s.Load(); err == nil {
		t.Fatal("got no error")
	}
	s.Optional = true
	if _, err := s.Load(); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("raft: {heartbeat-timeout: 1s}"))
	f.Add([]byte("cluster: {join: [a, b]}\nfeatures:\n  leases: false\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := config.Default()
		if config.Parse(data, &c) == nil {
			_ = c.Validate()
		}
	})
}

func TestAllThatIsWrongIsSaidAtOnceWithWhereItWasSet(t *testing.T) {
	_, err := load(t, "raft:\n  snapshot-retention: 1000\n  no-leader-timeout: 1ms\nagent: {id: A_B}", "INTERREX_CLUSTER_TIMING=fast")
	for _, want := range []string{
		"interrex.yaml, line 2: raft.snapshot-retention", "interrex.yaml, line 3: raft.no-leader-timeout",
		"interrex.yaml, line 4: agent.id", "INTERREX_CLUSTER_TIMING: cluster.timing",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
	_, err = load(t, "raft: {heartbeet: 1s}\nlogging: {levl: info}\nnotify: 3")
	for _, want := range []string{"interrex.yaml, line 1: there is no key raft.heartbeet", "line 2: there is no key logging.levl", "line 3: notify: a section"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
	_, err = config.Source{
		Flags:     func(c *config.Config) { c.API.Listen, c.Agent.ID = "nowhere", "A_B" },
		FlagNames: map[string]string{"api.listen": "--api"},
	}.Load()
	for _, want := range []string{"--api: api.listen", "the command line: agent.id"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
}

func TestAnUnknownVariableIsRefusedWithTheNearestRightOne(t *testing.T) {
	const own = "INTERREX_ADDR"
	for variable, nearest := range map[string]string{ // empty: it is let through
		"INTERREX_ADRR=x":                                "INTERREX_ADDR",
		"INTERREX_RAFT_SNAPSHOT_RETENSION=2":             "INTERREX_RAFT_SNAPSHOT_RETENTION",
		"INTERREX_DATA_DIR=/x":                           "INTERREX_AGENT_DATA_DIR",
		"INTERREX_LOG_LEVEL=info":                        "INTERREX_LOGGING_LEVEL",
		"INTERREX_API_PORT=7400":                         "INTERREX_API_SOCKET",
		"INTERREX_ADDRESS=tcp://10.0.0.1:7400":           "INTERREX_ADDR",
		"INTERREX_ADDR=x":                                "",
		"INTERREX_RAFT_SNAPSHOT_RETENTION=2":             "",
		"INTERREX_SERVICE_HOST=10.0.0.1":                 "",
		"INTERREX_SERVICE_PORT=7400":                     "",
		"INTERREX_SERVICE_PORT_HTTP=7400":                "",
		"INTERREX_PORT=tcp://10.0.0.1:7400":              "",
		"INTERREX_PORT_7400_TCP=tcp://10.0.0.1:7400":     "",
		"INTERREX_PORT_7400_TCP_PROTO=tcp":               "",
		"INTERREX_PORT_7400_TCP_PORT=7400":               "",
		"INTERREX_PORT_7400_TCP_ADDR=10.0.0.1":           "",
		"INTERREX_API_SERVICE_HOST=10.0.0.1":             "",
		"INTERREX_API_PORT=tcp://10.0.0.1:7400":          "",
		"INTERREX_API_PORT_7400_UDP=udp://10.0.0.1:7400": "",
		"OTHER_INTERREX=x":                               "",
	} {
		err := config.Source{Environ: []string{"HOME=/", variable}}.CheckEnviron(own)
		if nearest == "" {
			if err != nil {
				t.Errorf("%s: %v", variable, err)
			}
			continue
		}
		name, _, _ := strings.Cut(variable, "=")
		if want := "there is no variable " + name + ": did you mean " + nearest + "?"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (config.Source{Environ: []string{"INTERREX_B=1", "INTERREX_A=1"}}).CheckEnviron(); err == nil || strings.Count(err.Error(), "there is no variable") != 2 {
		t.Errorf("of two, %v", err)
	}
}

func TestProblemsComeInTheOrderOfLinesAndOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "interrex.yaml")
	check := func(config.Config) error {
		return errors.Join(errors.New("cluster.listen: it is in use"), errors.New("api.listen: it is in use"), errors.New("the disk is full"))
	}
	load := func(text string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Source{Path: path, Environ: []string{"INTERREX_CLUSTER_TIMING=moon"}, Check: check}.Load()
		if err == nil {
			t.Fatal("it is taken")
		}
		return strings.ReplaceAll(err.Error(), path, "FILE")
	}
	const whole = `FILE, line 2: cluster.listen: "nowhere" is not HOST:PORT
FILE, line 3: raft.snapshot-retention: 1 to 100 are allowed, not 1000
FILE, line 4: api.listen: it is in use
INTERREX_CLUSTER_TIMING: cluster.timing: "moon" is neither lan nor wan
the disk is full`
	if got := load("cluster:\n  listen: nowhere\nraft: {snapshot-retention: 1000}\napi: {listen: '127.0.0.1:1'}\n"); got != whole {
		t.Errorf("%s", got)
	}
	const misread = `FILE, line 1: raft.snapshot-retention: "few" is not valid: use a whole number
FILE, line 2: agent.id: "N_1" is not a DNS label: use a-z 0-9, and - between them
FILE, line 3: there is no key logging.levl: did you mean logging.level?
INTERREX_CLUSTER_TIMING: cluster.timing: "moon" is neither lan nor wan`
	if got := load("raft: {snapshot-retention: few}\nagent: {id: N_1}\nlogging: {levl: info}\n"); got != misread {
		t.Errorf("%s", got)
	}
	const fractions = `FILE, line 1: backup.keep: "2.9" is not valid: use a whole number
FILE, line 2: compare.revisions: "18446744073709551616" is not valid: use a whole number
INTERREX_CLUSTER_TIMING: cluster.timing: "moon" is neither lan nor wan`
	if got := load("backup: {keep: 2.9}\ncompare: {revisions: 18446744073709551616}\n"); got != fractions {
		t.Errorf("%s", got)
	}
	if got := load("raft:\n\theartbeat-timeout: 1s\n"); !strings.Contains(got, "line 2: ") || !strings.Contains(got, "a tab cannot indent, use spaces") {
		t.Errorf("%s", got)
	}
}
