package apiserver

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/wire"
)

func TestAWatchFromTheFutureIsInvalid(t *testing.T) {
	nd := cluster(t, 3)[1] // which need not lead
	nd.claimed("jobs/one", "ann")
	nd.claimed("jobs/two", "ann")
	const want = "since 900 is in the future: the cluster is at revision 2"
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{Since: 900})
	if e := s.refused[1]; e.GetKind() != "invalid" || e.GetMessage() != want {
		t.Errorf("on a stream: %v", e)
	}
	w := nd.watch(&interrexv1.WatchRequest{Since: 900})
	if w.s.Receive() {
		t.Fatalf("alone: %v", w.s.Msg())
	}
	if err := wire.FromError(w.s.Err(), false); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), want) {
		t.Errorf("alone: %v", err)
	}
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{nd.url}})
	nd.must(err)
	defer c.Close()
	inGo, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{Since: 900})
	nd.must(err)
	if _, err := inGo.Next(t.Context()); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), want) {
		t.Errorf("in Go: %v", err)
	}
}

// paused is a Reads that blocks until it is opened.
type paused struct {
	consistency.Reads
	asked, opened chan struct{}
}

func (p paused) Index(ctx context.Context) (uint64, error) {
	p.asked <- struct{}{}
	select {
	case <-p.opened:
		return p.Reads.Index(ctx)
	case <-ctx.Done():
		return 0, interrex.Errorf(interrex.ErrTimeout, "paused").WithCause(ctx.Err())
	}
}

// pausing returns a cluster of one agent whose reads are paused.
func pausing(t *testing.T) (*node, paused) {
	p := paused{asked: make(chan struct{}, 10), opened: make(chan struct{})}
	return cluster(t, 1, func(c *Config) {
		c.ReadWait = time.Hour
		reads := c.Reads
		c.Reads = func() (consistency.Reads, bool) {
			inner, running := reads()
			return paused{inner, p.asked, p.opened}, running
		}
	})[0], p
}

func TestAWatchBeginsWhenItsAgentCatchesUpByItself(t *testing.T) {
	nd, p := pausing(t)
	nd.claimed("jobs/one", "ann")
	s := nd.watches()
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{openOf(t, 1, 10, &interrexv1.WatchRequest{Since: 2})}})
	<-p.asked // and nobody answers
	nd.claimed("jobs/two", "ann")
	s.until(func() bool { return s.opened[1] })
}

func TestAWatchThatIsAheadOfItsAgentWaitsForIt(t *testing.T) {
	nd, p := pausing(t)
	nd.claimed("jobs/one", "ann")
	s := nd.watches()
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{
		openOf(t, 1, 1, &interrexv1.WatchRequest{Since: 2}), openOf(t, 2, 1, &interrexv1.WatchRequest{Since: 3}),
		openOf(t, 3, 1, &interrexv1.WatchRequest{Since: 2}),
	}})
	<-p.asked
	s.say(&interrexv1.StreamServiceWatchRequest{Closes: []uint64{3}, Credits: []*interrexv1.WatchCredit{{Id: 1, Events: 9}}})
	s.open(4, 10, &interrexv1.WatchRequest{Since: 1}) // the others hold up nobody
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{openOf(t, 5, 10, &interrexv1.WatchRequest{Since: 3})}})
	s.open(6, 10, &interrexv1.WatchRequest{Since: 1}) // so the fifth has arrived
	if s.opened[1] || len(s.refused) > 0 {
		t.Fatalf("opened: %v, refused: %v", s.opened, s.refused)
	}
	nd.claimed("jobs/two", "ann")
	close(p.opened)
	s.until(func() bool { return s.opened[1] && s.refused[2] != nil && s.refused[5] != nil })
	nd.claimed("jobs/three", "ann")
	nd.claimed("jobs/four", "ann")
	s.until(func() bool { return len(s.events[1]) == 2 && len(s.events[4]) == 3 })
	s.inOrder(1, 3, 4)
	if s.opened[3] || s.refused[3] != nil {
		t.Error("one that was closed is answered")
	}
	if n := len(p.asked); n != 1 {
		t.Errorf("the leader was asked %d times, want one for each arrival", 1+n)
	}
	nd.waitFor(func() bool { return nd.ring.Stats().Watchers == 3 })
}

func TestWatchesThatAreAheadWaitForTheFurthest(t *testing.T) {
	nd, p := pausing(t)
	nd.claimed("jobs/one", "ann")
	s := nd.watches()
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{
		openOf(t, 1, 1, &interrexv1.WatchRequest{Since: 3}), openOf(t, 2, 1, &interrexv1.WatchRequest{Since: 2}),
	}})
	<-p.asked
	nd.claimed("jobs/two", "ann")
	for id := uint64(3); id < 8; id++ { // time for the second to begin
		s.open(id, 1, &interrexv1.WatchRequest{Since: 1})
	}
	nd.claimed("jobs/three", "ann")
	s.until(func() bool { return s.opened[1] && s.opened[2] || len(s.refused) > 0 })
	if len(s.refused) > 0 {
		t.Errorf("refused: %v", s.refused)
	}
}

