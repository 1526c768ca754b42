package client_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// script determines what an agent's watches do, one after the other: the events they
// send, and how they end.
type script []func(r *interrexv1.WatchRequest, send func(kind string, revision uint64) error) error

// play makes an agent's watches follow a script, and records where each began.
func play(a *agent, s script) (since func() []uint64) {
	var began []uint64
	a.set(func(a *agent) {
		a.watch = func(r *interrexv1.WatchRequest, send func(string, uint64) error) error {
			a.mu.Lock()
			began = append(began, r.Since)
			n := len(began) - 1
			a.mu.Unlock()
			return s[n](r, send)
		}
	})
	return func() []uint64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return append([]uint64(nil), began...)
	}
}

// events sends events of a kind with the revisions, and then fails.
func events(kind string, err error, revisions ...uint64) func(*interrexv1.WatchRequest, func(string, uint64) error) error {
	return func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
		for _, r := range revisions {
			if err := send(kind, r); err != nil {
				return err
			}
		}
		return err
	}
}

// follow reads a watch to its end.
func follow(t *testing.T, w interrex.Watch[interrex.LeaseEvent]) (seen []string, err error) {
	t.Helper()
	for {
		e, err := w.Next(t.Context())
		if err != nil {
			return seen, err
		}
		seen = append(seen, fmt.Sprintf("%s %d", e.Kind, e.Revision))
	}
}

func watch(t *testing.T, c *client.Client, r interrex.WatchRequest) interrex.Watch[interrex.LeaseEvent] {
	t.Helper()
	w, err := c.Leases().Watch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func TestAWatchResumesAfterItsLastEvent(t *testing.T) {
	a := startAgent(t)
	since := play(a, script{
		events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrDraining, "bye"), 5, 6),
		events("", nil), // ends with nothing said
		events(interrex.LeaseReleased, interrex.Errorf(interrex.ErrUnavailable, "gone"), 7),
		events("", interrex.Errorf(interrex.ErrCompacted, "too late")),
	})
	seen, err := follow(t, watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{Since: 4}))
	if want := []string{"lease.claimed 5", "lease.claimed 6", "lease.released 7"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("saw %v", seen)
	}
	if want := []uint64{4, 6, 6, 7}; !reflect.DeepEqual(since(), want) {
		t.Errorf("it began after %v", since())
	}
	if !errors.Is(err, interrex.ErrCompacted) {
		t.Errorf("it ended with %v", err)
	}
}

func TestAWatchGoesOnAtAnotherAgent(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	play(a, script{events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrUnavailable, "gone"), 5)})
	since := play(b, script{events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrWatchClosed, "restored"), 6)})
	seen, err := follow(t, watch(t, dial(t, client.Config{}, a, b), interrex.WatchRequest{Since: 4}))
	if len(seen) != 2 || !reflect.DeepEqual(since(), []uint64{5}) || !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("saw %v, went on after %v, ended with %v", seen, since(), err)
	}
}

func TestAWatchThatBreaksAmidThePresentLeasesIsClosed(t *testing.T) {
	a := startAgent(t)
	play(a, script{events(interrex.LeasePresent, interrex.Errorf(interrex.ErrUnavailable, "gone"), 3, 2)})
	seen, err := follow(t, watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{}))
	if len(seen) != 2 || !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("saw %v, ended with %v", seen, err)
	}
}

func TestAWatchResumesAfterTheEndOfItsSnapshot(t *testing.T) {
	a := startAgent(t)
	since := play(a, script{
		func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
			return errors.Join(send(interrex.LeasePresent, 3), send(interrex.EndOfSnapshot, 9), interrex.Errorf(interrex.ErrUnavailable, "gone"))
		},
		events("", interrex.Errorf(interrex.ErrCompacted, "too late")),
	})
	_, _ = follow(t, watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{}))
	if want := []uint64{0, 9}; !reflect.DeepEqual(since(), want) {
		t.Errorf("it began after %v", since())
	}
}

