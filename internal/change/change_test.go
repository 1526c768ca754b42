package change_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// world is a feed beside a register, in a state.
type world struct {
	*testreplica.Replica
	t    testing.TB
	feed *change.Table
	now  state.Time
}

func newWorld(t testing.TB, settings ...string) *world {
	w := &world{t: t}
	w.Replica = testreplica.New(t, func() []state.Table {
		w.feed = change.New()
		return []state.Table{w.feed, testtable.NewRegister()}
	})
	for i := 0; i < len(settings); i += 2 {
		w.set(settings[i], settings[i+1])
	}
	return w
}

func (w *world) set(name, value string) {
	w.t.Helper()
	c := &machine.SetSettings{Values: map[string]string{name: value}}
	if res := w.do(state.Operation{Table: machine.SystemTable, Data: c.Append(nil)}); res.Err != nil {
		w.t.Fatal(res.Err)
	}
}

func (w *world) do(op state.Operation) state.Result { return w.Do(w.now, op)[0] }

// append appends a user's change.
func (w *world) append(data string, tags ...string) interrex.Revision {
	w.t.Helper()
	res := w.do(state.Operation{Table: machine.ChangeTable, Data: (&change.Append{Data: data, Tags: tags}).Append(nil)})
	if res.Err != nil {
		w.t.Fatal(res.Err)
	}
	return res.Revision
}

// write changes the register.
func (w *world) write(key string) interrex.Revision {
	w.t.Helper()
	return w.do(state.Operation{Table: testtable.RegisterTable, Data: testtable.Set(key, "x", time.Hour)}).Revision
}

// read reads all that there is.
// A tag takes far more memory than it has bytes.
func TestTagsCountAgainstTheBytesThatAreKept(t *testing.T) {
	w := newWorld(t)
	w.append("1")
	_, plain := w.feed.Kept()
	w.append("1", "a", "b", "c", "d")
	if _, both := w.feed.Kept(); both-2*plain != 4*129 {
		t.Errorf("a change has %d bytes, and %d with four tags", plain, both-plain)
	}
}

