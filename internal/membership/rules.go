package membership

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/state"
)

// Rules are how one agent describes itself to others, and which of them it accepts.
type Rules struct {
	Disk  datadir.Identity
	State *machine.State
	// Members is the table of members.
	Members *member.Table
	// InRaft reports whether an agent is in raft's configuration, as it is known here;
	// true while that is not known. It must not block.
	InRaft func(id string) bool
	// Tables are the versions of this agent's tables, by name.
	Tables map[string]uint16
}

// Cluster returns the cluster that this agent belongs to, and its epoch: as the log has
// them or, until the log has been read, the disk.
func (r Rules) Cluster() (id string, epoch interrex.Epoch) {
	id, epoch, _ = r.known()
	return id, epoch
}

// known does what Cluster does, and returns the members' disks if the log has been read.
func (r Rules) known() (clusterID string, epoch interrex.Epoch, incarnations map[string]string) {
	id := r.State.Identity()
	if id.ClusterID == "" {
		return r.Disk.ClusterID, r.Disk.Epoch, nil
	}
	return id.ClusterID, id.Epoch, id.Incarnations
}

// Hello returns this agent's hello, without what its configuration says.
func (r Rules) Hello() peering.Hello {
	clusterID, epoch, _ := r.known()
	return peering.Hello{
		ClusterID: clusterID, Epoch: epoch, Incarnation: r.Disk.Incarnation,
		Tables: r.Tables, Entries: machine.EntryVersion,
	}
}

// EntryVersion returns the newest version of a log entry that all members know. A
// member that was not met may know only the oldest.
func EntryVersion(members []raft.Server, self string, peer func(id string) (peering.Hello, bool)) byte {
	version := byte(machine.EntryVersion)
	for _, m := range members {
		if string(m.ID) != self {
			said, _ := peer(string(m.ID))
			version = min(version, max(said.Entries, machine.OldestEntry))
		}
	}
	return version
}

// MayLead reports whether a member says that it may lead.
func MayLead(id string, peer func(id string) (peering.Hello, bool)) bool {
	said, met := peer(id)
	return met && said.Log.Unfit == ""
}

// Accept reports why a peer does not belong to this agent's cluster; nil: it does.
func (r Rules) Accept(peer peering.Hello) error {
	clusterID, epoch, incarnations := r.known()
	if err := r.sameTables(peer.Tables); err != nil {
		return err
	}
	if clusterID == "" {
		return r.fits(peer)
	}
	if peer.ClusterID == clusterID && peer.Epoch != epoch {
		return fmt.Errorf("agent %s is in epoch %d of the cluster, this one in %d: the cluster was recovered without the agent in the lower epoch: to bring that one back, stop it, and run 'interrex agent join' with its data directory and a join token", peer.ID, peer.Epoch.Number, epoch.Number)
	}
	if r.removed(peer.ID, peer.Incarnation) {
		return interrex.Errorf(interrex.ErrRemoved, "agent %s was removed from the cluster %s, and does not come back with this data directory: %s", peer.ID, clusterID, ComeBack)
	}
	row := r.Members.Member(peer.ID)
	if row != nil && row.Forwards {
		return interrex.Errorf(interrex.ErrDenied, "agent %s was admitted to run without raft: the raft protocol is closed to it: set its raft.enabled to false or, to make it a member, remove it, and join it with an empty directory and without --forward", peer.ID)
	}
	if peer.ClusterID == "" {
		if row != nil && row.Incarnation == "" {
			return nil // it was admitted, and comes for the first time
		}
		if incarnations == nil {
			incarnations = r.Disk.Incarnations
		}
		return isMember(peer, incarnations, row)
	}
	if peer.ClusterID != clusterID {
		return fmt.Errorf("agent %s belongs to the cluster %s, this one to %s: an agent's data directory belongs to one cluster for good", peer.ID, peer.ClusterID, clusterID)
	}
	// It was let in: if its disk is another one than is known here, it was replaced
	// while this agent was off.
	return nil
}

// KnownDisk returns why raft is closed to a member because of its disk; nil: it is open.
// A member that has lost its disk is let in when what it was is out of raft's
// configuration, and not before: it may have forgotten a vote, and entries that count as
// stored. An agent that was off meanwhile hears one that the cluster has let in, but
// asks it for no vote before it knows that disk: several that were let in may not have
// the entries yet that this agent lacks too.
func (r Rules) KnownDisk(peer peering.Hello, vote bool) error {
	clusterID, _, _ := r.known()
	row, noted := r.Members.Member(peer.ID), r.Disk.Incarnations[peer.ID]
	switch {
	case row != nil && row.Incarnation == peer.Incarnation, noted == peer.Incarnation:
		return nil
	case row == nil && (!vote || noted == ""):
		return nil
	case row != nil && row.Incarnation == "" && r.Members.Removed(peer.ID, peer.Incarnation):
		return nil // until it is out
	case !vote && clusterID != "" && peer.ClusterID == clusterID:
		return nil
	}
	return fmt.Errorf("raft is not open to agent %s yet: its disk is not recorded here, and one that it had before may have a vote still", peer.ID)
}

