package watches

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// viewed is a server whose only watch is that of leases, over a table that only has
// their keys.
type viewed struct {
	t      testing.TB
	server *Server
	method *watchable
	keys   []string // in their order
}

func newViewed(t testing.TB) *viewed {
	t.Helper()
	v := &viewed{t: t}
	ring := watch.New(watch.Config{})
	ring.Publish(nil, 1)
	t.Cleanup(ring.Close)
	st, err := machine.New(machine.Config{})
	v.must(err)
	t.Cleanup(st.Close)
	declared := method.ServiceOf(api.Service{Watches: []api.WatchMethod{
		api.Watch[interrexv1.WatchResponse](interrexv1.LeaseServiceWatchProcedure, v.watch, event),
	}})
	methods, err := method.NewRegistry("a", st, method.NewSwitches(), declared)
	v.must(err)
	checker := consistency.New(consistency.Config{ID: "a", State: st, Ring: ring, Leadership: nobody{}, Logger: hushed{}})
	v.server = New(checker, methods, admission.NewCalls(nil), clock.WallClock, time.Minute)
	m, err := wire.MethodOf(interrexv1.LeaseServiceWatchProcedure)
	v.must(err)
	v.method = v.server.watches[m.Number]
	return v
}

func (v *viewed) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// hold adds a lease whose key is after all others.
func (v *viewed) hold(key string) { v.keys = append(v.keys, key) }

func (v *viewed) watch(m *interrexv1.WatchRequest, _ state.State) (api.Feed[*interrexv1.LeaseEvent], error) {
	return api.Feed[*interrexv1.LeaseEvent]{
		Since:    interrex.Revision(m.GetSince()),
		Match:    func(e *state.Event) bool { return strings.HasPrefix(e.Key, m.GetPrefix()) && m.GetNamespace() == "" },
		Scope:    api.Scope{Table: machine.LeaseTable, Prefix: m.GetPrefix()},
		Snapshot: &api.Snapshot[*interrexv1.LeaseEvent]{Rows: v.rows, End: func(interrex.Revision) *interrexv1.LeaseEvent { return &interrexv1.LeaseEvent{} }},
	}, nil
}

func (v *viewed) rows(after string, most int) api.Rows[*interrexv1.LeaseEvent] {
	from, found := slices.BinarySearch(v.keys, after)
	if found {
		from++
	}
	to := min(from+most, len(v.keys))
	return api.Rows[*interrexv1.LeaseEvent]{More: to < len(v.keys), All: func(yield func(string, *interrexv1.LeaseEvent) bool) {
		for _, key := range v.keys[from:to] {
			if !yield(key, &interrexv1.LeaseEvent{Kind: interrex.LeasePresent}) {
				return
			}
		}
	}}
}

func event(e *state.Event, _ state.State) (*interrexv1.LeaseEvent, error) {
	return &interrexv1.LeaseEvent{Kind: e.Kind, Revision: uint64(e.Revision)}, nil
}

// publish publishes an event for each revision.
func (v *viewed) publish(first, last int) {
	for i := first; i <= last; i++ {
		e := state.Event{Revision: interrex.Revision(i), Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: fmt.Sprintf("jobs/%d", i), Size: 100}
		v.server.checker.Ring.Publish([]state.Event{e}, e.Revision)
	}
}

// asks is the content of a request.
func (v *viewed) asks(r *interrexv1.WatchRequest) feed {
	v.t.Helper()
	f, err := v.method.read(r)
	v.must(err)
	return f
}

// opening returns the opening of a watch of leases.
func opening(t testing.TB, id uint64, credit uint32, r *interrexv1.WatchRequest) *interrexv1.WatchOpen {
	t.Helper()
	body, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.MethodOf(interrexv1.LeaseServiceWatchProcedure)
	if err != nil {
		t.Fatal(err)
	}
	return &interrexv1.WatchOpen{Id: id, Method: m.Number, Body: body, Credit: credit}
}

// hushed is a logger.
type hushed struct{}

func (hushed) Errorf(string, ...any) {}