func (w *world) read(q change.Query) change.Page {
	w.t.Helper()
	p, err := w.feed.Read(whole(q))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func whole(q change.Query) change.Query {
	if q.Limit == 0 {
		q.Limit = 1000
	}
	q.Bytes = 1 << 30
	return q
}

func revisions(p change.Page) (all []interrex.Revision) {
	for _, e := range p.Items {
		all = append(all, e.Revision)
	}
	return all
}

func wants(t *testing.T, p change.Page, want ...interrex.Revision) {
	t.Helper()
	if got := revisions(p); !reflect.DeepEqual(got, want) {
		t.Errorf("revisions %v, want %v", got, want)
	}
}

func TestEverythingThatWasCommittedIsInOrder(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.write("k/a"), w.append(`{"n":1}`, "x"), w.write("k/b")
	wants(t, w.read(change.Query{}), a, b, c)
	wants(t, w.read(change.Query{Since: a}), b, c)
	wants(t, w.read(change.Query{Since: c}))
	wants(t, w.read(change.Query{Since: 1000}))
	wants(t, w.read(change.Query{Kinds: []string{interrex.UserChange}}), b)
	wants(t, w.read(change.Query{Tags: []string{"y", "x"}}), b)
	wants(t, w.read(change.Query{Tags: []string{"y"}}))
	wants(t, w.read(change.Query{Prefix: "k/"}), a, c)
	wants(t, w.read(change.Query{Prefix: "k/b"}), c)
	p := w.read(change.Query{Since: b})
	if p.First != a || p.Last != c || p.Revision != c {
		t.Errorf("%+v", p)
	}
	if e, ok := w.feed.Get(b); !ok || e.Value.(*change.User).Data != `{"n":1}` || e.Kind != interrex.UserChange {
		t.Errorf("%+v, %v", e, ok)
	}
	w.feed.Record(0, c+3, []state.Event{{Revision: c + 3}}) // those between had no event
	for _, none := range []interrex.Revision{0, c + 1, c + 2, c + 4} {
		if e, ok := w.feed.Get(none); ok {
			t.Errorf("%d is %+v", none, e)
		}
	}
}

func TestStartAndEndAreSaidOfWhatMatches(t *testing.T) {
	w := newWorld(t)
	w.write("k/a")
	one, two, three := w.append("1", "a"), w.append("2", "b"), w.append("3", "a")
	w.write("k/b")
	user := []string{interrex.UserChange}
	for name, test := range map[string]struct {
		q          change.Query
		start, end bool
	}{
		"from 0":                     {change.Query{Kinds: user}, true, true},
		"what is before is no match": {change.Query{Kinds: user, Since: one - 1}, true, true},
		"behind the first":           {change.Query{Kinds: user, Since: one}, false, true},
		"with a limit":               {change.Query{Kinds: user, Limit: 2}, true, false},
		"with the very limit":        {change.Query{Kinds: user, Limit: 3}, true, true},
		"of a tag":                   {change.Query{Tags: []string{"b"}, Since: one}, true, true},
		"of a tag, further":          {change.Query{Tags: []string{"b"}, Since: two}, false, true},
		"of a tag, with a limit":     {change.Query{Tags: []string{"a"}, Limit: 1}, true, false},
		"of a tag, the last":         {change.Query{Tags: []string{"a"}, Since: two, Limit: 1}, false, true},
		"at the end":                 {change.Query{Kinds: user, Since: three}, false, true},
	} {
		if p := w.read(test.q); p.AtStart != test.start || p.AtEnd != test.end {
			t.Errorf("%s: at start %v, at end %v, want %v, %v", name, p.AtStart, p.AtEnd, test.start, test.end)
		}
	}
}

func TestAPageEndsAtItsBytesToo(t *testing.T) {
	w := newWorld(t)
	a := w.append(`"` + strings.Repeat("x", 1000) + `"`)
	b := w.append(`"` + strings.Repeat("x", 1000) + `"`)
	p, err := w.feed.Read(change.Query{Limit: 10, Bytes: 500})
	if err != nil || p.AtEnd {
		t.Errorf("%+v, %v", p, err)
	}
	wants(t, p, a)
	p, err = w.feed.Read(change.Query{Limit: 10, Bytes: 500, Since: a})
	if err != nil || !p.AtEnd {
		t.Errorf("%+v, %v", p, err)
	}
	wants(t, p, b)
}

func TestWhatIsNotKeptIsSaid(t *testing.T) {
	for name, w := range map[string]*world{
		"count": newWorld(t, "changes.keep-count", "3"),
		"bytes": newWorld(t, "changes.keep-bytes", "1024"),
		"age":   newWorld(t, "changes.keep-age", "10s"),
	} {
		t.Run(name, func(t *testing.T) {
			var all []interrex.Revision
			for i := range 10 {
				w.now = state.Time(i) * state.Time(4*time.Second)
				all = append(all, w.append(fmt.Sprintf(`"%0100d"`, i)))
			}
			kept := revisions(w.read(change.Query{}))
			floor := w.feed.Floor()
			if len(kept) == 0 || len(kept) > 4 || !reflect.DeepEqual(kept, all[10-len(kept):]) || floor != all[9-len(kept)] {
				t.Fatalf("kept %v of %v, floor %d", kept, all, floor)
			}
			var e *interrex.Error
			if _, err := w.feed.Read(whole(change.Query{Since: floor - 1})); !errors.As(err, &e) || e.Kind != interrex.ErrCompacted || e.FirstRevision != floor {
				t.Errorf("before the first: %v", err)
			}
			wants(t, w.read(change.Query{Since: floor}), kept...)
			if _, ok := w.feed.Get(floor); ok {
				t.Error("one that is gone is found")
			}
			if events, ok := w.feed.Behind(floor, 2); !ok || len(events) != 2 || events[0].Revision != kept[0] {
				t.Errorf("behind the floor: %v, %v", events, ok)
			}
			if _, ok := w.feed.Behind(floor-1, 2); ok {
				t.Error("behind what is gone there is something")
			}
			w.Restart()
			wants(t, w.read(change.Query{}), kept...)
			if w.feed.Floor() != floor {
				t.Errorf("after a restart the floor is %d", w.feed.Floor())
			}
			if at := w.feed.Applied().Last(); at != w.State.Revision() {
				t.Errorf("after a restart %d is applied, of %d", at, w.State.Revision())
			}
		})
	}
}

func TestALowerSettingTakesEffectWithTheNextEntry(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.append(fmt.Sprint(i))
	}
	w.set("changes.keep-count", "2")
	if count, bytes := w.feed.Kept(); count != 2 || bytes <= 0 {
		t.Errorf("%d are kept, of %d bytes", count, bytes)
	}
}

