package backoff

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestPausesAreDoubledUpToTheMost(t *testing.T) {
	for times, want := range map[int]time.Duration{0: 100, 1: 200, 2: 400, 3: 800, 4: 1000, 5: 1000, math.MaxInt: 1000} {
		if got := Doubled(100, 1000, times); got != want {
			t.Errorf("%d times: %d, want %d", times, got, want)
		}
	}
	if got := Doubled(1<<60, math.MaxInt64, 9); got != math.MaxInt64 {
		t.Errorf("of the longest duration: %d", got)
	}
	if got := Doubled(100, 30, 0); got != 30 {
		t.Errorf("the most is below the first: %d", got)
	}
}

func TestAJitteredPauseIsHalfOfItOrMore(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := Jittered(10)
		if seen[d] = true; d < 5 || d > 10 {
			t.Fatalf("%d of 10", d)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d different times of 6", len(seen))
	}
	if d := Jittered(0); d != 0 {
		t.Errorf("%d of 0", d)
	}
}

func TestAPauseEndsWithItsTimeOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !Pause(t.Context(), time.After(time.Minute)) || time.Since(began) != time.Minute {
			t.Errorf("it ended after %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began = time.Now(); Pause(ctx, time.After(time.Minute)) || time.Since(began) != time.Second {
			t.Errorf("with its context it ended after %v", time.Since(began))
		}
	})
}
