package manifolds_test

import (
	"strings"
	"testing"
	"time"

	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/manifolds"
)

func TestAProgramsWorkerRunsWhileALeaseIsHeld(t *testing.T) {
	set := manifolds.Manifolds(manifolds.Config{
		Agent: agent.Config{ID: "mine", Logger: loggo.NewContext(loggo.CRITICAL)}, Prefix: "interrex-",
	})
	set["nightly-lease"] = manifolds.Lease(manifolds.LeaseConfig{
		LeasesName: manifolds.LeasesName, Key: "mine/nightly", TTL: 15 * time.Second,
	})
	began := make(chan interrex.Held, 1)
	set["nightly"] = manifolds.WhileHeld("nightly-lease", dependency.Manifold{
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			var held interrex.Held
			if err := ctx.Get("nightly-lease", &held); err != nil {
				return nil, err
			}
			began <- held
			return testworker.Slow(&testworker.Journal{}, "nightly", 0), nil
		},
	})
	engine := testworker.Engine(t, set)
	select {
	case held := <-began:
		if held.Key().String() != "mine/nightly" || held.Token() == 0 || held.Context().Err() != nil {
			t.Errorf("it holds %v under %v", held.Key(), held.Token())
		}
	case <-time.After(time.Minute):
		t.Error("it has not begun")
	}
	testworker.Stop(t, engine)
}

func TestAConfigurationThatIsNotValidIsToldByAStart(t *testing.T) {
	set := manifolds.Manifolds(manifolds.Config{Agent: agent.Config{ID: "-"}, Prefix: "my-"})
	if len(set) != 1 {
		t.Fatalf("there are %d workers", len(set))
	}
	if _, err := set["my-config"].Start(testworker.Inputs{}); err == nil || !strings.Contains(err.Error(), `"-"`) {
		t.Errorf("its start says %v", err)
	}
}
