package raftrules

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock/testclock"
	"github.com/juju/loggo"

	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/raftdir"
)

// A copied directory is trusted once every member was met, of which there is at least
// this one, and none has received anything from this agent in a later term.
func TestACopyKnowsAllOnlyByItsMembers(t *testing.T) {
	home, copied := t.TempDir(), filepath.Join(t.TempDir(), "raft")
	dir, err := raftdir.Open(home, raftdir.Config{})
	if err == nil {
		err = errors.Join(dir.Close(), os.CopyFS(copied, os.DirFS(home)))
	}
	if err == nil {
		dir, err = raftdir.Open(copied, raftdir.Config{})
	}
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{LocalID: "a", Logger: loggo.GetLogger("test")}, dir, new(atomic.Pointer[raft.Raft]))
	both := founding.Members("a", "b")
	if r.copies.knowsAll(raft.Configuration{}) || r.copies.knowsAll(both) {
		t.Error("it knows all, and has met nobody")
	}
	if err := r.Met(peering.Hello{ID: "b"}, nil); err != nil || !r.copies.knowsAll(both) {
		t.Errorf("it does not know all when it has met the other one: %v", err)
	}
	r.copies.checkTerm("b", 7)
	if r.copies.knowsAll(both) {
		t.Error("it knows all where it is an older one")
	}
	if err := dir.Close(); err != nil {
		t.Error(err)
	}
}

// errorsIn counts what is logged as an error.
type errorsIn struct {
	loggo.Logger
	n int
}

func (l *errorsIn) Errorf(string, ...any) { l.n++ }

func TestASnapshotThatComesAgainAndAgainIsAnAlarm(t *testing.T) {
	log := &errorsIn{}
	at := testclock.NewClock(time.Now())
	c := &offers{clock: at, logger: log}
	for range maxOffers {
		c.count(300)
	}
	if c.alarm() != 0 {
		t.Fatal("an alarm too early")
	}
	c.count(300)
	if c.alarm() != 300 || log.n != 1 {
		t.Fatalf("%d %v", c.alarm(), log.n)
	}
	if at.Advance(offersApart + 1); c.alarm() != 0 {
		t.Fatal("the alarm stays though none arrives any more")
	}
	if c.count(300); c.alarm() != 300 {
		t.Fatal("the alarm does not come back")
	}
	if c.count(301); c.alarm() != 0 {
		t.Fatal("the alarm stays after progress")
	}
}
