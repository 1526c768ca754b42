package hookcaller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// world is what a worker works with: the log is a queue whose operations are
// applied by the test.
type world struct {
	t     *testing.T
	table *webhook.Table
	ring  *watch.Ring
	queue *queue.Queue
	log   *notes
	clock *manual
	busy  atomic.Int64 // how often the data of an event cannot be made yet

	mu       sync.Mutex
	at       interrex.Revision
	advances int
}

// manual is a clock whose waits last no time, and whose time is moved by hand.
type manual struct {
	clock.Clock
	ahead   atomic.Int64
	longest atomic.Int64 // that was waited for
}

func (m *manual) Now() time.Time { return m.Clock.Now().Add(time.Duration(m.ahead.Load())) }

func (m *manual) After(d time.Duration) <-chan time.Time {
	if int64(d) > m.longest.Load() {
		m.longest.Store(int64(d))
	}
	return m.Clock.After(min(d, 5*time.Millisecond))
}

func newWorld(t *testing.T, limit int) *world {
	t.Helper()
	w := &world{t: t, table: webhook.New(), ring: watch.New(watch.Config{MaxEvents: limit}), log: &notes{}, clock: &manual{Clock: clock.WallClock}}
	t.Cleanup(w.ring.Close)
	var err error
	if w.queue, err = queue.New(queue.Config{Clock: clock.WallClock}); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var applying sync.WaitGroup
	applying.Go(func() {
		for {
			for _, op := range w.queue.Take(100, 1<<20) {
				w.apply(op)
			}
			select {
			case <-over:
				return
			case <-w.queue.Ready():
			}
		}
	})
	t.Cleanup(func() { _ = worker.Stop(w.queue); close(over); applying.Wait() })
	return w
}

func (w *world) apply(op *queue.Operation) {
	c, err := w.table.Decode(op.Data)
	if err == nil {
		err = w.table.Check(0, c)
	}
	if err == nil {
		w.mu.Lock()
		w.at++
		w.advances++
		w.table.Apply(&state.Turn{Revision: w.at, Table: machine.WebhookTable}, c)
		w.mu.Unlock()
	}
	op.Answer(state.Result{Err: err})
}

func (w *world) noted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.advances
}

// set sets a hook that is called after events.
func (w *world) set(name, url string, kinds ...string) *webhook.Hook {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at++
	w.table.Apply(&state.Turn{Revision: w.at, Table: machine.WebhookTable}, &webhook.Set{Secret: "0123456789abcdef", Spec: webhook.Spec{
		Name: name, URL: url, When: interrex.WebhookAfter, OnFailure: interrex.WebhookRefuse, Timeout: limits.MaxWebhookTimeout, Kinds: kinds,
	}})
	return w.table.Get(name)
}

// happen publishes events, each with a revision of its own.
func (w *world) happen(kinds ...string) (last interrex.Revision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range kinds {
		w.at++
		w.ring.Publish([]state.Event{{Revision: w.at, Kind: kind, Key: "a/b", Wall: time.Unix(7, 0)}}, w.at)
	}
	return w.at
}

// run runs a worker until the test ends, or stop is called.
func (w *world) run() (run *Worker, stop func()) {
	w.t.Helper()
	caller, err := New(Config{Agent: "n1", Clock: clock.WallClock, Logger: w.log, Metrics: NewMetrics()})
	if err != nil {
		w.t.Fatal(err)
	}
	run, err = NewWorker(WorkerConfig{
		Caller: caller, Table: w.table, Ring: w.ring, Queue: w.queue, Clock: w.clock, Logger: w.log,
		Data: func(e *state.Event) ([]byte, error) {
			if w.busy.Add(-1) >= 0 {
				return nil, interrex.Errorf(interrex.ErrUnavailable, "not yet")
			}
			return fmt.Appendf(nil, `{"of":%d}`, e.Revision), nil
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { _ = worker.Stop(run); caller.Close() })
	w.t.Cleanup(stop)
	return run, stop
}

// taker receives what is delivered to hooks; fails is how often it refuses first.
type taker struct {
	url   string
	fails atomic.Int64
	mu    sync.Mutex
	got   []document
	keys  []string
}

func newTaker(t *testing.T) *taker {
	k := &taker{}
	k.url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if k.fails.Add(-1) >= 0 {
			w.WriteHeader(503)
			return
		}
		var c document
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &c); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.got, k.keys = append(k.got, c), append(k.keys, r.Header.Get("Idempotency-Key"))
	})
	return k
}

