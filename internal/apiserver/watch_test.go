package apiserver

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
	"github.com/interrex/interrex/internal/watches"
	"github.com/interrex/interrex/internal/wire"
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
	nd.ring.Reset(100, 0)
	if w.s.Receive() {
		t.Fatalf("%v", w.s.Msg())
	}
	if err := wire.FromError(w.s.Err(), false); interrex.KindOf(err) != interrex.ErrWatchClosed {
		t.Errorf("%v", err)
	}
	w = nd.watch(&interrexv1.WatchRequest{Since: 50})
	if w.s.Receive() {
		t.Fatalf("%v", w.s.Msg())
	}
	err := wire.FromError(w.s.Err(), false)
	if interrex.KindOf(err) != interrex.ErrCompacted || err.(*interrex.Error).FirstRevision != 100 {
		t.Errorf("%v", err)
	}
}

func TestWatchRefusesAMalformedNamespace(t *testing.T) {
	nd := cluster(t, 1)[0]
	w := nd.watch(&interrexv1.WatchRequest{Namespace: "NO"})
	if w.s.Receive() || interrex.KindOf(wire.FromError(w.s.Err(), false)) != interrex.ErrInvalid {
		t.Errorf("%v", w.s.Err())
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
			if size := proto.Size(w.s.Msg()); size > watches.MaxWatchBytes+8192 {
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
		if got += n; n > watches.MaxWatchEvents+1 {
			t.Errorf("%d events in a message", n)
		}
	}
}
