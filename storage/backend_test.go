package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/storage"
)

var (
	demo    = interrex.ResourceType{Group: "demo", GroupVersion: "v1", Kind: "thing"}
	tenancy = interrex.Tenancy{Partition: "default", Namespace: "default"}
)

func thing(name string) interrex.Resource {
	return interrex.Resource{
		ID:   interrex.ResourceID{Type: demo, Tenancy: tenancy, Name: name, UID: "u"},
		Data: interrex.ResourceData{TypeURL: "t", Value: []byte(name)},
	}
}

func write(t *testing.T, s storage.Store, res interrex.Resource) interrex.Resource {
	t.Helper()
	got, err := s.WriteCAS(t.Context(), res)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// drain reads a snapshot to its end.
func drain(t *testing.T, b *storage.Backend) (items [][]byte) {
	t.Helper()
	s, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for {
		item, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if item == nil {
			break
		}
		items = append(items, item)
	}
	if again, err := s.Next(); again != nil || err != nil {
		t.Errorf("after the end: %v, %v", again, err)
	}
	return items
}

func TestErrorsSurviveTheWayToTheLeader(t *testing.T) {
	p := newPair(t)
	for name, b := range map[string]*storage.Backend{"leader": p.leader.backend, "follower": p.follower.backend} {
		stored := write(t, b, thing(name))
		other := stored
		other.ID.UID = "v"
		if _, err := b.WriteCAS(t.Context(), other); !errors.Is(err, interrex.ErrWrongUID) || errors.Is(err, interrex.ErrInconsistent) {
			t.Errorf("%s: another uid: %v", name, err)
		}
		other = stored
		other.Version = "1000"
		if _, err := b.WriteCAS(t.Context(), other); !errors.Is(err, interrex.ErrCASFailure) || errors.Is(err, interrex.ErrInconsistent) {
			t.Errorf("%s: another version: %v", name, err)
		}
		if err := b.DeleteCAS(t.Context(), stored.ID, "1000"); !errors.Is(err, interrex.ErrCASFailure) {
			t.Errorf("%s: a delete of another version: %v", name, err)
		}
		if _, err := b.Read(t.Context(), storage.StrongConsistency, thing("none").ID); !errors.Is(err, interrex.ErrNotFound) {
			t.Errorf("%s: nothing: %v", name, err)
		}
		asked := stored.ID
		asked.Type.GroupVersion = "v2"
		_, err := b.Read(t.Context(), storage.StrongConsistency, asked)
		var mismatch storage.GroupVersionMismatchError
		if !errors.As(err, &mismatch) || mismatch.RequestedType != asked.Type || !reflect.DeepEqual(mismatch.Stored, stored) {
			t.Errorf("%s: another group version: %v", name, err)
		}
		if !errors.Is(err, interrex.ErrGroupVersionMismatch) {
			t.Errorf("%s: %v is not of its kind", name, err)
		}
	}
}

func TestWithoutAQuorumOnlyEventualReadsGoOn(t *testing.T) {
	p := newPair(t)
	stored := write(t, p.leader.backend, thing("a"))
	p.mu.Lock()
	p.quorum = false
	p.mu.Unlock()
	for name, b := range map[string]*storage.Backend{"leader": p.leader.backend, "follower": p.follower.backend} {
		if _, err := b.Read(t.Context(), storage.StrongConsistency, stored.ID); !errors.Is(err, interrex.ErrInconsistent) {
			t.Errorf("%s: a strong read: %v", name, err)
		}
		if _, err := b.List(t.Context(), storage.StrongConsistency, storage.UnversionedTypeFrom(demo), tenancy, ""); !errors.Is(err, interrex.ErrInconsistent) {
			t.Errorf("%s: a strong list: %v", name, err)
		}
		if _, err := b.WriteCAS(t.Context(), thing("b")); !errors.Is(err, interrex.ErrInconsistent) || !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Errorf("%s: a write: %v", name, err)
		}
		if err := b.DeleteCAS(t.Context(), stored.ID, stored.Version); !errors.Is(err, interrex.ErrInconsistent) {
			t.Errorf("%s: a delete: %v", name, err)
		}
		w, err := b.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
		if err != nil {
			t.Fatal(err)
		}
		if e, err := w.Next(t.Context()); err != nil || !reflect.DeepEqual(e.Resource, stored) {
			t.Errorf("%s: a watch: %+v, %v", name, e, err)
		}
		w.Close()
		if got, err := b.Read(t.Context(), storage.EventualConsistency, stored.ID); err != nil || !reflect.DeepEqual(got, stored) {
			t.Errorf("%s: an eventual read: %+v, %v", name, got, err)
		}
	}
}

