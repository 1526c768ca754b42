package raftworker

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/transport"
)

func TestRaftIsOpenToItsMembersAlone(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	r := w.life.rules
	err := r.OpenTo(transport.Hello{ID: "x"})
	if err == nil || err.Error() != "raft on a is open only to the members of its cluster (a): agent x is not one of them" || errors.Is(err, transport.ErrNotNow) {
		t.Errorf("to a stranger: %v", err)
	}
	running, err := w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	if err := running.AddNonvoter("x", "x", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	if err := r.OpenTo(transport.Hello{ID: "x"}); err != nil {
		t.Errorf("to one that is being added: %v", err)
	}
	a.stop(w)

	starting := newRules(a.cfg, nil, new(atomic.Pointer[raft.Raft]))
	if err := starting.OpenTo(transport.Hello{ID: "a"}); !errors.Is(err, transport.ErrNotNow) {
		t.Errorf("before raft runs: %v", err)
	}
}

func TestAnAgentWithoutAConfigurationIsOpenToWhoeverTakesItIn(t *testing.T) {
	a := newAgent(t, "a")
	w := a.start()
	if err := w.life.rules.OpenTo(transport.Hello{ID: "x"}); err != nil {
		t.Error(err)
	}
	a.stop(w)
}
