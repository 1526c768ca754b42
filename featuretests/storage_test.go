package featuretests

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
	"github.com/interrex/interrex/storage"
	"github.com/interrex/interrex/storage/conformance"
)

func TestOneAgentIsAStorageBackend(t *testing.T) {
	a := interrextest.Start(t, agent.Config{})
	conformance.Run(t, conformance.Config{New: fresh(func() *agent.Agent { return a })})
}

func TestAFollowerIsAStorageBackend(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	conformance.Run(t, conformance.Config{New: fresh(func() *agent.Agent {
		return c.Agent((c.Leader() + 1) % 3)
	})})
}

// fresh returns empty backends on one cluster.
func fresh(at func() *agent.Agent) func(t *testing.T) storage.Store {
	var n atomic.Int64
	return func(t *testing.T) storage.Store {
		b := storage.NewBackend(storage.Through(at().Resources()), nil)
		return conformance.Scoped(b, fmt.Sprintf(".g%d", n.Add(1)))
	}
}
