package forward

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/juju/clock/testclock"
	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/silent"
)

// unanswered dials an agent that does not answer.
func unanswered(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Claims that wait are in no hurry: an agent that no longer leads has time to
// answer them.
func TestWaitersHaveTimeToBeAnsweredByAFormerLeader(t *testing.T) {
	now := testclock.NewClock(time.Now())
	f := &Forwarder{clock: now, logger: loggo.NewContext(loggo.CRITICAL).GetLogger("forward"), streams: map[string]Way{}}
	made := func() *line {
		l, err := f.stream("a")
		if err != nil {
			t.Fatal(err)
		}
		l.connection.DialContext = unanswered
		return l
	}
	left := Way{others: made(), large: made(), waits: made()}
	f.streams["a"] = left
	answers := map[string]chan error{"others": make(chan error, 1), "large": make(chan error, 1), "waits": make(chan error, 1)}
	send := func(which string, by *line) {
		by.Send([]*interrexv1.Operation{{}}, func(_ int, _ []byte, err error) { answers[which] <- err })
	}
	send("others", left.others)
	send("large", left.large)
	send("waits", left.waits)
	f.leaveOthers(t.Context(), "b")
	<-answers["others"]
	<-answers["large"]
	if err := now.WaitAdvance(waitersFarewell-1, 10*time.Second, 1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answers["waits"]:
		t.Fatalf("the one who waits is answered early: %v", err)
	default:
	}
	now.Advance(1)
	<-answers["waits"]
	f.following.Wait()
}

func newForwarder(t *testing.T) (*Forwarder, *testclock.Clock) {
	t.Helper()
	now := testclock.NewClock(time.Now())
	f := &Forwarder{clock: now, logger: silent.Logger{}, streams: map[string]Way{}, end: func() {}}
	t.Cleanup(func() { _ = f.Close() })
	return f, now
}

// ways returns the streams to agents, by ID.
func ways(t *testing.T, f *Forwarder, ids ...string) map[string]Way {
	t.Helper()
	all := map[string]Way{}
	for _, id := range ids {
		w, err := f.To(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*line{w.others, w.large, w.waits} {
			l.connection.DialContext = unanswered
		}
		all[id] = w
	}
	return all
}

func TestAnAgentHasOneWayUntilAnotherLeads(t *testing.T) {
	f, now := newForwarder(t)
	first := ways(t, f, "a", "b")
	if again := ways(t, f, "a", "b"); again["a"] != first["a"] || again["b"] != first["b"] {
		t.Error("an agent has two ways")
	}
	f.leaveOthers(t.Context(), "b")
	again := ways(t, f, "a", "b")
	if again["b"] != first["b"] || again["a"] == first["a"] {
		t.Errorf("the leader's way stays: %v, and the other's: %v", again["b"] == first["b"], again["a"] == first["a"])
	}
	if err := now.WaitAdvance(waitersFarewell, time.Minute, 1); err != nil {
		t.Fatal(err)
	}
	f.following.Wait()
}

func TestAForwarderThatIsClosedForwardsNothing(t *testing.T) {
	f, _ := newForwarder(t)
	w := ways(t, f, "a")["a"]
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.To("a"); err == nil {
		t.Error("it is closed, and forwards")
	}
	for what, l := range map[string]*line{"others": w.others, "large": w.large, "waits": w.waits} {
		answered := make(chan error, 1)
		l.Send([]*interrexv1.Operation{{}}, func(_ int, _ []byte, err error) { answered <- err })
		if err := <-answered; err == nil {
			t.Errorf("%s: sent over a stream that is closed", what)
		}
	}
}

func TestAForwarderFollowsTheLeader(t *testing.T) {
	f, now := newForwarder(t)
	before := ways(t, f, "a", "b")
	leaders := make(chan string)
	next := func(ctx context.Context) (interrex.Leadership, error) {
		select {
		case id := <-leaders:
			return interrex.Leadership{LeaderID: id}, nil
		case <-ctx.Done():
			return interrex.Leadership{}, ctx.Err()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.end = cancel
	f.following.Go(func() { f.follow(ctx, next) })
	leaders <- "" // nobody leads: no other agent could answer
	leaders <- "b"
	if err := now.WaitAdvance(farewell-1, time.Minute, 1); err != nil {
		t.Fatal(err)
	}
	if during := ways(t, f, "a", "b"); during["a"] != before["a"] {
		t.Error("the former leader has no time to answer")
	}
	now.Advance(1)
	leaders <- "b" // it is asked again once the streams are left
	after := ways(t, f, "a", "b")
	if after["a"] == before["a"] || after["b"] != before["b"] {
		t.Errorf("the former leader's way stays: %v, and the leader's: %v", after["a"] == before["a"], after["b"] == before["b"])
	}
}

func TestClaimsThatWaitHaveAStreamOfTheirOwn(t *testing.T) {
	f, _ := newForwarder(t)
	w := ways(t, f, "a")["a"]
	_ = w.waits.Close() // what goes there fails at once
	answers := make(chan int, 4)
	abandon := w.Send([]*interrexv1.Operation{{}, {WaitMs: 1}, {}, {WaitMs: 1}}, func(i int, _ []byte, _ error) { answers <- i })
	got := []int{<-answers, <-answers}
	slices.Sort(got)
	if !slices.Equal(got, []int{1, 3}) {
		t.Errorf("over the stream for waits went %d", got)
	}
	for _, i := range []int{2, 0} {
		if abandon(i); <-answers != i {
			t.Errorf("abandoned was not %d", i)
		}
	}
}

func TestLargeOperationsHaveAStreamOfTheirOwn(t *testing.T) {
	f, _ := newForwarder(t)
	w := ways(t, f, "a")["a"]
	_ = w.large.Close() // what goes there fails at once
	answers := make(chan int, 4)
	abandon := w.Send([]*interrexv1.Operation{{Body: make([]byte, large)}, {Body: make([]byte, large+1)}}, func(i int, _ []byte, _ error) { answers <- i })
	if got := <-answers; got != 1 {
		t.Errorf("over the stream for large operations went %d", got)
	}
	if abandon(0); <-answers != 0 {
		t.Error("the small one is answered early")
	}
}

// A leader that is paused, or cut off, takes what is sent and says nothing.
func TestAStreamToAnAgentThatIsSilentEnds(t *testing.T) {
	f, _ := newForwarder(t)
	w := ways(t, f, "a")["a"]
	for what, l := range map[string]*line{"others": w.others, "large": w.large, "waits": w.waits} {
		l.connection.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, there) }()
			return here, nil
		}
		answered := make(chan error, 1)
		l.Send([]*interrexv1.Operation{{WaitMs: 3_600_000}}, func(_ int, _ []byte, err error) { answered <- err })
		select {
		case err := <-answered:
			if err == nil {
				t.Errorf("%s: it is answered", what)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: what was sent is not given up", what)
		}
	}
}

func TestAForwarderThatIsClosedFollowsNobody(t *testing.T) {
	asked, ended := make(chan bool, 1), make(chan bool, 1)
	f := New(nil, testclock.NewClock(time.Now()), silent.Logger{}, func(ctx context.Context) (interrex.Leadership, error) {
		asked <- true
		<-ctx.Done()
		ended <- true
		return interrex.Leadership{}, ctx.Err()
	})
	<-asked
	ways(t, f, "a")
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if len(ended) != 1 {
		t.Error("it is closed, and still asks who leads")
	}
}
