package counters_test

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/examples/counters"
	"github.com/interrex/interrex/interrextest"
	"github.com/interrex/interrex/transport"
)

// notes is what an agent has logged.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(b)
}

func (n *notes) has(words *regexp.Regexp) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return words.MatchString(n.text.String())
}

// member starts one of two agents of a cluster that is to be.
func member(t *testing.T, certificate transport.TLS, id string, join []string, tables ...agent.Table) (*agent.Agent, *notes) {
	t.Helper()
	said := new(notes)
	a, err := agent.New(agent.Config{
		ID: id, TLS: certificate, Tables: tables, Logger: agent.Slog(slog.New(slog.NewTextHandler(said, nil))),
		Cluster: config.Cluster{Listen: "127.0.0.1:0", Join: join, BootstrapExpect: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Kill(); a.Wait() })
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, said
}

func TestAgentsWithOtherTablesRefuseEachOther(t *testing.T) {
	certificates := interrextest.Certificates(t)
	has, hasSaid := member(t, certificates("n1"), "n1", []string{"127.0.0.1:1"}, counters.Table) // nobody is there: n2 comes by itself
	lacks, lacksSaid := member(t, certificates("n2"), "n2", []string{has.Addrs()["cluster"]})
	missing := regexp.MustCompile(`its tables are map\[[^]]*\], this agent's are map\[[^]]*counters\(256\):1`)
	eventually(t, "both say which table is missing", func() bool {
		return hasSaid.has(missing) && lacksSaid.has(missing)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, a := range []*agent.Agent{has, lacks} {
		if a.Ready(ctx) == nil {
			t.Errorf("agent %s is ready", a.ID())
		}
	}
}
