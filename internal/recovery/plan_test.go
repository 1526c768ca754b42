package recovery

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
)

func directory(id string, epoch, term, index uint64) *Directory {
	d := &Directory{Path: id, Examination: &datadir.Examination{Identity: datadir.Identity{ID: id, ClusterID: "c", Epoch: interrex.Epoch{Number: epoch}}}}
	d.End = raftlog.Position{Term: term, Index: index}
	return d
}

func TestTheFurthestDirectoryComesFirst(t *testing.T) {
	wiped := directory("w", 9, 9, 9)
	wiped.Forgotten = raftdir.ErrForgotten
	order := []*Directory{directory("a", 1, 2, 3), directory("b", 0, 9, 9), directory("c", 0, 9, 8), directory("d", 0, 8, 99), wiped}
	for i := range order[1:] {
		if further(order[i], order[i+1]) >= 0 || further(order[i+1], order[i]) <= 0 {
			t.Errorf("%s is not ahead of %s", order[i].ID, order[i+1].ID)
		}
	}
}

func TestDirectoriesAreOfOneCluster(t *testing.T) {
	first := []*Directory{directory("a", 1, 1, 1)}
	other := directory("b", 1, 1, 1)
	other.ClusterID = "x"
	twin := directory("b", 1, 1, 1)
	twin.Epoch.Bits = 5
	for d, why := range map[*Directory]string{other: "of one cluster", twin: "both are the result"} {
		if err := d.fits(first); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", why, err)
		}
	}
	if err := directory("b", 0, 1, 1).fits(first); err != nil {
		t.Error(err)
	}
}