func (k *taker) told() (all []interrex.Revision) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.got {
		all = append(all, c.Revision)
	}
	return all
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestAHookIsToldInOrderWhatItIsFor(t *testing.T) {
	w := newWorld(t, 0)
	w.happen(interrex.LeaseClaimed)
	k := newTaker(t)
	w.set("audit", k.url, interrex.LeaseClaimed, interrex.LeaseExpired)
	k.fails.Store(3)
	w.busy.Store(2)
	w.run()
	w.happen(interrex.LeaseClaimed, interrex.LeasePinned, interrex.LeaseExpired)
	last := w.happen(interrex.LeaseClaimed)
	eventually(t, "it is not told", func() bool { return len(k.told()) == 3 })
	if got := k.told(); !slices.Equal(got, []interrex.Revision{last - 3, last - 1, last}) {
		t.Errorf("it was told %v", got)
	}
	c := k.got[1]
	if c.Kind != interrex.LeaseExpired || c.Key != "a/b" || !c.Time.Equal(time.Unix(7, 0)) || string(c.Data) != fmt.Sprintf(`{"of":%d}`, c.Revision) || c.Tags == nil || k.keys[1] != fmt.Sprint(uint64(c.Revision)) {
		t.Errorf("it was told %+v under %s", c, k.keys[1])
	}
}

func TestAHookThatFailsHoldsUpItselfAlone(t *testing.T) {
	w := newWorld(t, 0)
	bad, good := newTaker(t), newTaker(t)
	bad.fails.Store(1 << 40)
	h := w.set("bad", bad.url)
	w.set("good", good.url)
	run, _ := w.run()
	w.happen(slices.Repeat([]string{interrex.LeaseClaimed}, 20)...)
	eventually(t, "the other is not told", func() bool { return len(good.told()) == 20 })
	eventually(t, "its failures are not counted", func() bool { return run.config.Caller.Health(h).Failures >= openAfter })
	if got := run.config.Caller.Health(h); got.Breaker == Closed || !strings.Contains(got.Error, "503") {
		t.Errorf("its health is %+v", got)
	}
	if longest := time.Duration(w.clock.longest.Load()); longest < 8*minRetry {
		t.Errorf("after 5 failures it is tried again every %v", longest)
	}
	bad.fails.Store(0)
	eventually(t, "it is not told once it works", func() bool { return len(bad.told()) == 20 })
	if got := run.config.Caller.Health(h); got.Breaker != Closed {
		t.Errorf("its health is %+v", got)
	}
}

// The next leader continues after the last recorded position, and skips nothing.
func TestWhatIsNotNotedIsToldAgain(t *testing.T) {
	w := newWorld(t, 0)
	k := newTaker(t)
	w.set("audit", k.url)
	_, stop := w.run()
	w.happen(slices.Repeat([]string{interrex.LeaseClaimed}, 5)...)
	eventually(t, "it is not told", func() bool { return len(k.told()) == 5 })
	stop()
	least := k.told()[3] // the last answer may be on its way
	if at := w.table.Get("audit").Position; at < least {
		t.Errorf("a worker that stops in order notes %d, want %d at least", at, least)
	}
	before := *w.table.Get("audit")
	_, stop = w.run()
	last := w.happen(interrex.LeaseClaimed)
	ofLast := func() int {
		return len(slices.DeleteFunc(k.told(), func(r interrex.Revision) bool { return r != last }))
	}
	eventually(t, "it is not told on", func() bool { return ofLast() == 1 })
	stop()
	w.mu.Lock() // the note was lost, as when a leader is killed
	lost := before
	restored := webhook.New()
	restored.Apply(&state.Turn{Revision: lost.Created}, &webhook.Set{Spec: lost.Spec, Secret: lost.Secret})
	restored.Apply(&state.Turn{}, &webhook.Advance{Steps: []webhook.Step{{Name: lost.Name, Created: lost.Created, To: lost.Position}}})
	w.table = restored
	w.mu.Unlock()
	w.run()
	eventually(t, "what was not noted is not told again", func() bool { return ofLast() == 2 })
	if got := k.told(); len(got) > 9 { // twice the last, and the one before it at most three times
		t.Errorf("it was told %v", got)
	}
}

