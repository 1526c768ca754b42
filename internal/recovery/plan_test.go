package recovery

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/peerlogs"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
)

func directory(id string, epoch, term, index uint64) *Directory {
	d := &Directory{Path: id, Examination: &datadir.Examination{Identity: datadir.Identity{ID: id, Incarnation: "disk", ClusterID: "c", Epoch: interrex.Epoch{Number: epoch}}}}
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
	lone := directory("b", 0, 1, 1)
	lone.ClusterID = ""
	if err := lone.fits(nil); err == nil || !strings.Contains(err.Error(), "in no cluster") {
		t.Errorf("of an agent without a cluster: %v", err)
	}
}

func TestVotersAreThoseWithAVote(t *testing.T) {
	d := directory("a", 0, 1, 1)
	d.Members.Servers = []raft.Server{{ID: "a"}, {ID: "b", Suffrage: raft.Nonvoter}, {ID: "c"}}
	if got := d.Voters(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("the voters are %v", got)
	}
}

// memories are what an agent remembers of others: the ends of their logs.
type memories map[string]raftlog.Position

// made makes the data directory of an agent, whose log ends in term 1 at an index.
func made(t *testing.T, id string, epoch, index uint64, of memories) string {
	t.Helper()
	path := t.TempDir()
	err := datadir.SaveIdentity(path, datadir.Identity{ID: id, Incarnation: "disk", ClusterID: strings.Repeat("0", 32), Epoch: interrex.Epoch{Number: epoch, Bits: 1 + epoch}})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := raftdir.Open(filepath.Join(path, datadir.RaftDir), raftdir.Config{NoSync: true, SegmentSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	members := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}, {ID: "b", Address: "b"}, {ID: "c", Address: "c"}}})
	for i := uint64(1); i <= index; i++ {
		if err := dir.StoreLog(&raft.Log{Index: i, Term: 1, Type: raft.LogConfiguration, Data: members}); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]peerlogs.Remembered{}
	for of, at := range of {
		all[of] = peerlogs.Remembered{Incarnation: "disk", Stored: peerlogs.Place{Term: at.Term, Index: at.Index}}
	}
	b, err := json.Marshal(all)
	if err = errors.Join(err, dir.Close(), disk.CheckedFile{Path: filepath.Join(path, datadir.PeersName)}.Save(b)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPlanSaysWhatIsBeyondItsDirectories(t *testing.T) {
	for what, c := range map[string]struct {
		a, b   memories
		ahead  string
		stored raftlog.Position
	}{
		"nobody remembers more":         {memories{"c": {Term: 1, Index: 5}, "b": {Term: 1, Index: 4}}, memories{"c": {Term: 1, Index: 2}}, "", raftlog.Position{}},
		"the one that remembers most":   {memories{"c": {Term: 1, Index: 7}}, memories{"c": {Term: 1, Index: 9}}, "c", raftlog.Position{Term: 1, Index: 9}},
		"the same the other way":        {memories{"c": {Term: 1, Index: 9}}, memories{"c": {Term: 1, Index: 7}}, "c", raftlog.Position{Term: 1, Index: 9}},
		"a later term counts more":      {memories{"c": {Term: 2, Index: 1}}, memories{"d": {Term: 1, Index: 9}}, "c", raftlog.Position{Term: 2, Index: 1}},
		"what this one has stored once": {memories{"b": {Term: 1, Index: 6}}, nil, "b", raftlog.Position{Term: 1, Index: 6}},
	} {
		t.Run(what, func(t *testing.T) {
			old := made(t, "o", 0, 9, memories{"x": {Term: 9, Index: 99}}) // of an epoch before: it does not count
			a, b := made(t, "a", 1, 3, c.a), made(t, "b", 1, 5, c.b)
			all, err := Plan([]string{old, a, b})
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != 3 || all[0].Path != b || all[1].Path != a || all[2].Path != old {
				t.Errorf("the first is %s of %d", all[0].ID, len(all))
			}
			if d := all[0]; d.Ahead != c.ahead || d.Stored != c.stored {
				t.Errorf("%q is ahead at %v, want %q at %v", d.Ahead, d.Stored, c.ahead, c.stored)
			}
		})
	}
}

// A log may be shorter than what its agent has acknowledged.
func TestAFloorIsAhead(t *testing.T) {
	a, b := directory("a", 1, 1, 3), directory("b", 1, 1, 5)
	a.Floor.Position = raftlog.Position{Term: 1, Index: 9}
	a.Path, b.Path = t.TempDir(), t.TempDir()
	if err := b.lookAhead([]*Directory{b, a}); err != nil || b.Ahead != "a" || b.Stored.Index != 9 {
		t.Errorf("%q is ahead at %v, %v", b.Ahead, b.Stored, err)
	}
}

func TestAPlanIsMadeOfSoundDirectories(t *testing.T) {
	good := made(t, "a", 1, 3, nil)
	other := made(t, "b", 1, 3, nil)
	if err := os.WriteFile(filepath.Join(other, datadir.PeersName), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, path := range map[string]string{"no directory": filepath.Join(good, "none"), "damaged peers": other, "of another recovery": func() string {
		path := made(t, "c", 1, 3, nil)
		id := datadir.Identity{ID: "c", Incarnation: "disk", ClusterID: strings.Repeat("0", 32), Epoch: interrex.Epoch{Number: 1, Bits: 99}}
		if err := datadir.SaveIdentity(path, id); err != nil {
			t.Fatal(err)
		}
		return path
	}()} {
		if _, err := Plan([]string{good, path}); err == nil {
			t.Errorf("%s: there is a plan", what)
		}
	}
}
