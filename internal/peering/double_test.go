package peering

import (
	"maps"
	"net"
	"strings"
	"testing"
	"time"
)

// Two agents with one ID would have two votes.
func TestASecondAgentOfOneIDIsRefusedAtBothEnds(t *testing.T) {
	for _, dialled := range []bool{false, true} { // by the agent that both know
		w := newWorld(t)
		b, log := w.agent("b")
		a, err := New(w.joined("a", b))
		if err != nil {
			t.Fatal(err)
		}
		clone, _ := w.agent("a")
		for _, tr := range []*Transport{a, b, clone} {
			if _, err := tr.Listener(); err != nil {
				t.Fatal(err)
			}
		}
		open := connected(t, a, b)
		meet := func() error {
			from, to := clone, b
			if dialled {
				from, to = b, clone
			}
			return from.meetAt(t.Context(), to.ListenAddr())
		}
		if err := meet(); err == nil || !strings.Contains(err.Error(), "agent a runs already, at "+a.ListenAddr()) {
			t.Errorf("the second is told: %v", err)
		}
		if at := b.Address("a"); at != a.ListenAddr() {
			t.Errorf("b knows a at %s now", at)
		}
		shown := false
		for _, c := range b.Contacts() {
			shown = shown || c.ID == "a" && c.Refused && c.Ours && c.Address == clone.ListenAddr()
		}
		if !shown {
			t.Errorf("b shows %+v", b.Contacts())
		}
		if !dialled {
			eventually(t, "b has logged it", func() bool { return log.count() > 0 })
		}
		stop(t, a) // its process has ended: its connections are closed
		_ = open.Close()
		eventually(t, "b counts no connection of the first", func() bool { return len(b.ties("a")) == 0 })
		eventually(t, "the second is let in", func() bool { return meet() == nil })
		eventually(t, "b knows where it is", func() bool { return b.Address("a") == clone.ListenAddr() })
	}
}

// connected opens a stream from one agent to another.
func connected(t *testing.T, from, to *Transport) net.Conn {
	t.Helper()
	go func() {
		for c, err := to.api.Accept(); err == nil; c, err = to.api.Accept() {
			go func() {
				_, _ = c.Read(make([]byte, 1))
				_ = c.Close()
			}()
		}
	}()
	eventually(t, "they have met", func() bool { return from.Address(to.ID()) != "" && to.Address(from.ID()) != "" })
	conn, err := from.DialAPI(t.Context(), to.ID())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream has arrived", func() bool { return to.hasOther(Hello{ID: from.ID()}) })
	return conn
}

// The connections of an agent whose machine has lost its power stay open for a while.
func TestAnAgentThatIsNotHeardIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	a, _ := w.agent("a", joining(b))
	if _, err := b.Listener(); err != nil {
		t.Fatal(err)
	}
	open := connected(t, a, b)
	defer open.Close()
	peer := b.Peers()[0]
	peer.Instance = "another"
	if err := b.double(peer); err == nil {
		t.Fatal("it is not noticed")
	}
	for c := range b.ties("a") {
		c.heard.since.Add(-int64(doubleAfter))
	}
	b.noteRead(b.contacts.of("a")) // the other one is heard: that says nothing of the first
	if err := b.double(peer); err != nil {
		t.Errorf("it was not heard for %s: %v", doubleAfter, err)
	}
	if c := b.present.refused(b.config.Clock.Now().Add(doubleNoted)); len(c) > 0 {
		t.Errorf("%s later it is still shown: %+v", time.Duration(doubleNoted), c)
	}
}

// Raft keeps connections for the next election, and reads nothing from them meanwhile.
func TestAnAgentThatHasEndedIsNotWaitedForWhereNothingIsRead(t *testing.T) {
	w := newWorld(t)
	b, err := New(w.joined("b"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := w.agent("a", joining(b))
	if _, err := b.Listener(); err != nil {
		t.Fatal(err)
	}
	open := connected(t, a, b)
	defer open.Close()
	again := Hello{ID: "b", Instance: "another"}
	if err := a.double(again); err == nil {
		t.Fatal("the first is not counted")
	}
	stop(t, b)
	eventually(t, "the second is let in", func() bool {
		for c := range a.ties("b") {
			a.noteRead(&c.heard) // not for want of time
		}
		return a.double(again) == nil
	})
}

// ties returns the open connections with an agent.
func (t *Transport) ties(id string) map[*tie]bool {
	t.present.mu.Lock()
	defer t.present.mu.Unlock()
	return maps.Clone(t.present.open[id])
}
