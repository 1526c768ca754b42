package operations

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
)

// fixedLeader is a clock that the test advances.
type fixedLeader struct {
	clock.Clock
	now time.Time
}

func (c *fixedLeader) Now() time.Time { return c.now }

// couriered is a courier and its outcomes. It does not retry by itself.
type couriered struct {
	*courier
	clock *fixedLeader
	done  []outcome
	begin time.Time
}

func newCouriered(t *testing.T, d admission.Door, edit ...func(*Config, *consistency.Config)) *couriered {
	t.Helper()
	st, err := machine.New(machine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	begin := time.Unix(1000, 0)
	c := &couriered{clock: &fixedLeader{clock.WallClock, begin}, begin: begin}
	config := Config{
		Clock: c.clock, LeaderWait: 2 * time.Second, AnswerWait: 10 * time.Second,
	}
	stands := consistency.Config{ID: "a", State: st, Leadership: fixed{interrex.Leadership{Term: 1}}, Logger: silent{}}
	for _, fn := range edit {
		fn(&config, &stands)
	}
	c.courier = newCourier(t.Context(), New(config, consistency.New(stands), &method.Registry{}, admission.NewCalls(nil)), admission.Caller{Door: d}, func(_ *request, o outcome) { c.done = append(c.done, o) })
	c.running = true
	t.Cleanup(c.close)
	return c
}

// request returns a request that was just sent, and has a minute to enter the log.
func (c *couriered) request(hopped bool) *request {
	return &request{
		Call: method.ToLeader(&method.Method{}, admission.Caller{}, nil, c.begin.Add(time.Minute)), stop: make(chan struct{}), sent: c.clock.now, hopped: hopped,
	}
}

// dueWhere is due with another leader, or without one.
func (c *couriered) dueWhere(led bool) (due []*request, next time.Duration, more bool) {
	l := interrex.Leadership{Term: 1}
	if led {
		l.LeaderID = "b"
	}
	c.server.checker.Leadership = fixed{l}
	return c.due()
}

func told(k interrex.Kind) outcome { return outcome{err: interrex.Errorf(k, "told so")} }

func TestWhatIsSentAgain(t *testing.T) {
	const (
		here  = false
		there = true
	)
	for _, test := range []struct {
		what   string
		door   admission.Door
		kind   interrex.Kind
		hopped bool
		change func(*couriered, *request)
		again  bool
	}{
		{"another leads", admission.Public, interrex.ErrNotLeader, here, nil, true},
		{"another leads, says one that was asked", admission.Public, interrex.ErrNotLeader, there, nil, true},
		{"nobody leads", admission.Public, interrex.ErrNoLeader, here, nil, true},
		{"an agent's", admission.Peer, interrex.ErrNotLeader, here, nil, false},
		{"an agent's, and nobody leads", admission.Peer, interrex.ErrNoLeader, here, nil, false},
		{"this agent's own refusal", admission.Public, interrex.ErrUnavailable, here, nil, false},
		{"this agent stops", admission.Public, interrex.ErrDraining, here, nil, false},
		{"the leader is not there", admission.Public, interrex.ErrUnavailable, there, nil, true},
		{"the leader stops", admission.Public, interrex.ErrDraining, there, nil, true},
		{"the caller asks again himself", admission.Public, interrex.ErrUnavailable, there, func(_ *couriered, r *request) { r.Envelope.AsksAgain = true }, false},
		{"it has stood in line there", admission.Public, interrex.ErrUnavailable, there, func(c *couriered, _ *request) { c.clock.now = c.begin.Add(2 * time.Second) }, false},
		{"it has nearly stood in line there", admission.Public, interrex.ErrUnavailable, there, func(c *couriered, _ *request) { c.clock.now = c.begin.Add(2*time.Second - 1) }, true},
		{"its caller has gone", admission.Public, interrex.ErrNotLeader, here, func(_ *couriered, r *request) { r.cancel() }, false},
		{"its stream has ended", admission.Public, interrex.ErrNotLeader, here, func(c *couriered, _ *request) { c.closed = true }, false},
		{"its time is over", admission.Public, interrex.ErrNotLeader, there, func(c *couriered, r *request) { r.Enter = c.begin.Add(minPause - 1) }, false},
		{"its time is nearly over", admission.Public, interrex.ErrNotLeader, there, func(c *couriered, r *request) { r.Enter = c.begin.Add(minPause) }, true},
		{"its time is over, and nobody leads", admission.Public, interrex.ErrNoLeader, here, func(c *couriered, r *request) { r.Enter = c.begin }, false},
	} {
		c := newCouriered(t, test.door)
		r := c.request(test.hopped)
		if test.change != nil {
			test.change(c, r)
		}
		c.finished(r, told(test.kind))
		if again := slices.Contains(c.again, r); again != test.again || len(c.done) == 1 == again || len(c.wake) == 1 != again {
			t.Errorf("%s: sent again: %v, and answered %v", test.what, again, c.done)
		}
	}
}

func TestThePausesOfOneRequestGrowUntilItsTimeIsOver(t *testing.T) {
	c := newCouriered(t, admission.Public)
	r := c.request(true)
	var waited time.Duration
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 160} {
		r.sent = c.clock.now
		o := told(interrex.ErrNotLeader)
		c.finished(r, o)
		want *= time.Millisecond
		if due, next, more := c.dueWhere(true); len(due) > 0 || next != want || !more {
			t.Errorf("attempt %d: due %v, next in %v, want %v", i, due, next, want)
		}
		c.clock.now = c.clock.now.Add(want)
		waited += want
		if due, _, more := c.dueWhere(false); len(due) != 1 || more {
			t.Errorf("attempt %d: nothing is due after %v", i, want)
		}
		if r.retries.last.err != o.err || !r.retries.limit.Equal(c.begin.Add(2*time.Second)) {
			t.Errorf("attempt %d: %v, until %v", i, r.retries.last, r.retries.limit.Sub(c.begin))
		}
	}
	if waited >= 2*time.Second {
		t.Fatal("the limit was never ahead")
	}
}

