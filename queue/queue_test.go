package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers collects the results of operations by their request ids.
type answers struct {
	mu sync.Mutex
	m  map[string][]state.Result
}

func newAnswers() *answers { return &answers{m: map[string][]state.Result{}} }

// Whether an operation is an extend.
const (
	normal = false
	extend = true
)

func (a *answers) op(id string, extend bool) *queue.Operation {
	return &queue.Operation{
		Operation: state.Operation{Table: 7, RequestID: id},
		Extend:    extend,
		Done: func(r state.Result) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.m[id] = append(a.m[id], r)
		},
	}
}

// err returns the one error that an operation was answered with.
func (a *answers) err(t *testing.T, id string) error {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.m[id]); n != 1 {
		t.Fatalf("%s was answered %d times, want once", id, n)
	}
	return a.m[id][0].Err
}

// fill fills a lane with operations that have no answer for an hour.
func (a *answers) fill(t *testing.T, q *queue.Queue, n int) {
	t.Helper()
	ops := make([]*queue.Operation, n)
	for i := range ops {
		ops[i] = a.op("filler", normal)
		ops[i].Deadline = time.Now().Add(time.Hour)
	}
	q.Enqueue(t.Context(), ops...)
	if got, _ := q.Depth(); got < n {
		t.Fatalf("%d of %d are in the queue", got, n)
	}
}

func (a *answers) isOpen(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.m[id]) == 0
}

func newQueue(t *testing.T) *queue.Queue {
	t.Helper()
	q, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run starts a queue in a bubble of virtual time and stops it at the end.
func run(t *testing.T, f func(t *testing.T, q *queue.Queue, a *answers)) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		f(t, q, newAnswers())
		q.Kill()
		if err := q.Wait(); err != nil {
			t.Fatal(err)
		}
	})
}

func ids(ops []*queue.Operation) string {
	var out []string
	for _, op := range ops {
		out = append(out, op.RequestID)
	}
	return strings.Join(out, " ")
}

func wantIDs(t *testing.T, ops []*queue.Operation, want string) {
	t.Helper()
	if got := ids(ops); got != want {
		t.Fatalf("taken: %q, want %q", got, want)
	}
}

// Q01, Q03: all waiting operations are one batch, in order.
func TestWhateverWaitsIsOneBatchInOrder(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		for i := range 5 {
			q.Enqueue(t.Context(), a.op(fmt.Sprint(i), normal))
		}
		<-q.Ready()
		wantIDs(t, q.Take(1024, 1<<20), "0 1 2 3 4")
		if ops := q.Take(1024, 1<<20); len(ops) != 0 {
			t.Fatalf("taken twice: %s", ids(ops))
		}
	})
}

// Q03: many callers at once lose nothing and wait for no timer.
func TestConcurrentCallersAreTakenWithoutDelay(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		start := time.Now()
		for i := range 256 {
			go q.Enqueue(t.Context(), a.op(fmt.Sprint(i), normal))
		}
		synctest.Wait()
		if n := len(q.Take(1024, 1<<20)); n != 256 {
			t.Fatalf("%d taken, want 256", n)
		}
		if d := time.Since(start); d != 0 {
			t.Fatalf("it took %v", d)
		}
	})
}

// Q04: 3 s, and 5 s for extends, also without a Take.
func TestDeadlineFiresWhileNobodyTakes(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		early := a.op("early", normal)
		early.Deadline = time.Now().Add(time.Second)
		q.Enqueue(t.Context(), a.op("claim", normal), a.op("extend", extend), early)
		for _, step := range []struct {
			id string
			at time.Duration
		}{{"early", time.Second}, {"claim", 3 * time.Second}, {"extend", 5 * time.Second}} {
			time.Sleep(step.at - time.Since(early.Deadline.Add(-time.Second)) - time.Millisecond)
			synctest.Wait()
			if !a.isOpen(step.id) {
				t.Fatalf("%s was answered before %v", step.id, step.at)
			}
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
			err := a.err(t, step.id)
			if !queue.IsDeadlineExceeded(err) || !errors.Is(err, interrex.ErrTimeout) {
				t.Fatalf("%s: %v, want a deadline exceeded of kind timeout", step.id, err)
			}
		}
	})
}