// nobody leads.
type nobody struct{}

func (nobody) Current() interrex.Leadership { return interrex.Leadership{} }

func TestAWatchThatIsAheadAndClosedLeavesNothing(t *testing.T) {
	a := newAudience(newViewed(t).server, admission.Caller{})
	defer a.close()
	for id := uint64(1); id <= 3; id++ {
		a.begin(opening(t, id, 1, &interrexv1.WatchRequest{Since: 900}), &message{})
	}
	a.forget(2)
	a.forget(3)
	if len(a.ahead) != 1 || a.ahead[0].id != 1 || len(a.open) != 1 {
		t.Errorf("%d are left ahead, %d open", len(a.ahead), len(a.open))
	}
}

// awaitDue waits until the ring's own goroutine has said that progress is due.
func awaitDue(t *testing.T, a *audience) {
	t.Helper()
	select {
	case <-a.progressDue:
	case <-time.After(10 * time.Second):
		t.Fatal("no progress is due")
	}
}

func TestProgressIsToldAfterAWhileToo(t *testing.T) {
	a := newAudience(newViewed(t).server, admission.Caller{})
	defer a.close()
	a.begin(opening(t, 1, 10, &interrexv1.WatchRequest{Since: 1, Namespace: "none"}), &message{})
	told := func(last interrex.Revision, now time.Duration, due bool) uint64 {
		a.server.checker.Ring.Publish([]state.Event{{Revision: last, Now: state.Time(now)}}, last)
		if due {
			awaitDue(t, a)
		}
		var out message
		for idle := false; !idle; {
			_, idle = a.gather(&out)
		}
		return out.Progress.GetRevision()
	}
	for _, step := range []struct {
		now  time.Duration
		last interrex.Revision
		want uint64 // 0: nothing is told
	}{{1, 5, 0}, {10*time.Second - 1, 6, 0}, {10 * time.Second, 7, 7}, {11 * time.Second, 8, 0}, {20 * time.Second, 9, 9}} {
		if got := told(step.last, step.now, step.want > 0); got != step.want {
			t.Errorf("at %v and revision %d: told %d, want %d", step.now, step.last, got, step.want)
		}
	}
}

func TestProgressIsNoFurtherThanWhatWasSent(t *testing.T) {
	nd := newViewed(t)
	nd.hold("jobs/one")
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	a.begin(opening(t, 1, MaxWatchCredit, &interrexv1.WatchRequest{Since: 1}), &message{})
	nd.publish(2, 4096)
	awaitDue(t, a)
	for sent := 0; ; {
		var out message
		_, idle := a.gather(&out)
		for _, group := range out.GetEvents() {
			sent += len(group.GetEvents())
		}
		if last := 4096 - 1; sent < last && out.Progress != nil {
			t.Fatalf("after %d of %d events it is told %v", sent, last, out.Progress)
		}
		if idle {
			if out.Progress.GetRevision() != 4096 {
				t.Errorf("at the end it is told %v", out.Progress)
			}
			return
		}
	}
}

func TestProgressIsForWhoeverRuns(t *testing.T) {
	a := newAudience(newViewed(t).server, admission.Caller{})
	defer a.close()
	a.begin(opening(t, 1, 0, &interrexv1.WatchRequest{Since: 1}), &message{})
	a.server.checker.Ring.Publish(nil, 4096)
	awaitDue(t, a)
	var out message
	if a.gather(&out); out.Progress != nil {
		t.Errorf("nobody runs, and is told %v", out.Progress)
	}
}

func TestAWatchThatWasAheadAndIsRefusedLeavesNothing(t *testing.T) {
	a := newAudience(newViewed(t).server, admission.Caller{})
	defer a.close()
	open := opening(t, 1, 1, &interrexv1.WatchRequest{Since: 900})
	a.begin(open, &message{})
	ahead := a.ahead
	var out message
	a.ahead = nil
	a.enter(ahead[0], interrex.Errorf(interrex.ErrInvalid, "in the future"), &out)
	if len(a.open) != 0 || len(out.Refused) != 1 {
		t.Errorf("%d are open, %d refused", len(a.open), len(out.Refused))
	}
}