func TestAFollowerFindsAnotherLeader(t *testing.T) {
	p := newPair(t)
	write(t, p.follower.backend, thing("a"))
	p.leader.leads = false // nobody leads, and the connection is still there
	for range 3 {
		if _, err := p.follower.backend.WriteCAS(t.Context(), thing("b")); !errors.Is(err, interrex.ErrInconsistent) || errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Fatalf("nobody leads: %v", err)
		}
	}
	p.leader.leads = true
	write(t, p.follower.backend, thing("b"))
	p.mu.Lock()
	dialled := p.dialled
	p.mu.Unlock()
	if dialled != 4 {
		t.Errorf("it dialled %d times: each that leads no more is to be left", dialled)
	}
	p.follower.backend.LeaderChanged()
	write(t, p.follower.backend, thing("c"))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialled != dialled+1 {
		t.Errorf("after LeaderChanged it dialled %d times", p.dialled-dialled)
	}
}

func TestALeaderThatCannotBeReachedIsInconsistent(t *testing.T) {
	p := newPair(t)
	p.listener.Close()
	if _, err := p.follower.backend.WriteCAS(t.Context(), thing("a")); !errors.Is(err, interrex.ErrInconsistent) || errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("a write that was never sent: %v", err)
	}
	nobody := storage.NewBackend(unknown{p.follower}, nil)
	if _, err := nobody.WriteCAS(t.Context(), thing("a")); !errors.Is(err, interrex.ErrInconsistent) || errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("a write while no leader is known: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.follower.backend.Read(ctx, storage.StrongConsistency, thing("a").ID); !errors.Is(err, context.Canceled) && !errors.Is(err, interrex.ErrInconsistent) {
		t.Errorf("a read of a caller that has gone: %v", err)
	}
}

// unknown knows no leader.
type unknown struct{ *replica }

func (unknown) DialLeader(context.Context) (net.Conn, error) {
	return nil, errors.New("no leader is known")
}

// silent is reached, and ends each connection without an answer.
type silent struct{ *replica }

func (silent) DialLeader(context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	go func() {
		there.Read(make([]byte, 1<<10)) // whatever comes
		there.Close()
	}()
	return here, nil
}

// deaf is reached, and never answers. It notes what is closed.
type deaf struct {
	*replica
	asked  chan struct{}
	closed chan struct{}
}

func (d deaf) DialLeader(context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	go func() {
		buffer := make([]byte, 1<<10)
		_, _ = there.Read(buffer)
		close(d.asked)
		for {
			if _, err := there.Read(buffer); err != nil {
				close(d.closed)
				return
			}
		}
	}()
	return here, nil
}

func TestACallOfTheOldLeaderEndsWithIt(t *testing.T) {
	d := deaf{newPair(t).follower, make(chan struct{}), make(chan struct{})}
	b := storage.NewBackend(d, nil)
	go func() {
		<-d.asked
		b.LeaderChanged()
	}()
	if _, err := b.Read(t.Context(), storage.StrongConsistency, thing("a").ID); !errors.Is(err, interrex.ErrInconsistent) {
		t.Errorf("%v", err)
	}
	<-d.closed
}

func TestConnectionsToTheOldLeaderAreClosed(t *testing.T) {
	p := newPair(t)
	noted := &noting{replica: p.follower, closed: make(chan struct{})}
	b := storage.NewBackend(noted, nil)
	write(t, b, thing("a"))
	b.LeaderChanged()
	<-noted.closed
}

// noting notes that its connection is closed.
type noting struct {
	*replica
	closed chan struct{}
}

func (n *noting) DialLeader(ctx context.Context) (net.Conn, error) {
	c, err := n.replica.DialLeader(ctx)
	return &closing{Conn: c, closed: sync.OnceFunc(func() { close(n.closed) })}, err
}

