package assembly

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/raftworker"
)

func TestTheViewShowsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		v := reflect.ValueOf(w.view())
		var absent []string // ClusterID is what the directory had at its start
		for i := range v.NumField() {
			if f := v.Field(i); f.IsZero() || f.Kind() == reflect.Map && f.Len() == 0 {
				absent = append(absent, v.Type().Field(i).Name)
			}
		}
		want := []string{"Draining", "InMemory", "ClusterID", "Joins", "Removed", "Waits", "WaitsSince", "Forwards", "Gateway", "RaftDown", "APIDown", "ProjectionDown", "RecoveryFailed", "Comparison", "Differs", "Failing", "RaftStarting", "Machine", "APITLS"}
		if !slices.Equal(absent, want) {
			t.Errorf("the view is without %q, want %q", absent, want)
		}
		testworker.Stop(t, w.engine)
	})
}

// try starts a worker as one of the set's.
func (s *Set) try(name string, start dependency.StartFunc) {
	_, _ = s.Lives.Recorded(name, dependency.Manifold{Start: start})(nil)
}

func TestTheViewShowsWhyWorkersAreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Prefix: DefaultPrefix})
		if err != nil {
			t.Fatal(err)
		}
		why := errors.New("boom")
		for _, name := range []string{RaftName, APIListenerName, ProjectionName, QueueName} {
			s.try(name, func(dependency.Context) (worker.Worker, error) { return nil, why })
		}
		v := s.view()
		if v.RaftDown != why || v.APIDown != why || v.ProjectionDown != why {
			t.Errorf("raft: %v, the API: %v, the projection: %v", v.RaftDown, v.APIDown, v.ProjectionDown)
		}
		if others := slices.Collect(maps.Keys(v.Failing)); !slices.Equal(others, []string{QueueName}) {
			t.Errorf("the others: %q", others)
		}
		s.try(RaftName, func(dependency.Context) (worker.Worker, error) {
			return unit.Run(func(context.Context) error { return raftworker.ErrNoLeaderTimeout }), nil
		})
		synctest.Wait()
		if v := s.view(); !errors.Is(v.RaftDown, raftworker.ErrNoLeaderTimeout) {
			t.Errorf("raft, when it has ended: %v", v.RaftDown)
		}
	})
}

func TestTheViewShowsAStartOfRaftThatIsUnderWay(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	s.try(RaftName, func(dependency.Context) (worker.Worker, error) {
		if s.view().RaftStarting.IsZero() {
			t.Error("it does not show it")
		}
		return nil, dependency.ErrMissing
	})
	if !s.view().RaftStarting.IsZero() {
		t.Error("it still shows it afterwards")
	}
}

func TestADrainingAgentIsNotToBeElected(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.leaving(); err != nil || s.view().Draining {
		t.Errorf("before: %v", err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.leaving() == nil || !s.view().Draining {
		t.Error("while it drains it may be elected")
	}
}
