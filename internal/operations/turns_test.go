package operations

import (
	"context"
	"errors"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
)

// One caller makes a hundred lists at once, and then another makes two.
func TestLongReadsTakeTurnsByCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, clock.WallClock)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		read := func(share string) {
			all.Go(func() {
				if err := turns.take(t.Context(), share); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, share)
				mu.Unlock()
				turns.give(0)
			})
			synctest.Wait()
		}
		for range 100 {
			read("many")
		}
		read("few")
		read("few")
		turns.give(0)
		all.Wait()
		if len(order) != 102 || !slices.Equal(order[:5], []string{"many", "few", "many", "few", "many"}) {
			t.Errorf("%d reads, first those of %v", len(order), order[:5])
		}
	})
}

// The reads of a busy agent take half of the time of their turn, and a single caller waits
// for nothing.
func TestALongReadIsFollowedByAPauseWhileOthersWait(t *testing.T) {
	for _, c := range []struct {
		waits      bool
		took, want time.Duration
	}{
		{true, 3 * time.Millisecond, 3 * time.Millisecond},
		{true, time.Hour, turnPause}, // the process was suspended
		{false, 3 * time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			turns := newTurns(1, clock.WallClock)
			if err := turns.take(t.Context(), "first"); err != nil {
				t.Fatal(err)
			}
			next := func() {
				if err := turns.take(t.Context(), "second"); err != nil {
					t.Error(err)
				}
			}
			var all sync.WaitGroup
			if c.waits {
				all.Go(next)
				synctest.Wait()
			}
			began := time.Now()
			turns.give(c.took)
			if !c.waits {
				next()
			}
			all.Wait()
			if paused := time.Since(began); paused != c.want {
				t.Errorf("%+v: %v", c, paused)
			}
		})
	}
}

// Making bytes of a long list takes as long as reading it.
func TestWhatIsSentAsBytesIsMadeInItsTurn(t *testing.T) {
	s := newServer(t)
	for _, in := range []encoding{notEncoded, inProto, inJSON} {
		r := &request{encoding: in, Call: method.Call{Method: s.methods.Method(interrexv1.LeaseServiceListProcedure), Message: &interrexv1.ListRequest{}}}
		o := s.look(t.Context(), r, nil)
		if o.err != nil || (o.body != nil) != (in == inProto) || (o.json != nil) != (in == inJSON) || (o.message != nil) != (in == notEncoded) {
			t.Errorf("%+v", o)
		}
	}
	list := asks(t, 1, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{})
	if r, err := newStream(t, s).begin(list, nil); err != nil || r.encoding != inProto {
		t.Errorf("of a stream: %+v, %v", r, err)
	}
}

// spyCodec decodes and encodes nothing, and has the response that it got.
type spyCodec struct {
	name string
	got  *wire.Response
}

func (c *spyCodec) Name() string                { return c.name }
func (c *spyCodec) Unmarshal([]byte, any) error { return nil }
func (c *spyCodec) Marshal(m any) ([]byte, error) {
	c.got, _ = (*m.(*any)).(*wire.Response)
	return nil, nil
}

// So is what is sent outside a stream.
func TestAResponseIsEncodedAsItsCallerWants(t *testing.T) {
	s := newServer(t)
	list := s.methods.Method(interrexv1.LeaseServiceListProcedure)
	list.Latency = method.NewMetrics().Latency(list.Procedure)
	for _, name := range []string{"proto", "json"} {
		codec := &spyCodec{name: name}
		h := s.Handler(list, connect.WithCodec(codec))
		r := httptest.NewRequestWithContext(t.Context(), "POST", list.Procedure, nil)
		r.Header.Set("Content-Type", "application/"+name)
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if got := codec.got; got == nil || got.Message != nil || (got.Proto != nil) != (name == "proto") || (got.JSON != nil) != (name == "json") {
			t.Errorf("%s: %v %s, %+v", name, answer.Code, answer.Body, got)
		}
	}
}

func TestALongReadDoesNotWaitForItsTurnWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(0, clock.WallClock)
		if err := turns.take(t.Context(), "x"); interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) == 0 {
			t.Errorf("it ends with %v", err)
		}
	})
}

func TestALongReadWhoseCallerHasGoneTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, clock.WallClock)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var began atomic.Int64
		for _, ctx := range []context.Context{gone, t.Context(), gone} {
			all.Go(func() {
				if err := turns.take(ctx, "x"); !errors.Is(err, ctx.Err()) {
					t.Errorf("%v", err)
				} else if err == nil {
					began.Add(1)
					turns.give(0)
				}
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if n := began.Load(); n != 0 {
			t.Errorf("%d have begun beside the first", n)
		}
		turns.give(0)
		all.Wait()
		if turns.free != 1 || len(turns.waiting) != 0 || turns.shares.Len() != 0 {
			t.Errorf("%d are free, and %d callers wait", turns.free, len(turns.waiting))
		}
	})
}

