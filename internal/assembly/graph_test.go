package assembly

import (
	"context"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

// harmless reports whether a worker may go on with what its owner has freed.
func harmless(user string, value any) bool {
	_, server := value.(*apiserver.Server)
	return server && slices.Contains([]string{
		// The server's end ends the streams that these wait for.
		APIListenerName, apiSocketName, apiPeersName, apiForwardedName,
		// It makes events readable by it, which goes on.
		WebhooksName,
	}, user)
}

// A worker that is stopped, alone or with all others, frees nothing that another
// one uses.
func TestNothingIsFreedBeforeItsUsersHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		for _, user := range w.all() {
			for _, owner := range w.all() {
				w.outlives(t, owner, user)
			}
		}
		began := time.Now()
		testworker.Stop(t, w.engine)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}

// outlives stops an owner while its user is not able to stop.
func (w *world) outlives(t *testing.T, owner, user string) {
	var used []taken
	for _, it := range w.takenBy(user) {
		if it.from == owner && frees(it.value) && !harmless(user, it.value) {
			used = append(used, it)
		}
	}
	if len(used) == 0 {
		return
	}
	visitors, _ := w.Lives.Worker(owner).(*unit.Unit).Report()["visitors"].(string)
	if !slices.Contains(strings.Split(visitors, ", "), user) {
		t.Errorf("%s uses %s, and does not visit it: its visitors are %s", user, used, visitors)
	}
	leave := w.visit(t, user)
	w.fail(owner, refuse)
	w.Lives.Worker(owner).Kill()
	time.Sleep(unit.Patience / 2)
	for _, it := range used {
		if freed(it.value) {
			t.Errorf("%s is freed while %s uses it", it, user)
		}
	}
	leave()
	time.Sleep(time.Second)
	for _, it := range used {
		if !freed(it.value) {
			t.Errorf("%s is not freed when %s has ended", it, user)
		}
	}
	w.fail(owner, nil)
	w.settle(t)
}

// The workers in which the API and what is held through the agent must not be
// interrupted by a restart of others.
var steady = []string{apiName, ClientName, LeasesName}

// above are those that what is steady stands on.
var above = []string{
	ClockName, recoveryName, identityName, StateName, QueueName, leasesConfigName, leasesFeatureName, apiName, ClientName, LeasesName,
	raftSlotName, readsSlotName, forwarderSlotName, hookCallerSlotName, switchesName,
}

func TestEveryWorkerMayFailAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		w.whole(t)
		for _, name := range w.all() {
			w.restarts(t, name)
		}
		testworker.Stop(t, w.engine)
	})
}

// restarts has a worker fail for a while.
func (w *world) restarts(t *testing.T, name string) {
	before := map[string]int{}
	for _, user := range steady {
		before[user] = w.runs(user)
	}
	held, err := w.Client().Leases().Hold(t.Context(), "mine/"+name, interrex.HoldOptions{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	w.fail(name, refuse)
	w.Lives.Worker(name).Kill()
	time.Sleep(5 * time.Second)
	if !slices.Contains(above, name) {
		for slot, value := range w.offered() {
			if value != nil && freed(value) {
				t.Errorf("while %s does not run, %s has a %T that is freed", name, slot, value)
			}
		}
		for user, runs := range before {
			if w.runs(user) != runs {
				t.Errorf("%s was restarted with %s", user, name)
			}
		}
		if err := held.Check(); err != nil {
			t.Errorf("a held lease is lost with %s: %v", name, err)
		}
	}
	w.fail(name, nil)
	w.settle(t)
	w.whole(t)
	if err := held.Release(t.Context()); err != nil && !slices.Contains(above, name) {
		t.Errorf("the end of a held lease: %v", err)
	}
}

// whole says what is wrong while everything runs.
func (w *world) whole(t *testing.T) {
	t.Helper()
	for slot, value := range w.offered() {
		if value == nil || freed(value) {
			t.Errorf("%s has a %T", slot, value)
		}
	}
	for _, user := range w.all() {
		w.tellsWhatItTook(t, user)
	}
	if _, err := w.Client().Leases().List(t.Context(), interrex.ListRequest{}); err != nil {
		t.Errorf("a strong read: %v", err)
	}
}

// tellsWhatItTook compares what a worker took with what the graph says of it, and
// with what its inputs give now.
func (w *world) tellsWhatItTook(t *testing.T, user string) {
	took := w.takenBy(user)
	n := w.nodes[user]
	for _, input := range w.Manifolds[user].Inputs {
		if input != EngineName && !slices.ContainsFunc(took, func(it taken) bool { return it.from == input }) {
			t.Errorf("%s does not use its input %s", user, input)
		}
	}
	for _, it := range took {
		if it.as == nil {
			continue
		}
		out := reflect.New(it.as)
		if err := w.Manifolds[it.from].Output(w.Lives.Worker(it.from), out.Interface()); err != nil {
			t.Errorf("%s has %s: %v", user, it, err)
		} else if it.as.Comparable() && it.as.Kind() != reflect.Interface && out.Elem().Interface() != it.value {
			t.Errorf("%s goes on with %s, which is another one now", user, it)
		}
		if it.from == switchesName {
			continue // who offers and who uses have the same
		}
		uses := strings.HasPrefix(reflect.TypeOf(it.value).Name(), "Handle[")
		offers := strings.HasPrefix(reflect.TypeOf(it.value).Name(), "Offerer[")
		if uses != slices.Contains(n.Uses, it.from) || offers != slices.Contains(n.Offers, it.from) {
			t.Errorf("the graph does not tell that %s has %s", user, it)
		}
	}
}

// nobody is a way to nobody.
type nobody struct{}

func (nobody) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nobody is there")
}

func TestWebhooksAreToldOnlyWhereTheAgentLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *AgentConfig) {
			c.Cluster.BootstrapExpect, c.Cluster.Join, c.Dialer = 2, []string{"a2:1"}, nobody{}
		})
		w.settle(t, rotationName, clustererName, WebhooksName)
		testworker.Stop(t, w.engine)
	})
}

// A start that is under way ends with the engine, and what has been started then.
func TestAStopInTheMiddleOfStartsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after := time.Duration(0); after < 200*time.Millisecond; after += 7 * time.Millisecond {
			w := newWorld(t)
			time.Sleep(after)
			w.stops(t, "after %s", after)
		}
	})
}

func TestAStopDuringTheRestartOfAnyWorkerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := 0; i == 0 || i < len(names); i++ {
			w := newWorld(t)
			w.settle(t)
			names = w.all()
			w.fail(names[i], func(ctx dependency.Context) error {
				<-ctx.Abort()
				return dependency.ErrMissing
			})
			w.Lives.Worker(names[i]).Kill()
			time.Sleep(time.Second)
			w.stops(t, "while %s starts", names[i])
		}
	})
}

// stops stops everything, which takes no time.
func (w *world) stops(t *testing.T, format string, args ...any) {
	t.Helper()
	began := time.Now()
	testworker.Stop(t, w.engine)
	if took := time.Since(began); took > time.Second {
		t.Errorf(format+": the end took %s", append(args, took)...)
	}
}
