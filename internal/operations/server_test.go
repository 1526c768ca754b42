package operations

import (
	"context"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/queue"
)

// forgetful is a forwarder that answers nothing, not even abandoned operations.
type forgetful struct{ sent, abandoned chan int }

func (f forgetful) Send([]*interrexv1.Operation, func(int, []byte, error)) (abandon func(int)) {
	f.sent <- 1
	return func(i int) { f.abandoned <- i }
}

func TestACallThatIsNotAnsweredEndsAndIsTakenBack(t *testing.T) {
	to := forgetful{make(chan int, 9), make(chan int, 9)}
	o := New(Config{
		Clock: clock.WallClock, LeaderWait: 20 * time.Millisecond, AnswerWait: 30 * time.Millisecond,
		Forward: func(context.Context, string) (Forwarder, error) { return to, nil },
	}, consistency.New(consistency.Config{ID: "a", Leadership: fixed{interrex.Leadership{Term: 1, LeaderID: "far"}}, Logger: silent{}}), &method.Registry{}, admission.NewCalls(nil))
	claim := func(wait time.Duration) *request {
		r := &request{Call: method.ToLeader(&method.Method{}, admission.Caller{}, &interrexv1.ClaimRequest{}, time.Now())}
		r.Wait = &queue.Wait{Until: time.Now().Add(wait)}
		return r
	}
	begin := time.Now()
	if out := o.call(t.Context(), claim(50*time.Millisecond)); interrex.KindOf(out.err) != interrex.ErrOutcomeUnknown || time.Since(begin) < 100*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(begin), out.err)
	}
	<-to.sent
	<-to.abandoned

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-to.sent; cancel() }()
	if out := o.call(ctx, claim(time.Hour)); interrex.KindOf(out.err) != interrex.ErrOutcomeUnknown {
		t.Errorf("its caller has gone: %v", out.err)
	}
	<-to.abandoned
}

func TestOfACallersTimeASmallPartIsKept(t *testing.T) {
	for left, kept := range map[time.Duration]time.Duration{time.Minute: maxEarly, 50 * time.Millisecond: 10 * time.Millisecond} {
		theirs, cancel := context.WithTimeout(t.Context(), left)
		ours, end := early(theirs)
		until, _ := theirs.Deadline()
		if ends, ok := ours.Deadline(); !ok || ends.Before(until.Add(-kept)) || left > time.Second && !ends.Equal(until.Add(-kept)) {
			t.Errorf("of %v is kept %v, want %v", left, until.Sub(ends), kept)
		}
		end()
		cancel()
	}
}