type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error { c.closed(); return c.Conn.Close() }

func TestAWriteWithoutAnAnswerMayHaveHappened(t *testing.T) {
	p := newPair(t)
	b := storage.NewBackend(silent{p.follower}, nil)
	_, wrote := b.WriteCAS(t.Context(), thing("a"))
	_, read := b.Read(t.Context(), storage.StrongConsistency, thing("a").ID)
	for i, test := range []struct {
		err     error
		unknown bool
	}{{wrote, true}, {b.DeleteCAS(t.Context(), thing("a").ID, "1"), true}, {read, false}} {
		if !errors.Is(test.err, interrex.ErrInconsistent) || errors.Is(test.err, interrex.ErrOutcomeUnknown) != test.unknown {
			t.Errorf("call %d: %v", i, test.err)
		}
	}
}

func TestALeaseIsNeverHeldWhereThereAreNone(t *testing.T) {
	res := thing("a")
	res.OwnerLease = interrex.Fence{Key: interrex.Key{Namespace: "default", Name: "l"}, Token: 1}
	if _, err := storage.NewMemory(nil).WriteCAS(t.Context(), res); !errors.Is(err, interrex.ErrNotHeld) {
		t.Errorf("%v", err)
	}
}

func TestAnEmptyListOfTheLeadersIsNotNil(t *testing.T) {
	p := newPair(t)
	got, err := p.follower.backend.List(t.Context(), storage.StrongConsistency, storage.UnversionedTypeFrom(demo), tenancy, "")
	if err != nil || got == nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAStrongReadAtAFollowerSeesWhatWasWritten(t *testing.T) {
	p := newPair(t)
	for i := range 200 {
		stored := write(t, p.leader.backend, thing(fmt.Sprint(i)))
		if got, err := p.follower.backend.Read(t.Context(), storage.StrongConsistency, stored.ID); err != nil || got.Version != stored.Version {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

func TestSnapshotsAreOfOneMoment(t *testing.T) {
	b := storage.NewMemory(nil)
	for _, name := range []string{"b", "a", "c"} {
		write(t, b, thing(name))
	}
	early, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	one, two := drain(t, b), drain(t, b)
	if !reflect.DeepEqual(one, two) || len(one) != 3 {
		t.Errorf("two of the same state: %q and %q", one, two)
	}
	write(t, b, thing("d"))
	for _, want := range one {
		if item, err := early.Next(); err != nil || !bytes.Equal(item, want) {
			t.Errorf("%q (%v), want %q", item, err, want)
		}
	}
	if item, err := early.Next(); item != nil || err != nil {
		t.Errorf("it has what was written later: %q, %v", item, err)
	}
}

func TestARestoreReplacesEverything(t *testing.T) {
	old, fresh := storage.NewMemory(nil), storage.NewMemory(nil)
	a := write(t, old, thing("a"))
	owned := thing("owned")
	owned.Owner = a.ID
	owned = write(t, old, owned)
	for i := range 8 {
		write(t, old, thing(fmt.Sprint("more", i)))
	}
	write(t, fresh, thing("b"))
	w, err := fresh.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := fresh.Restore()
	if err != nil {
		t.Fatal(err)
	}
	items := drain(t, old)
	for _, item := range items {
		given := bytes.Clone(item)
		if err := r.Apply(given); err != nil {
			t.Fatal(err)
		}
		clear(given) // it is the caller's
		for _, bad := range [][]byte{nil, []byte("garbage"), item[:len(item)-1], append(bytes.Clone(item), 0)} {
			if r.Apply(bad) == nil {
				t.Errorf("%q was taken", bad)
			}
		}
	}
	// Until it is committed everything is as it was.
	if _, err := fresh.Read(t.Context(), storage.StrongConsistency, thing("b").ID); err != nil {
		t.Error(err)
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(items[0]); err == nil {
		t.Error("after Commit more was taken")
	}
	r.Abort()
	if err := r.Commit(); err != nil {
		t.Error(err)
	}
	if _, err := fresh.Read(t.Context(), storage.StrongConsistency, thing("b").ID); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("what was there before: %v", err)
	}
	if got, err := fresh.Read(t.Context(), storage.StrongConsistency, a.ID); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v (%v), want %+v", got, err, a)
	}
	if got, err := fresh.ListByOwner(t.Context(), a.ID); err != nil || !reflect.DeepEqual(got, []interrex.Resource{owned}) {
		t.Errorf("owned: %+v, %v", got, err)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("the watch: %v", err)
	}
	// A version of before is good after it.
	if got := write(t, fresh, a); got.Version == a.Version {
		t.Errorf("the version stayed %s", got.Version)
	}
}

func TestAnAbortLeavesEverything(t *testing.T) {
	b := storage.NewMemory(nil)
	stored := write(t, b, thing("a"))
	r, err := b.Restore()
	if err != nil {
		t.Fatal(err)
	}
	r.Abort()
	r.Abort()
	if err := r.Commit(); err != nil {
		t.Error(err)
	}
	if got, err := b.Read(t.Context(), storage.StrongConsistency, stored.ID); err != nil || !reflect.DeepEqual(got, stored) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheSameEntriesGiveTheSameSnapshots(t *testing.T) {
	p := newPair(t)
	for i := range 50 {
		res := write(t, p.leader.backend, thing(fmt.Sprint(i%7)))
		if i%3 == 0 {
			if err := p.leader.backend.DeleteCAS(t.Context(), res.ID, res.Version); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := p.leader.backend.DeleteCAS(t.Context(), res.ID, res.Version); err != nil {
			t.Fatal(err)
		}
	}
	last := write(t, p.leader.backend, thing("last"))
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err := p.follower.backend.Read(t.Context(), storage.EventualConsistency, last.ID); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the follower has not caught up")
		}
		time.Sleep(time.Millisecond)
	}
	if one, two := drain(t, p.leader.backend), drain(t, p.follower.backend); !reflect.DeepEqual(one, two) {
		t.Errorf("%q and %q", one, two)
	}
}

func TestAMalformedEntryIsAnErrorAndChangesNothing(t *testing.T) {
	b := storage.NewMemory(nil)
	good := (&resource.Write{ID: thing("a").ID, Strict: true}).Append(nil)
	for _, buf := range [][]byte{nil, {}, {9}, append([]byte{9}, good...), {1}, {1, 99}, {1, 1, 2, 3}} {
		if err, is := b.Apply(buf, 7).(error); !is || !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("%v: %v", buf, err)
		}
	}
	if items := drain(t, b); len(items) != 0 {
		t.Errorf("%q", items)
	}
	write(t, b, thing("a"))
	before := drain(t, b)
	if err, is := b.Apply(append([]byte{1}, good...), 8).(error); !is || !errors.Is(err, interrex.ErrCASFailure) {
		t.Errorf("an entry that cannot be done: %v", err)
	}
	if !reflect.DeepEqual(drain(t, b), before) {
		t.Error("it has changed something")
	}
}

func TestAWatchThatIsOverGivesNothingMore(t *testing.T) {
	b := storage.NewMemory(nil)
	write(t, b, thing("a"))
	w, err := b.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := w.Next(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("of a caller that has gone: %+v, %v", e, err)
	}
	w.Close()
	if e, err := w.Next(t.Context()); err == nil || errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("after its Close: %+v, %v", e, err)
	}
}

func TestAWatchThatFallsBehindBeginsAnew(t *testing.T) {
	b := storage.NewMemory(nil)
	w, err := b.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	res := thing("a")
	res.Data.Value = make([]byte, interrex.MaxData)
	for range watch.DefaultMaxBytes/interrex.MaxData + 1 {
		res = write(t, b, res)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("%v", err)
	}
}

func TestAnAgentsResourcesAreNotRestoredHere(t *testing.T) {
	b := storage.NewBackend(storage.Through(struct{ interrex.Resources }{}), nil)
	_, restore := b.Restore()
	_, snapshot := b.Snapshot()
	for _, err := range []error{restore, snapshot} {
		if !errors.Is(err, interrex.ErrDisabled) {
			t.Errorf("%v", err)
		}
	}
}

func TestACloseEndsAWatchThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := storage.NewMemory(nil)
		w, err := b.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() { _, err = w.Next(t.Context()) })
		synctest.Wait()
		w.Close()
		waiting.Wait()
		if err == nil || errors.Is(err, interrex.ErrWatchClosed) {
			t.Errorf("%v", err)
		}
	})
}

