package forward

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/juju/clock/testclock"
	"github.com/juju/loggo"

	"github.com/interrex/interrex/gen/interrexv1"
)

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
		l.connection.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done() // nobody answers
			return nil, ctx.Err()
		}
		return l
	}
	left := Way{others: made(), waits: made()}
	f.streams["a"] = left
	answers := map[string]chan error{"others": make(chan error, 1), "waits": make(chan error, 1)}
	send := func(which string, by *line) {
		by.Send([]*interrexv1.Operation{{}}, func(_ int, _ []byte, err error) { answers[which] <- err })
	}
	send("others", left.others)
	send("waits", left.waits)
	f.leaveOthers(t.Context(), "b")
	<-answers["others"]
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