func TestAWatchEndsWithItsContextItsCloseAndItsClient(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.watch = func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
			for n := uint64(1); ; n++ { // more than any buffer holds
				if err := send(interrex.LeaseClaimed, n); err != nil {
					return err
				}
			}
		}
	})
	c := dial(t, client.Config{}, a)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := c.Leases().Watch(ctx, interrex.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := follow(t, first); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("after its context: %v", err)
	}
	second := watch(t, c, interrex.WatchRequest{})
	if _, err := second.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
	if _, err := second.Next(t.Context()); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("after its Close: %v", err)
	}
	third := watch(t, c, interrex.WatchRequest{})
	_ = c.Close()
	if _, err := follow(t, third); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("after its client's Close: %v", err)
	}
	if _, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{}); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("on a closed client: %v", err)
	}
}

func TestNextMayBeAskedAgainAfterItsTimeWasOver(t *testing.T) {
	a := startAgent(t)
	release := make(chan struct{})
	play(a, script{func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
		<-release
		return errors.Join(send(interrex.LeaseClaimed, 5), interrex.Errorf(interrex.ErrCompacted, "done"))
	}})
	w := watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{Since: 4})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Next(ctx); !errors.Is(err, interrex.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	close(release)
	if e, err := w.Next(t.Context()); err != nil || e.Revision != 5 {
		t.Errorf("got %v, %v", e, err)
	}
}

func TestAWatchOfABadNamespaceIsInvalid(t *testing.T) {
	c := dial(t, client.Config{}, startAgent(t))
	if _, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{Namespace: "Bad"}); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// endless sends claims as long as it has credit.
func endless(r *interrexv1.WatchRequest, send func(string, uint64) error) error {
	for n := r.Since + 1; ; n++ {
		if err := send(interrex.LeaseClaimed, n); err != nil {
			return err
		}
	}
}

func TestWatchesShareOneStreamWhichEndsWithTheLast(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.watch = endless })
	c := dial(t, client.Config{}, a)
	var all []interrex.Watch[interrex.LeaseEvent]
	for i := range 50 {
		w := watch(t, c, interrex.WatchRequest{Since: interrex.Revision(100 * i)})
		all = append(all, w)
	}
	for i, w := range all {
		for n := 1; n <= 200; n++ {
			if e, err := w.Next(t.Context()); err != nil || int(e.Revision) != 100*i+n {
				t.Fatalf("watch %d: revision %d, %v", i, e.Revision, err)
			}
		}
	}
	if n := a.watching(); n.streams != 1 || n.begun != 1 {
		t.Errorf("%d streams are open, %d were", n.streams, n.begun)
	}
	for _, w := range all {
		_ = w.Close()
	}
	eventually(t, "the stream ends", func() bool { return a.watching().streams == 0 })
	if _, err := watch(t, c, interrex.WatchRequest{}).Next(t.Context()); err != nil {
		t.Errorf("a watch after that: %v", err)
	}
}

func TestAReaderThatDoesNotReadHoldsUpNobody(t *testing.T) {
	a := startAgent(t)
	sent := map[uint64]uint64{} // by since
	a.set(func(a *agent) {
		a.watch = func(r *interrexv1.WatchRequest, send func(string, uint64) error) error {
			return endless(r, func(kind string, revision uint64) error {
				err := send(kind, revision)
				if err == nil {
					a.mu.Lock()
					sent[r.Since]++
					a.mu.Unlock()
				}
				return err
			})
		}
	})
	c := dial(t, client.Config{}, a)
	slow, quick := watch(t, c, interrex.WatchRequest{Since: 1}), watch(t, c, interrex.WatchRequest{Since: 2})
	for n := 3; n < 5000; n++ {
		if e, err := quick.Next(t.Context()); err != nil || int(e.Revision) != n {
			t.Fatalf("revision %d, %v, want %d", e.Revision, err, n)
		}
	}
	a.set(func(*agent) {
		if sent[1] != 64 {
			t.Errorf("%d events were sent to a reader that reads none, want 64", sent[1])
		}
	})
	for n := 2; n < 500; n++ {
		if e, err := slow.Next(t.Context()); err != nil || int(e.Revision) != n {
			t.Fatalf("the slow one: revision %d, %v, want %d", e.Revision, err, n)
		}
	}
}

