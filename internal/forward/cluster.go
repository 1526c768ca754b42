package forward

import (
	"net/http"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// Cluster is the cluster that an agent without raft forwards requests to.
type Cluster struct {
	ID    string         // empty: it is not known yet
	Epoch interrex.Epoch // its zero value: it is not known yet
}

// next returns the cluster with what a member says, or why requests must not go to that
// one.
func (c Cluster) next(m *Members) (Cluster, error) {
	said := Cluster{m.ClusterID, m.Epoch}
	switch {
	case said == c:
		return c, nil
	case c.ID != "" && c.ID != m.ClusterID:
		return c, interrex.Errorf(interrex.ErrOtherCluster, "%s is a member of the cluster %s, and this agent forwards to the cluster %s: to use that one, give the agent another data directory", m.ID, m.ClusterID, c.ID)
	case c.Epoch != (interrex.Epoch{}) && m.Epoch.Number <= c.Epoch.Number:
		return c, interrex.Errorf(interrex.ErrUnavailable, "%s is in epoch %s of the cluster, and this agent forwards to epoch %s: the cluster was recovered without that member: to bring it back, stop it, and run 'interrex agent join' with its data directory and a join token", m.ID, m.Epoch, c.Epoch)
	}
	return said, nil
}

// allegiance is to the cluster in the latest epoch that was met.
type allegiance struct {
	note func(Cluster) error // is called before the cluster is another one

	mu      sync.Mutex
	cluster Cluster
}

// accept returns why requests must not go to a member: it is of another cluster, or a
// recovery has left it behind. A later epoch is noted. It must not be called concurrently:
// the disk may take long, and requests need the lock.
func (a *allegiance) accept(m *Members) error {
	now := a.now()
	next, err := now.next(m)
	if err != nil || next == now {
		return err
	}
	if err := a.note(next); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cluster = next
	return nil
}

// mark notes in the header of a request which epoch it is for.
func (a *allegiance) mark(h http.Header) {
	h.Del(wire.HeaderEpoch)
	if now := a.now(); now.Epoch != (interrex.Epoch{}) {
		h.Set(wire.HeaderEpoch, now.Epoch.String())
	}
}

func (a *allegiance) now() Cluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cluster
}