func TestAnIdleWatchSleeps(t *testing.T) {
	nd := newViewed(t)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{})
	nd.must(a.add(&watched{feed: f, method: nd.method, credit: 10}))
	var out message
	a.gather(&out)
	if alarm, idle := a.gather(&out); !idle || alarm == nil || out.events != 1 {
		t.Errorf("after %v it is idle: %v, with an alarm: %v", out.Events, idle, alarm != nil)
	}
}

// fromNothing is a watch that begins with a snapshot.
func fromNothing(t *testing.T, nd *viewed, credit int) *watched {
	t.Helper()
	a := newAudience(nd.server, admission.Caller{})
	t.Cleanup(a.close)
	f := nd.asks(&interrexv1.WatchRequest{})
	w := &watched{feed: f, method: nd.method, credit: credit}
	nd.must(a.add(w))
	return w
}

func TestWhatIsPresentTakesCreditAndSoDoesItsEnd(t *testing.T) {
	nd := newViewed(t)
	for i := range 3 {
		nd.hold(fmt.Sprintf("jobs/%d", i))
	}
	for _, c := range []struct{ credit, first, left int }{{9, 4, 5}, {4, 4, 0}, {3, 3, 0}, {2, 2, 0}} {
		w := fromNothing(t, nd, c.credit)
		events, err := w.next(room{events: MaxPresent, bytes: MaxWatchBytes})
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
	if w.showing != nil || w.credit != 5 || len(w.sent.pages) != 1 || w.sent.pages[0].last != "" {
		t.Errorf("in the end: credit %d, pages %v", w.credit, w.sent.pages)
	}
}

// A snapshot whose pages are read at different revisions neither repeats an event
// nor hides one.
func TestPagesOfASnapshotAbsorbTheirEvents(t *testing.T) {
	s := NewSentRows(strings.Compare)
	s.Add("jobs/m", true, 10)
	s.Add("", false, 20)
	for _, test := range []struct {
		key      string
		revision interrex.Revision
		known    bool
	}{
		{"jobs/a", 10, true}, {"jobs/a", 11, false}, {"jobs/m", 10, true}, {"jobs/m", 11, false},
		{"jobs/n", 11, true}, {"jobs/n", 20, true}, {"jobs/n", 21, false}, {"jobs/a", 9, false},
	} {
		e := &state.Event{Revision: test.revision, Key: test.key}
		if got := s.Has(e); got != test.known {
			t.Errorf("%s at %d: known is %v", test.key, test.revision, got)
		}
	}
	if s.pages != nil {
		t.Error("the pages are kept beyond their use")
	}
}

func TestWhoHasGoneIsShownNothing(t *testing.T) {
	nd := newViewed(t)
	nd.hold("jobs/one")
	a := newAudience(nd.server, admission.Caller{})
	f := nd.asks(&interrexv1.WatchRequest{})
	nd.must(a.add(&watched{feed: f, method: nd.method, id: 1, credit: 10}))
	a.forget(1)
	var out message
	if a.gather(&out); !out.empty() {
		t.Errorf("it gets %v", out.Events)
	}
}

func TestWhatIsPresentTakesHalfAMessage(t *testing.T) {
	nd := newViewed(t)
	for i := range MaxPresent {
		nd.hold(fmt.Sprintf("jobs/%03d", i))
	}
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{})
	for id := range uint64(4) {
		nd.must(a.add(&watched{feed: f, method: nd.method, id: id + 1, credit: 1000}))
	}
	var out message
	if a.gather(&out); out.events != MaxWatchEvents/2 {
		t.Errorf("it takes %d events", out.events)
	}
}

