package manifolds

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

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
		want := []string{"Draining", "InMemory", "ClusterID", "RaftDown", "APIDown", "ProjectionDown", "Failing", "RaftStarting", "Machine", "APITLS"}
		if !slices.Equal(absent, want) {
			t.Errorf("the view is without %q, want %q", absent, want)
		}
		stop(t, w.engine)
	})
}

func TestTheViewShowsWhyWorkersAreDown(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("boom")
	for _, name := range []string{RaftName, APIListenerName, ProjectionName, QueueName} {
		s.Starts.started(name, nil, why)
	}
	v := s.view()
	if v.RaftDown != why || v.APIDown != why || v.ProjectionDown != why {
		t.Errorf("raft: %v, the API: %v, the projection: %v", v.RaftDown, v.APIDown, v.ProjectionDown)
	}
	if others := slices.Collect(maps.Keys(v.Failing)); !slices.Equal(others, []string{QueueName}) {
		t.Errorf("the others: %q", others)
	}
	run := s.Starts.started(RaftName, nil, nil)
	s.Starts.ended(RaftName, run, raftworker.ErrNoLeaderTimeout)
	if v := s.view(); !errors.Is(v.RaftDown, raftworker.ErrNoLeaderTimeout) {
		t.Errorf("raft, when it has ended: %v", v.RaftDown)
	}
}

func TestTheViewShowsAStartOfRaftThatIsUnderWay(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	start := guard(RaftName, dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) {
		if s.view().RaftStarting.IsZero() {
			t.Error("it does not show it")
		}
		return nil, dependency.ErrMissing
	}}, s.Starts, nil)
	if _, err := start(nil); err == nil || !s.view().RaftStarting.IsZero() {
		t.Errorf("it still shows it after %v", err)
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
