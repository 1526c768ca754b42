package apiserver

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/watches"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// wireWatches is a stream of watches at the level of its messages.
type wireWatches struct {
	t    testing.TB
	conn *connect.BidiStreamForClient[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]

	opened  map[uint64]bool
	events  map[uint64][]*interrexv1.LeaseEvent
	refused map[uint64]*interrexv1.Error
	ended   map[uint64]*interrexv1.Error
	copies  int // encoded events, before they are handed out

	progress []*interrexv1.WatchProgress
}

func (nd *node) watches(options ...connect.ClientOption) *wireWatches {
	nd.t.Helper()
	ctx, cancel := context.WithTimeout(nd.t.Context(), time.Minute)
	s := &wireWatches{
		t: nd.t, conn: interrexv1.NewStreamServiceClient(nd.http, nd.url, options...).Watch(ctx),
		opened: map[uint64]bool{}, events: map[uint64][]*interrexv1.LeaseEvent{},
		refused: map[uint64]*interrexv1.Error{}, ended: map[uint64]*interrexv1.Error{},
	}
	nd.t.Cleanup(func() { _ = s.conn.CloseRequest(); cancel(); _ = s.conn.CloseResponse() })
	return s
}

func (s *wireWatches) say(m *interrexv1.StreamServiceWatchRequest) {
	s.t.Helper()
	if err := s.conn.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// open opens a watch and waits for the answer.
func (s *wireWatches) open(id uint64, credit uint32, r *interrexv1.WatchRequest) {
	s.t.Helper()
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{openOf(s.t, id, credit, r)}})
	s.until(func() bool { return s.opened[id] || s.refused[id] != nil })
}

func openOf(t testing.TB, id uint64, credit uint32, r *interrexv1.WatchRequest) *interrexv1.WatchOpen {
	t.Helper()
	body, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	method, err := wire.MethodOf(interrexv1.LeaseServiceWatchProcedure)
	if err != nil {
		t.Fatal(err)
	}
	return &interrexv1.WatchOpen{Id: id, Method: method.Number, Body: body, Credit: credit}
}

func (s *wireWatches) allow(id uint64, events uint32) {
	s.t.Helper()
	s.say(&interrexv1.StreamServiceWatchRequest{Credits: []*interrexv1.WatchCredit{{Id: id, Events: events}}})
}

// until receives until a condition holds.
func (s *wireWatches) until(holds func() bool) {
	s.t.Helper()
	for !holds() {
		if err := s.receive(); err != nil {
			s.t.Fatalf("the stream has ended: %v", err)
		}
	}
}

func (s *wireWatches) receive() error {
	s.t.Helper()
	m, err := s.conn.Receive()
	if err != nil {
		return err
	}
	for _, id := range m.GetOpened() {
		s.opened[id] = true
	}
	for _, e := range m.GetRefused() {
		s.refused[e.GetId()] = e.GetError()
	}
	for _, g := range m.GetEvents() {
		for _, b := range g.GetEvents() {
			s.copies++
			e := &interrexv1.LeaseEvent{}
			if err := proto.Unmarshal(b, e); err != nil {
				s.t.Fatal(err)
			}
			for _, id := range g.GetIds() {
				if !s.opened[id] || s.ended[id] != nil {
					s.t.Fatalf("watch %d, which is not open, gets %v", id, e)
				}
				s.events[id] = append(s.events[id], e)
			}
		}
	}
	if p := m.GetProgress(); p != nil {
		s.progress = append(s.progress, p)
	}
	for _, e := range m.GetEnded() {
		s.ended[e.GetId()] = e.GetError()
	}
	return nil
}

// seen returns what a watch has got, by kind and key.
func (s *wireWatches) seen(id uint64) (seen []string) {
	for _, e := range s.events[id] {
		seen = append(seen, e.GetKind()+" "+e.GetLease().GetKey())
	}
	return seen
}

// inOrder checks that a watch got one event at each of the revisions.
func (s *wireWatches) inOrder(id uint64, from, to int) {
	s.t.Helper()
	for i, e := range s.events[id] {
		if int(e.GetRevision()) != from+i {
			s.t.Fatalf("watch %d got revision %d where %d should be", id, e.GetRevision(), from+i)
		}
	}
	if n := len(s.events[id]); n != to-from+1 {
		s.t.Errorf("watch %d got %d events, want %d to %d", id, n, from, to)
	}
}

