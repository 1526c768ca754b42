package operations

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// newServer returns a server of leases at an agent that has applied nothing, and
// follows agent b.
func newServer(t *testing.T, edit ...func(*Config, *consistency.Config)) *Server {
	t.Helper()
	leases := lease.New()
	st, err := machine.New(machine.Config{Tables: []state.Table{leases}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	methods, err := method.NewRegistry("a", st, method.NewSwitches(), services.State(), services.Leases{Table: leases}.Service())
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Clock: clock.WallClock, MaxOpen: 2, LeaderWait: time.Minute, AnswerWait: time.Minute}
	checks := consistency.Config{
		ID: "a", State: st, Leadership: fixed{interrex.Leadership{LeaderID: "b"}}, Logger: silent{}, ReadWait: time.Minute,
		AskLeader: func(context.Context, admission.Caller) (uint64, error) { return 0, nil },
	}
	for _, fn := range edit {
		fn(&config, &checks)
	}
	return New(config, consistency.New(checks), methods, admission.NewCalls(nil))
}

// newStream returns a stream of a public caller to a server, without a connection.
func newStream(t *testing.T, s *Server) *stream {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	st := &stream{
		ended:  s.calls.Ended,
		server: s, ctx: ctx, end: cancel, open: map[uint64]*request{}, wake: make(chan struct{}, 1),
	}
	st.courier = newCourier(ctx, s, st.caller, st.settle)
	t.Cleanup(func() { cancel(nil); st.courier.close() })
	return st
}

// asks returns an operation that reads a lease.
func asks(t *testing.T, id uint64, procedure string, q proto.Message) *interrexv1.Operation {
	t.Helper()
	m, err := wire.MethodOf(procedure)
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return &interrexv1.Operation{Id: id, Method: m.Number, Body: body}
}

func gets(t *testing.T, id uint64) *interrexv1.Operation {
	t.Helper()
	return asks(t, id, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: "a/b", Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL})
}