func TestARevisionLargerThanAPartIsSentWhole(t *testing.T) {
	nd := newViewed(t)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{Since: 1})
	nd.must(a.add(&watched{feed: f, method: nd.method, id: 1, credit: 1000}))
	events := make([]state.Event, maxRead+40)
	for i := range events {
		events[i] = state.Event{Revision: 2, Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: "jobs/a"}
	}
	nd.server.checker.Ring.Publish(events, 2)
	var out message
	for idle := false; !idle; {
		_, idle = a.gather(&out)
	}
	if out.events != len(events) {
		t.Errorf("it got %d events of %d", out.events, len(events))
	}
}

// An event is encoded once for all watches: on every path it shows what the agent
// knew when it was first encoded.
func TestAnEventIsEncodedOnce(t *testing.T) {
	encodings := map[interrex.Revision]int{}
	nd := newViewed(t)
	a, b := newAudience(nd.server, admission.Caller{}), newAudience(nd.server, admission.Caller{})
	defer a.close()
	defer b.close()
	f := nd.asks(&interrexv1.WatchRequest{Since: 1})
	encode := nd.method.Declared.Event
	nd.method.Declared.Event = func(e *state.Event, s state.State) (proto.Message, error) {
		encodings[e.Revision]++
		return encode(e, s)
	}
	for id := uint64(1); id <= 10; id++ {
		nd.must(a.add(&watched{feed: f, method: nd.method, id: id, credit: 100}))
		nd.must(b.add(&watched{feed: f, method: nd.method, id: id, credit: int(10 * id)}))
	}
	before := nd.server.checker.Ring.Stats().Bytes
	nd.publish(2, 41)
	var first, second message
	for idle := false; !idle; {
		_, idle = a.gather(&first)
	}
	for idle := false; !idle; {
		_, idle = b.gather(&second)
	}
	if first.events != 40 || second.events != 40 || len(encodings) != 40 {
		t.Errorf("%d and %d events, %d encoded", first.events, second.events, len(encodings))
	}
	for revision, n := range encodings {
		if n != 1 {
			t.Errorf("revision %d was encoded %d times", revision, n)
		}
	}
	if got := nd.server.checker.Ring.Stats().Bytes - before; got != 40*100+first.bytes-3*10 {
		t.Errorf("the ring counts %d bytes, of which %d are encodings", got, first.bytes)
	}
}

// An event that cannot be encoded ends only the watches that would get it.
func TestAnEventThatCannotBeEncodedEndsItsWatches(t *testing.T) {
	for what, event := range map[string]func(*state.Event, state.State) (proto.Message, error){
		"an error": func(*state.Event, state.State) (proto.Message, error) { return nil, errors.New("no letters") },
		"a panic":  func(*state.Event, state.State) (proto.Message, error) { panic("no letters") },
	} {
		nd := newViewed(t)
		a := newAudience(nd.server, admission.Caller{})
		defer a.close()
		f := nd.asks(&interrexv1.WatchRequest{Since: 1})
		nd.method.Declared.Event = event
		nd.must(a.add(&watched{feed: f, method: nd.method, id: 1, credit: 100}))
		f.match = func(*state.Event) bool { return false }
		nd.must(a.add(&watched{feed: f, method: nd.method, id: 2, credit: 100}))
		e := state.Event{Revision: 2, Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: "jobs/a"}
		nd.server.checker.Ring.Publish([]state.Event{e, e}, 2) // of one revision: the second finds the watch ended
		var out message
		a.gather(&out)
		if len(out.Ended) != 1 || out.Ended[0].GetId() != 1 || len(a.open) != 1 {
			t.Errorf("%s: ended: %v, open: %v", what, out.Ended, a.open)
		}
	}
}

func TestASnapshotThatPanicsEndsItsWatchAlone(t *testing.T) {
	nd := newViewed(t)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	f := nd.asks(&interrexv1.WatchRequest{})
	nd.must(a.add(&watched{feed: f, method: nd.method, id: 1, credit: 100}))
	f.present = func(string, room) presentPage { panic("no rows") }
	nd.must(a.add(&watched{feed: f, method: nd.method, id: 2, credit: 100}))
	var out message
	a.gather(&out)
	if len(out.Ended) != 1 || out.Ended[0].GetId() != 2 || out.events != 1 {
		t.Errorf("ended: %v, and %d events are sent", out.Ended, out.events)
	}
}

