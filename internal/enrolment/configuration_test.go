package enrolment

import (
	"strings"
	"testing"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/datadir"
)

func TestAnAgentThatEnrolsUsesTheFilesInItsDirectory(t *testing.T) {
	c := config.Default()
	c.Agent.DataDir, c.API.Listen = "/data", "0.0.0.0:7400"
	if got := Complete(c); got.Cluster.TLS.Present() || got.API.TLS.Cert != "" {
		t.Errorf("one that does not enrol gets %+v", got.Cluster.TLS)
	}
	c.Cluster.JoinTokenFile = "token"
	got := Complete(c)
	if own := OwnFiles("/data"); got.Cluster.TLS != own || got.API.TLS.Cert != own.Cert || got.API.TLS.Key != own.Key {
		t.Errorf("%+v, %+v", got.Cluster.TLS, got.API.TLS)
	}
	if err := Validate(got); err != nil {
		t.Error(err)
	}
	c.API.Listen = "127.0.0.1:7400"
	if got := Complete(c); got.API.TLS.Cert != "" {
		t.Error("an API on loopback gets a certificate")
	}
	c.API.Listen, c.API.TLS = "0.0.0.0:7400", config.APITLS{Cert: "c", Key: "k"}
	c.Cluster.TLS = config.TLSFiles{CA: "a", Cert: "c", Key: "k"}
	if got := Complete(c); got.API.TLS.Cert != "c" || got.Cluster.TLS.CA != "a" {
		t.Errorf("files that are named are replaced: %+v, %+v", got.Cluster.TLS, got.API.TLS)
	}
	if err := Validate(c); err == nil || !strings.Contains(err.Error(), "cluster.tls") {
		t.Errorf("two certificates: %v", err)
	}
}

func TestOnlyAnAgentWithAnEmptyLogEnrols(t *testing.T) {
	if err := CheckDir(datadir.Identity{ID: "n1", Joins: "c"}); err != nil {
		t.Error(err)
	}
	err := CheckDir(datadir.Identity{ID: "n1", ClusterID: "c"})
	if err == nil || !strings.Contains(err.Error(), "empty log") {
		t.Error(err)
	}
}

// What an alias stands for is used elsewhere, too.
func TestAnAliasIsNotReplaced(t *testing.T) {
	f := &configFile{text: []byte("x: &tls {ca: a}\ncluster: {tls: *tls}\n"), config: config.Default()}
	if text, err := f.changed(Agent{}, Agent{ID: "n1", DataDir: "/d", API: "127.0.0.1:1"}, nil); err == nil || !strings.Contains(err.Error(), "tls is an alias, *tls: write out") {
		t.Errorf("%v: %s", err, text)
	}
}
