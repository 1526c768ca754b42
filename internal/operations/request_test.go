package operations

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/method"
)

func TestWhoHasGoneIsTakenBackOnceFromWhereverItIs(t *testing.T) {
	r := &request{stop: make(chan struct{})}
	taken := ""
	r.onCancel(r.another(), func() { taken += "a" })
	r.cancel()
	r.cancel()
	if taken != "a" || !r.isGone() {
		t.Errorf("taken back: %q, gone: %v", taken, r.isGone())
	}
	<-r.stop
	r.onCancel(r.another(), func() { taken += "b" }) // it had been on its way there
	if taken != "ab" {
		t.Errorf("taken back: %q", taken)
	}
	read := &request{}
	read.cancel()
	if !read.isGone() {
		t.Error("a read cannot be taken back")
	}
}

// A list takes the same, in whatever form it waits to be sent, and gives it back.
func TestAnAnswerTakesMemoryForItsSize(t *testing.T) {
	text := strings.Repeat("x", 100<<10)
	for _, in := range []encoding{notEncoded, inProto, inJSON} {
		budget := admission.NewBudget(0)
		mine, others := budget.Open(admission.Caller{Name: "ann"}), budget.Open(admission.Caller{Door: admission.Peer})
		o := outcome{message: &interrexv1.RetireRequest{Name: text}}.encoded(in)
		want := answerCost * o.size()
		holds := func(when string, r *request, n int) {
			if o.size() < len(text) || r.taken != n || budget.Used() != int64(n) {
				t.Errorf("%s: an answer of %d bytes, in encoding %d, has %d, of %d in use", when, o.size(), in, r.taken, budget.Used())
			}
		}
		read, write := answerable(1), answerable(2)
		if got := read.weighed(mine, rowBytes, func() outcome { return o }); got.err != nil {
			t.Fatal(got.err)
		}
		holds("a read", read, want)
		read.forget(mine, o)
		holds("a read that is repeated", read, 0)
		write.keep(mine, o)
		holds("a write", write, want)
		if err := others.Take(int(budget.Limit()/16)*int(admission.Large), admission.Urgent); err != nil {
			t.Fatal(err)
		}
		if got := read.weighed(mine, rowBytes, func() outcome { return o }); interrex.KindOf(got.err) != interrex.ErrOverloaded {
			t.Errorf("without memory for it: %v", got.err)
		}
	}
}

// What is taken for an answer before it is known is held as long as the leader needs.
func TestLittleIsTakenForARowAndForWhatTheLeaderAnswers(t *testing.T) {
	for _, c := range []struct {
		method method.Method
		want   int
	}{
		{method.Method{}, pageBytes}, {method.Method{Quick: true}, rowBytes}, {method.Method{Leads: true}, rowBytes},
	} {
		if r := (&request{Call: method.Call{Method: &c.method}}); r.guess() != c.want {
			t.Errorf("%+v: %d bytes", c.method, r.guess())
		}
	}
}