// publish publishes claims of jobs/REVISION, without the log.
func (nd *node) publish(from, to int) {
	nd.t.Helper()
	for i := from; i <= to; i++ {
		key := interrex.Key{Namespace: "jobs", Name: fmt.Sprint(i)}
		e := state.Event{Revision: interrex.Revision(i), Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: key.String(), Size: 100, Value: lease.Record{Key: key, Holder: "ann"}}
		nd.ring.Publish([]state.Event{e}, e.Revision)
	}
}

func TestWatchesShareAStream(t *testing.T) {
	for name, options := range map[string][]connect.ClientOption{"connect": nil, "gRPC": {connect.WithGRPC()}, "JSON": {connect.WithProtoJSON()}} {
		t.Run(name, func(t *testing.T) {
			nd := cluster(t, 1)[0]
			s := nd.watches(options...)
			for id := uint64(1); id <= 100; id++ {
				s.open(id, 100, &interrexv1.WatchRequest{Since: 1, Prefix: map[bool]string{true: "", false: "7"}[id <= 50]})
			}
			nd.publish(2, 9)
			s.until(func() bool { return len(s.events[1]) == 8 && len(s.events[100]) == 1 })
			for id := uint64(1); id <= 50; id++ {
				s.inOrder(id, 2, 9)
				s.inOrder(id+50, 7, 7)
			}
			if s.copies > 8 {
				t.Errorf("8 events were sent %d times", s.copies)
			}
		})
	}
}

func TestAWatchWithoutCreditStopsNobodyAndEndsAlone(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 3, &interrexv1.WatchRequest{Since: 1})
	s.open(2, watches.MaxWatchCredit, &interrexv1.WatchRequest{Since: 1})
	last := 1
	for range 80 { // a ring keeps 65 536 events
		nd.publish(last+1, last+1000)
		last += 1000
		s.until(func() bool { return len(s.events[2]) == last-1 })
		if last == 40_001 {
			s.allow(2, 40_000)
		}
	}
	s.inOrder(1, 2, 4)
	s.inOrder(2, 2, last)
	if s.ended[1] != nil {
		t.Fatalf("it has ended though nothing was asked of it: %v", s.ended[1])
	}
	s.allow(1, 1)
	s.until(func() bool { return s.ended[1] != nil })
	if e := s.ended[1]; e.GetKind() != "compacted" || e.GetFirstRevision() != uint64(nd.ring.Stats().First) {
		t.Errorf("it ended with %v", e)
	}
	nd.publish(last+1, last+1)
	s.until(func() bool { return len(s.events[2]) == last })
	s.inOrder(1, 2, 4)
}

func TestCreditIsWhatAWatchIsSent(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 0, &interrexv1.WatchRequest{Since: 1})
	s.open(2, 100, &interrexv1.WatchRequest{Since: 1})
	nd.publish(2, 21)
	s.until(func() bool { return len(s.events[2]) == 20 })
	s.inOrder(1, 2, 1)
	s.allow(1, 5)
	s.until(func() bool { return len(s.events[1]) == 5 })
	s.inOrder(1, 2, 6)
	s.allow(1, 100)
	s.until(func() bool { return len(s.events[1]) == 20 })
	s.inOrder(1, 2, 21)
	s.allow(1, watches.MaxWatchCredit)
	s.until(func() bool { return s.ended[1] != nil })
	if kind := s.ended[1].GetKind(); kind != "invalid" {
		t.Errorf("too much credit: %v", kind)
	}
	nd.publish(22, 22)
	s.until(func() bool { return len(s.events[2]) == 21 })
}

// The events of one revision belong together: a reader that resumes after it has
// received all.
func TestARevisionIsSentWholeWhateverTheCredit(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 1, &interrexv1.WatchRequest{Since: 1})
	s.open(2, 100, &interrexv1.WatchRequest{Since: 1})
	e := state.Event{Revision: 2, Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: "jobs/a"}
	nd.ring.Publish([]state.Event{e, e, e}, 2)
	nd.publish(3, 4)
	s.until(func() bool { return len(s.events[2]) == 5 })
	if n := len(s.events[1]); n != 3 {
		t.Errorf("it got %d of three", n)
	}
	s.allow(1, 2) // which it owes
	s.allow(1, 1)
	s.until(func() bool { return len(s.events[1]) == 4 })
	nd.publish(5, 5)
	s.until(func() bool { return len(s.events[2]) == 6 })
	if n := len(s.events[1]); n != 4 {
		t.Errorf("it got %d events, and may have four", n)
	}
}

