package assembly

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// peers decides how this agent describes itself to others, and which of them it
// accepts.
type peers struct {
	set    *Set
	dir    *dataDir
	state  *state.State
	expect int
	tables map[string]uint16 // versions by name
}

// known returns the cluster that this agent belongs to: as the log has it or, until
// the log has been read, the disk.
func (p peers) known() (clusterID string, epoch interrex.Epoch, incarnations map[string]string) {
	id := p.state.Identity()
	if id.ClusterID == "" {
		return p.dir.ClusterID, p.dir.Epoch, nil
	}
	return id.ClusterID, id.Epoch, id.Incarnations
}

func (p peers) hello() transport.Hello {
	clusterID, epoch, _ := p.known()
	return transport.Hello{
		ClusterID: clusterID, Epoch: epoch, Incarnation: p.dir.Incarnation,
		APIAddress: p.set.advertisedAPI(), Expect: p.expect, Version: p.set.config.Agent.Version,
		Tables: p.tables, Entries: state.EntryVersion,
	}
}

// entryVersion returns the newest version of a log entry that all members know. A
// member that was not met may know only the oldest.
func entryVersion(members []raft.Server, self string, peer func(id string) (transport.Hello, bool)) byte {
	version := byte(state.EntryVersion)
	for _, m := range members {
		if string(m.ID) != self {
			said, _ := peer(string(m.ID))
			version = min(version, max(said.Entries, state.OldestEntry))
		}
	}
	return version
}

// mayLead reports whether a member says that it may lead.
func mayLead(id string, peer func(id string) (transport.Hello, bool)) bool {
	said, met := peer(id)
	return met && said.Log.Unfit == ""
}

// accept reports why a peer does not belong to this agent's cluster; nil: it does.
func (p peers) accept(peer transport.Hello) error {
	clusterID, epoch, incarnations := p.known()
	if err := p.sameTables(peer.Tables); err != nil {
		return err
	}
	if clusterID == "" {
		return nil // the peer decides whether this agent fits
	}
	if peer.ClusterID == "" {
		if incarnations == nil {
			incarnations = p.dir.Incarnations
		}
		return member(peer, incarnations)
	}
	if peer.ClusterID != clusterID {
		return fmt.Errorf("agent %s belongs to the cluster %s, this one to %s: an agent's data directory belongs to one cluster for good", peer.ID, peer.ClusterID, clusterID)
	}
	if peer.Epoch != epoch {
		return fmt.Errorf("agent %s is in epoch %d of the cluster, this one in %d: the cluster was recovered, and one of them was not part of it", peer.ID, peer.Epoch.Number, epoch.Number)
	}
	if is := incarnations[peer.ID]; is != "" && is != peer.Incarnation {
		return wiped(peer)
	}
	return nil
}

// member accepts an agent that has not read the cluster's first entry yet, if its
// disk is the one that it had when the cluster was founded.
func member(peer transport.Hello, incarnations map[string]string) error {
	switch is := incarnations[peer.ID]; is {
	case peer.Incarnation:
		return nil
	case "":
		return fmt.Errorf("agent %s is not a member of this cluster", peer.ID)
	}
	return wiped(peer)
}

func wiped(peer transport.Hello) error {
	return fmt.Errorf("agent %s has a different disk from the member of that name: its data directory was wiped or copied, and may have forgotten a vote", peer.ID)
}

// sameTables reports how the tables of two agents differ: both need the same ones, in
// versions at most one apart.
func (p peers) sameTables(theirs map[string]uint16) error {
	for name, version := range p.tables {
		their, found := theirs[name]
		if !found || max(their, version)-min(their, version) > 1 {
			return fmt.Errorf("its tables are %v, this agent's are %v: both need the same ones, in versions at most one apart", theirs, p.tables)
		}
	}
	for name := range theirs {
		if _, found := p.tables[name]; !found {
			return fmt.Errorf("it has a table %q, which this agent does not have: both need the same ones", name)
		}
	}
	return nil
}

// bootstrap decides the first members of a new cluster.
func (p peers) bootstrap(t *transport.Transport) ([]string, bool, error) {
	current, _ := p.set.configuration.Current()
	if p.dir.ClusterID != "" {
		return nil, false, nil // it has been in a cluster
	}
	if current.Cluster.BootstrapExpect < 2 {
		return []string{p.dir.ID}, true, nil
	}
	return transport.Decide(t.Self(), t.Peers(), current.Cluster.BootstrapExpect)
}

func (p peers) incarnations(t *transport.Transport) map[string]string {
	all := map[string]string{p.dir.ID: p.dir.Incarnation}
	for _, peer := range t.Peers() {
		all[peer.ID] = peer.Incarnation
	}
	return all
}