func TestALeaderIsLookedForAnewOnceAClaimHasStoodInLine(t *testing.T) {
	c := newCouriered(t, admission.Public)
	r := c.request(true)
	r.Wait = &queue.Wait{Until: c.begin.Add(time.Hour)}
	c.finished(r, told(interrex.ErrNotLeader))
	c.clock.now = c.begin.Add(10 * time.Millisecond)
	c.dueWhere(false)
	r.sent = c.clock.now
	c.clock.now = c.begin.Add(30 * time.Minute) // and now that leader goes
	c.finished(r, told(interrex.ErrNotLeader))
	if len(c.again) != 1 || len(c.done) != 0 || !r.retries.limit.Equal(c.clock.now.Add(2*time.Second)) || !r.retries.at.Equal(c.clock.now.Add(minPause)) {
		t.Errorf("sent again: %v, answered %v", c.again, c.done)
	}
}

func TestWhereNobodyLeadsARequestWaitsForALeader(t *testing.T) {
	c := newCouriered(t, admission.Public)
	r := c.request(false)
	c.finished(r, told(interrex.ErrNoLeader))
	c.clock.now = c.begin.Add(2*time.Second - 1)
	if due, _, more := c.dueWhere(false); len(due) > 0 || !more {
		t.Fatalf("due before its time, and before somebody leads: %v", due)
	}
	if due, _, more := c.dueWhere(true); len(due) != 1 || more || !c.running {
		t.Errorf("somebody leads: due %v", due)
	}
	if due, _, more := c.dueWhere(true); len(due) > 0 || more || c.running {
		t.Errorf("nothing is left: due %v, running %v", due, c.running)
	}
	c.running = true
	gone := c.request(false)
	c.finished(gone, told(interrex.ErrNoLeader))
	gone.cancel()
	if due, _, _ := c.dueWhere(false); len(due) != 1 {
		t.Error("one who has gone waits on")
	}
}

