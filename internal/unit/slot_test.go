package unit_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

// The user of a slot goes on while what is offered there ends and begins again.
func TestASlotsUserGoesOnWhileItIsOfferedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &testworker.Journal{}
		producers := make(chan worker.Worker, 2)
		number := 0
		nodes := map[string]unit.Node{
			"slot": unit.Slot[int](),
			"producer": {Offers: []string{"slot"}, Start: func(u *unit.Unit) (worker.Worker, error) {
				slot := unit.Need[unit.Offerer[int]](u, "slot")
				if u.Err != nil {
					return nil, u.Err
				}
				number++
				w := testworker.Slow(j, "producer", 0)
				producers <- w
				slot.Offer(u, number)
				return w, nil
			}, Filter: func(error) error { return dependency.ErrBounce }},
			"user": {Uses: []string{"slot"}, Start: func(u *unit.Unit) (worker.Worker, error) {
				is := unit.Need[unit.Handle[int]](u, "slot")
				if u.Err != nil {
					return nil, u.Err
				}
				_, _, changed := is.Next()
				u.Follow(changed, func() <-chan struct{} {
					value, offered, next := is.Next()
					if offered {
						j.Add("offered " + string(rune('0'+value)))
					} else {
						j.Add("withdrawn")
					}
					return next
				})
				return testworker.Slow(j, "user", 0), nil
			}},
		}
		set := dependency.Manifolds{}
		for name, n := range nodes {
			set[name] = n.Manifold(name, strings.Clone, nil)
		}
		engine := testworker.Engine(t, set)
		time.Sleep(time.Second)
		(<-producers).Kill()
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		got := j.All()
		for _, once := range []string{"user runs", "user has stopped", "withdrawn", "offered 2"} {
			n := 0
			for _, is := range got {
				if is == once {
					n++
				}
			}
			if n == 0 || n > 1 && once != "withdrawn" {
				t.Errorf("%q happened %d times in %q", once, n, got)
			}
		}
	})
}