func TestWithoutAHandleOnlyRestoresAreServed(t *testing.T) {
	b := storage.NewBackend(nil, nil)
	if b.Handle() != nil {
		t.Error("it has a handle")
	}
	res, c, u := thing("a"), storage.StrongConsistency, storage.UnversionedTypeFrom(demo)
	_, read := b.Read(t.Context(), c, res.ID)
	_, wrote := b.WriteCAS(t.Context(), res)
	_, listed := b.List(t.Context(), c, u, tenancy, "")
	_, owned := b.ListByOwner(t.Context(), res.ID)
	_, watched := b.WatchList(t.Context(), u, tenancy, "")
	for i, err := range []error{read, wrote, b.DeleteCAS(t.Context(), res.ID, "1"), listed, owned, watched} {
		if !errors.Is(err, interrex.ErrDisabled) {
			t.Errorf("method %d: %v", i, err)
		}
	}
	source := storage.NewMemory(nil)
	write(t, source, res)
	r, err := b.Restore()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Apply(drain(t, source)[0]), r.Commit()); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, b); !reflect.DeepEqual(got, drain(t, source)) {
		t.Errorf("%q", got)
	}
}

func TestAWatchEndsInFourWays(t *testing.T) {
	b := storage.NewMemory(nil)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	open := func() storage.Watch {
		w, err := b.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, byContext := open().Next(canceled)
	w := open()
	w.Close()
	_, byClose := w.Next(t.Context())
	restored, last := open(), open()
	r, err := b.Restore()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	_, byRestore := restored.Next(t.Context())
	last.Close()
	last = open()
	stop()
	running.Wait()
	_, byStop := last.Next(t.Context())
	if !errors.Is(byContext, context.Canceled) || !errors.Is(byRestore, interrex.ErrWatchClosed) || !errors.Is(byStop, interrex.ErrUnavailable) {
		t.Errorf("%v; %v; %v", byContext, byRestore, byStop)
	}
	for _, err := range []error{byContext, byClose, byStop} {
		if err == nil || errors.Is(err, interrex.ErrWatchClosed) {
			t.Errorf("%v", err)
		}
	}
	if _, err := b.WatchList(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, ""); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("a watch of a backend that has stopped: %v", err)
	}
}

