package transport

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestAMatchOnlyRisesWithinATerm(t *testing.T) {
	var a acks
	for _, step := range []struct{ term, index, term1, term2 uint64 }{
		{1, 7, 7, 0}, {1, 5, 7, 0}, {1, 9, 9, 0}, {2, 3, 0, 3}, {1, 20, 0, 3}, {2, 0, 0, 3},
	} {
		a.matched("b", step.term, step.index)
		if one, two := a.match("b", 1), a.match("b", 2); one != step.term1 || two != step.term2 {
			t.Errorf("after index %d in term %d: %d in term 1, %d in term 2", step.index, step.term, one, two)
		}
	}
	if got := a.match("c", 2); got != 0 {
		t.Errorf("a peer that has said nothing matches up to %d", got)
	}
}

// Strong reads rest on it: an answer that was long under way proves nothing of
// what came after its request had left.
func TestAnAckIsOfWhenItsRequestLeft(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to, from := must(a.Raft(RaftConfig{})), must(b.Raft(RaftConfig{}))
	arrived, answer := make(chan struct{}), make(chan struct{})
	to.SetHeartbeatHandler(func(rpc raft.RPC) {
		close(arrived)
		<-answer
		rpc.Respond(&raft.AppendEntriesResponse{Term: 1}, nil)
	})
	sent := make(chan error, 1)
	go func() {
		id := []byte("b")
		req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: id, Addr: id}, Term: 1}
		sent <- from.AppendEntries("a", "a", req, &raft.AppendEntriesResponse{})
	}()
	<-arrived
	read := b.config.Clock.Now() // of a read that comes while the answer is held back
	close(answer)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if left, term := from.LastAck("a"); term != 1 || left.IsZero() || !left.Before(read) {
		t.Errorf("a request that left before %s counts as of %s, in term %d", read, left, term)
	}
}

// Answers may overtake each other.
func TestAnAckNeverGoesBack(t *testing.T) {
	var a acks
	now := time.Now()
	a.note("b", now, 2)
	a.note("b", now.Add(-time.Second), 2) // overtaken
	a.note("b", now.Add(time.Second), 1)  // of an earlier term
	if last := a.last("b"); !last.sent.Equal(now) || last.term != 2 {
		t.Errorf("%+v", last)
	}
}