// Q04: at dequeue too, when the consumer is what was late.
func TestTakeDropsWhatIsPastItsDeadline(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		late := a.op("late", normal)
		late.Deadline = time.Now().Add(5 * time.Millisecond)
		q.Enqueue(t.Context(), late)
		time.Sleep(5 * time.Millisecond)
		q.Enqueue(t.Context(), a.op("fresh", normal))
		wantIDs(t, q.Take(1, 1<<20), "fresh")
		if err := a.err(t, "late"); !queue.IsDeadlineExceeded(err) {
			t.Fatal(err)
		}
	})
}

// Q05: a caller that has gone never enters the log.
func TestTakeDropsWhoseCallerHasGone(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		stop := make(chan struct{})
		gone := a.op("gone", normal)
		gone.Stop = stop
		q.Enqueue(t.Context(), gone, a.op("there", normal))
		close(stop)
		wantIDs(t, q.Take(2, 1<<20), "there")
		err := a.err(t, "gone")
		if !queue.IsCanceled(err) || queue.IsDeadlineExceeded(err) || !errors.Is(err, interrex.ErrTimeout) {
			t.Fatal(err)
		}
	})
}

// Q06: waiting operations are answered at the end, and so are later ones.
func TestKillAnswersEverything(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Enqueue(t.Context(), a.op("in", normal))
		a.fill(t, q, queue.Capacity-1)
		go q.Enqueue(t.Context(), a.op("held back", normal))
		synctest.Wait()
		q.Kill()
		if err := q.Wait(); err != nil {
			t.Fatal(err)
		}
		q.Enqueue(t.Context(), a.op("after", extend))
		synctest.Wait()
		for _, id := range []string{"in", "held back", "after"} {
			if err := a.err(t, id); !errors.Is(err, interrex.ErrDraining) {
				t.Fatalf("%s: %v", id, err)
			}
		}
	})
}

// Q07.
func TestPredicatesTellErrorsApart(t *testing.T) {
	for _, err := range []error{nil, errors.New("boom"), interrex.ErrDraining} {
		if queue.IsCanceled(err) || queue.IsDeadlineExceeded(err) {
			t.Errorf("%v is taken for another", err)
		}
	}
	if !queue.IsCanceled(fmt.Errorf("x: %w", queue.ErrCanceled)) || !queue.IsDeadlineExceeded(queue.ErrDeadlineExceeded) {
		t.Error("a wrapped error is not known")
	}
}

// Q08: a queue that was killed offers nothing.
func TestKilledQueueIsNeverReady(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Kill()
		if err := q.Wait(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-q.Ready():
			t.Fatal("ready")
		default:
		}
		if ops := q.Take(10, 1<<20); len(ops) != 0 {
			t.Fatal("something was taken")
		}
	})
}

func TestReadyAgainWhileSomethingIsLeft(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Enqueue(t.Context(), a.op("1", normal), a.op("2", normal))
		<-q.Ready()
		wantIDs(t, q.Take(1, 1<<20), "1")
		<-q.Ready()
		wantIDs(t, q.Take(1, 1<<20), "2")
		select {
		case <-q.Ready():
			t.Fatal("ready with nothing left")
		default:
		}
	})
}

func TestExtendsTakeThreeQuartersWhileOthersWait(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		for i := range 8 {
			q.Enqueue(t.Context(), a.op(fmt.Sprint("n", i), normal), a.op(fmt.Sprint("e", i), extend))
		}
		wantIDs(t, q.Take(4, 1<<20), "e0 e1 e2 n0")
		wantIDs(t, q.Take(8, 1<<20), "e3 e4 e5 e6 e7 n1 n2 n3")
		wantIDs(t, q.Take(8, 1<<20), "n4 n5 n6 n7")
	})
}