func TestWhoWaitsForALeaderIsToldWhyWhenTheStreamEnds(t *testing.T) {
	c := newCouriered(t, admission.Public)
	o := told(interrex.ErrNoLeader)
	c.finished(c.request(false), o)
	c.giveUp()
	if len(c.done) != 1 || c.done[0].err != o.err || len(c.again) != 0 {
		t.Errorf("%v", c.done)
	}
	c.finished(c.request(false), o)
	if len(c.done) != 2 || len(c.again) != 0 {
		t.Error("it is to be sent again, by nobody")
	}
	c.start(func() { t.Error("something was begun after the end") })
}

func TestALeaderIsAnotherAgent(t *testing.T) {
	forward := func(config *Config, stands *consistency.Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return &scripted{}, nil }
	}
	for _, test := range []struct {
		id   string
		edit func(*Config, *consistency.Config)
		led  bool
		kind interrex.Kind
	}{
		{"", forward, false, interrex.ErrNoLeader},
		{"a", forward, false, interrex.ErrNoLeader}, // it leads, and is not ready for it
		{"", unforwarded, false, interrex.ErrNoLeader},
		{"a", unforwarded, false, interrex.ErrNoLeader},
		{"b", unforwarded, true, interrex.ErrNotLeader},
	} {
		c := newCouriered(t, admission.Public, test.edit, func(config *Config, stands *consistency.Config) {
			stands.Leadership = fixed{interrex.Leadership{Term: 1, LeaderID: test.id}}
		})
		r := c.request(true)
		c.send([]*request{r})
		if c.led() != test.led || interrex.KindOf(r.retries.last.err) != test.kind || r.hopped {
			t.Errorf("leader %q: leads %v, %v", test.id, c.led(), r.retries.last.err)
		}
	}
}

func TestAPeerIsNotSentToTheAgentThatItAsks(t *testing.T) {
	for id, want := range map[string]interrex.Kind{"": interrex.ErrNoLeader, "a": interrex.ErrNoLeader, "b": interrex.ErrNotLeader} {
		c := newCouriered(t, admission.Peer, func(config *Config, stands *consistency.Config) {
			stands.Leadership = fixed{interrex.Leadership{Term: 1, LeaderID: id}}
			config.Forward = func(context.Context, string) (Forwarder, error) { return &scripted{}, nil }
		})
		r := c.request(false)
		r.Envelope.Body = []byte{}
		c.send([]*request{r})
		if len(c.done) != 1 || interrex.KindOf(c.done[0].err) != want {
			t.Errorf("leader %q: %v", id, c.done)
		}
	}
}

func TestWhatIsAbroadIsGivenUpWhenItsTimeIsOverAndNotBefore(t *testing.T) {
	c := newCouriered(t, admission.Public, func(config *Config, stands *consistency.Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return &mute{}, nil }
	})
	early, late := c.request(false), c.request(false)
	late.Wait = &queue.Wait{Until: c.begin.Add(time.Hour)}
	for _, r := range []*request{early, late} {
		r.Envelope.Body = []byte{}
	}
	c.forward("b", []*request{early, late}, c.begin)
	c.clock.now = early.Enter.Add(10 * time.Second)
	if !c.sweep() || len(c.done) != 0 {
		t.Fatalf("given up before: %v", c.done)
	}
	c.clock.now = c.clock.now.Add(1)
	if !c.sweep() || len(c.done) != 1 || !early.isGone() || late.isGone() {
		t.Fatalf("the first: %v", c.done)
	}
	c.clock.now = late.Wait.Until.Add(10*time.Second + 1)
	if !c.sweep() || len(c.done) != 2 || !late.isGone() {
		t.Errorf("the second: %v", c.done)
	}
	if c.sweep() || len(c.remote) != 0 {
		t.Error("all is answered, and it is looked after on")
	}
}

func TestAnAgentThatCannotBeReachedIsUnavailable(t *testing.T) {
	c := newCouriered(t, admission.Public, func(config *Config, stands *consistency.Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return nil, errors.New("no way") }
	})
	r := c.request(false)
	r.Envelope.Body = []byte{}
	c.forward("b", []*request{r}, c.begin)
	if len(c.again) != 1 || interrex.KindOf(r.retries.last.err) != interrex.ErrUnavailable {
		t.Errorf("sent again: %v, answered %v", c.again, c.done)
	}
}

