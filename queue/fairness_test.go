package queue_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/queue"
)

// of returns an operation in a share.
func (a *answers) of(share, id string) *queue.Operation {
	op := a.op(id, normal)
	op.Share = share
	op.Deadline = time.Now().Add(time.Hour)
	return op
}

func TestSharesTakeTurns(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		for i := range 1000 {
			q.Enqueue(t.Context(), a.of("flood", fmt.Sprint("f", i)))
		}
		q.Enqueue(t.Context(), a.of("x", "x1"), a.of("x", "x2"), a.of("y", "y1"))
		taken := ids(q.Take(12, 1<<20))
		for _, id := range []string{"x1", "x2", "y1", "f0"} {
			if !strings.Contains(taken, id) {
				t.Errorf("%s is not among the first taken: %s", id, taken)
			}
		}
		if strings.Index(taken, "x1") > strings.Index(taken, "x2") {
			t.Errorf("a share's operations change places: %s", taken)
		}
		rest := q.Take(queue.Capacity, 1<<30)
		if len(rest) != 1003-12 {
			t.Errorf("%d are left", len(rest))
		}
	})
}

// An agent may say whatever it wants about whose an operation is.
func TestAnAgentThatMakesUpSharesHasOnlyItsOwnTurns(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		forged := func(i int) *queue.Operation {
			op := a.of(fmt.Sprint("made up ", i), fmt.Sprint("f", i))
			op.Via = "evil"
			return op
		}
		made := queue.Capacity + 100
		for i := range made {
			q.Enqueue(t.Context(), forged(i))
		}
		if n, _ := q.Depth(); n != queue.Capacity {
			t.Errorf("%d wait, of a lane of %d", n, queue.Capacity)
		}
		for i := range 40 {
			op := a.of("x", fmt.Sprint("x", i))
			op.Via = "n2"
			q.Enqueue(t.Context(), op, a.of("own", fmt.Sprint("o", i)))
		}
		count := map[string]int{}
		for _, op := range q.Take(90, 1<<20) {
			count[op.Share[:1]]++
		}
		if count["x"] < 28 || count["o"] < 28 {
			t.Errorf("of the first 90 are %d of an agent's caller, and %d of an own one", count["x"], count["o"])
		}
	})
}

// Turns are of bytes: whoever sends big operations gets fewer of them in.
func TestTurnsAreOfBytes(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		const big = 100 << 10
		for i := range 20 {
			op := a.long(fmt.Sprint("b", i), normal, big)
			op.Share, op.Deadline = "big", time.Now().Add(time.Hour)
			q.Enqueue(t.Context(), op)
		}
		for i := range 400 {
			q.Enqueue(t.Context(), a.of("small", fmt.Sprint("s", i)))
		}
		bigs, smalls := 0, 0
		for _, op := range q.Take(300, 1<<30) {
			if op.Share == "big" {
				bigs++
			} else {
				smalls++
			}
		}
		if bigs == 0 || bigs > 4 || smalls < 290 {
			t.Errorf("%d big ones and %d small ones are taken", bigs, smalls)
		}
	})
}

func TestWhoFillsTheLaneKeepsNobodyOut(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		a.fill(t, q, queue.Capacity)
		for i := range 65 {
			crowd := a.of("", fmt.Sprint("crowd", i))
			crowd.Via = "n2"
			q.Enqueue(t.Context(), crowd)
		}
		if err := a.err(t, "crowd64"); interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) == 0 {
			t.Errorf("got %v", err)
		}
		blocked := make(chan struct{})
		go func() {
			q.Enqueue(t.Context(), a.of("", "held back"))
			close(blocked)
		}()
		synctest.Wait()
		other := a.of("other", "other")
		other.Via = "n2"
		q.Enqueue(t.Context(), other, a.of("third", "third")) // returns
		select {
		case <-blocked:
			t.Fatal("who fills the lane is not held back")
		default:
		}
		taken := ids(q.Take(70, 1<<20))
		if !strings.Contains(taken, "other") || !strings.Contains(taken, "third") {
			t.Errorf("taken are %s", taken)
		}
		<-blocked
		many := make([]*queue.Operation, 200)
		for i := range many {
			many[i] = a.of("other", fmt.Sprint("o", i))
			many[i].Via = "n2"
		}
		a.fill(t, q, 1)
		q.Enqueue(t.Context(), many...)
		if n, _ := q.Depth(); n > queue.Capacity+2*64 {
			t.Errorf("two shares have %d beyond a full lane", n-queue.Capacity)
		}
		if a.isOpen("o199") {
			t.Error("who has its part of a full lane gets more")
		}
	})
}

// Whatever comes, each operation is taken or answered once, in the order of its share,
// and nothing is left behind.
func TestEveryOperationIsTakenOrAnsweredOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) { churn(t, r) })
	})
}

func churn(t *testing.T, r *rapid.T) {
	q := newQueue(t)
	a := newAnswers()
	sent, last := 0, map[string]int{}
	taken := map[string]bool{}
	take := func(n, bytes int) {
		for _, op := range q.Take(n, bytes) {
			var number int
			_, _ = fmt.Sscanf(op.RequestID, "%d", &number)
			if taken[op.RequestID] || !a.isOpen(op.RequestID) || number < last[op.Via+" "+op.Share] {
				r.Fatalf("%s of %q by way of %q is taken after %d", op.RequestID, op.Share, op.Via, last[op.Via+" "+op.Share])
			}
			taken[op.RequestID], last[op.Via+" "+op.Share] = true, number
		}
	}
	for range rapid.IntRange(1, 60).Draw(r, "steps") {
		switch rapid.IntRange(0, 4).Draw(r, "what") {
		case 0, 1:
			var ops []*queue.Operation
			for range rapid.IntRange(1, 20).Draw(r, "operations") {
				sent++
				op := a.long(fmt.Sprintf("%06d", sent), normal, rapid.SampledFrom([]int{10, 2000, limits.MaxOperationBytes / 2}).Draw(r, "size"))
				op.Share = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(r, "share")
				op.Via = rapid.SampledFrom([]string{"", "n2", "n3"}).Draw(r, "via")
				op.Deadline = time.Now().Add(rapid.SampledFrom([]time.Duration{time.Second, time.Hour}).Draw(r, "time"))
				ops = append(ops, op)
			}
			go q.Enqueue(t.Context(), ops...)
			synctest.Wait()
		case 2, 3:
			take(rapid.IntRange(1, 40).Draw(r, "most"), rapid.SampledFrom([]int{1 << 10, 1 << 20, 1 << 30}).Draw(r, "bytes"))
		case 4:
			time.Sleep(700 * time.Millisecond)
			synctest.Wait()
		}
	}
	for n, _ := q.Depth(); n > 0; n, _ = q.Depth() {
		take(queue.Capacity, 1<<30)
		synctest.Wait()
	}
	report := q.Report()
	if report["normal"] != 0 || report["held-back"] != 0 || report["callers"] != 0 {
		r.Fatalf("left behind: %v", report)
	}
	for i := range sent {
		id := fmt.Sprintf("%06d", i+1)
		if taken[id] == !a.isOpen(id) {
			r.Fatalf("%s: taken %v, answered %v", id, taken[id], !a.isOpen(id))
		}
	}
	q.Kill()
	if err := q.Wait(); err != nil {
		r.Fatal(err)
	}
}
