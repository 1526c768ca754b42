package raftrules

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// A condemned agent does only what cannot lose anything: it takes entries, and neither
// votes nor leads.
func TestACondemnedAgentDoesNotVote(t *testing.T) {
	dir, err := raftdir.Open(t.TempDir(), raftdir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	none := func() error { return nil }
	r := New(Config{LocalID: "a", Logger: loggo.GetLogger("test"), Halted: none, Leaving: none, Reluctant: none}, dir, new(atomic.Pointer[raft.Raft]))
	votes := []any{&raft.RequestVoteRequest{Term: 9, LastLogTerm: 9, LastLogIndex: 9}, &raft.RequestPreVoteRequest{Term: 9, LastLogTerm: 9, LastLogIndex: 9}}
	for _, request := range votes {
		if _, _, answered := r.Answer(request); answered || r.MaySend(request) != nil {
			t.Errorf("%T before: answered %t", request, answered)
		}
	}
	if _, err := dir.Condemn("it is wrong"); err != nil {
		t.Fatal(err)
	}
	for _, request := range votes {
		response, err, answered := r.Answer(request)
		if vote, is := response.(*raft.RequestVoteResponse); is && vote.Granted || err != nil || !answered {
			t.Errorf("%T: %+v, %v, answered %t", request, response, err, answered)
		}
		if err := r.MaySend(request); err == nil {
			t.Errorf("%T may be sent", request)
		}
	}
	if _, err, answered := r.Answer(&raft.TimeoutNowRequest{}); !answered || err == nil {
		t.Errorf("it takes leadership over: %v, %t", err, answered)
	}
	if err := r.Broken(); err == nil || !strings.Contains(err.Error(), "it is wrong") || !strings.Contains(err.Error(), "serves no reads") {
		t.Errorf("it may lead: %v", err)
	}
	if err := r.MaySend(&raft.AppendEntriesRequest{}); err != nil {
		t.Errorf("an append: %v", err)
	}
	if err := dir.Close(); err != nil {
		t.Error(err)
	}
}