// A watch far behind catches up in parts, and no other waits for it.
func TestWhoIsFarBehindHoldsUpNobody(t *testing.T) {
	nd := newViewed(t)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	nd.publish(2, 20_000)
	add := func(id uint64, since int) {
		f := nd.asks(&interrexv1.WatchRequest{Since: uint64(since)})
		nd.must(a.add(&watched{feed: f, method: nd.method, id: id, credit: MaxWatchCredit}))
	}
	const behind = 32 // more than eight messages take
	for id := uint64(1); id <= behind; id++ {
		add(id, int(id)*500)
	}
	const there = behind + 1
	add(there, 20_000)
	got := map[uint64]int{}
	for round, idle := 0, false; !idle; round++ {
		if round == 0 {
			nd.publish(20_001, 20_001)
		}
		var out message
		_, idle = a.gather(&out)
		if out.events > MaxWatchEvents+maxRead {
			t.Fatalf("%d events in a message", out.events)
		}
		for _, g := range out.Events {
			for _, id := range g.GetIds() {
				got[id] += len(g.GetEvents())
			}
		}
		if round == 10 && got[there] != 1 {
			t.Error("who was not behind waits for the others")
		}
	}
	for id := uint64(1); id <= behind; id++ {
		if want := 20_001 - int(id)*500; got[id] != want {
			t.Errorf("watch %d got %d events, want %d", id, got[id], want)
		}
	}
}

// BenchmarkAudience measures the cost of one event for the goroutine that serves a
// stream of many watches, of which all or none get it, with its encoding but without
// that of the message.
func BenchmarkAudience(b *testing.B) {
	for _, watches := range []int{1, 100, MaxWatches} {
		for name, prefix := range map[string]string{"all": "", "none": "x"} {
			b.Run(fmt.Sprintf("watches=%d/%s", watches, name), func(b *testing.B) {
				nd := newViewed(b)
				a := newAudience(nd.server, admission.Caller{})
				defer a.close()
				f := nd.asks(&interrexv1.WatchRequest{Since: 1, Prefix: prefix})
				for id := range watches {
					nd.must(a.add(&watched{feed: f, method: nd.method, id: uint64(id), credit: math.MaxInt}))
				}
				b.ReportAllocs()
				at := 1
				for b.Loop() {
					at++
					nd.publish(at, at)
					for idle := false; !idle; {
						var out message
						_, idle = a.gather(&out)
					}
				}
			})
		}
	}
}

func TestWhatAWatchMayAsk(t *testing.T) {
	nd := newViewed(t)
	open := func(change func(*interrexv1.WatchOpen)) *interrexv1.WatchOpen {
		o := opening(t, 2, 1, &interrexv1.WatchRequest{Since: 1})
		change(o)
		return o
	}
	nd.method.Setting = method.LeasesSetting
	var damage error
	nd.server.checker.Quarantine = func() error { return damage }
	for what, c := range map[string]struct {
		open   *interrexv1.WatchOpen
		before func(a *audience)
		want   interrex.Kind
	}{
		"a watch":               {open(func(*interrexv1.WatchOpen) {}), nil, ""},
		"all credit":            {open(func(o *interrexv1.WatchOpen) { o.Credit = MaxWatchCredit }), nil, ""},
		"too much credit":       {open(func(o *interrexv1.WatchOpen) { o.Credit = MaxWatchCredit + 1 }), nil, interrex.ErrInvalid},
		"an id that is open":    {open(func(o *interrexv1.WatchOpen) { o.Id = 1 }), nil, interrex.ErrInvalid},
		"an unknown method":     {open(func(o *interrexv1.WatchOpen) { o.Method = 1 }), nil, interrex.ErrDisabled},
		"a large request":       {open(func(o *interrexv1.WatchOpen) { o.Body = make([]byte, MaxWatchBody+1) }), nil, interrex.ErrTooLarge},
		"a malformed request":   {open(func(o *interrexv1.WatchOpen) { o.Body = []byte{0xff} }), nil, interrex.ErrInvalid},
		"one too many":          {open(func(*interrexv1.WatchOpen) {}), func(a *audience) { fill(a) }, interrex.ErrOverloaded},
		"a service that is off": {open(func(*interrexv1.WatchOpen) {}), func(*audience) { nd.server.methods.Switches.Switch(method.LeasesSetting, false) }, interrex.ErrDisabled},
		"an agent in quarantine": {open(func(*interrexv1.WatchOpen) {}), func(*audience) {
			damage = errors.New("its log ends too early")
		}, interrex.ErrUnavailable},
	} {
		a := newAudience(nd.server, admission.Caller{})
		a.begin(opening(t, 1, 1, &interrexv1.WatchRequest{Since: 1}), &message{})
		if c.before != nil {
			c.before(a)
		}
		var out message
		a.begin(c.open, &out)
		nd.server.methods.Switches.Switch(method.LeasesSetting, true)
		damage = nil
		var got interrex.Kind
		if len(out.Refused) == 1 {
			got = interrex.Kind(out.Refused[0].GetError().GetKind())
		}
		if got != c.want || len(out.Opened)+len(out.Refused) != 1 {
			t.Errorf("%s: refused as %q, want %q", what, got, c.want)
		}
		a.close()
	}
	if n := nd.server.checker.Ring.Stats().Watchers; n != 0 {
		t.Errorf("%d watches are left in the ring", n)
	}
}

