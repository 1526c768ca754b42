package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock/testclock"
	"github.com/juju/loggo"
)

// written are the lines of a logger's context.
type written []string

func (w *written) Write(e loggo.Entry) { *w = append(*w, e.Level.String()+" "+e.Message) }

func TestARepeatedLineIsSaidOnceAndThenCounted(t *testing.T) {
	var log written
	loggers := loggo.NewContext(loggo.DEBUG)
	if err := loggers.AddWriter("test", &log); err != nil {
		t.Fatal(err)
	}
	now := testclock.NewClock(time.Now())
	r := NewRepeats(now, loggers.GetLogger("raft"))
	for range 10 * 3600 { // ten hours without a quorum
		r.Infof("%s", "restarting election")
		now.Advance(time.Second)
	}
	if n := len(log); n < 10 || n > 20 {
		t.Errorf("%d lines in ten hours", n)
	}
	if log[0] != "INFO restarting election" || log[1] != "INFO restarting election (60 times in the last 1 min)" {
		t.Errorf("%q", log[:2])
	}
	for last, before := log[len(log)-1], log[len(log)-2]; last != before; last = before {
		t.Errorf("the pace still changes: %q, %q", before, last)
	}

	log = nil
	r.Errorf("%s", "something new")
	r.Warningf("something %s", "new")
	r.Warningf("something %d", 7)
	r.Debugf("restarting election")
	r.Debugf("restarting election")
	now.Advance(repeatCalm)
	r.Infof("restarting election")
	want := "ERROR something new\nWARNING something 7\nDEBUG restarting election\nDEBUG restarting election\nINFO restarting election"
	if got := strings.Join(log, "\n"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for i := range 3 * maxRepeats {
		r.Infof("line %d", i)
		if len(r.lines) > maxRepeats {
			t.Fatalf("%d lines are told apart", len(r.lines))
		}
	}
	if last := log[len(log)-1]; last != fmt.Sprintf("INFO line %d", 3*maxRepeats-1) {
		t.Errorf("the last line is %q", last)
	}
}