func TestPositionsAreNotedNowAndThen(t *testing.T) {
	w := newWorld(t, 0)
	k, other := newTaker(t), newTaker(t)
	w.set("audit", k.url)
	w.set("other", other.url)
	w.run()
	w.happen(slices.Repeat([]string{interrex.LeaseClaimed}, 50)...)
	eventually(t, "they are not told", func() bool { return len(k.told()) == 50 && len(other.told()) == 50 })
	if n := w.noted(); n != 0 {
		t.Errorf("%d entries for 100 deliveries within a minute", n)
	}
	w.clock.ahead.Store(int64(noteEvery))
	eventually(t, "nothing is noted after a minute", func() bool { return w.noted() == 1 })
	least := k.told()[48] // the last answer may be on its way
	if a, b := w.table.Get("audit").Position, w.table.Get("other").Position; a < least || b < least {
		t.Errorf("one entry notes %d and %d, of %d", a, b, least)
	}
	w.happen(slices.Repeat([]string{interrex.LeaseClaimed}, noteAfter)...)
	eventually(t, "nothing is noted after 1 000 deliveries", func() bool { return w.noted() >= 2 })
}

func TestWhatIsSkippedIsSaid(t *testing.T) {
	w := newWorld(t, 8)
	k := newTaker(t)
	h := w.set("audit", k.url)
	last := w.happen(slices.Repeat([]string{interrex.LeaseClaimed}, 100)...)
	run, stop := w.run()
	eventually(t, "it is not told the rest", func() bool { return len(k.told()) > 0 && k.told()[len(k.told())-1] == last })
	p := run.Progress()[0]
	first := k.told()[0]
	if p.SkippedFrom != h.Position+1 || p.SkippedTo != first-1 || p.Skipped != uint64(first-1-h.Position) || p.SkippedAt.IsZero() {
		t.Errorf("it was told from %d on, and the progress is %+v", first, p)
	}
	if want := fmt.Sprintf("webhook audit: revisions %d to %d are no longer kept", p.SkippedFrom, p.SkippedTo); !strings.Contains(w.log.text(), want) {
		t.Errorf("the log has %q, want %q", w.log.text(), want)
	}
	w.set("audit", k.url)
	eventually(t, "who sets it again is told of what was skipped before", func() bool {
		now := run.Progress()
		return len(now) == 1 && now[0].SkippedAt.IsZero() && now[0].Skipped == p.Skipped
	})
	stop()
	if got := w.table.Get("audit"); got.SkippedFrom != p.SkippedFrom || got.SkippedTo != p.SkippedTo || got.Skipped != p.Skipped {
		t.Errorf("the log notes %+v", got.State())
	}
}

func TestAHookThatIsSetAgainGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, 0)
	old, next := newTaker(t), newTaker(t)
	w.set("audit", old.url)
	run, _ := w.run()
	w.happen(interrex.LeaseClaimed, interrex.LeaseClaimed)
	eventually(t, "it is not told", func() bool { return len(old.told()) == 2 })
	w.set("audit", next.url)
	w.happen(interrex.LeaseClaimed)
	eventually(t, "it is not told under its new address", func() bool { return len(next.told())+len(old.told()) >= 3 }) // more, if the one before was cut off
	eventually(t, "the progress is of the hook before", func() bool {
		p := run.Progress()
		return len(p) == 1 && p[0].Hook.URL == next.url
	})
	w.mu.Lock()
	w.table.Apply(&state.Turn{Revision: w.at + 1}, &webhook.Delete{Name: "audit"})
	w.mu.Unlock()
}

