package manifolds

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/apiserver"
)

// The user of a slot goes on while what is offered there ends and begins again.
func TestASlotsUserGoesOnWhileItIsOfferedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		producers := make(chan worker.Worker, 2)
		number := 0
		nodes := map[string]node{
			"slot": slotNode[int](),
			"producer": {offers: []string{"slot"}, start: func(u *unit) (worker.Worker, error) {
				slot := need[offerer[int]](u, "slot")
				if u.err != nil {
					return nil, u.err
				}
				number++
				w := newSlow(j, "producer", 0)
				producers <- w
				slot.offer(u, number)
				return w, nil
			}, filter: func(error) error { return dependency.ErrBounce }},
			"user": {uses: []string{"slot"}, start: func(u *unit) (worker.Worker, error) {
				is := need[handle[int]](u, "slot")
				if u.err != nil {
					return nil, u.err
				}
				_, _, changed := is.next()
				u.follow(changed, func() <-chan struct{} {
					value, offered, next := is.next()
					if offered {
						j.add("offered " + string(rune('0'+value)))
					} else {
						j.add("withdrawn")
					}
					return next
				})
				return newSlow(j, "user", 0), nil
			}},
		}
		set := dependency.Manifolds{}
		for name, n := range nodes {
			set[name] = n.manifold(name, same, nil)
		}
		engine := newEngine(t, set)
		time.Sleep(time.Second)
		(<-producers).Kill()
		time.Sleep(time.Second)
		stop(t, engine)
		got := j.all()
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

func TestTheReportTellsOffersFromUses(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	workers := s.Report(noEngine{s})[dependency.KeyManifolds].(map[string]any)
	raft, server := workers[RaftName].(map[string]any), workers[apiName].(map[string]any)
	if offers := raft[apiserver.KeyOffers].([]string); !slices.Equal(offers, []string{raftSlotName}) {
		t.Errorf("raft offers %q", offers)
	}
	if uses := server[apiserver.KeyUses].([]string); !slices.Contains(uses, raftSlotName) || slices.Contains(uses, StateName) {
		t.Errorf("the API uses %q", uses)
	}
}

// Every slot has one that offers, and each line names workers of the graph.
func TestEachSlotIsFilledByOneWorker(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	offered := map[string]int{}
	for name, n := range s.nodes {
		for _, input := range slices.Concat(n.inputs, n.visits, n.uses, n.offers) {
			if _, is := s.nodes[input]; !is {
				t.Errorf("%s needs %s, which is not in the graph", name, input)
			}
		}
		for _, slot := range n.offers {
			offered[slot]++
		}
	}
	for _, n := range s.nodes {
		for _, slot := range n.uses {
			want := 1
			if slot == switchesName {
				want = len(features()) // each moves its own
			}
			if offered[slot] != want {
				t.Errorf("%s is offered by %d workers", slot, offered[slot])
			}
		}
	}
}
