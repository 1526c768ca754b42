package counters_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/examples/counters"
	"github.com/interrex/interrex/examples/counters/gen/countersv1"
	"github.com/interrex/interrex/interrextest"
)

// next returns the next event of a watch, abbreviated.
func next(t *testing.T, w *client.Watch[counters.Event]) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), interrextest.Patience)
	defer cancel()
	e, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s %d", e.Kind, e.Counter.Key.Name, e.Counter.Value)
}

// watch starts a watch that ends with the test.
func watch(t *testing.T, by client.Caller, prefix string, since interrex.Revision) *client.Watch[counters.Event] {
	t.Helper()
	w, err := counters.Client{By: by}.Watch(t.Context(), prefix, since)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// setTo sets a counter, and returns the revision.
func setTo(t *testing.T, by client.Caller, k interrex.Key, value uint64) interrex.Revision {
	t.Helper()
	a, err := counters.Client{By: by}.Set(t.Context(), counters.Set{Key: k, Value: value}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a.Revision
}

func TestAWatchResumesWhenItsAgentRestarts(t *testing.T) {
	c := cluster(t)
	i := follower(c)
	writer := c.Client(c.Leader())
	other := interrex.Key{Namespace: "other", Name: "x"}
	setTo(t, writer, visits, 1)
	setTo(t, writer, other, 1)
	counted(t, c, visits, 1) // on the follower too
	w := watch(t, c.Client(i), "web/", 0)
	for _, want := range []string{"counter.present visits 1", "end_of_snapshot  0"} {
		if got := next(t, w); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	setTo(t, writer, visits, 2)
	if got := next(t, w); got != "counter.set visits 2" {
		t.Error(got)
	}
	c.Stop(i)
	for value := uint64(3); value <= 5; value++ {
		setTo(t, writer, visits, value)
	}
	eventually(t, "the watch says that its only agent does not run", func() bool {
		since, why := w.Disconnected()
		return !since.IsZero() && why != nil
	})
	c.Start(i)
	for value := 3; value <= 5; value++ {
		if got, want := next(t, w), fmt.Sprintf("counter.set visits %d", value); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAWatchIsServedOnACallOfItsOwn(t *testing.T) {
	a := cluster(t).Agent(0)
	since := setTo(t, a, visits, 1)
	setTo(t, a, visits, 2)
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for name, o := range map[string][]connect.ClientOption{"binary": nil, "JSON": {connect.WithProtoJSON()}} {
		s, err := countersv1.NewCounterServiceClient(hc, "http://"+a.Addrs()["api"], o...).
			Watch(t.Context(), connect.NewRequest(&countersv1.WatchRequest{Since: uint64(since)}))
		if err != nil {
			t.Fatal(err)
		}
		if !s.Receive() || len(s.Msg().GetEvents()) != 1 || s.Msg().GetEvents()[0].GetCounter().GetValue() != 2 {
			t.Errorf("%s: %v, %v", name, s.Msg(), s.Err())
		}
		_ = s.Close()
	}
}

// One client's watches of two tables share a stream.
func TestWatchesOfTwoTablesGoSideBySide(t *testing.T) {
	c := cluster(t)
	by := c.Client(follower(c))
	leases, err := by.Leases().Watch(t.Context(), interrex.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer leases.Close()
	if e, err := leases.Next(t.Context()); err != nil || e.Kind != interrex.EndOfSnapshot {
		t.Fatal(e, err)
	}
	w := watch(t, by, "", 0)
	if got := next(t, w); got != "end_of_snapshot  0" {
		t.Fatal(got)
	}
	key := interrex.Key{Namespace: "web", Name: "leader"}
	if _, err := by.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key}); err != nil {
		t.Fatal(err)
	}
	setTo(t, by, visits, 7)
	if e, err := leases.Next(t.Context()); err != nil || e.Kind != interrex.LeaseClaimed {
		t.Error(e, err)
	}
	if got := next(t, w); got != "counter.set visits 7" {
		t.Error(got)
	}
}

func TestTheFeedOfChangesHasTheCountersByKind(t *testing.T) {
	c := cluster(t)
	by := c.Client(c.Leader())
	at := setTo(t, by, visits, 7)
	p, err := by.Changes().List(t.Context(), interrex.ListChangesRequest{ChangeFilter: interrex.ChangeFilter{Kinds: []string{counters.CounterSet}}, MinRevision: at})
	if err != nil || len(p.Items) != 1 || p.Items[0].Revision != at {
		t.Errorf("%+v, %v", p, err)
	}
	for _, kind := range []string{"lease.clamed", "user.x", "webhook"} {
		if _, err := by.Changes().List(t.Context(), interrex.ListChangesRequest{ChangeFilter: interrex.ChangeFilter{Kinds: []string{kind}}}); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
