// Package recovery owns what is known before a cluster that has lost its quorum is
// recovered from one survivor: what the data directories of its members hold, and which
// of its agents still respond.
package recovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/raftlog"
)

// Directory is the data directory of one member.
type Directory struct {
	Path string
	*datadir.Examination
	// Ahead is the agent that is known to have stored more than this directory and
	// every other one of the plan, and Stored is how much; empty: none is known.
	Ahead  string
	Stored raftlog.Position
}

// Voters returns the IDs of the voters in raft's configuration.
func (d *Directory) Voters() (ids []string) {
	for _, s := range d.Members.Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

// Plan examines directories of one cluster, without changing them, and returns them
// with the furthest one first: that with the newest epoch, then with the log that ends
// last. Those from which no recovery is possible come last.
func Plan(paths []string) ([]*Directory, error) {
	var all []*Directory
	for _, path := range paths {
		e, err := datadir.Examine(path)
		if err != nil {
			return nil, err
		}
		d := &Directory{Path: path, Examination: e}
		if err := d.fits(all); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, further)
	return all, all[0].lookAhead(all)
}

// fits returns an error if the directory is not of the same cluster as the others.
func (d *Directory) fits(others []*Directory) error {
	if d.ClusterID == "" {
		return fmt.Errorf("%s: agent %s is in no cluster yet: there is nothing to recover", d.Path, d.ID)
	}
	for _, o := range others {
		switch {
		case o.ClusterID != d.ClusterID:
			return fmt.Errorf("%s is of cluster %s, and %s of cluster %s: give directories of one cluster", o.Path, o.ClusterID, d.Path, d.ClusterID)
		case o.Epoch.Number == d.Epoch.Number && o.Epoch != d.Epoch:
			return fmt.Errorf("%s is in epoch %s, and %s in epoch %s: both are the result of a recovery; keep one of them, and have the agents of the other join it again", o.Path, o.Epoch, d.Path, d.Epoch)
		}
	}
	return nil
}

// further is negative when a is to be preferred to b.
func further(a, b *Directory) int {
	usable := func(d *Directory) int {
		if d.Refusal() != nil {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(usable(b), usable(a)), cmp.Compare(b.Epoch.Number, a.Epoch.Number),
		cmp.Compare(b.End.Term, a.End.Term), cmp.Compare(b.End.Index, a.End.Index),
	)
}

// lookAhead sets who has stored more, as far as this directory or an agent in another
// one remembers.
func (d *Directory) lookAhead(all []*Directory) error {
	note := func(id string, at raftlog.Position) {
		if !d.End.Reaches(at) && !d.Stored.Reaches(at) {
			d.Ahead, d.Stored = id, at
		}
	}
	for _, o := range all {
		if o.Epoch != d.Epoch {
			continue
		}
		note(o.ID, o.Floor.Position)
		peers, err := datadir.ReadPeers(o.Path)
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(peers)) {
			note(id, raftlog.Position{Term: peers[id].Stored.Term, Index: peers[id].Stored.Index})
		}
	}
	return nil
}
