package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

type wireWatch struct {
	t    testing.TB
	s    *connect.ServerStreamForClient[interrexv1.WatchResponse]
	left *[]*interrexv1.LeaseEvent // of the last message
}

func (nd *node) watch(m *interrexv1.WatchRequest) wireWatch {
	nd.t.Helper()
	ctx, cancel := context.WithTimeout(nd.t.Context(), time.Minute)
	s, err := interrexv1.NewLeaseServiceClient(nd.http, nd.url).Watch(ctx, connect.NewRequest(m))
	nd.must(err)
	nd.t.Cleanup(func() { cancel(); _ = s.Close() })
	return wireWatch{nd.t, s, new([]*interrexv1.LeaseEvent)}
}

func (w wireWatch) next() *interrexv1.LeaseEvent {
	w.t.Helper()
	if len(*w.left) == 0 {
		if !w.s.Receive() {
			w.t.Fatalf("the watch has ended: %v", w.s.Err())
		}
		*w.left = w.s.Msg().GetEvents()
	}
	e := (*w.left)[0]
	*w.left = (*w.left)[1:]
	return e
}

func (w wireWatch) expect(kind, key string) *interrexv1.LeaseEvent {
	w.t.Helper()
	e := w.next()
	if e.GetKind() != kind || e.GetLease().GetKey() != key {
		w.t.Fatalf("%s of %q, want %s of %q", e.GetKind(), e.GetLease().GetKey(), kind, key)
	}
	return e
}

func TestWatchBeginsWithWhatIsThere(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/one", "ann")
	nd.claimed("other/one", "ann")
	w := nd.watch(&interrexv1.WatchRequest{Namespace: "jobs"})
	w.expect("lease.present", "jobs/one")
	if e := w.expect("end_of_snapshot", ""); e.GetRevision() != 2 {
		t.Errorf("the snapshot is of revision %d", e.GetRevision())
	}
	nd.claimed("jobs/two", "bob")
	nd.claimed("other/two", "bob")
	if e := w.expect("lease.claimed", "jobs/two"); e.GetLease().GetHolder() != "bob" || e.GetRevision() != 3 {
		t.Errorf("%v", e)
	}
	nd.curl("LeaseService/Revoke", `{"key":"jobs/one","force":true}`)
	w.expect("lease.forced", "jobs/one")
}

func TestWatchResumesByRevision(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range 10 {
		nd.claimed(fmt.Sprintf("jobs/%d", i), "ann")
	}
	w := nd.watch(&interrexv1.WatchRequest{Since: 4, Prefix: "8"})
	if e := w.expect("lease.claimed", "jobs/8"); e.GetRevision() != 9 {
		t.Errorf("%v", e)
	}
	w = nd.watch(&interrexv1.WatchRequest{Since: 4})
	for i := 4; i < 10; i++ {
		w.expect("lease.claimed", fmt.Sprintf("jobs/%d", i))
	}
}

func TestWatchSaysWhenHistoryIsGone(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/one", "ann")
	w := nd.watch(&interrexv1.WatchRequest{Since: 1})
	nd.ring.Reset(100)
	if w.s.Receive() {
		t.Fatalf("%v", w.s.Msg())
	}
	if err := wire.FromError(w.s.Err(), false); interrex.KindOf(err) != interrex.KindWatchClosed {
		t.Errorf("%v", err)
	}
	w = nd.watch(&interrexv1.WatchRequest{Since: 50})
	if w.s.Receive() {
		t.Fatalf("%v", w.s.Msg())
	}
	err := wire.FromError(w.s.Err(), false)
	if interrex.KindOf(err) != interrex.KindCompacted || err.(*interrex.Error).FirstRevision != 100 {
		t.Errorf("%v", err)
	}
}

// leaseWatch is LeaseService.Watch as the node serves it.
func (nd *node) leaseWatch() *WatchMethod {
	return nd.server.watches[openOf(nd.t, 0, 0, &interrexv1.WatchRequest{}).Method]
}

// asks is what a request for lease events asks for.
func (nd *node) asks(r *interrexv1.WatchRequest) feed {
	nd.t.Helper()
	f, err := nd.leaseWatch().ask(nd.server, caller{}, openOf(nd.t, 0, 0, r).Body)
	nd.must(err)
	return f
}

func TestAnIdleWatchSleeps(t *testing.T) {
	nd := cluster(t, 1)[0]
	a := newAudience(nd.server, caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{})
	nd.must(a.add(&watched{feed: f, method: nd.leaseWatch(), credit: 10}))
	var out message
	a.gather(&out)
	if alarm, idle := a.gather(&out); !idle || alarm == nil || out.events != 1 {
		t.Errorf("after %v it is idle: %v, with an alarm: %v", out.Events, idle, alarm != nil)
	}
}

// fromNothing is a watch that begins with what is present.
func fromNothing(t *testing.T, nd *node, credit int) *watched {
	t.Helper()
	a := newAudience(nd.server, caller{})
	t.Cleanup(a.close)
	f := nd.asks(&interrexv1.WatchRequest{})
	w := &watched{feed: f, method: nd.leaseWatch(), credit: credit}
	nd.must(a.add(w))
	return w
}