func TestWhatMayBeOpenedOnAStream(t *testing.T) {
	large, malformed, unknown := gets(t, 2), gets(t, 2), gets(t, 2)
	large.Body, malformed.Body, unknown.Method = make([]byte, wire.MaxBody+1), []byte{0xff}, 1<<31
	for what, c := range map[string]struct {
		open   *interrexv1.Operation
		before func(*stream)
		want   interrex.Kind
	}{
		"a read":              {gets(t, 2), nil, ""},
		"an id that is open":  {gets(t, 1), nil, interrex.ErrInvalid},
		"one too many":        {gets(t, 2), func(st *stream) { st.open[9] = &request{} }, interrex.ErrOverloaded},
		"an unknown method":   {unknown, nil, interrex.ErrInvalid},
		"a large body":        {large, nil, interrex.ErrTooLarge},
		"a malformed body":    {malformed, nil, interrex.ErrInvalid},
		"its own envelope":    {asks(t, 2, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", RequestId: "1"}), nil, interrex.ErrInvalid},
		"a stream that ended": {gets(t, 2), func(st *stream) { st.closed = true }, interrex.ErrDraining},
		"a drain":             {gets(t, 2), func(st *stream) { drained(st.server.calls) }, interrex.ErrDraining},
	} {
		st := newStream(t, newServer(t))
		if _, err := st.begin(gets(t, 1), nil); err != nil {
			t.Fatal(err)
		}
		if c.before != nil {
			c.before(st)
		}
		_, err := st.begin(c.open, nil)
		if interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
		if c.want == interrex.ErrOverloaded && interrex.RetryAfter(err) <= 0 {
			t.Errorf("%s: to be retried after %v", what, interrex.RetryAfter(err))
		}
	}
}

// drained begins a drain, and reports whether no call is open.
func drained(c *admission.Calls) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 { // one whose time is over may miss that nothing is open
		if c.Drain(ctx) == nil {
			return true
		}
	}
	return false
}

func TestEveryOperationOfAStreamIsClosedOnce(t *testing.T) {
	s := newServer(t)
	st := newStream(t, s)
	st.accept(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{gets(t, 1), gets(t, 2)}})
	out := outbox{server: s}
	if st.take(&out); len(st.open) != 0 || out.reads.Len() != 2 {
		t.Fatalf("%d are answered, %d open", out.reads.Len(), len(st.open))
	}
	for _, one := range out.reads.Items() { // a restarted agent would answer that nothing exists
		if interrex.KindOf(one.o.err) != interrex.ErrUnavailable {
			t.Errorf("before the log is applied: %v", one.o.err)
		}
	}
	if !out.next() {
		t.Fatal("nothing is sent")
	}
	st.sends(&out)
	r, err := st.begin(asks(t, 3, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if drained(s.calls) {
		t.Error("the drain does not wait for an open operation")
	}
	st.close()
	if idle := drained(s.calls); !idle || !r.isGone() {
		t.Errorf("the stream is over, and its operation open: %v, or not canceled: %v", !idle, !r.isGone())
	}
}

func TestACancelReachesAReadThatWaits(t *testing.T) {
	st := newStream(t, newServer(t))
	st.server.checker.State.Apply(&raft.Log{Index: 1, Term: 1, Type: raft.LogCommand, Data: (&machine.Entry{Stamp: 1, Wall: time.Unix(1, 0)}).Append(nil)})
	r := answerable(1)
	r.Method = &method.Method{Await: func(ctx context.Context, _ proto.Message, _ *machine.State) (proto.Message, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	st.open[1] = r
	st.readHere(r)
	st.accept(&interrexv1.OperateRequest{Cancels: []uint64{1}})
	select {
	case <-st.wake:
	case <-time.After(30 * time.Second):
		t.Fatal("it still waits")
	}
	out := outbox{server: st.server}
	if st.take(&out); out.reads.Len() != 1 || !errors.Is(out.reads.Items()[0].o.err, context.Canceled) {
		t.Errorf("answered are %+v", out.reads.Items())
	}
}

func TestAPanicOfAReadIsItsFailureOnly(t *testing.T) {
	s := newServer(t)
	look := func(proto.Message, *machine.State) (proto.Message, error) { panic("look") }
	wait := func(context.Context, proto.Message, *machine.State) (proto.Message, error) { panic("wait") }
	act := func(context.Context, proto.Message, state.State) (proto.Message, error) { panic("act") }
	for what, do := range map[string]func(*request) outcome{
		"looks": func(r *request) outcome { return s.look(t.Context(), r, nil) },
		"waits": func(r *request) outcome { return s.await(t.Context(), r) },
		"acts":  func(r *request) outcome { return s.act(t.Context(), r) },
	} {
		r := answerable(1)
		r.Method = &method.Method{Look: look, Await: wait, Act: act}
		if o := do(r); o.err == nil {
			t.Errorf("one that %s: %+v", what, o)
		}
	}
}

func TestAPanicOfAStreamsGoroutineEndsIt(t *testing.T) {
	st := newStream(t, newServer(t))
	st.start(func() { panic("no") })
	select {
	case <-st.ctx.Done():
	case <-time.After(30 * time.Second):
		t.Error("its peer waits for an answer")
	}
}

func TestTheAnswerOfAWriteTakesMemory(t *testing.T) {
	st, budget, others := filled(t, admission.Large)
	others.Close()
	r := &request{Call: method.Call{Method: st.server.methods.Method(interrexv1.LeaseServiceClaimProcedure)}}
	if st.line(r, outcome{body: make([]byte, 1000)}); budget.Used() != 1000*answerCost {
		t.Errorf("%d bytes are in use", budget.Used())
	}
}

// One that is smaller than was reserved for it leaves room to others.
func TestRoomThatAnAnswerDoesNotNeedIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStream(t, newServer(t))
		first := answerable(1)
		if err := st.room(first, maxUnsent); err != nil {
			t.Fatal(err)
		}
		entered := false
		st.start(func() { entered = st.room(answerable(2), 0) == nil })
		synctest.Wait()
		if entered {
			t.Fatal("there was room")
		}
		st.line(first, outcome{body: []byte("small")})
		if synctest.Wait(); !entered {
			t.Error("the second waits")
		}
	})
}

func TestAnOperationTakesMemory(t *testing.T) {
	st, budget, others := filled(t, admission.Large)
	others.Close()
	in := gets(t, 1)
	if _, err := st.begin(in, nil); err != nil || budget.Used() != int64(operationBytes+operationCost*len(in.Body)) {
		t.Errorf("%d bytes are in use, %v", budget.Used(), err)
	}
}

func TestAStreamWhoseRefusalsAreNotReadIsNotReadFrom(t *testing.T) {
	st := newStream(t, newServer(t))
	if err := st.room(nil, 0); err != nil {
		t.Fatal(err)
	}
	for range maxRefusals {
		st.refuse(&interrexv1.Operation{}, errors.New("no"))
	}
	ended := errors.New("ended")
	st.end(ended)
	out := outbox{server: st.server}
	st.take(&out)
	if err := st.room(nil, 0); err != ended {
		t.Errorf("it reads on: %v", err)
	}
	if out.next(); len(out.refused) > 0 {
		t.Fatal("they are not all in one message")
	}
	if st.sends(&out); st.room(nil, 0) != nil {
		t.Error("with the refusals sent it does not read on")
	}
}

// A stream whose answers nobody reads evaluates lists until it has 4 MiB of them, and
// goes on where it was when they are read.
func TestReadsWaitForRoom(t *testing.T) {
	const all, size = 64, 256 << 10
	st := newStream(t, newServer(t, func(c *Config, _ *consistency.Config) { c.MaxOpen = all }))
	var reads []*request
	for id := range uint64(all) {
		reads = append(reads, answerable(id))
	}
	var evaluated atomic.Int64
	st.start(func() {
		st.evaluate(reads, func(*request) outcome {
			evaluated.Add(1)
			return outcome{body: make([]byte, size)}
		})
	})
	out := outbox{server: st.server}
	for answered := 0; answered < all; {
		<-st.wake
		for st.take(&out); out.next(); st.take(&out) {
			st.mu.Lock()
			unsent := st.unsent.bytes
			st.mu.Unlock()
			if unsent > maxUnsent+pageBytes {
				t.Fatalf("%d bytes are not sent", unsent)
			}
			if n := int(evaluated.Load()); n-answered > (maxUnsent+pageBytes)/size {
				t.Fatalf("%d are evaluated, and %d sent", n, answered)
			}
			answered += len(out.message.Answers)
			st.sends(&out)
			st.sent(&out)
		}
	}
	if left := st.unsent; left != (load{}) {
		t.Errorf("when all is sent there are still %+v", left)
	}
}

// The same of reads that may wait, which are evaluated beside each other: by a method that
// looks once its revision is reached, and by one that waits itself, which is evaluated
// again if there was no room for what it had read.
func TestReadsThatWaitHaveRoomBeforeTheyAreKept(t *testing.T) {
	const all, size = 64, 256 << 10
	big := &interrexv1.GetResponse{Lease: &interrexv1.Lease{Holder: strings.Repeat("x", size)}}
	var evaluated atomic.Int64
	look := func(proto.Message, *machine.State) (proto.Message, error) { evaluated.Add(1); return big, nil }
	var begun chan struct{} // closed when all have begun to wait
	await := func(context.Context, proto.Message, *machine.State) (proto.Message, error) {
		<-begun
		evaluated.Add(1)
		return big, nil
	}
	for what, c := range map[string]struct {
		method method.Method
		most   int64 // evaluations
	}{
		"looks": {method.Method{Look: look}, all}, "waits": {method.Method{Await: await}, 2 * all},
	} {
		evaluated.Store(0)
		synctest.Test(t, func(t *testing.T) {
			st := newStream(t, newServer(t, func(c *Config, _ *consistency.Config) { c.MaxOpen = all }))
			begun = make(chan struct{})
			budget := admission.NewBudget(1 << 40)
			st.account = budget.Open(admission.Caller{})
			st.server.checker.State.Apply(&raft.Log{Index: 1, Term: 1, Type: raft.LogCommand, Data: (&machine.Entry{Stamp: 1, Wall: time.Unix(1, 0)}).Append(nil)})
			for id := range uint64(all) {
				r := answerable(id)
				r.Method = &c.method
				st.readHere(r)
			}
			synctest.Wait()
			close(begun)
			out := outbox{server: st.server}
			for answered := 0; answered < all; {
				synctest.Wait() // until all have been answered, or wait for room
				if st.unsent.bytes > maxUnsent+pageBytes {
					t.Fatalf("%s: %d bytes are not sent", what, st.unsent.bytes)
				}
				if used, want := budget.Used(), answerCost*st.reads.Len()*proto.Size(big); used != int64(want) {
					t.Fatalf("%s: %d bytes of memory are taken, not %d", what, used, want)
				}
				if n := int(evaluated.Load()); c.method.Look != nil && n-answered > (maxUnsent+pageBytes)/size {
					t.Fatalf("%s: %d are evaluated, and %d sent", what, n, answered)
				}
				for st.take(&out); out.next(); {
					for _, a := range out.message.Answers {
						if len(a.GetBody()) < size {
							t.Fatalf("%s: an answer is %v", what, a)
						}
					}
					answered += len(out.message.Answers)
					st.sends(&out)
					st.sent(&out)
				}
			}
			if left := st.unsent; left != (load{}) || evaluated.Load() > c.most || budget.Used() != 0 {
				t.Errorf("%s: when all is sent there are still %+v, after %d evaluations, and %d bytes are taken", what, left, evaluated.Load(), budget.Used())
			}
		})
	}
}

func TestWhatIsNotSentCountsAsOpen(t *testing.T) {
	st := newStream(t, newServer(t)) // two may be open
	st.accept(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{gets(t, 1), gets(t, 2)}})
	out := outbox{server: st.server}
	st.take(&out)
	if _, err := st.begin(gets(t, 3), nil); interrex.KindOf(err) != interrex.ErrOverloaded {
		t.Errorf("with two answers that are not sent: %v", err)
	}
	if !out.next() {
		t.Fatal("no message")
	}
	st.sends(&out)
	if _, err := st.begin(gets(t, 3), nil); err != nil {
		t.Errorf("with both answers sent: %v", err)
	}
}