// comes is the context of a caller that has gone, which gets its turn when it is noticed.
type comes struct {
	context.Context
	turns *turns
	once  sync.Once
}

func (c *comes) Err() error {
	c.once.Do(c.turns.pass)
	return c.Context.Err()
}

// A turn that comes to a caller that has gone is passed on.
func TestATurnThatComesTooLateIsGivenBack(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // which of the two is noticed is chance
		turns := newTurns(1, clock.WallClock)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		if err := turns.take(&comes{Context: gone, turns: turns}, "x"); err == nil {
			turns.give(0)
		}
		if turns.free != 1 {
			t.Fatalf("%d are free", turns.free)
		}
	}
}

// One whose only read has given up comes again.
func TestACallerThatHasGoneGetsATurnWhenItComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, clock.WallClock)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		read := func(ctx context.Context) {
			all.Go(func() {
				if err := turns.take(ctx, "x"); !errors.Is(err, ctx.Err()) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(t.Context())
		read(gone)
		cancel()
		synctest.Wait()
		read(t.Context())
		turns.give(0)
		all.Wait()
		if turns.give(0); turns.free != 1 {
			t.Errorf("%d are free", turns.free)
		}
	})
}

// It does not wait any more, though another read of the same caller does.
func TestATurnThatHasComeIsNotLeft(t *testing.T) {
	turns := newTurns(0, clock.WallClock)
	first, second := turns.wait("x"), turns.wait("x")
	turns.pass()
	if turns.leave("x", first) || !turns.leave("x", second) {
		t.Error("of two, the second has got the turn")
	}
}

// On every machine long reads are made, and they leave processors for everything else.
func TestLongReadsHaveHalfOfTheProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for processors, want := range map[int]int{1: 1, 2: 1, 8: 4} {
		runtime.GOMAXPROCS(processors)
		if s := newServer(t); s.long.free != want {
			t.Errorf("of %d processors %d make lists", processors, s.long.free)
		}
	}
}

// longReads returns a method whose answers take some time to make.
func longReads(took time.Duration) *method.Method {
	return &method.Method{Look: func(proto.Message, *machine.State) (proto.Message, error) {
		time.Sleep(took)
		return &interrexv1.ListResponse{}, nil
	}}
}

// A list waits for its caller's turn, and a row for none, nor does what has failed before.
func TestOnlyWhatTakesLongToReadTakesATurn(t *testing.T) {
	s := newServer(t)
	s.long.free = 0
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	failed := errors.New("nothing is applied yet")
	list, get := s.methods.Method(interrexv1.LeaseServiceListProcedure), s.methods.Method(interrexv1.LeaseServiceGetProcedure)
	for what, c := range map[string]struct {
		method  *method.Method
		message proto.Message
		before  error
		want    error
	}{
		"a list": {list, &interrexv1.ListRequest{}, nil, context.Canceled}, "a row": {get, &interrexv1.GetRequest{Key: "a/b"}, nil, interrex.ErrNotFound},
		"a list that has failed": {list, &interrexv1.ListRequest{}, failed, failed},
	} {
		r := &request{Call: method.Call{Method: c.method, Message: c.message}}
		if o := s.look(gone, r, c.before); !errors.Is(o.err, c.want) {
			t.Errorf("%s: %v, want %v", what, o.err, c.want)
		}
	}
}

// While one list is made, two callers want others.
func TestATurnTakesAsLongAsItsReadAndItsPause(t *testing.T) {
	const took = 3 * time.Millisecond
	for draining, want := range map[bool]time.Duration{false: 7 * took, true: 4 * took} {
		synctest.Test(t, func(t *testing.T) { fourLists(t, draining, took, want) })
	}
}

func fourLists(t *testing.T, draining bool, took, want time.Duration) {
	s := newServer(t)
	if draining && !drained(s.calls) {
		t.Fatal("it is not drained")
	}
	s.long = newTurns(1, clock.WallClock)
	var all sync.WaitGroup
	for _, name := range []string{"ann", "bob", "bob", "cid"} {
		r := &request{Call: method.Call{Method: longReads(took), Caller: admission.Caller{Name: name}}}
		all.Go(func() {
			if o := s.look(t.Context(), r, nil); o.err != nil {
				t.Error(o.err)
			}
		})
		synctest.Wait()
	}
	if n := len(s.long.waiting); n != 2 {
		t.Errorf("%d callers wait", n)
	}
	began := time.Now()
	all.Wait()
	if got := time.Since(began); got != want {
		t.Errorf("draining %v: four lists, and the pauses between them, take %v", draining, got)
	}
}
