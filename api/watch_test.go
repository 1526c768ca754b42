package api

import (
	"context"
	"fmt"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

type wireWatch struct {
	t testing.TB
	s *connect.ServerStreamForClient[interrexv1.WatchResponse]
}

func (nd *node) watch(m *interrexv1.WatchRequest) wireWatch {
	nd.t.Helper()
	ctx, cancel := context.WithCancel(nd.t.Context())
	s, err := interrexv1.NewLeaseServiceClient(nd.http, nd.url).Watch(ctx, connect.NewRequest(m))
	nd.must(err)
	nd.t.Cleanup(func() { cancel(); _ = s.Close() })
	return wireWatch{nd.t, s}
}

func (w wireWatch) next() *interrexv1.LeaseEvent {
	w.t.Helper()
	if !w.s.Receive() {
		w.t.Fatalf("the watch has ended: %v", w.s.Err())
	}
	return w.s.Msg().GetEvent()
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
	f := &feed{pages: []page{{last: "jobs/m", revision: 10}, {revision: 20}}}
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
