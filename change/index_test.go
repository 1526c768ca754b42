package change

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
)

// put records one entry of the events of one revision.
func put(t *Table, at interrex.Revision, events ...state.Event) {
	for i := range events {
		events[i].Revision, events[i].Size = at, 100
	}
	t.Lock()
	defer t.Unlock()
	t.Record(0, at, events)
}

// scanned is what a read finds that looks at all events.
func scanned(all []state.Event, q Query, floor interrex.Revision) (found []interrex.Revision, atStart, atEnd bool) {
	atStart, atEnd = true, true
	for i := range all {
		e := &all[i]
		switch {
		case e.Revision <= floor || !q.Matches(e):
		case e.Revision <= q.Since:
			atStart = false
		case len(found) >= q.Limit && e.Revision != found[len(found)-1]:
			return found, atStart, false
		default:
			found = append(found, e.Revision)
		}
	}
	return found, atStart, atEnd
}

func TestIndexedReadsFindWhatAScanFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	f := New()
	f.keep.count = 300
	var all []state.Event
	for at := interrex.Revision(1); at <= 1000; at++ {
		var events []state.Event
		for range random.IntN(3) {
			e := state.Event{Kind: fmt.Sprint("kind", random.IntN(4)), Key: fmt.Sprint("ns/", random.IntN(5))}
			if random.IntN(2) == 0 {
				e = state.Event{Kind: interrex.UserChange, Value: &User{Data: "1", Tags: []string{fmt.Sprint(random.IntN(9)), fmt.Sprint(random.IntN(9))}}}
			}
			events = append(events, e)
		}
		put(f, at, events...)
		all = append(all, events...)
	}
	some := func(prefix string, n int) (names []string) {
		for range random.IntN(4) {
			names = append(names, fmt.Sprint(prefix, random.IntN(n)))
		}
		return names
	}
	for range 3000 {
		q := Query{
			Since: f.Floor() + interrex.Revision(random.IntN(400)), Limit: 1 + random.IntN(40), Bytes: 1 << 20,
			Tags: some("", 12), Kinds: some("kind", 6),
		}
		if random.IntN(3) == 0 {
			q.Prefix = fmt.Sprint("ns/", random.IntN(6))
		}
		want, atStart, atEnd := scanned(all, q, f.Floor())
		p, err := f.Read(q)
		var got []interrex.Revision
		for _, e := range p.Items {
			got = append(got, e.Revision)
		}
		if err != nil || !slices.Equal(got, want) || p.AtStart != atStart || p.AtEnd != atEnd {
			t.Fatalf("%+v: found %v, at start %v, at end %v, %v, want %v, %v, %v", q, got, p.AtStart, p.AtEnd, err, want, atStart, atEnd)
		}
	}
}

func TestTheIndexForgetsWhatIsNotKept(t *testing.T) {
	f := New()
	f.keep.count = 1
	for at := interrex.Revision(1); at <= 100; at++ {
		put(f, at, state.Event{Kind: fmt.Sprint("kind", at), Value: &User{Data: "1", Tags: []string{fmt.Sprint(at)}}})
	}
	if k, g := len(f.feed.index.kinds), len(f.feed.index.tags); k != 1 || g != 1 {
		t.Errorf("one change is kept, and the index has %d kinds and %d tags", k, g)
	}
}

func anything(*state.Event) bool { return true }

func TestAWatchSinceZeroBeginsAtTheFirstThatIsKept(t *testing.T) {
	f := New()
	f.keep.count = 10
	ring := watch.New(watch.Config{Backlog: f, MaxEvents: 5})
	write := func(at interrex.Revision) {
		events := []state.Event{{Revision: at, Kind: interrex.UserChange, Size: 100}}
		put(f, at, events...)
		ring.Publish(events, at)
	}
	for at := interrex.Revision(1); at <= 20; at++ {
		write(at)
	}
	w, err := ring.Watch(0, anything)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write(21) // and the first that was kept is gone
	events, err := w.Next(context.Background())
	if err != nil || events[0].Revision != 12 {
		t.Errorf("begins with %v, %v, want revision 12", events, err)
	}
}

func TestHistoryBeforeASnapshotWithoutTheFeedIsCompacted(t *testing.T) {
	f := New()
	f.Lock()
	f.Skip(500)
	f.Unlock()
	put(f, 501, state.Event{Kind: interrex.UserChange})
	if _, err := f.Read(Query{Since: 5, Limit: 10, Bytes: 1}); interrex.KindOf(err) != interrex.KindCompacted {
		t.Errorf("read since 5: %v, want compacted", err)
	}
	if p, err := f.Read(Query{Since: 500, Limit: 10, Bytes: 1}); err != nil || len(p.Items) != 1 {
		t.Errorf("read since 500: %v, %v", p, err)
	}
	if at := f.Applied().Last(); at != 501 {
		t.Errorf("applied %d", at)
	}
}

// BenchmarkRecord is the cost of a write that nobody waits for.
func BenchmarkRecord(b *testing.B) {
	for _, waiters := range []int{0, 10_000} {
		b.Run(fmt.Sprint(waiters), func(b *testing.B) {
			f := New()
			for i := range waiters {
				q := Query{Tags: []string{fmt.Sprint(i)}}
				if i%2 == 0 {
					q = Query{Kinds: []string{interrex.ResourceWritten}, Prefix: fmt.Sprint("group.Kind/", i)}
				}
				if _, err := f.await(&q); err != nil {
					b.Fatal(err)
				}
			}
			at := interrex.Revision(0)
			for b.Loop() {
				at++
				put(f, at, state.Event{Kind: interrex.LeaseClaimed, Key: "default/key"})
			}
		})
	}
}