func TestAViewStaysWhileTheFeedGoesOn(t *testing.T) {
	w := newWorld(t, "changes.keep-count", "5")
	for i := range 5 {
		w.append(fmt.Sprint(i))
	}
	p := w.read(change.Query{})
	before := revisions(p)
	for i := range 20 {
		w.append(fmt.Sprint(i))
	}
	wants(t, p, before...)
}

func TestDataAndTagsAreChecked(t *testing.T) {
	deep := strings.Repeat("[", change.MaxDepth+1) + strings.Repeat("]", change.MaxDepth+1)
	for text, c := range map[string]change.Append{
		"is not JSON":             {Data: "{"},
		"not JSON":                {Data: "t rue"},
		"it is not JSON":          {Data: "\"\xff\""},
		"nested at most 100 deep": {Data: deep},
		"may be nested at most":   {Data: strings.Repeat(`{"a":`, change.MaxDepth+1) + "1" + strings.Repeat("}", change.MaxDepth+1)},
		"at most 524288":          {Data: `"` + strings.Repeat("x", interrex.MaxData) + `"`},
		"at most 16 are":          {Data: "1", Tags: make([]string, 17)},
		"each has 1 to 128":       {Data: "1", Tags: []string{""}},
		"has 129":                 {Data: "1", Tags: []string{strings.Repeat("x", 129)}},
		"128 bytes of UTF-8:":     {Data: "1", Tags: []string{"\xff"}},
	} {
		made, err := change.NewAppend(c.Data, c.Tags)
		if err == nil {
			err = made.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	fits := strings.Repeat("[", change.MaxDepth) + `"[[[\"[["` + strings.Repeat("]", change.MaxDepth)
	flat := "[" + strings.Repeat("[],{},", change.MaxDepth) + "{}]"
	full := `"` + strings.Repeat("x", interrex.MaxData-2) + `"`
	for data, compact := range map[string]string{
		fits: fits, flat: flat, full: full, " [ 1 ,\t\"a \\\" b\" ] \r\n": `[1,"a \" b"]`, strings.Repeat(" ", interrex.MaxData) + "1": "1",
	} {
		tags := slices.Repeat([]string{strings.Repeat("x", change.MaxTag)}, change.MaxTags)
		if c, err := change.NewAppend(data, tags); err != nil || c.Data != compact || c.Validate() != nil {
			t.Errorf("%.30q: %v, %v", data, c, err)
		}
	}
	w := newWorld(t)
	for _, bad := range []*change.Append{{Data: strings.Repeat("1", interrex.MaxData+1)}, {Data: "1", Tags: []string{""}}} {
		if res := w.do(state.Operation{Table: machine.ChangeTable, Data: bad.Append(nil)}); res.Err == nil {
			t.Error("an entry's operation that is not valid is applied")
		}
	}
}

func TestWhatIsNoAppendIsRefused(t *testing.T) {
	good := (&change.Append{Data: "1", Tags: []string{"a"}}).Append(nil)
	for text, data := range map[string][]byte{
		"it is empty":         nil,
		"unknown operation 2": append([]byte{2}, good[1:]...),
		"it is malformed":     append(slices.Clone(good), 0),
		"command: it is":      good[:len(good)-1],
	} {
		if _, err := change.New().Decode(data); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", data, err)
		}
	}
	if err := change.New().Check(0, &machine.Compare{}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("another command: %v", err)
	}
}

func TestAnAppendIsAnsweredWithItsTime(t *testing.T) {
	w := newWorld(t)
	res := w.do(state.Operation{Table: machine.ChangeTable, Data: (&change.Append{Data: "1"}).Append(nil)})
	e, _ := w.feed.Get(res.Revision)
	if reply := res.Reply.(*change.Reply); reply.Time != e.Wall.UnixNano() {
		t.Errorf("%d, and its event %d", reply.Time, e.Wall.UnixNano())
	}
}

func TestAChangeIsKeptForItsWholeAge(t *testing.T) {
	w := newWorld(t, "changes.keep-age", "10s")
	a := w.append("1")
	w.now = state.Time(10 * time.Second)
	b := w.append("2")
	wants(t, w.read(change.Query{}), a, b)
	w.now++
	c := w.append("3")
	wants(t, w.read(change.Query{}), b, c)
}

func TestWhatIsGoneOfAnEntryIsNotBeforeTheRest(t *testing.T) {
	w := newWorld(t, "changes.keep-count", "2")
	set := state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("a", "x", 0)}
	w.Do(w.now, set, set, set)
	floor := w.feed.Floor()
	if p := w.read(change.Query{Since: floor}); len(p.Items) != 2 || !p.AtStart {
		t.Errorf("behind %d: %v, at start %v", floor, revisions(p), p.AtStart)
	}
	w.set("requests.names", "7")
	w.write("b")
	if e, found := w.feed.Get(w.State.Revision() - 1); found {
		t.Errorf("a revision without a change has %+v", e)
	}
}

func TestALongPollWaitsForWhatMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "changes.keep-count", "5")
		start := w.append("0", "other")
		for name, q := range map[string]change.Query{
			"user":   {Kinds: []string{interrex.UserChange}, Tags: []string{"a"}},
			"tag":    {Tags: []string{"b", "a"}},
			"kinds":  {Kinds: []string{"register.set", interrex.UserChange}, Tags: []string{"a"}},
			"future": {Since: start + 21, Tags: []string{"a"}},
		} {
			if q.Since == 0 {
				q.Since = w.State.Revision()
			} else {
				q.Since = w.State.Revision() + 21
			}
			var page change.Page
			var all sync.WaitGroup
			all.Go(func() {
				var err error
				if page, err = w.feed.Await(t.Context(), whole(q)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			for i := range 10 { // more than the feed keeps
				w.append(fmt.Sprint(i), "other")
				w.write("k/a")
				synctest.Wait()
			}
			if q.Since > w.State.Revision() {
				w.append(`"early"`, "a")
				synctest.Wait()
			}
			want := w.append("1", "a")
			all.Wait()
			if got := revisions(page); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %v, want %d", name, got, want)
			}
			if !page.AtEnd {
				t.Errorf("%s: not at the end", name)
			}
		}
	})
}

func TestALongPollThatEndsHasMissedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "changes.keep-count", "2")
		since := w.append("0", "other")
		var all sync.WaitGroup
		for _, q := range []change.Query{{Tags: []string{"a"}}, {Prefix: "z"}, {Kinds: []string{"register.gone"}}} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				q.Since = since
				page, err := w.feed.Await(ctx, whole(q))
				if err != nil || len(page.Items) > 0 || page.Revision != w.State.Revision() || !page.AtEnd {
					t.Errorf("%+v: %+v, %v", q, page, err)
				}
			})
		}
		synctest.Wait()
		for i := range 10 { // more than the feed keeps
			w.append(fmt.Sprint(i), "other")
		}
		all.Wait()
	})
}

func TestALongPollOfAPrefixWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, prefix := range []string{"k/", "k/ab", "k/abc", ""} {
			since := w.State.Revision()
			var page change.Page
			var all sync.WaitGroup
			all.Go(func() { page, _ = w.feed.Await(t.Context(), whole(change.Query{Since: since, Prefix: prefix})) })
			synctest.Wait()
			if prefix != "" {
				w.write("j/other")
				w.write("k")
				synctest.Wait()
			}
			want := w.write("k/abc")
			all.Wait()
			if got := revisions(page); len(got) != 1 || got[0] != want {
				t.Errorf("%q: %v, want %d", prefix, got, want)
			}
		}
	})
}

func TestALongPollSaysWhatWasBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.write("j/other")
		for _, atStart := range []bool{true, false} {
			since := w.State.Revision()
			var page change.Page
			var all sync.WaitGroup
			all.Go(func() { page, _ = w.feed.Await(t.Context(), whole(change.Query{Since: since, Prefix: "k/"})) })
			synctest.Wait()
			w.write("k/a")
			all.Wait()
			if len(page.Items) != 1 || page.AtStart != atStart {
				t.Errorf("at start %v, want %v", page.AtStart, atStart)
			}
		}
	})
}

func TestALongPollEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.append("0")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		p, err := w.feed.Await(ctx, whole(change.Query{Since: first}))
		if err != nil || len(p.Items) > 0 || p.AtStart || time.Since(began) != time.Minute {
			t.Errorf("by its time: %+v, %v after %v", p, err, time.Since(began))
		}
		var all sync.WaitGroup
		all.Go(func() { _, err = w.feed.Await(t.Context(), whole(change.Query{Since: first})) })
		synctest.Wait()
		w.feed.Close()
		all.Wait()
		if !errors.Is(err, interrex.ErrUnavailable) {
			t.Errorf("by the table's end: %v", err)
		}
	})
}

func TestLongPollsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.append("0")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range change.MaxWaiting {
			all.Go(func() { w.feed.Await(ctx, whole(change.Query{Since: first, Tags: []string{fmt.Sprint(i)}})) })
		}
		synctest.Wait()
		if _, err := w.feed.Await(ctx, whole(change.Query{Since: first})); !errors.Is(err, interrex.ErrOverloaded) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		all.Wait()
		// Those who have gone make room.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.feed.Await(ctx, whole(change.Query{Since: first})); err != nil {
			t.Errorf("after they have gone: %v", err)
		}
	})
}

// A register has no codec of its events: what they were is lost in a snapshot.
func TestAValueThatASnapshotCannotHoldIsLost(t *testing.T) {
	w := newWorld(t)
	at := w.write("k/a")
	user := w.append("1", "a")
	for range 2 {
		w.Restart()
		e, ok := w.feed.Get(at)
		if _, lost := e.Value.(state.Lost); !ok || !lost || e.Key != "k/a" {
			t.Errorf("%+v, %v", e, ok)
		}
		if e, ok := w.feed.Get(user); !ok || e.Value.(*change.User).Data != "1" {
			t.Errorf("%+v, %v", e, ok)
		}
	}
}

func TestNoMoreIsLookedAtBeforeSinceThanALimit(t *testing.T) {
	w := newWorld(t)
	for range 10_000 {
		w.write("k/a")
	}
	at := w.State.Revision()
	for want, q := range map[bool]change.Query{true: {Since: at, Prefix: "j"}, false: {Since: at, Prefix: "k"}} {
		if p := w.read(q); p.AtStart != want {
			t.Errorf("%q: at start %v", q.Prefix, p.AtStart)
		}
	}
	at = w.write("k/a")
	for _, kinds := range [][]string{nil, {"register.set", interrex.UserChange}} {
		if p := w.read(change.Query{Since: at, Prefix: "j", Kinds: kinds}); p.AtStart && kinds == nil {
			t.Errorf("%v: at start, and more were not looked at", kinds)
		}
	}
}

func TestALongPollIsWokenByASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead, behind := newWorld(t), newWorld(t)
		first := ahead.append("0")
		behind.append("0")
		want := ahead.append("1", "a")
		var page change.Page
		var all sync.WaitGroup
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			page, _ = behind.feed.Await(ctx, whole(change.Query{Since: first, Tags: []string{"a"}}))
		})
		synctest.Wait()
		began := time.Now()
		if err := behind.Restore(ahead.Snapshot()); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if got := revisions(page); len(got) != 1 || got[0] != want || time.Since(began) > 0 {
			t.Errorf("%v after %v, want %d", got, time.Since(began), want)
		}
	})
}
