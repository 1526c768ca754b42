package api

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// standing is a clock that is put forward by hand.
type standing struct {
	clock.Clock
	now time.Time
}

func (c *standing) Now() time.Time { return c.now }

// couriered is a courier, and what it has answered. It sends nothing again itself.
type couriered struct {
	*courier
	clock *standing
	done  []outcome
	begin time.Time
}

func newCouriered(t *testing.T, d door, edit ...func(*Config)) *couriered {
	t.Helper()
	st, err := state.New(state.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	begin := time.Unix(1000, 0)
	c := &couriered{clock: &standing{clock.WallClock, begin}, begin: begin}
	config := Config{
		ID: "a", Clock: c.clock, LeaderWait: 2 * time.Second, AnswerWait: 10 * time.Second, State: st,
		Leadership: constant{interrex.Leadership{Term: 1}},
	}
	for _, fn := range edit {
		fn(&config)
	}
	c.courier = newCourier(t.Context(), &Server{config: config}, caller{door: d}, func(_ *request, o outcome) { c.done = append(c.done, o) })
	c.running = true
	t.Cleanup(c.close)
	return c
}

// request is one that was sent just now, and may enter the log for a minute.
func (c *couriered) request(hopped bool) *request {
	return &request{
		method: &Method{}, envelope: &interrexv1.Operation{},
		errand: &errand{enter: c.begin.Add(time.Minute), stop: make(chan struct{}), sent: c.clock.now}, hopped: hopped,
	}
}

// dueWhere is due, where another agent leads or nobody does.
func (c *couriered) dueWhere(led bool) (due []*request, next time.Duration, more bool) {
	l := interrex.Leadership{Term: 1}
	if led {
		l.LeaderID = "b"
	}
	c.server.config.Leadership = constant{l}
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
		door   door
		kind   interrex.Kind
		hopped bool
		change func(*couriered, *request)
		again  bool
	}{
		{"another leads", doorPublic, interrex.KindNotLeader, here, nil, true},
		{"another leads, says one that was asked", doorPublic, interrex.KindNotLeader, there, nil, true},
		{"nobody leads", doorPublic, interrex.KindNoLeader, here, nil, true},
		{"an agent's", doorPeer, interrex.KindNotLeader, here, nil, false},
		{"an agent's, and nobody leads", doorPeer, interrex.KindNoLeader, here, nil, false},
		{"this agent's own refusal", doorPublic, interrex.KindUnavailable, here, nil, false},
		{"this agent stops", doorPublic, interrex.KindDraining, here, nil, false},
		{"the leader is not there", doorPublic, interrex.KindUnavailable, there, nil, true},
		{"the leader stops", doorPublic, interrex.KindDraining, there, nil, true},
		{"the caller asks again himself", doorPublic, interrex.KindUnavailable, there, func(_ *couriered, r *request) { r.envelope.AsksAgain = true }, false},
		{"it has stood in line there", doorPublic, interrex.KindUnavailable, there, func(c *couriered, _ *request) { c.clock.now = c.begin.Add(2 * time.Second) }, false},
		{"it has nearly stood in line there", doorPublic, interrex.KindUnavailable, there, func(c *couriered, _ *request) { c.clock.now = c.begin.Add(2*time.Second - 1) }, true},
		{"its caller has gone", doorPublic, interrex.KindNotLeader, here, func(_ *couriered, r *request) { r.cancel() }, false},
		{"its stream has ended", doorPublic, interrex.KindNotLeader, here, func(c *couriered, _ *request) { c.closed = true }, false},
		{"its time is over", doorPublic, interrex.KindNotLeader, there, func(c *couriered, r *request) { r.enter = c.begin.Add(minPause - 1) }, false},
		{"its time is nearly over", doorPublic, interrex.KindNotLeader, there, func(c *couriered, r *request) { r.enter = c.begin.Add(minPause) }, true},
		{"its time is over, and nobody leads", doorPublic, interrex.KindNoLeader, here, func(c *couriered, r *request) { r.enter = c.begin }, false},
	} {
		c := newCouriered(t, test.door)
		r := c.request(test.hopped)
		if test.change != nil {
			test.change(c, r)
		}
		c.landed(r, told(test.kind))
		if again := slices.Contains(c.again, r); again != test.again || len(c.done) == 1 == again || len(c.wake) == 1 != again {
			t.Errorf("%s: sent again: %v, and answered %v", test.what, again, c.done)
		}
	}
}

func TestThePausesOfOneRequestGrowUntilItsTimeIsOver(t *testing.T) {
	c := newCouriered(t, doorPublic)
	r := c.request(true)
	var waited time.Duration
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 160} {
		r.sent = c.clock.now
		o := told(interrex.KindNotLeader)
		c.landed(r, o)
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
	c := newCouriered(t, doorPublic)
	r := c.request(true)
	r.wait = &queue.Wait{Until: c.begin.Add(time.Hour)}
	c.landed(r, told(interrex.KindNotLeader))
	c.clock.now = c.begin.Add(10 * time.Millisecond)
	c.dueWhere(false)
	r.sent = c.clock.now
	c.clock.now = c.begin.Add(30 * time.Minute) // and now that leader goes
	c.landed(r, told(interrex.KindNotLeader))
	if len(c.again) != 1 || len(c.done) != 0 || !r.retries.limit.Equal(c.clock.now.Add(2*time.Second)) || !r.retries.at.Equal(c.clock.now.Add(minPause)) {
		t.Errorf("sent again: %v, answered %v", c.again, c.done)
	}
}

func TestWhereNobodyLeadsARequestWaitsForALeader(t *testing.T) {
	c := newCouriered(t, doorPublic)
	r := c.request(false)
	c.landed(r, told(interrex.KindNoLeader))
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
	c.landed(gone, told(interrex.KindNoLeader))
	gone.cancel()
	if due, _, _ := c.dueWhere(false); len(due) != 1 {
		t.Error("one who has gone waits on")
	}
}

