package api

import (
	"context"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// forgetful is a forwarder that answers nothing, not even what is abandoned.
type forgetful struct{ sent, abandoned chan int }

func (f forgetful) Send([]*interrexv1.Operation, func(int, []byte, error)) (abandon func(int)) {
	f.sent <- 1
	return func(i int) { f.abandoned <- i }
}

func TestACallThatIsNotAnsweredEndsAndIsTakenBack(t *testing.T) {
	to := forgetful{make(chan int, 9), make(chan int, 9)}
	nd := cluster(t, 1, func(c *Config) {
		c.LeaderWait, c.AnswerWait = 20*time.Millisecond, 30*time.Millisecond
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (Forwarder, error) { return to, nil }
	})[0]
	in := waitOp(0, "a/b", "ann", 50*time.Millisecond)
	in.TimeoutMs = 1
	begin := time.Now()
	_, err := nd.call(t.Context(), in)
	if took := time.Since(begin); interrex.KindOf(err) != interrex.KindOutcomeUnknown || took < 100*time.Millisecond {
		t.Errorf("after %v: %v", took, err)
	}
	<-to.sent
	<-to.abandoned

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-to.sent; cancel() }()
	if _, err := nd.call(ctx, waitOp(0, "a/b", "ann", time.Hour)); interrex.KindOf(err) != interrex.KindOutcomeUnknown {
		t.Errorf("its caller has gone: %v", err)
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