func TestAWatchThatIsClosedEndsAndNoOther(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	for id := uint64(1); id <= 3; id++ {
		s.open(id, 100, &interrexv1.WatchRequest{Since: 1})
	}
	s.say(&interrexv1.StreamServiceWatchRequest{Closes: []uint64{2, 77}})
	nd.waitFor(func() bool { return nd.ring.Stats().Watchers == 2 })
	nd.publish(2, 5)
	s.until(func() bool { return len(s.events[1]) == 4 && len(s.events[3]) == 4 })
	if len(s.events[2]) != 0 || len(s.ended) != 0 {
		t.Errorf("the closed one got %v; ended: %v", s.events[2], s.ended)
	}
}

func TestOnlyTheAttemptToOpenIsRefused(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 100, &interrexv1.WatchRequest{Since: 1})
	twice := openOf(t, 1, 1, &interrexv1.WatchRequest{})
	noMethod, rich, noBody, long := openOf(t, 3, 1, nil), openOf(t, 4, watches.MaxWatchCredit+1, nil), openOf(t, 5, 1, nil), openOf(t, 6, 1, nil)
	noMethod.Method, noBody.Body, long.Body = 257, []byte{7}, make([]byte, watches.MaxWatchBody+1)
	fullBody := openOf(t, 8, 1, nil)
	fullBody.Body = make([]byte, watches.MaxWatchBody) // which is no request
	badName := openOf(t, 7, 1, &interrexv1.WatchRequest{Namespace: "NO"})
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{twice, noMethod, rich, noBody, long, badName, fullBody}})
	s.until(func() bool { return len(s.refused) == 7 })
	for id, want := range map[uint64]string{1: "invalid", 3: "disabled", 4: "invalid", 5: "invalid", 6: "too large", 7: "invalid", 8: "invalid"} {
		if got := s.refused[id].GetKind(); got != want {
			t.Errorf("%d is refused with %q, want %q", id, got, want)
		}
	}
	nd.publish(2, 3)
	s.until(func() bool { return len(s.events[1]) == 2 })
	if len(s.ended) > 0 {
		t.Errorf("ended: %v", s.ended)
	}
}

func TestAStreamTakesSoManyWatchesAndNoMore(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	for first := uint64(1); first <= watches.MaxWatches; first += 512 {
		var opens []*interrexv1.WatchOpen
		for id := first; id < first+512; id++ {
			opens = append(opens, openOf(t, id, 1, &interrexv1.WatchRequest{Since: 1}))
		}
		s.say(&interrexv1.StreamServiceWatchRequest{Opens: opens})
	}
	s.until(func() bool { return len(s.opened) == watches.MaxWatches })
	s.open(watches.MaxWatches+1, 1, &interrexv1.WatchRequest{Since: 1})
	if e := s.refused[watches.MaxWatches+1]; e.GetKind() != "overloaded" || e.GetRetryAfter() == nil {
		t.Errorf("one more: %v", e)
	}
	s.say(&interrexv1.StreamServiceWatchRequest{Closes: []uint64{5}})
	s.open(watches.MaxWatches+2, 1, &interrexv1.WatchRequest{Since: 1})
	if !s.opened[watches.MaxWatches+2] {
		t.Errorf("in the place of another: %v", s.refused[watches.MaxWatches+2])
	}
	nd.publish(2, 2)
	s.until(func() bool { return len(s.events[1]) == 1 && len(s.events[watches.MaxWatches+2]) == 1 })
	if s.copies != 1 {
		t.Errorf("the event was sent %d times", s.copies)
	}
}