func TestAStreamThatIsClosedOpensNothing(t *testing.T) {
	st := newStream(t, newServer(t))
	st.end(nil)
	st.close()
	if _, err := st.begin(gets(t, 1), nil); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("it opens an operation: %v", err)
	}
}

// A stream whose peer has closed its side ends when it is quiet.
func TestAStreamIsQuietWhenNothingIsLeft(t *testing.T) {
	for what, fill := range map[string]func(*stream){
		"an open operation": func(st *stream) { st.open[1] = &request{} },
		"a refusal":         func(st *stream) { st.refused = append(st.refused, refused{}) },
		"a read's answer":   func(st *stream) { st.reads.Push(settled{}) },
		"a write's answer":  func(st *stream) { st.writes.Push(settled{}) },
	} {
		st := newStream(t, newServer(t))
		if !st.quiet() {
			t.Fatal("a new stream is not quiet")
		}
		if fill(st); st.quiet() {
			t.Errorf("quiet with %s", what)
		}
	}
}

// The request as it was decoded, and its response, until that is sent.
func TestACallOutsideAStreamTakesMemory(t *testing.T) {
	answer := &interrexv1.GetResponse{Lease: &interrexv1.Lease{Holder: strings.Repeat("x", 100<<10)}}
	body, err := proto.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, func(c *Config, _ *consistency.Config) {
		c.Forward = func(context.Context, string) (Forwarder, error) { return answering{body: body}, nil }
	})
	act := method.Act(interrexv1.LeaseServiceGetProcedure, "look", func(context.Context, *interrexv1.GetRequest, state.State) (*interrexv1.GetResponse, error) {
		return answer, nil
	})
	for what, c := range map[string]struct {
		method  *method.Method
		message proto.Message
	}{
		"a read":  {&act, &interrexv1.GetRequest{Key: strings.Repeat("x", 100<<10)}},
		"a write": {s.methods.Method(interrexv1.LeaseServiceClaimProcedure), &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"}},
	} {
		budget := admission.NewBudget(0)
		budget.Handler(func(string) bool { return false }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if o := s.unary(r.Context(), c.method, &request{}, c.message, time.Now()); o.err != nil {
				t.Errorf("%s: %v", what, o.err)
			}
			want := admission.RequestBytes + operationCost*proto.Size(c.message) + answerCost*len(body)
			if used := budget.Used(); used != int64(want) {
				t.Errorf("%s: %d bytes are taken, not %d", what, used, want)
			}
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
		if used := budget.Used(); used != 0 {
			t.Errorf("%s: in the end %d bytes are taken", what, used)
		}
	}
}

func TestACallOutsideAStreamIsAdmitted(t *testing.T) {
	s := newServer(t)
	get := s.methods.Method(interrexv1.LeaseServiceGetProcedure)
	large := &interrexv1.GetRequest{Key: string(make([]byte, wire.MaxBody))}
	if o := s.unary(t.Context(), get, &request{}, large, time.Now()); interrex.KindOf(o.err) != interrex.ErrTooLarge {
		t.Errorf("a large request: %v", o.err)
	}
	if !drained(s.calls) {
		t.Error("the call is over, and still open")
	}
	if o := s.unary(t.Context(), get, &request{}, &interrexv1.GetRequest{Key: "a/b"}, time.Now()); interrex.KindOf(o.err) != interrex.ErrDraining {
		t.Errorf("in a drain: %v", o.err)
	}
}

func TestAnActionIsOfACurrentAgent(t *testing.T) {
	lag := interrex.Errorf(interrex.ErrNoLeader, "nobody leads")
	for what, c := range map[string]struct {
		lag  error
		want interrex.Kind
	}{
		"a current agent": {nil, ""}, "an agent that may lag": {lag, interrex.ErrNoLeader},
	} {
		s := newServer(t, func(_ *Config, checks *consistency.Config) {
			checks.AskLeader = func(context.Context, admission.Caller) (uint64, error) { return 0, c.lag }
		})
		done := false
		m := method.Act(interrexv1.LeaseServiceGetProcedure, "look", func(context.Context, *interrexv1.GetRequest, state.State) (*interrexv1.GetResponse, error) {
			done = true
			return &interrexv1.GetResponse{}, nil
		})
		r := &request{Call: method.Call{Method: &m, Caller: admission.Caller{Operator: true}, Message: &interrexv1.GetRequest{}}}
		if o := s.act(t.Context(), r); interrex.KindOf(o.err) != c.want || done != (c.want == "") {
			t.Errorf("%s: done %v, %v", what, done, o.err)
		}
	}
}

// answering is a forwarder with one answer.
type answering struct {
	body []byte
	err  error
}

func (a answering) Send(ops []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	for i := range ops {
		done(i, a.body, a.err)
	}
	return func(int) {}
}

// What the leader has done, or refused, is not done here.
func TestAnActionOfTheLeadersIsDoneOnce(t *testing.T) {
	denied := interrex.Errorf(interrex.ErrDenied, "no")
	for what, c := range map[string]struct {
		leader bool
		answer answering
		here   bool
		want   error
	}{
		"the leader does it":       {false, answering{body: []byte{}}, false, nil},
		"the leader refuses it":    {false, answering{err: denied}, false, denied},
		"this agent is the leader": {true, answering{err: denied}, true, nil},
	} {
		s := newServer(t, func(config *Config, checks *consistency.Config) {
			config.Forward = func(context.Context, string) (Forwarder, error) { return c.answer, nil }
			if c.leader {
				checks.Leadership = fixed{interrex.Leadership{LeaderID: "a", Leader: true}}
				checks.Reads = func() (consistency.Reads, bool) { return indexed{}, true }
			}
		})
		here := false
		m := method.Act(interrexv1.LeaseServiceGetProcedure, "look", func(context.Context, *interrexv1.GetRequest, state.State) (*interrexv1.GetResponse, error) {
			here = true
			return &interrexv1.GetResponse{}, nil
		})
		m.Leads = true
		r := &request{Call: method.Call{Method: &m, Caller: admission.Caller{Operator: true}, Message: &interrexv1.GetRequest{}}}
		if o := s.act(t.Context(), r); !errors.Is(o.err, c.want) || here != c.here || c.want == nil && !here && o.body == nil {
			t.Errorf("%s: done here %v, %+v", what, here, o)
		}
	}
}

func TestWhatADrainTakesFromTheQueueIsDraining(t *testing.T) {
	s := newServer(t)
	r := &request{Call: method.Call{Method: s.methods.Method(interrexv1.LeaseServiceClaimProcedure)}}
	gone := interrex.Errorf(interrex.ErrTimeout, "gone").WithCause(queue.ErrCanceled)
	for _, want := range []interrex.Kind{interrex.ErrTimeout, interrex.ErrDraining} {
		if o := s.answered(r, outcome{err: gone}); interrex.KindOf(o.err) != want {
			t.Errorf("got %v, want %s", o.err, want)
		}
		r.expel()
	}
	if o := s.answered(r, told(interrex.ErrHeld)); interrex.KindOf(o.err) != interrex.ErrHeld {
		t.Errorf("another answer becomes %v", o.err)
	}
}

func TestAStrongReadIsOfASoundAndCurrentState(t *testing.T) {
	for what, c := range map[string]struct {
		damage error
		min    interrex.Revision
		want   interrex.Kind
	}{
		"sound":          {nil, 0, interrex.ErrNotFound},
		"in quarantine":  {errors.New("its log ends too early"), 0, interrex.ErrUnavailable},
		"in the future ": {nil, 9, interrex.ErrInvalid},
	} {
		s := newServer(t, func(_ *Config, checks *consistency.Config) { checks.Quarantine = func() error { return c.damage } })
		r := &request{Call: method.Call{Method: s.methods.Method(interrexv1.LeaseServiceGetProcedure), Message: &interrexv1.GetRequest{Key: "a/b"}}}
		r.Read.Min = c.min
		if o := s.confirm(t.Context(), admission.Caller{}, []*request{r})(r); interrex.KindOf(o.err) != c.want {
			t.Errorf("%s: got %v, want %s", what, o.err, c.want)
		}
	}
}

func TestAReadOfTheLeadersIndexIsNeverUnknown(t *testing.T) {
	for sent, want := range map[interrex.Kind]interrex.Kind{interrex.ErrOutcomeUnknown: interrex.ErrUnavailable, interrex.ErrTimeout: interrex.ErrTimeout} {
		s := newServer(t, func(c *Config, _ *consistency.Config) {
			c.Forward = func(context.Context, string) (Forwarder, error) {
				return &scripted{answers: []error{interrex.Errorf(sent, "no")}}, nil
			}
		})
		if _, err := s.LeaderIndex(t.Context(), admission.Caller{}); interrex.KindOf(err) != want {
			t.Errorf("%s becomes %v, want %s", sent, err, want)
		}
	}
}

func TestAPeersReadIsNotForwardedAgain(t *testing.T) {
	s := newServer(t, func(c *Config, _ *consistency.Config) {
		c.Forward = func(context.Context, string) (Forwarder, error) { return &scripted{}, nil }
	})
	r := &request{Call: method.Call{Method: s.methods.Method(interrexv1.LeaseServiceGetProcedure), Caller: admission.Caller{Door: admission.Peer}, Message: &interrexv1.GetRequest{Key: "a/b"}}}
	if o := s.askLeader(t.Context(), r); o.err != nil || o.body != nil || o.message != nil {
		t.Errorf("got %+v", o)
	}
}

func TestAVisitEndsWithItsAnswer(t *testing.T) {
	c := newCouriered(t, admission.Public)
	all := &Visitors{}
	for what, answer := range map[string]func(v *visit){
		"recorded": func(v *visit) { c.recorded(c.request(false), v, state.Result{}) },
		"refused":  func(v *visit) { c.refuseOne(c.request(false), v, errors.New("no")) },
	} {
		first := all.enter(visitorKey{caller: "ann", id: "1"})
		second := all.enter(visitorKey{caller: "ann", id: "1"})
		if first.alone() {
			t.Error("it does not know of the other attempt")
		}
		if answer(second); !first.alone() {
			t.Errorf("%s: the visit goes on", what)
		}
		if answer(first); len(all.all) != 0 {
			t.Errorf("%s: %d requests are left", what, len(all.all))
		}
	}
}

func TestConsentIsForTheSameContent(t *testing.T) {
	one := state.Operation{Table: 1, Data: []byte("a"), Fence: interrex.Fence{Token: 1}}
	v := (&Visitors{}).enter(visitorKey{caller: "ann", id: "1"})
	v.allow(contentOf(&one))
	if !v.allowed(contentOf(&one)) {
		t.Error("the same is asked again")
	}
	for what, change := range map[string]func(*state.Operation){
		"data":  func(o *state.Operation) { o.Data = []byte("b") },
		"table": func(o *state.Operation) { o.Table = 2 },
		"fence": func(o *state.Operation) { o.Fence.Token = 2 },
		"group": func(o *state.Operation) { o.Group = []state.Part{{Table: 1}} },
	} {
		other := one
		if change(&other); v.allowed(contentOf(&other)) {
			t.Errorf("another %s is not asked about", what)
		}
	}
}

// filled returns a server's stream with a budget in which nothing more fits of a share,
// because of the others.
func filled(t *testing.T, share admission.Share) (st *stream, b *admission.Budget, others *admission.Account) {
	t.Helper()
	st = newStream(t, newServer(t, func(c *Config, _ *consistency.Config) { c.MaxOpen = 100 }))
	b = admission.NewBudget(0)
	st.account, others = b.Open(admission.Caller{Name: "ann"}), b.Open(admission.Caller{Door: admission.Peer})
	if err := others.Take(int(b.Limit()/16*int64(share)), share); err != nil {
		t.Fatal(err)
	}
	return st, b, others
}

func TestWithoutMemoryForListsWhatIsSmallIsOpened(t *testing.T) {
	claim := asks(t, 1, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"})
	large := asks(t, 2, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Metadata: map[string]string{"m": strings.Repeat("x", 4000)}})
	large.Body = protowire.AppendBytes(protowire.AppendTag(large.Body, 1000, protowire.BytesType), make([]byte, 20<<10))
	extend := asks(t, 3, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b", Token: 1})
	for share, fits := range map[admission.Share][]*interrexv1.Operation{admission.Large: {claim, extend}, admission.Small: {extend}, admission.Urgent: nil} {
		st, _, _ := filled(t, share)
		for _, op := range []*interrexv1.Operation{claim, large, extend} {
			_, err := st.begin(op, nil)
			if want := slices.Contains(fits, op); want != (err == nil) || err != nil && interrex.KindOf(err) != interrex.ErrOverloaded {
				t.Errorf("a share of %d is full: operation %d: %v", share, op.GetId(), err)
			}
		}
	}
}

func TestWithoutMemoryAListIsRefusedAndARowIsNot(t *testing.T) {
	st, _, _ := filled(t, admission.Large)
	list := asks(t, 1, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL})
	st.accept(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{list, gets(t, 2)}})
	want := map[uint64]interrex.Kind{1: interrex.ErrOverloaded, 2: interrex.ErrUnavailable} // nothing is applied yet
	out := outbox{server: st.server}
	for len(want) > 0 {
		<-st.wake
		for st.take(&out); out.next(); st.take(&out) {
			for _, a := range out.message.Answers {
				if got := a.GetError().GetKind(); got != string(want[a.Id]) {
					t.Errorf("operation %d: %q, want %q", a.Id, got, want[a.Id])
				}
				delete(want, a.Id)
			}
			st.sends(&out)
			st.sent(&out)
		}
	}
}