// MayForward returns why an agent, whose certificate is for its ID, may not forward
// requests to this one; nil: it may.
func (r Rules) MayForward(id string) error {
	clusterID, _, _ := r.known()
	row := r.Members.Member(id)
	switch {
	case clusterID == "":
		return interrex.Errorf(interrex.ErrUnavailable, "agent %s is in no cluster yet", r.Disk.ID)
	case row != nil && row.Forwards:
		return nil
	case row != nil:
		return interrex.Errorf(interrex.ErrDenied, "agent %s is a member with a log, and does not run without raft: set its raft.enabled to true or, to make it an agent without raft, remove it first", id)
	case r.Members.CA() != "":
		return interrex.Errorf(interrex.ErrRemoved, "agent %s is not admitted to the cluster %s, or was removed: 'interrex agent join --forward' with a join token admits it", id, clusterID)
	}
	return nil // the certificates come from elsewhere
}

// ComeBack says how an agent that was removed comes back.
const ComeBack = "to bring it back, run 'interrex agent join' there with a join token, or give it an empty one"

// removed reports whether an agent on a disk was removed, and is out of raft's
// configuration: until then it takes part, because the quorum may need it.
func (r Rules) removed(id, incarnation string) bool {
	if !r.Members.Removed(id, incarnation) {
		return false
	}
	row := r.Members.Member(id)
	returned := row != nil && row.Incarnation != ""
	return returned || !r.InRaft(id)
}

// Out reports whether this agent was removed, as far as its own log says.
func (r Rules) Out() bool { return r.removed(r.Disk.ID, r.Disk.Incarnation) }

// Believes reports whether a peer, whose certificate is for its ID, can know that this
// agent was removed: it must be in this agent's cluster, and not in an epoch that is
// over.
func (r Rules) Believes(peer peering.Hello) bool {
	clusterID, epoch, _ := r.known()
	clusterID = cmp.Or(clusterID, r.Disk.Joins)
	return clusterID != "" && peer.ClusterID == clusterID && peer.Epoch.Number >= epoch.Number
}

// fits reports, for an agent that is in no cluster yet, why a peer is of another
// cluster than the one that it joins; nil: the peer decides whether they fit.
func (r Rules) fits(peer peering.Hello) error {
	if r.Disk.Joins != "" && peer.ClusterID != "" && peer.ClusterID != r.Disk.Joins {
		return fmt.Errorf("agent %s belongs to the cluster %s, and this one joins %s", peer.ID, peer.ClusterID, r.Disk.Joins)
	}
	return nil
}

// diskOf returns the incarnation of an agent's disk: as it is recorded, else as it was
// when the cluster was founded; empty: it is not known.
func diskOf(id string, incarnations map[string]string, row *member.Member) string {
	if row != nil {
		return row.Incarnation
	}
	return incarnations[id]
}

// isMember accepts an agent that has not read the cluster's first entry yet, if its
// disk is the one that it has for the cluster.
func isMember(peer peering.Hello, incarnations map[string]string, row *member.Member) error {
	switch is := diskOf(peer.ID, incarnations, row); is {
	case peer.Incarnation:
		return nil
	case "":
		return fmt.Errorf("agent %s is not a member of this cluster", peer.ID)
	}
	return wiped(peer)
}

func wiped(peer peering.Hello) error {
	return fmt.Errorf("agent %s has a different disk from the member of that name: its data directory was wiped or copied, and may have forgotten a vote: to bring it back on this disk, run 'interrex agent join' with a token made for it ('interrex join-token create --for %s') or, where certificates come from elsewhere, remove and add the member", peer.ID, peer.ID)
}

// TableOf returns the name and the version of a table, of those that an agent has; the
// name is empty if it is not known.
func TableOf(tables map[string]uint16, id state.TableID) (name string, version uint16) {
	for name, version := range tables {
		if strings.HasSuffix(name, fmt.Sprintf("(%d)", id)) {
			return name, version
		}
	}
	return "", 0
}

// sameTables reports how the tables of two agents differ: both need the same ones, in
// versions at most one apart.
func (r Rules) sameTables(theirs map[string]uint16) error {
	for name, version := range r.Tables {
		their, found := theirs[name]
		if !found || max(their, version)-min(their, version) > 1 {
			return fmt.Errorf("its tables are %v, this agent's are %v: both need the same ones, in versions at most one apart", theirs, r.Tables)
		}
	}
	for name := range theirs {
		if _, found := r.Tables[name]; !found {
			return fmt.Errorf("it has a table %q, which this agent does not have: both need the same ones", name)
		}
	}
	return nil
}

// Bootstrap decides the first members of a new cluster: see Decide. An agent that has
// been in a cluster, or that joins one, makes none.
func (r Rules) Bootstrap(t *peering.Transport, c config.Cluster) (ids []string, decided bool, err error) {
	switch {
	case r.Disk.ClusterID != "", r.Disk.Joins != "", c.BootstrapExpect < 2 && len(c.Join) > 0:
		return nil, false, nil
	case c.BootstrapExpect < 2:
		return []string{r.Disk.ID}, true, nil
	}
	return Decide(t.Self(), t.Peers(), c.BootstrapExpect)
}

// Incarnations returns the disks of this agent and of those that it has met, by ID.
func (r Rules) Incarnations(t *peering.Transport) map[string]string {
	all := map[string]string{r.Disk.ID: r.Disk.Incarnation}
	for _, peer := range t.Peers() {
		all[peer.ID] = peer.Incarnation
	}
	return all
}