func TestAnAgentThatCannotCatchUpCallsNoRevisionFuture(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Reads = func() (consistency.Reads, bool) { return nil, false } })[0]
	nd.claimed("jobs/one", "ann")
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{Since: 7})
	if e := s.refused[1]; e.GetKind() != "unavailable" || e.GetRetryAfter() == nil || !strings.Contains(e.GetMessage(), "raft is not running") {
		t.Errorf("on a stream: %v", e)
	}
	w := nd.watch(&interrexv1.WatchRequest{Since: 7})
	if w.s.Receive() {
		t.Fatalf("alone: %v", w.s.Msg())
	}
	if kind := interrex.KindOf(wire.FromError(w.s.Err(), false)); kind != interrex.ErrUnavailable {
		t.Errorf("alone: %v", w.s.Err())
	}
}

func TestWatchesAreToldHowFarTheyHaveCome(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{Since: 1, Prefix: "none"})
	s.open(2, 0, &interrexv1.WatchRequest{Since: 1})
	s.open(3, 10, &interrexv1.WatchRequest{Since: 1, Namespace: "none"})
	nd.publish(2, 4096-1)
	nd.publish(4096, 4096)
	s.until(func() bool { return len(s.progress) == 1 })
	if p := s.progress[0]; p.GetRevision() != 4096 || !reflect.DeepEqual(p.GetExcept(), []uint64{2}) {
		t.Errorf("progress: %v", p)
	}
	nd.publish(4096+1, 3*4096)
	s.until(func() bool { return len(s.progress) >= 2 })
	s.open(4, 0, &interrexv1.WatchRequest{Since: 2})
	if n := len(s.progress); n > 3 || len(s.events) > 0 {
		t.Errorf("%d messages of progress, events: %v", n, s.events)
	}
}

func TestAWatchOfAKeyGetsThatLease(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/one", "ann")
	nd.claimed("jobs/one/more", "ann")
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{Key: "jobs/one"})
	s.open(2, 10, &interrexv1.WatchRequest{Key: "jobs/two"})
	s.until(func() bool { return len(s.events[1]) == 2 && len(s.events[2]) == 1 })
	nd.claimed("jobs/two", "bob")
	nd.curl("LeaseService/Revoke", `{"key":"jobs/one/more","force":true}`)
	nd.curl("LeaseService/Revoke", `{"key":"jobs/one","force":true}`)
	s.until(func() bool { return len(s.events[1]) == 3 && len(s.events[2]) == 2 })
	if seen, want := s.seen(1), []string{"lease.present jobs/one", "end_of_snapshot ", "lease.forced jobs/one"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("of one: %v", seen)
	}
	if seen, want := s.seen(2), []string{"end_of_snapshot ", "lease.claimed jobs/two"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("of two: %v", seen)
	}
	for id, r := range map[uint64]*interrexv1.WatchRequest{3: {Key: "jobs/one", Namespace: "jobs"}, 4: {Key: "jobs/one", Prefix: "o"}, 5: {Key: "NO/no"}} {
		if s.open(id, 10, r); s.refused[id].GetKind() != "invalid" {
			t.Errorf("%v is refused with %v", r, s.refused[id])
		}
	}
}

func TestAnEventSaysWhen(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{})
	s.until(func() bool { return len(s.events[1]) == 1 })
	nd.claimed("jobs/one", "ann")
	s.until(func() bool { return len(s.events[1]) == 2 })
	if e := s.events[1][0]; e.GetTime() != nil {
		t.Errorf("the end of the snapshot has the time %v", e.GetTime())
	}
	if e := s.events[1][1]; e.GetTime() == nil || !e.GetTime().AsTime().Equal(e.GetLease().GetAcquiredAt().AsTime()) {
		t.Errorf("claimed at %v, acquired at %v", e.GetTime(), e.GetLease().GetAcquiredAt())
	}
}

// An empty page says that nothing has happened, which an agent that has not reached
// that revision cannot know.
func TestAListOfChangesThatIsAheadOfItsAgentWaitsForIt(t *testing.T) {
	nd, p := pausing(t)
	nd.claimed("jobs/one", "ann")
	var all sync.WaitGroup
	all.Go(func() { nd.expect(nd.kv("GET", "/changes?kind=*&since=2&block=60", ""), 200, `"_id":3`) })
	all.Go(func() { nd.expect(nd.curl("ChangeService/List", `{"since":"2","block":"60s"}`), 200, `"revision":"3"`) })
	nd.waitFor(func() bool { return len(p.asked) == 2 })
	nd.appended(`1`) // 2, which both wait for
	last := nd.appended(`2`)
	if last != 3 {
		t.Fatalf("the last is %d", last)
	}
	all.Wait()
	close(p.opened)
	nd.expect(nd.kv("GET", "/changes?kind=*&since=9", ""), 400, "since 9 is in the future: the cluster is at revision 3")
	nd.expect(nd.kv("GET", "/changes?kind=*&since=9&block=60", ""), 400, "since 9 is in the future")
	nd.expect(nd.curl("ChangeService/List", `{"since":"9"}`), 400, "since 9 is in the future: the cluster is at revision 3")
}