func TestACourierThatIsClosedBeginsNothing(t *testing.T) {
	c := newCouriered(t, admission.Public)
	c.close()
	began := false
	c.start(func() { began = true })
	c.work.Wait()
	if began {
		t.Error("nobody waits for what it has begun")
	}
}

func TestAPanicOfARaftIsOneRequestsFailure(t *testing.T) {
	c := newCouriered(t, admission.Public, func(config *Config, stands *consistency.Config) {
		stands.Reads = func() (consistency.Reads, bool) { return panicking{}, true }
	})
	r := c.request(false)
	m := method.ReadIndex()
	r.Method = &m
	if o := c.index(r); interrex.KindOf(o.err) != interrex.ErrOutcomeUnknown {
		t.Errorf("%v", o.err)
	}
}

// Also this agent itself may be the one that was elected. As long as another agent does not
// know that, it is not asked without a pause.
func TestWhatWaitsForALeaderGoesOnOnceThereIsOne(t *testing.T) {
	for what, l := range map[string]interrex.Leadership{"another agent": {LeaderID: "b"}, "this agent": {LeaderID: "a", Leader: true}} {
		c := newCouriered(t, admission.Public)
		r := c.request(false)
		c.finished(r, told(interrex.ErrNoLeader))
		c.server.checker.Leadership = fixed{l}
		if due, _, _ := c.due(); len(due) != 1 {
			t.Errorf("%s leads, and the request waits", what)
		}
		c.finished(r, told(interrex.ErrNoLeader))
		if due, _, _ := c.due(); len(due) != 0 || !r.retries.at.Equal(c.begin.Add(2*minPause)) {
			t.Errorf("%s leads, and the request is sent again at %v", what, r.retries.at)
		}
	}
}

// A read that was on its way to the leader is answered by the agent that has become it.
func TestAReadAtTheLeaderDoesNotEnterTheLog(t *testing.T) {
	all, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { all.Kill(); _ = all.Wait() })
	c := newCouriered(t, admission.Public, func(config *Config, _ *consistency.Config) {
		config.Queue, config.Visitors = all, &Visitors{}
		config.Hooks = func() []*webhook.Hook { return nil }
	})
	c.enqueue([]*request{c.request(false)}, c.begin)
	if len(c.done) != 1 || c.done[0].err != nil || c.done[0].logged {
		t.Errorf("its outcome is %+v", c.done)
	}
}

func TestACourierThatIsClosedWaitsForWhatItHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouriered(t, admission.Public)
		over := false
		c.start(func() {
			<-c.ctx.Done()
			time.Sleep(time.Second)
			over = true
		})
		if c.close(); !over {
			t.Error("it goes on")
		}
	})
}

// hasty refuses the first attempt, which is followed by a second before its own
// Send has returned.
type hasty struct {
	again    func() // makes the second attempt
	sends    int
	canceled []int // attempts
}

func (h *hasty) Send(_ []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	h.sends++
	attempt := h.sends
	if attempt == 1 {
		done(0, nil, told(interrex.ErrNotLeader).err)
		h.again()
	}
	return func(int) { h.canceled = append(h.canceled, attempt) }
}

func TestACancelReachesTheNewestAttempt(t *testing.T) {
	h := &hasty{}
	c := newCouriered(t, admission.Public, func(config *Config, stands *consistency.Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return h, nil }
	})
	r := c.request(false)
	r.Envelope.Body = []byte{}
	h.again = func() { c.forward("b", []*request{r}, c.begin) }
	c.forward("b", []*request{r}, c.begin)
	r.cancel()
	if !slices.Equal(h.canceled, []int{2}) {
		t.Errorf("of attempts 1 and 2 these were canceled: %v", h.canceled)
	}
}

// silent is a logger.
type silent struct{}

func (silent) Errorf(string, ...any) {}

// unforwarded has no Forwarder to other agents.
func unforwarded(config *Config, _ *consistency.Config) { config.Forward = nil }