func TestAMarkEndsTheSnapshotOfAWatchThatWantsIt(t *testing.T) {
	b := storage.NewMemory(nil)
	for _, stored := range []int{0, 2} {
		for i := range stored {
			write(t, b, thing(fmt.Sprint(i)))
		}
		w, err := b.WatchListMarked(t.Context(), storage.UnversionedTypeFrom(demo), tenancy, "")
		if err != nil {
			t.Fatal(err)
		}
		for range stored {
			if e, err := w.Next(t.Context()); err != nil || e.Operation != interrex.ResourceUpsert {
				t.Errorf("%+v, %v", e, err)
			}
		}
		e, err := w.Next(t.Context())
		if err != nil || !reflect.DeepEqual(e, interrex.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: interrex.Revision(stored)}) {
			t.Errorf("%+v, %v", e, err)
		}
		w.Close()
	}
}

func TestABackendThatHasStoppedClosesConnections(t *testing.T) {
	p := newPair(t)
	b := storage.NewBackend(p.follower, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	c := &closeNoted{}
	b.HandleConnection(c)
	if !c.closed {
		t.Error("it is open")
	}
}

func TestThroughNothingIsNoHandle(t *testing.T) {
	b := storage.NewBackend(storage.Through(nil), nil)
	if _, err := b.WriteCAS(t.Context(), thing("a")); interrex.KindOf(err) != interrex.ErrDisabled {
		t.Error(err)
	}
}

func TestAConnectionWaitsForRunForATime(t *testing.T) {
	p := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		b := storage.NewBackend(p.follower, nil)
		c := &closeNoted{}
		b.HandleConnection(c)
		if !c.closed {
			t.Error("it is open")
		}
	})
}

// closeNoted is a connection that notes its end.
type closeNoted struct {
	net.Conn
	closed bool
}

func (c *closeNoted) Close() error { c.closed = true; return nil }