func TestAMessageAboutWatchesSaysSoMuchAndNoMore(t *testing.T) {
	nd := cluster(t, 1)[0]
	opens, credits, closes := make([]*interrexv1.WatchOpen, wire.MaxOperations), make([]*interrexv1.WatchCredit, wire.MaxOperations), make([]uint64, wire.MaxOperations)
	for i := range wire.MaxOperations {
		opens[i], credits[i] = &interrexv1.WatchOpen{}, &interrexv1.WatchCredit{}
	}
	for name, m := range map[string]*interrexv1.StreamServiceWatchRequest{
		"opens": {Opens: opens, Credits: credits[:1]}, "credits": {Credits: credits, Closes: closes[:1]}, "closes": {Closes: closes, Opens: opens[:1]},
	} {
		s := nd.watches()
		s.say(&interrexv1.StreamServiceWatchRequest{Closes: closes})
		s.open(1, 1, &interrexv1.WatchRequest{Since: 1})
		s.say(m)
		// Once this answer arrives, the message before it has been handled.
		_ = s.conn.Send(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{openOf(t, 2, 1, &interrexv1.WatchRequest{Since: 1})}})
		var err error
		for err == nil && !s.opened[2] {
			err = s.receive()
		}
		if kind := interrex.KindOf(wire.FromError(err, false)); kind != interrex.ErrTooLarge {
			t.Errorf("too many %s: %v", name, err)
		}
	}
}

// A message may reopen a watch that it closes, and grant credit to one that it opens.
func TestAMessageClosesThenOpensThenAllows(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.publish(2, 3)
	s := nd.watches()
	s.open(1, 0, &interrexv1.WatchRequest{Since: 1})
	s.say(&interrexv1.StreamServiceWatchRequest{
		Closes: []uint64{1}, Opens: []*interrexv1.WatchOpen{openOf(t, 1, 0, &interrexv1.WatchRequest{Since: 2})},
		Credits: []*interrexv1.WatchCredit{{Id: 1, Events: 10}},
	})
	s.open(2, 10, &interrexv1.WatchRequest{Since: 2})
	s.until(func() bool { return len(s.events[2]) == 1 })
	s.inOrder(1, 3, 3)
	if len(s.refused)+len(s.ended) > 0 {
		t.Errorf("refused: %v, ended: %v", s.refused, s.ended)
	}
}

func TestAStreamOfWatchesSaysWhoServesItBeforeAnythingIsAsked(t *testing.T) {
	s := cluster(t, 1)[0].watches()
	if err := s.conn.Send(nil); err != nil {
		t.Fatal(err)
	}
	if got := s.conn.ResponseHeader().Get(wire.HeaderLeader); got != "a" {
		t.Errorf("the headers name %q", got)
	}
}

func TestAWatchFromNothingBesideOthers(t *testing.T) {
	nd := cluster(t, 1)[0]
	const leases = 700 // of more than two parts
	for i := range leases {
		nd.claimed(fmt.Sprintf("there/%04d", i), "ann")
	}
	s := nd.watches()
	s.open(1, 1000, &interrexv1.WatchRequest{Since: leases})
	s.open(2, 10, &interrexv1.WatchRequest{Namespace: "there"})
	s.until(func() bool { return len(s.events[2]) == 10 })
	nd.claimed("new/one", "bob") // amid what is present
	nd.curl("LeaseService/Revoke", `{"key":"there/0000","force":true}`)
	nd.curl("LeaseService/Revoke", `{"key":"there/0699","force":true}`)
	s.until(func() bool { return len(s.events[1]) == 3 })
	s.allow(2, 1000)
	s.until(func() bool { return len(s.events[2]) == leases+1 })
	seen := s.seen(2)
	for i, got := range seen[:leases-1] {
		if want := fmt.Sprintf("lease.present there/%04d", i); got != want {
			t.Fatalf("number %d is %s, want %s", i, got, want)
		}
	}
	if want := []string{"end_of_snapshot ", "lease.forced there/0000"}; !reflect.DeepEqual(seen[leases-1:], want) {
		t.Errorf("then %v, want %v", seen[leases-1:], want)
	}
	s.inOrder(1, leases+1, leases+3)
}

func TestManyBeginFromNothingAtOnce(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range 300 {
		nd.claimed(fmt.Sprintf("there/%04d", i), "ann")
	}
	s := nd.watches()
	var opens []*interrexv1.WatchOpen
	for id := uint64(1); id <= 20; id++ {
		opens = append(opens, openOf(t, id, 1000, &interrexv1.WatchRequest{}))
	}
	s.say(&interrexv1.StreamServiceWatchRequest{Opens: opens})
	s.until(func() bool { return len(s.events[1]) == 256 })
	if n := len(s.events[2]); n == 0 || n == 301 {
		t.Errorf("the second has %d events when the first has 256: they do not take turns", n)
	}
	for id := uint64(1); id <= 20; id++ {
		s.until(func() bool { return len(s.events[id]) == 301 })
	}
}

