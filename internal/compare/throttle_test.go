package compare

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
)

func TestHashingRestsMostOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := &throttle{ctx: ctx, clock: clock.WallClock, since: time.Now()}
		for worked, rests := range map[time.Duration]time.Duration{
			workTime / 2: 0, workTime: 4 * workTime, 2 * workTime: 8 * workTime, time.Second: longRest,
		} {
			p.since = time.Now()
			time.Sleep(worked)
			began := time.Now()
			if err := p.step(); err != nil || time.Since(began) != rests {
				t.Errorf("after %v of work it rests %v, %v", worked, time.Since(began), err)
			}
			began = time.Now()
			if err := p.step(); err != nil || time.Since(began) != 0 {
				t.Errorf("after %v of work and a rest it rests %v, %v", worked, time.Since(began), err)
			}
		}
		cancel()
		for _, worked := range []time.Duration{0, time.Second} {
			p.since = time.Now()
			time.Sleep(worked)
			if p.step() == nil {
				t.Error("it goes on after its end")
			}
		}
	})
}