// Whatever is answered, refused or not, gives back what it has taken.
func TestAStreamThatIsAnsweredHoldsNothing(t *testing.T) {
	st, budget, others := filled(t, admission.Large)
	others.Close()
	out := outbox{server: st.server}
	for id := uint64(0); id < 90; id += 3 {
		bad := gets(t, id+1)
		bad.Body = []byte{0xff}
		st.accept(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{gets(t, id), bad, gets(t, id)}})
		if budget.Used() == 0 {
			t.Fatal("nothing is taken")
		}
		for st.take(&out); out.next(); st.take(&out) {
			st.sends(&out)
			st.sent(&out)
		}
		if budget.Used() != 0 {
			t.Fatalf("%d bytes are left", budget.Used())
		}
	}
}

func TestOfAPeerThatIsOverloadedNothingIsReceivedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for what, c := range map[string]struct {
			excess int
			door   admission.Door
			want   time.Duration
		}{
			"nothing was": {0, admission.Public, 0}, "one operation": {1, admission.Public, excessPause},
			"many": {maxMessages, admission.Public, maxPause}, "those of many callers": {maxMessages, admission.Peer, 0},
		} {
			st := &stream{server: &Server{config: Config{Clock: clock.WallClock}}, ctx: t.Context(), excess: c.excess, caller: admission.Caller{Door: c.door}}
			begun := time.Now()
			if err := st.pause(); err != nil || time.Since(begun) != c.want || st.excess != 0 {
				t.Errorf("%s: waits %v, want %v: %v", what, time.Since(begun), c.want, err)
			}
		}
	})
}
