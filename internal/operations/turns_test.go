package operations

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
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