// fill opens as many watches as a stream may have.
func fill(a *audience) {
	for id := uint64(100); len(a.open) < MaxWatches; id++ {
		a.open[id] = &watched{id: id, method: a.open[1].method}
	}
}

func TestCreditHasALimit(t *testing.T) {
	a := newAudience(newViewed(t).server, admission.Caller{})
	defer a.close()
	var out message
	a.begin(opening(t, 1, 1, &interrexv1.WatchRequest{Since: 1}), &out)
	a.allow(&interrexv1.WatchCredit{Id: 1, Events: MaxWatchCredit - 1}, &out)
	if len(out.Ended) != 0 || a.open[1].credit != MaxWatchCredit {
		t.Fatalf("with all credit it is ended: %v", out.Ended)
	}
	a.allow(&interrexv1.WatchCredit{Id: 1, Events: 1}, &out)
	if len(out.Ended) != 1 || interrex.Kind(out.Ended[0].GetError().GetKind()) != interrex.ErrInvalid || len(a.open) != 0 {
		t.Errorf("with more it goes on: %v", out.Ended)
	}
}

func TestAWatchWhoseCreditEndsWithinARevisionGetsAllOfIt(t *testing.T) {
	nd := newViewed(t)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	a.begin(opening(t, 1, 1, &interrexv1.WatchRequest{Since: 1}), &message{})
	e := state.Event{Revision: 2, Table: machine.LeaseTable, Kind: interrex.LeaseClaimed, Key: "jobs/a"}
	later := e
	later.Revision = 3
	nd.server.checker.Ring.Publish([]state.Event{e, e, later}, 3)
	var out message
	a.gather(&out)
	if out.events != 2 || a.open[1].credit != -1 || a.open[1].cursor.Position() != 2 {
		t.Errorf("%d events, credit %d, at %d", out.events, a.open[1].credit, a.open[1].cursor.Position())
	}
}

func TestAPartOfASnapshotHasALimitOfBytes(t *testing.T) {
	nd := newViewed(t)
	for i := range 4 {
		nd.hold(fmt.Sprintf("jobs/%d", i))
	}
	one := proto.Size(&interrexv1.LeaseEvent{Kind: interrex.LeasePresent})
	for bytes, want := range map[int]int{0: 1, one: 1, one + 1: 2, 100 * one: 4} { // one event may exceed it
		if p := nd.asks(&interrexv1.WatchRequest{}).present("", room{events: 10, bytes: bytes}); len(p.events) != want || p.more != (want < 4) || p.last != nd.keys[want-1] {
			t.Errorf("in %d bytes: %d rows up to %s, and there are more: %v", bytes, len(p.events), p.last, p.more)
		}
	}
}