func TestWhoWaitsForALeaderIsToldWhyWhenTheStreamEnds(t *testing.T) {
	c := newCouriered(t, doorPublic)
	o := told(interrex.KindNoLeader)
	c.landed(c.request(false), o)
	c.giveUp()
	if len(c.done) != 1 || c.done[0].err != o.err || len(c.again) != 0 {
		t.Errorf("%v", c.done)
	}
	c.landed(c.request(false), o)
	if len(c.done) != 2 || len(c.again) != 0 {
		t.Error("it is to be sent again, by nobody")
	}
	c.start(func() { t.Error("something was begun after the end") })
}

func TestALeaderIsAnotherAgent(t *testing.T) {
	alone := func(*Config) {}
	forward := func(config *Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return &script{}, nil }
	}
	for _, test := range []struct {
		id   string
		edit func(*Config)
		led  bool
		kind interrex.Kind
	}{
		{"", forward, false, interrex.KindNoLeader},
		{"a", forward, false, interrex.KindNoLeader}, // it leads, and is not ready for it
		{"", alone, false, interrex.KindNoLeader},
		{"a", alone, false, interrex.KindNoLeader},
		{"b", alone, true, interrex.KindNotLeader},
	} {
		c := newCouriered(t, doorPublic, test.edit, func(config *Config) {
			config.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: test.id}}
		})
		r := c.request(true)
		c.send([]*request{r})
		if c.led() != test.led || interrex.KindOf(r.retries.last.err) != test.kind || r.hopped {
			t.Errorf("leader %q: leads %v, %v", test.id, c.led(), r.retries.last.err)
		}
	}
}

func TestAPeerIsNotSentToTheAgentThatItAsks(t *testing.T) {
	for id, want := range map[string]interrex.Kind{"": interrex.KindNoLeader, "a": interrex.KindNoLeader, "b": interrex.KindNotLeader} {
		c := newCouriered(t, doorPeer, func(config *Config) {
			config.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: id}}
			config.Forward = func(context.Context, string) (Forwarder, error) { return &script{}, nil }
		})
		r := c.request(false)
		r.envelope.Body = []byte{}
		c.send([]*request{r})
		if len(c.done) != 1 || interrex.KindOf(c.done[0].err) != want {
			t.Errorf("leader %q: %v", id, c.done)
		}
	}
}

func TestWhatIsAbroadIsGivenUpWhenItsTimeIsOverAndNotBefore(t *testing.T) {
	c := newCouriered(t, doorPublic, func(config *Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return &silence{}, nil }
	})
	early, late := c.request(false), c.request(false)
	late.wait = &queue.Wait{Until: c.begin.Add(time.Hour)}
	for _, r := range []*request{early, late} {
		r.envelope.Body = []byte{}
	}
	c.forward("b", []*request{early, late}, c.begin)
	c.clock.now = early.enter.Add(10 * time.Second)
	if !c.sweep() || len(c.done) != 0 {
		t.Fatalf("given up before: %v", c.done)
	}
	c.clock.now = c.clock.now.Add(1)
	if !c.sweep() || len(c.done) != 1 || !early.isGone() || late.isGone() {
		t.Fatalf("the first: %v", c.done)
	}
	c.clock.now = late.wait.Until.Add(10*time.Second + 1)
	if !c.sweep() || len(c.done) != 2 || !late.isGone() {
		t.Errorf("the second: %v", c.done)
	}
	if c.sweep() || len(c.abroad) != 0 {
		t.Error("all is answered, and it is looked after on")
	}
}

func TestAnAgentThatCannotBeReachedIsUnavailable(t *testing.T) {
	c := newCouriered(t, doorPublic, func(config *Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return nil, errors.New("no way") }
	})
	r := c.request(false)
	r.envelope.Body = []byte{}
	c.forward("b", []*request{r}, c.begin)
	if len(c.again) != 1 || interrex.KindOf(r.retries.last.err) != interrex.KindUnavailable {
		t.Errorf("sent again: %v, answered %v", c.again, c.done)
	}
}

func TestACourierThatIsClosedBeginsNothing(t *testing.T) {
	c := newCouriered(t, doorPublic)
	c.close()
	began := false
	c.start(func() { began = true })
	c.work.Wait()
	if began {
		t.Error("nobody waits for what it has begun")
	}
}

func TestAPanicOfARaftIsOneRequestsFailure(t *testing.T) {
	c := newCouriered(t, doorPublic, func(config *Config) {
		config.Reads, config.Logger = func() (Reads, bool) { return panics{}, true }, silent.Logger{}
	})
	r := c.request(false)
	m := indexMethod()
	r.method = &m
	if o := c.index(r); interrex.KindOf(o.err) != interrex.KindOutcomeUnknown {
		t.Errorf("%v", o.err)
	}
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
		done(0, nil, told(interrex.KindNotLeader).err)
		h.again()
	}
	return func(int) { h.canceled = append(h.canceled, attempt) }
}

func TestACancelReachesTheNewestAttempt(t *testing.T) {
	h := &hasty{}
	c := newCouriered(t, doorPublic, func(config *Config) {
		config.Forward = func(context.Context, string) (Forwarder, error) { return h, nil }
	})
	r := c.request(false)
	r.envelope.Body = []byte{}
	h.again = func() { c.forward("b", []*request{r}, c.begin) }
	c.forward("b", []*request{r}, c.begin)
	r.cancel()
	if !slices.Equal(h.canceled, []int{2}) {
		t.Errorf("of attempts 1 and 2 these were canceled: %v", h.canceled)
	}
}
