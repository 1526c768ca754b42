package client_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// closes returns the watches that the client has closed.
func (a *agent) closes() (ids []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.asked {
		ids = append(ids, m.Closes...)
	}
	return ids
}

// An agent goes on with a watch until it is told.
func TestAnAgentIsToldWhichWatchIsOver(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.watch = func(r *interrexv1.WatchRequest, send func(string, uint64) error) error {
			if r.Since == 7 {
				_ = send("unreadable", 8)
			}
			return endless(r, send)
		}
	})
	c := dial(t, client.Config{}, a)
	stays := watch(t, c, interrex.WatchRequest{Since: 1})
	next := func(what string) {
		if _, err := stays.Next(t.Context()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	next("at first")
	closed := watch(t, c, interrex.WatchRequest{Since: 2})
	if _, err := closed.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent is told of the close", func() bool { return slices.Contains(a.closes(), 2) })
	if _, err := follow(t, watch(t, c, interrex.WatchRequest{Since: 7})); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("a watch with an unreadable event: %v", err)
	}
	eventually(t, "the agent is told of what cannot be read", func() bool { return slices.Contains(a.closes(), 3) })
	if n := a.watching(); n.begun != 1 {
		t.Errorf("%d streams", n.begun)
	}
	next("afterwards")
}
