package admission

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/interrex/interrex"
)

func TestADrainWaitsForWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCalls(nil)
		enter := func() {
			if err := c.Enter(Brief, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		enter()
		c.Leave(Brief, "ann", 1) // nothing is open, and there is no drain
		enter()
		enter()
		drained := make(chan error, 1)
		go func() { drained <- c.Drain(t.Context()) }()
		for _, n := range []int{1, 0} {
			synctest.Wait()
			select {
			case err := <-drained:
				t.Fatalf("it has drained with calls open: %v", err)
			default:
			}
			if c.Ended.Err() == nil || !c.Draining() {
				t.Error("calls that wait are not told of the drain")
			}
			c.Leave(Brief, "ann", n)
		}
		c.Leave(Brief, "ann", 1)
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestADrainHasATime(t *testing.T) {
	c := NewCalls(nil)
	_ = c.Enter(Brief, "ann")
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Drain(over); interrex.KindOf(err) != interrex.ErrTimeout {
		t.Errorf("one call is open, and the drain returns %v", err)
	}
	c.Leave(Brief, "ann", 1)
	if err := c.Drain(context.Background()); err != nil { // a second one
		t.Error(err)
	}
}

func TestADrainRefusesNewCalls(t *testing.T) {
	c := NewCalls(nil)
	if err := c.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := c.Enter(Brief, "ann"); interrex.KindOf(err) != interrex.ErrDraining || interrex.RetryAfter(err) <= 0 {
		t.Errorf("got %v, to be retried after %v", err, interrex.RetryAfter(err))
	}
	if err := c.Drain(context.Background()); err != nil { // what was refused is not open
		t.Error(err)
	}
}

func TestACallThatMayLastLongEndsWithADrainOrItsListener(t *testing.T) {
	closing, stop := context.WithCancel(t.Context())
	defer stop()
	for what, end := range map[string]func(c *Calls){
		"a drain":                 func(c *Calls) { _ = c.Drain(t.Context()) },
		"the end of its listener": func(*Calls) { stop() },
	} {
		c := NewCalls(nil)
		ctx, release := c.EndOn(WithClosing(t.Context(), closing))
		other, over := c.EndOn(t.Context())
		over()
		if ctx.Err() != nil || other.Err() == nil || context.Cause(other) == nil || interrex.KindOf(context.Cause(other)) == interrex.ErrDraining {
			t.Errorf("before %s: %v; one that is over: %v", what, ctx.Err(), context.Cause(other))
		}
		end(c)
		<-ctx.Done()
		if got := interrex.KindOf(context.Cause(ctx)); got != interrex.ErrDraining {
			t.Errorf("%s ends it with %v", what, context.Cause(ctx))
		}
		release()
	}
}

func TestACallThatIsOverLeavesNothingWithItsListener(t *testing.T) {
	closing := &counted{Context: t.Context(), done: make(chan struct{})}
	_, release := NewCalls(nil).EndOn(WithClosing(t.Context(), closing))
	if closing.waits != 1 {
		t.Errorf("%d wait for the end of the listener", closing.waits)
	}
	if release(); closing.waits != 0 {
		t.Errorf("%d wait for the end of the listener afterwards", closing.waits)
	}
}