func TestADrainEndsAStreamOfWatches(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{Since: 1})
	nd.must(nd.server.Drain(t.Context()))
	if err := wire.FromError(s.receive(), false); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("it ends with %v", err)
	}
	late := nd.watches()
	_ = late.conn.Send(nil)
	if err := wire.FromError(late.receive(), false); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("a new one: %v", err)
	}
	if got := nd.ring.Stats().Watchers; got != 0 {
		t.Errorf("%d watchers are left", got)
	}
}

func TestAStreamOfWatchesEndsWithItsClient(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{Since: 1})
	if s.conn.ResponseHeader().Get(wire.HeaderLeader) != "a" {
		t.Errorf("headers: %v", s.conn.ResponseHeader())
	}
	nd.must(s.conn.CloseRequest())
	for {
		if err := s.receive(); err != nil {
			break
		}
	}
	nd.waitFor(func() bool { return nd.ring.Stats().Watchers == 0 })
}

func TestWatchesOfWhatIsOffAreRefused(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.Switches = method.NewSwitches(method.LeasesSetting) })[0]
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{})
	if kind := s.refused[1].GetKind(); kind != "disabled" {
		t.Errorf("it is refused with %q", kind)
	}
}

func TestTheClientsSlowReaderIsCompactedAlone(t *testing.T) {
	nd := cluster(t, 1)[0]
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{nd.url}})
	nd.must(err)
	defer c.Close()
	open := func() interrex.Watch[interrex.LeaseEvent] {
		w, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{Since: 1})
		nd.must(err)
		t.Cleanup(func() { _ = w.Close() })
		return w
	}
	slow, quick := open(), open()
	nd.waitFor(func() bool { return nd.ring.Stats().Watchers == 2 })
	next := 2
	for range 80 { // a ring keeps 65 536 events
		nd.publish(next, next+999)
		for last := next + 999; next <= last; next++ {
			if e, err := quick.Next(t.Context()); err != nil || int(e.Revision) != next {
				t.Fatalf("revision %d, %v, want %d", e.Revision, err, next)
			}
		}
	}
	for n := 2; ; n++ {
		e, err := slow.Next(t.Context())
		if err != nil {
			if n < 60 || !errors.Is(err, interrex.ErrCompacted) {
				t.Errorf("after %d events it ended with %v", n-2, err)
			}
			break
		}
		if int(e.Revision) != n {
			t.Fatalf("revision %d, want %d", e.Revision, n)
		}
	}
	nd.publish(next, next)
	if e, err := quick.Next(t.Context()); err != nil || int(e.Revision) != next {
		t.Errorf("the quick one: %v, %v", e.Revision, err)
	}
}

// Watches of one client share an event's bytes, and nothing that a reader could
// write to.
func TestNobodyReadsWhatAnotherReaderHasChanged(t *testing.T) {
	nd := cluster(t, 1)[0]
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{nd.url}})
	nd.must(err)
	defer c.Close()
	var watches []interrex.Watch[interrex.LeaseEvent]
	for range 2 {
		w, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{Since: 1})
		nd.must(err)
		defer w.Close()
		watches = append(watches, w)
	}
	nd.waitFor(func() bool { return nd.ring.Stats().Watchers == 2 })
	nd.claimed("jobs/first", "ann")
	a, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "jobs", Name: "one"}, Metadata: map[string]string{"of": "ann"}})
	nd.must(err)
	_, err = c.Leases().Pin(t.Context(), interrex.PinRequest{Key: a.Lease.Key, Owner: "op"})
	nd.must(err)
	for _, w := range watches {
		for _, pins := range []int{0, 1} {
			e, err := w.Next(t.Context())
			nd.must(err)
			if e.Lease.Metadata["of"] != "ann" || len(e.Lease.Pins) != pins || *e.Lease.Waiting != 0 {
				t.Fatalf("%s: %+v, %d wait", e.Kind, e.Lease, *e.Lease.Waiting)
			}
			e.Lease.Metadata["of"], *e.Lease.Waiting = "a reader", 7
			for i := range e.Lease.Pins {
				e.Lease.Pins[i].Owner = "a reader"
			}
		}
	}
}
