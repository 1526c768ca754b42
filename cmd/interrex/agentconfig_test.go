package main

import (
	"testing"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/assembly"
)

func TestConfigShowsWhatDiffersFromTheDefaultsAlone(t *testing.T) {
	c := assembly.InForce(config.Default())
	plain, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := aboveDefaults(string(plain)); got != "{}\n" || err != nil {
		t.Errorf("of the defaults %q is left, %v", got, err)
	}
	c.Raft.SnapshotRetention, c.API.TLS.Cert = 5, "a.pem"
	changed, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := "api:\n    tls:\n        cert: a.pem\nraft:\n    snapshot-retention: 5\n"
	if got, err := aboveDefaults(string(changed)); got != want || err != nil {
		t.Errorf("%q is left, %v", got, err)
	}
}

func TestConfigLeavesOutTheTimingsThatComeWithTheCluster(t *testing.T) {
	c := config.Default()
	c.Cluster.Timing = "wan"
	text, err := assembly.InForce(c).YAML()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := aboveDefaults(string(text)); got != "cluster:\n    timing: wan\n" || err != nil {
		t.Errorf("%q is left, %v", got, err)
	}
}