func TestExtendsFillWhatOthersLeave(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Enqueue(t.Context(), a.op("n0", normal))
		for i := range 8 {
			q.Enqueue(t.Context(), a.op(fmt.Sprint("e", i), extend))
		}
		wantIDs(t, q.Take(8, 1<<20), "e0 e1 e2 e3 e4 e5 e6 n0")
		wantIDs(t, q.Take(8, 1<<20), "e7")
	})
}

func TestTakeKeepsToItsBytes(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		for i := range 3 {
			op := a.op(fmt.Sprint(i), normal)
			op.Data = make([]byte, 1000)
			q.Enqueue(t.Context(), op)
		}
		wantIDs(t, q.Take(10, 2500), "0 1")
		wantIDs(t, q.Take(10, 10), "2") // one is always taken
	})
}

// long is an operation of about n bytes.
func (a *answers) long(id string, extend bool, n int) *queue.Operation {
	op := a.op(id, extend)
	op.Data = make([]byte, n)
	return op
}

func TestExtendsLeaveAQuarterOfTheBytesToOthers(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Enqueue(t.Context(), a.long("n0", normal, 1000), a.long("n1", normal, 1000))
		for i := range 5 {
			q.Enqueue(t.Context(), a.long(fmt.Sprint("e", i), extend, 1000))
		}
		wantIDs(t, q.Take(100, 4800), "e0 e1 e2 n0")
		wantIDs(t, q.Take(100, 4800), "e3 e4 n1")
	})
}

func TestALaneHoldsCallersBackByBytes(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		const most = 64 << 20
		size := a.long("", normal, limits.MaxOperationBytes/2).Size()
		fit := most / size
		for round := range 3 { // what was taken leaves its room
			back := make(chan struct{})
			go func() {
				for i := range fit + 1 {
					q.Enqueue(t.Context(), a.long(fmt.Sprint(round, i), normal, limits.MaxOperationBytes/2))
				}
				close(back)
			}()
			synctest.Wait()
			if n, _ := q.Depth(); n != fit {
				t.Fatalf("round %d: %d operations of %d bytes are in a lane of %d", round, n, size, most)
			}
			wantIDs(t, q.Take(1, most), fmt.Sprint(round, 0))
			<-back
			if n := len(q.Take(2*fit, 2*most)); n != fit {
				t.Fatalf("round %d: %d taken, want %d", round, n, fit)
			}
		}
	})
}

func TestFullQueueHoldsCallersBackInOrder(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Enqueue(t.Context(), a.op("1", normal), a.op("2", normal))
		a.fill(t, q, queue.Capacity-2)
		back := make(chan struct{})
		go func() {
			q.Enqueue(t.Context(), a.op("3", normal), a.op("4", normal))
			close(back)
		}()
		synctest.Wait()
		q.Enqueue(t.Context(), a.op("e", extend)) // a lane of its own
		wantIDs(t, q.Take(2, 1<<20), "e 1")
		select {
		case <-back:
			t.Fatal("the caller came back with an operation out of the queue")
		default:
		}
		wantIDs(t, q.Take(1, 1<<20), "2")
		<-back
		rest := q.Take(2*queue.Capacity, 1<<30)
		if len(rest) != queue.Capacity {
			t.Fatalf("%d are left, want %d", len(rest), queue.Capacity)
		}
		wantIDs(t, rest[queue.Capacity-2:], "3 4")
	})
}

