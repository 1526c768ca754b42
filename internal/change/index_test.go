package change

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
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
		case e.Revision <= floor || !wanted(e, q):
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

// wanted is Query.Matches, in other words.
func wanted(e *state.Event, q Query) bool {
	kind, tag := len(q.Kinds) == 0, len(q.Tags) == 0
	for _, k := range q.Kinds {
		kind = kind || e.Kind == k
	}
	if u, is := e.Value.(*User); is {
		for _, t := range u.Tags {
			tag = tag || slices.Contains(q.Tags, t)
		}
	}
	return kind && tag && strings.HasPrefix(e.Key, q.Prefix)
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

func TestARevisionGoesAndComesAsAWhole(t *testing.T) {
	f := New()
	f.keep.count = 3
	for at := interrex.Revision(1); at <= 3; at++ {
		put(f, at, state.Event{Kind: "first"}, state.Event{Kind: "second"})
	}
	if count, _ := f.Kept(); count != 2 || f.Floor() != 2 {
		t.Errorf("%d are kept, behind %d", count, f.Floor())
	}
	f.keep.count = 10
	put(f, 4, state.Event{Kind: "first"}, state.Event{Kind: "second"})
	if events, kept := f.Behind(2, 1); !kept || len(events) != 2 || events[1].Revision != 3 {
		t.Errorf("behind 2: %v, %v", events, kept)
	}
	if events, kept := f.Behind(2, 3); !kept || len(events) != 4 {
		t.Errorf("behind 2: %v, %v", events, kept)
	}
	if e, found := f.Get(4); !found || e.Kind != "first" {
		t.Errorf("of revision 4: %v, %v", e, found)
	}
}

// snapshotOf encodes a feed with these events, valid or not.
func snapshotOf(floor, last interrex.Revision, change func(item []byte) []byte, events ...state.Event) *bytes.Buffer {
	var b bytes.Buffer
	out := codec.NewItemWriter(&b)
	out.Length(1)
	out.Item(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(floor)), uint64(last)))
	out.Length(len(events))
	f := frozen{codec: func(state.TableID) state.EventCodec { return nil }}
	for i := range events {
		item := f.appendEvent(nil, &events[i])
		out.Item(change(item))
	}
	_ = out.Flush() // to memory
	return &b
}

func TestASnapshotThatIsDamagedIsRefused(t *testing.T) {
	same := func(item []byte) []byte { return item }
	value := func(v byte) func([]byte) []byte {
		return func(item []byte) []byte { return append(item[:len(item)-1], v) }
	}
	events := func(at ...interrex.Revision) (all []state.Event) {
		for _, r := range at {
			all = append(all, state.Event{Revision: r, Size: 100})
		}
		return all
	}
	for name, b := range map[string]*bytes.Buffer{
		"an unknown kind of value":   snapshotOf(1, 9, value(7), events(2)...),
		"bytes behind no value":      snapshotOf(1, 9, func(item []byte) []byte { return append(item, 1) }, events(2)...),
		"a value without its codec":  snapshotOf(1, 9, value(valueKept), events(2)...),
		"a size below zero":          snapshotOf(1, 9, same, state.Event{Revision: 2, Size: -1}),
		"a revision that is gone":    snapshotOf(2, 9, same, events(2)...),
		"a revision that is to come": snapshotOf(1, 9, same, events(10)...),
		"revisions out of order":     snapshotOf(1, 9, same, events(3, 2)...),
	} {
		f := New()
		f.UseCodecs(func(state.TableID) state.EventCodec { return nil })
		put(f, 5, state.Event{})
		if err := f.Restore(1, b); err == nil || f.feed.last != 5 {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := New()
	if err := f.Restore(1, snapshotOf(1, 9, same, events(2, 2, 9)...)); err != nil || f.feed.count != 3 {
		t.Errorf("a good one: %v", err)
	}
}

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
	w, err := ring.Watch(0, interest.Scope{}, anything)
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
	w, err := f.await(&Query{Since: 1})
	if err != nil {
		t.Fatal(err)
	}
	f.Lock()
	f.Skip(500)
	f.Unlock()
	select {
	case <-w.ready:
	default:
		t.Error("a long poll sleeps on")
	}
	if p, err := f.Read(Query{Limit: 10, Bytes: 1}); err != nil || p.Revision != 500 || f.Applied().Last() != 500 {
		t.Errorf("%+v, %v, applied %d", p, err, f.Applied().Last())
	}
	put(f, 501, state.Event{Kind: interrex.UserChange})
	if _, err := f.Read(Query{Since: 5, Limit: 10, Bytes: 1}); interrex.KindOf(err) != interrex.ErrCompacted {
		t.Errorf("read since 5: %v, want compacted", err)
	}
	if p, err := f.Read(Query{Since: 500, Limit: 10, Bytes: 1}); err != nil || len(p.Items) != 1 {
		t.Errorf("read since 500: %v, %v", p, err)
	}
	if at := f.Applied().Last(); at != 501 {
		t.Errorf("applied %d", at)
	}
}

// BenchmarkRecord is the cost of a write without a waiter for it.
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