func TestAnEventWhoseDetailsAreLostIsCompacted(t *testing.T) {
	_, err := newViewed(t).method.encode(&state.Event{Revision: 7, Value: state.Lost{}})
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.ErrCompacted || e.FirstRevision != 7 {
		t.Errorf("got %v", err)
	}
}

func TestAWatchTakesMemoryWhileItIsOpen(t *testing.T) {
	nd, b := newViewed(t), admission.NewBudget(0)
	a := newAudience(nd.server, admission.Caller{})
	defer a.close()
	a.account = b.Open(admission.Caller{Name: "ann"})
	out := &message{}
	a.begin(opening(t, 1, 1, &interrexv1.WatchRequest{}), out)
	a.begin(opening(t, 2, 1, &interrexv1.WatchRequest{Since: 900}), out) // is ahead
	a.begin(opening(t, 1, 1, &interrexv1.WatchRequest{}), out)           // is open
	if len(a.open) != 2 || len(out.Refused) != 1 || b.Used() < 2*watchBytes {
		t.Fatalf("%d are open, %d refused, and %d bytes taken", len(a.open), len(out.Refused), b.Used())
	}
	ahead := a.open[2]
	a.ahead = nil
	a.enter(ahead, interrex.Errorf(interrex.ErrInvalid, "the cluster is not that far"), out)
	a.forget(1)
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
	w, err := a.read(opening(t, 3, 1, &interrexv1.WatchRequest{}))
	nd.must(err)
	a.enter(w, interrex.Errorf(interrex.ErrCompacted, "that is no longer kept"), out)
	if b.Used() != 0 {
		t.Errorf("of one that never began %d bytes are left", b.Used())
	}
	others := b.Open(admission.Caller{})
	others.Force(int(b.Limit()))
	if _, err := a.read(opening(t, 3, 1, &interrexv1.WatchRequest{})); interrex.KindOf(err) != interrex.ErrOverloaded {
		t.Errorf("without memory: %v", err)
	}
	account := b.Open(admission.Caller{Name: "ann"})
	begun := false
	time.AfterFunc(10*time.Millisecond, others.Close)
	err = sendOut(t.Context(), account, 1000, func() error { begun = true; return nil })
	if err != nil || !begun || b.Used() != 0 {
		t.Errorf("a message that waits for memory: %v, sent %v, %d bytes are left", err, begun, b.Used())
	}
}

func TestOneCallerHasAQuarterOfTheWatches(t *testing.T) {
	nd := newViewed(t)
	nd.server.calls = admission.NewCalls(admission.NewInFlight(16))
	out := &message{}
	flood, more, good := newAudience(nd.server, admission.Caller{Name: "flood"}), newAudience(nd.server, admission.Caller{Name: "flood"}), newAudience(nd.server, admission.Caller{Name: "good"})
	for id := range uint64(4) {
		flood.begin(opening(t, id, 1, &interrexv1.WatchRequest{}), out)
	}
	more.begin(opening(t, 1, 1, &interrexv1.WatchRequest{}), out)
	good.begin(opening(t, 1, 1, &interrexv1.WatchRequest{}), out)
	if len(flood.open) != 4 || len(more.open) != 0 || len(good.open) != 1 || len(out.Refused) != 1 || out.Refused[0].GetError().GetKind() != "overloaded" {
		t.Errorf("%d, %d and %d are open, refused is %v", len(flood.open), len(more.open), len(good.open), out.Refused)
	}
	flood.forget(1)
	flood.forget(2)
	if more.begin(opening(t, 2, 1, &interrexv1.WatchRequest{}), out); len(more.open) != 1 {
		t.Errorf("what has ended is not free: %v", out.Refused)
	}
	for _, a := range []*audience{flood, more, good} {
		a.close()
	}
	for kind, u := range nd.server.calls.Uses {
		if u.Used != 0 {
			t.Errorf("%d %s are left", u.Used, kind)
		}
	}
}