// Events that are queued when a connection breaks count against the credit of the
// next one.
func TestTheBufferIsBoundedAcrossConnections(t *testing.T) {
	a := startAgent(t)
	const each = 40
	since := play(a, script{
		func(r *interrexv1.WatchRequest, send func(string, uint64) error) error {
			for n := range uint64(each) {
				if err := send(interrex.LeaseClaimed, r.Since+n+1); err != nil {
					return err
				}
			}
			return interrex.Errorf(interrex.ErrUnavailable, "gone")
		},
		endless,
	})
	w := watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{Since: 10})
	eventually(t, "it resumes", func() bool { return len(since()) == 2 })
	eventually(t, "it asks", func() bool { return len(a.opens()) == 2 })
	if o := a.opens(); o[0].Credit != 64 || o[1].Credit != 64-each || since()[1] != 10+each {
		t.Errorf("it asked for %v, after %v", o, since())
	}
	for n := 11; n < 1000; n++ {
		if e, err := w.Next(t.Context()); err != nil || int(e.Revision) != n {
			t.Fatalf("revision %d, %v, want %d", e.Revision, err, n)
		}
	}
}

func TestMoreWatchesThanAStreamTakesHaveAnother(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.watch = endless })
	c := dial(t, client.Config{}, a)
	var all []interrex.Watch[interrex.LeaseEvent]
	for range 4097 {
		all = append(all, watch(t, c, interrex.WatchRequest{}))
	}
	for _, w := range all {
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.watching().streams; n != 2 {
		t.Errorf("%d streams are open", n)
	}
}

func TestAWatchWhoseRequestIsTooLongIsRefusedAlone(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.watch = endless })
	c := dial(t, client.Config{}, a)
	if _, err := watch(t, c, interrex.WatchRequest{Prefix: strings.Repeat("x", 3000)}).Next(t.Context()); !errors.Is(err, interrex.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if n := a.watching().begun; n > 0 {
		t.Errorf("%d streams were begun for it", n)
	}
	if _, err := watch(t, c, interrex.WatchRequest{}).Next(t.Context()); err != nil {
		t.Errorf("another: %v", err)
	}
}

func TestAWatchDoesNotBelieveAnAgentOfAnEpochThatIsOver(t *testing.T) {
	now, old := startAgent(t), startAgent(t)
	now.set(func(a *agent) { a.epoch = "2-aaaa" })
	old.set(func(a *agent) { a.epoch = "1-aaaa" })
	old.set(func(a *agent) { a.watch = endless })
	play(now, script{
		events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrUnavailable, "gone"), 5),
		events(interrex.LeaseClaimed, interrex.Errorf(interrex.ErrCompacted, "too late"), 6),
	})
	seen, err := follow(t, watch(t, dial(t, client.Config{}, now, old), interrex.WatchRequest{Since: 4}))
	if want := []string{"lease.claimed 5", "lease.claimed 6"}; !reflect.DeepEqual(seen, want) || !errors.Is(err, interrex.ErrCompacted) {
		t.Errorf("saw %v, ended with %v", seen, err)
	}
	if n := len(old.opens()); n > 0 {
		t.Errorf("%d watches were opened in an epoch that is over", n)
	}
}

func TestAnEventThatCannotBeReadEndsItsWatch(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.watch = func(_ *interrexv1.WatchRequest, send func(string, uint64) error) error {
			_ = send("unreadable", 1)
			return endless(&interrexv1.WatchRequest{Since: 1}, send)
		}
	})
	if _, err := follow(t, watch(t, dial(t, client.Config{}, a), interrex.WatchRequest{})); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("it ended with %v", err)
	}
}
