package client_test

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// silence makes an agent send nothing until it stops.
func silence(a *agent) {
	a.set(func(a *agent) {
		a.watch = func(_ *interrexv1.WatchRequest, _ func(string, uint64) error) error {
			<-a.gone
			return interrex.Errorf(interrex.ErrUnavailable, "gone")
		}
	})
}

// connected reports whether an agent serves the watch.
func connected(w interrex.Watch[interrex.LeaseEvent]) bool {
	since, why := w.Disconnected()
	return since.IsZero() && why == nil
}

func TestAWatchSaysThatNoAgentServesIt(t *testing.T) {
	a := startAgent(t)
	silence(a)
	before := time.Now()
	w := watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{Since: 4})
	eventually(t, "it is served", func() bool { return connected(w) })
	a.stop()
	eventually(t, "it says why it is not", func() bool {
		_, why := w.Disconnected()
		return errors.Is(why, syscall.ECONNREFUSED)
	})
	since, why := w.Disconnected()
	if since.Before(before) || since.After(time.Now()) {
		t.Errorf("since %v", since)
	}
	if !errors.Is(why, interrex.ErrUnavailable) || !strings.Contains(why.Error(), a.URL) || strings.Count(why.Error(), "unavailable") != 1 {
		t.Errorf("why: %v", why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Next(ctx); !errors.Is(err, interrex.ErrTimeout) || !strings.Contains(err.Error(), why.Error()) {
		t.Errorf("Next: %v", err)
	}
}

func TestAWatchNamesEachAgentThatDoesNotServeIt(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	a.stop()
	b.stop()
	w := watch(t, dial(t, client.Config{}, a, b), interrex.WatchRequest{})
	eventually(t, "it has asked both", func() bool {
		_, why := w.Disconnected()
		return strings.Contains(why.Error(), a.URL) && strings.Contains(why.Error(), b.URL)
	})
}

func TestAWatchThatWasNotAnsweredYetSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	url := "http://" + l.Addr().String()
	w := watch(t, dial(t, client.Config{Addresses: []string{url}}), interrex.WatchRequest{})
	if since, why := w.Disconnected(); since.IsZero() || why == nil || !strings.Contains(why.Error(), url+": it has not responded yet") {
		t.Errorf("since %v: %v", since, why)
	}
}

func TestAWatchEndsWhenEveryAgentIsOfAnotherCluster(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	a.set(func(a *agent) { a.epoch = "0-aaaa" })
	b.set(func(b *agent) { b.epoch = "0-aaaa" })
	// A replaced agent is skipped; when both are replaced, the watch ends.
	replaced := func(a *agent, revision uint64) func(*interrexv1.WatchRequest, func(string, uint64) error) error {
		return func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
			a.set(func(a *agent) { a.epoch = "0-bbbb" })
			return errors.Join(send(interrex.LeaseClaimed, revision), interrex.Errorf(interrex.ErrUnavailable, "gone"))
		}
	}
	play(a, script{
		events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrUnavailable, "gone"), 5),
		replaced(a, 7),
	})
	play(b, script{replaced(b, 6)})
	w := watch(t, dial(t, client.Config{}, a, b), interrex.WatchRequest{Since: 4})
	for want := interrex.Revision(5); want <= 7; want++ {
		if e, err := w.Next(t.Context()); err != nil || e.Revision != want {
			t.Fatalf("revision %d, %v, want %d", e.Revision, err, want)
		}
	}
	_, err := w.Next(t.Context())
	if !errors.Is(err, interrex.ErrOtherCluster) || !strings.Contains(err.Error(), "new client") {
		t.Errorf("it ended with %v", err)
	}
	if !strings.Contains(err.Error(), a.URL) && !strings.Contains(err.Error(), b.URL) {
		t.Errorf("it names neither agent: %v", err)
	}
}

func TestAWatchResumesFromWhereItHasSeenEverything(t *testing.T) {
	a := startAgent(t)
	since := play(a, script{
		func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
			return errors.Join(send("progress", 500), send("progress", 300), send("progress of others", 900), interrex.Errorf(interrex.ErrUnavailable, "gone"))
		},
		func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
			return errors.Join(send(interrex.LeaseClaimed, 600), interrex.Errorf(interrex.ErrUnavailable, "gone"))
		},
		events("", interrex.Errorf(interrex.ErrCompacted, "too late")),
	})
	seen, _ := follow(t, watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{Since: 4}))
	if want := []uint64{4, 500, 600}; !reflect.DeepEqual(since(), want) {
		t.Errorf("it began after %v", since())
	}
	if want := []string{"lease.claimed 600"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("saw %v", seen)
	}
}

func TestAWatchAsksForItsKey(t *testing.T) {
	a := startAgent(t)
	asked := make(chan *interrexv1.WatchRequest, 1)
	play(a, script{func(r *interrexv1.WatchRequest, _ func(string, uint64) error) error {
		asked <- r
		return interrex.Errorf(interrex.ErrCompacted, "done")
	}})
	c := dial(t, client.Config{}, a)
	_, _ = follow(t, watch(t, c, interrex.WatchRequest{Key: key}))
	if r := <-asked; r.GetKey() != key.String() {
		t.Errorf("it asked for %v", r)
	}
	if _, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{Key: key, Prefix: "x"}); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a key with a prefix: %v", err)
	}
}

func TestAWatchContinuesAtAnotherAgentWhenItsFeatureIsSwitchedOff(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	off := interrex.Errorf(interrex.ErrDisabled, "leases are off")
	play(a, script{events(interrex.LeaseClaimed, off, 5), events(interrex.LeaseClaimed, off, 7)})
	rest := func(*interrexv1.WatchRequest, func(string, uint64) error) error {
		<-t.Context().Done()
		return off
	}
	play(b, script{events(interrex.LeaseClaimed, off, 6), rest})
	w := watch(t, dial(t, client.Config{}, a, b), interrex.WatchRequest{Since: 4})
	for want := interrex.Revision(5); want <= 7; want++ {
		if e, err := w.Next(t.Context()); err != nil || e.Revision != want {
			t.Fatalf("revision %d, %v, want %d", e.Revision, err, want)
		}
	}
}

func TestAWatchEndsWhenNoAgentHasItsFeature(t *testing.T) {
	a := startAgent(t)
	play(a, script{events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrDisabled, "leases are off"), 5)})
	w := watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{Since: 4})
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, interrex.ErrDisabled) {
		t.Errorf("it ended with %v", err)
	}
}