func TestHeldBackCallerIsAnsweredAtItsDeadlineOrEnd(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		a.fill(t, q, queue.Capacity)
		ctx, cancel := context.WithCancel(t.Context())
		go q.Enqueue(ctx, a.op("ended", normal))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if err := a.err(t, "ended"); !queue.IsCanceled(err) {
			t.Fatal(err)
		}
		start := time.Now()
		q.Enqueue(t.Context(), a.op("late", normal))
		synctest.Wait()
		if err := a.err(t, "late"); !queue.IsDeadlineExceeded(err) {
			t.Fatal(err)
		}
		if d := time.Since(start); d < queue.Timeout(false) || d > queue.Timeout(false)+20*time.Millisecond {
			t.Fatalf("held back for %v", d)
		}
	})
}

func TestWhatDoesNotFitAnEntryIsRefused(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		op := a.op("huge", normal)
		op.Data = make([]byte, limits.MaxOperationBytes+1)
		q.Enqueue(t.Context(), op)
		if err := a.err(t, "huge"); !errors.Is(err, interrex.ErrTooLarge) {
			t.Fatal(err)
		}
	})
}

func TestOnlyWhatAFullClusterNeedsIsLetInWithoutSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := interrex.Errorf(interrex.ErrOverloaded, "no space")
		space := false
		q, err := queue.New(queue.Config{Clock: clock.WallClock, Full: func() error {
			if space {
				return nil
			}
			return full
		}})
		if err != nil {
			t.Fatal(err)
		}
		a := newAnswers()
		claim, revoke, extend, group := a.op("claim", normal), a.op("revoke", normal), a.op("extend", extend), a.op("group", normal)
		claim.Command, revoke.Command, extend.Command = &lease.Claim{}, &lease.Revoke{}, &lease.Extend{}
		group.Table, group.Group = machine.SystemTable, []state.Part{{Table: 7}, {Table: 7}}
		group.Commands = []state.Command{&lease.Revoke{}, &lease.Claim{}}
		q.Enqueue(t.Context(), claim, revoke, extend, group)
		if took := q.Take(10, 1<<20); !slices.Equal(took, []*queue.Operation{extend, revoke}) || a.err(t, "claim") != full || a.err(t, "group") != full {
			t.Errorf("%d are let in; the claim: %v, the group: %v", len(took), a.err(t, "claim"), a.err(t, "group"))
		}
		space = true
		again := a.op("again", normal)
		again.Command = &lease.Claim{}
		q.Enqueue(t.Context(), again)
		if took := q.Take(10, 1<<20); len(took) != 1 {
			t.Errorf("with space %d are let in", len(took))
		}
		q.Kill()
		if err := q.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestSecondAnswerIsDropped(t *testing.T) {
	n := 0
	op := &queue.Operation{Done: func(state.Result) { n++ }}
	if !op.Answer(state.Result{}) || op.Answer(state.Result{}) || n != 1 {
		t.Fatalf("Done was called %d times", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := queue.New(queue.Config{}); err == nil || err.Error() != "nil Clock not valid" {
		t.Errorf("got %v", err)
	}
}

func TestDepthIsReported(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		q.Enqueue(t.Context(), a.op("1", normal), a.op("2", normal), a.op("3", extend))
		if n, e := q.Depth(); n != 2 || e != 1 {
			t.Fatalf("depth %d, %d", n, e)
		}
		if r := q.Report(); r["normal"] != 2 || r["extend"] != 1 || r["enqueued"] != uint64(3) {
			t.Fatalf("report %v", r)
		}
	})
}

func TestAGroupCountsAsItsOperations(t *testing.T) {
	run(t, func(t *testing.T, q *queue.Queue, a *answers) {
		for i := range 4 {
			op := a.op(fmt.Sprint(i), normal)
			op.Table, op.Group = 0, slices.Repeat([]state.Part{{Table: 7}}, 4)
			q.Enqueue(t.Context(), op)
		}
		wantIDs(t, q.Take(10, 1<<20), "0 1")
		wantIDs(t, q.Take(3, 1<<20), "2") // a single one may be larger
		wantIDs(t, q.Take(4, 1<<20), "3")
	})
}