func TestWhatIsPresentTakesCreditAndSoDoesItsEnd(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range 3 {
		nd.claimed(fmt.Sprintf("jobs/%d", i), "ann")
	}
	for _, c := range []struct{ credit, first, left int }{{9, 4, 5}, {4, 4, 0}, {3, 3, 0}, {2, 2, 0}} {
		w := fromNothing(t, nd, c.credit)
		events, err := w.next(room{events: maxPresent, bytes: MaxWatchBytes})
		if err != nil || len(events) != c.first || w.credit != c.left {
			t.Errorf("with credit for %d: %d events, %d left, %v", c.credit, len(events), w.credit, err)
		}
	}
	w := fromNothing(t, nd, 9)
	for _, want := range []int{2, 2} { // two leases, then one and the end
		if events, err := w.next(room{events: 2, bytes: MaxWatchBytes}); err != nil || len(events) != want {
			t.Errorf("a part of two has %d, %v", len(events), err)
		}
	}
	if w.showing != nil || w.credit != 5 || len(w.pages) != 1 || w.pages[0].last != "" {
		t.Errorf("in the end: credit %d, pages %v", w.credit, w.pages)
	}
}

func TestWatchRefusesAMalformedNamespace(t *testing.T) {
	nd := cluster(t, 1)[0]
	w := nd.watch(&interrexv1.WatchRequest{Namespace: "NO"})
	if w.s.Receive() || interrex.KindOf(wire.FromError(w.s.Err(), false)) != interrex.KindInvalid {
		t.Errorf("%v", w.s.Err())
	}
}

// A snapshot whose pages are read at different revisions shows no event twice,
// and hides none.
func TestPagesOfASnapshotAbsorbTheirEvents(t *testing.T) {
	f := &watched{feed: feed{compare: compareKeys}, pages: []page{{last: "jobs/m", revision: 10}, {revision: 20}}}
	for _, test := range []struct {
		key      string
		revision interrex.Revision
		known    bool
	}{
		{"jobs/a", 10, true}, {"jobs/a", 11, false}, {"jobs/m", 10, true}, {"jobs/m", 11, false},
		{"jobs/n", 11, true}, {"jobs/n", 20, true}, {"jobs/n", 21, false}, {"jobs/a", 9, false},
	} {
		e := &state.Event{Revision: test.revision, Key: test.key, Value: lease.Record{}}
		if got := f.known(e); got != test.known {
			t.Errorf("%s at %d: known is %v", test.key, test.revision, got)
		}
	}
	if f.pages != nil {
		t.Error("the pages are kept beyond their use")
	}
}

func TestAMessageOfAWatchIsFilledAndBounded(t *testing.T) {
	nd := cluster(t, 1)[0]
	large := map[string]string{"m": strings.Repeat("x", 4000)}
	const leases = 200
	for i := range leases {
		_, err := nd.call(t.Context(), op(0, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: fmt.Sprintf("large/%03d", i), Holder: "ann", Metadata: large}))
		nd.must(err)
	}
	for since, want := range map[uint64]int{0: leases + 1, 1: leases - 1} {
		w := nd.watch(&interrexv1.WatchRequest{Since: since})
		messages := 0
		for got := 0; got < want; messages++ {
			if !w.s.Receive() {
				t.Fatal(w.s.Err())
			}
			got += len(w.s.Msg().GetEvents())
			if size := proto.Size(w.s.Msg()); size > MaxWatchBytes+8192 {
				t.Errorf("a message has %d bytes", size)
			}
		}
		if messages > 10 { // all in all, they have 800 KB
			t.Errorf("since %d: %d events came in %d messages", since, want, messages)
		}
	}
	nd.publish(leases+1, leases+3000)
	w := nd.watch(&interrexv1.WatchRequest{Since: leases})
	for got := 0; got < 3000; {
		if !w.s.Receive() {
			t.Fatal(w.s.Err())
		}
		n := len(w.s.Msg().GetEvents())
		if got += n; n > MaxWatchEvents+1 {
			t.Errorf("%d events in a message", n)
		}
	}
}

func TestWhoHasGoneIsShownNothing(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/one", "ann")
	a := newAudience(nd.server, caller{})
	f := nd.asks(&interrexv1.WatchRequest{})
	nd.must(a.add(&watched{feed: f, method: nd.leaseWatch(), id: 1, credit: 10}))
	a.forget(1)
	var out message
	if a.gather(&out); !out.empty() {
		t.Errorf("it gets %v", out.Events)
	}
}

func TestWhatIsPresentTakesHalfAMessage(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range maxPresent {
		nd.claimed(fmt.Sprintf("jobs/%03d", i), "ann")
	}
	a := newAudience(nd.server, caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{})
	for id := range uint64(4) {
		nd.must(a.add(&watched{feed: f, method: nd.leaseWatch(), id: id + 1, credit: 1000}))
	}
	var out message
	if a.gather(&out); out.events != MaxWatchEvents/2 {
		t.Errorf("it takes %d events", out.events)
	}
}

func TestARevisionLargerThanAPartIsSentWhole(t *testing.T) {
	nd := cluster(t, 1)[0]
	a := newAudience(nd.server, caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{Since: 1})
	nd.must(a.add(&watched{feed: f, method: nd.leaseWatch(), id: 1, credit: 1000}))
	events := make([]state.Event, maxRead+40)
	for i := range events {
		events[i] = state.Event{Revision: 2, Table: state.LeaseTable, Kind: interrex.LeaseClaimed, Key: "jobs/a"}
	}
	nd.ring.Publish(events, 2)
	var out message
	for idle := false; !idle; {
		_, idle = a.gather(&out)
	}
	if out.events != len(events) {
		t.Errorf("it got %d events of %d", out.events, len(events))
	}
}
