package config_test

import (
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
		{"raft: {heartbeet-timeout: 1s}", "line 1: there is no key raft.heartbeet-timeout: did you mean raft.heartbeat-timeout?"},
		{"data-dir: /x", "did you mean agent.data-dir?"},
		{"clutser: {}", "did you mean cluster?"},
		{"raft: 3", "raft: a section with keys is expected"},
		{"raft: {heartbeat-timeout: 1}", "a duration has a unit"},
		{"raft: {heartbeat-timeout: 1ms}", "heartbeat-timeout: 50ms to 1h are"},
		{"raft: {heartbeat-timeout: soon}", "cannot unmarshal"},
		{"raft: {heartbeat-timeout: 100ms, leader-lease-timeout: 100ms}", "must be shorter than raft.heartbeat-timeout"},
		{"agent: {id: Big_One}", "is no DNS label"},
		{"api: {listen: 0.0.0.0:7400}", "beyond loopback"},
		{"api: {listen: nowhere}", "is not HOST:PORT"},
		{"cluster: {join: [a:1]}", "cluster.tls"},
		{"cluster: {bootstrap-expect: 3, join: [a:1], tls: {ca: a, cert: b}}", "ca, cert and key go together"},
		{"cluster: {join: [a:1], tls: {ca: a, cert: b, key: c}}", "cluster.bootstrap-expect"},
		{"cluster: {bootstrap-expect: 3, tls: {ca: a, cert: b, key: c}}", "cluster.join"},
		{"cluster: {advertise: 0.0.0.0:1}", "cannot be dialled"},
		{"cluster: {timing: fast}", "neither lan nor wan"},
		{"logging: {level: loud}", "is none of"},
		{"features: {leases: perhaps}", "neither true nor false"},
		{"a: [", "did not find"},
	} {
		_, err := load(t, test.yaml)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.yaml, err, test.want)
		}
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