func TestEventsOfOneRevisionAreToldApart(t *testing.T) {
	w := newWorld(t, 0)
	k := newTaker(t)
	w.set("audit", k.url)
	run, _ := w.run()
	w.ring.Publish([]state.Event{{Revision: 9, Kind: "a"}, {Revision: 9, Kind: "b"}, {Revision: 10, Kind: "c"}}, 10)
	eventually(t, "it is not told", func() bool { return len(k.told()) == 3 })
	if !slices.Equal(k.keys, []string{"9", "9.1", "10"}) {
		t.Errorf("the keys are %v", k.keys)
	}
	eventually(t, "it does not come as far", func() bool { return run.Progress()[0].At == 10 })
}

// A revision is passed when all of its events are delivered.
func TestARevisionThatIsHalfToldIsNotPassed(t *testing.T) {
	w := newWorld(t, 0)
	var asked atomic.Int64
	wait := hung(t)
	h := w.set("audit", serve(t, func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			wait(rw, r)
		}
	}))
	run, _ := w.run()
	w.ring.Publish([]state.Event{{Revision: 9, Kind: "a"}, {Revision: 9, Kind: "b"}}, 9)
	eventually(t, "it is not told", func() bool { return asked.Load() == 2 })
	if at := run.Progress()[0].At; at != h.Position {
		t.Errorf("it stands at %d amid the events of 9", at)
	}
}

func TestAChangeIsToldWithItsTagsInUTC(t *testing.T) {
	wall := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("there", 3600))
	b, err := changeOf(&state.Event{Revision: 7, Kind: interrex.UserChange, Wall: wall, Value: &change.User{Tags: []string{"a", "b"}}}, nil)
	if want := `{"revision":"7","kind":"user","key":"","tags":["a","b"],"time":"2026-03-04T04:06:07Z","data":null}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}

func TestAnEventWhoseDataIsNoJSONIsNotTold(t *testing.T) {
	if b, err := changeOf(&state.Event{Revision: 7}, []byte("{")); err == nil || !strings.Contains(err.Error(), "the event of revision 7") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestATellingThatReachesNobodyIsAFailure(t *testing.T) {
	c, _ := newCaller(t)
	h := hook("http://127.0.0.1:1/")
	if err := c.tell(t.Context(), h, []byte("{}"), 7, 0); err == nil || c.Health(h).Failures != 1 {
		t.Errorf("%v after %d failures", err, c.Health(h).Failures)
	}
}

// A call that the agent ends says nothing of the hook.
func TestATellingThatTheAgentEndsIsNoFailure(t *testing.T) {
	c, _ := newCaller(t)
	entered := make(chan struct{})
	wait := hung(t)
	h := hook(serve(t, func(w http.ResponseWriter, r *http.Request) { close(entered); wait(w, r) }))
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	go func() { <-entered; cancel(mine) }()
	if err := c.tell(ctx, h, []byte("{}"), 7, 0); !errors.Is(err, mine) || c.Health(h).Failures != 0 {
		t.Errorf("%v after %d failures", err, c.Health(h).Failures)
	}
}

func TestTimesAndLimitsAreThoseOfTheContract(t *testing.T) {
	for name, bound := range map[string][2]int64{
		"the first pause of a breaker": {int64(minOpen), int64(time.Second)},
		"the longest":                  {int64(maxOpen), int64(time.Minute)},
		"the first pause of a telling": {int64(minRetry), int64(200 * time.Millisecond)},
		"the longest one":              {int64(maxRetry), int64(time.Minute)},
		"a note in the log":            {int64(noteEvery), int64(time.Minute)},
		"deliveries for a note":        {noteAfter, 1000},
		"bytes of an answer":           {maxAnswer, 64 << 10},
	} {
		if bound[0] != bound[1] {
			t.Errorf("%s: %d, and docs/semantics.md says %d", name, bound[0], bound[1])
		}
	}
}
