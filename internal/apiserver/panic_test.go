package apiserver

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// A panic while an answer is made fails only that request, and leaves nothing open.
func TestPanicInAnAnswerLeavesNothing(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("panic/held", "holder")
	procedure := interrexv1.LeaseServiceRevokeProcedure
	number := op(0, procedure, &interrexv1.RevokeRequest{}).Method
	nd.server.methods.Methods[number].Answer = func(proto.Message, state.Result, *machine.State) (proto.Message, error) { panic("answer") }
	key := interrex.Key{Namespace: "panic", Name: "held"}
	token := nd.claimed("panic/other", "holder")

	s := nd.stream(t.Context(), nd.url)
	s.send(waitOp(1, "panic/held", "waiter", time.Minute))
	nd.waitFor(func() bool { return nd.applier.Waiting(key) == 1 })
	s.send(op(2, procedure, &interrexv1.RevokeRequest{Key: "panic/other", Token: token}))
	if kind := s.answers(1)[2].GetError().GetKind(); kind != string(interrex.ErrOutcomeUnknown) {
		t.Errorf("got %q", kind)
	}
	if n := nd.applier.Waiting(key); n != 1 {
		t.Errorf("%d claims wait beside it, want 1", n)
	}
	_ = s.conn.CloseRequest()
	_ = s.conn.CloseResponse()
	nd.waitFor(func() bool { return nd.applier.Waiting(key) == 0 })
	nd.must(nd.server.Drain(t.Context())) // which waits for whatever is open
}

func TestAPanicOfWhatAMethodDoesIsOneOperationsFailure(t *testing.T) {
	nd := cluster(t, 1)[0]
	claimed := nd.server.methods.Methods[claimOp(0, "panic/a", "h").Method]
	made := claimed.Command
	claimed.Command = func(m proto.Message, s *machine.State) (state.TableID, state.Command, error) {
		if m.(*interrexv1.ClaimRequest).GetKey() == "panic/a" {
			panic("command")
		}
		return made(m, s)
	}
	nd.server.methods.Methods[getOp(0, "panic/a").Method].Look = func(proto.Message, *machine.State) (proto.Message, error) { panic("read") }
	s := nd.stream(t.Context(), nd.url)
	s.send(claimOp(1, "panic/a", "h"), claimOp(2, "panic/b", "h"), getOp(3, "panic/a"))
	got := s.answers(3)
	for id, want := range map[uint64]interrex.Kind{1: interrex.ErrOutcomeUnknown, 2: "", 3: interrex.ErrOutcomeUnknown} {
		if kind := got[id].GetError().GetKind(); kind != string(want) {
			t.Errorf("operation %d: got %q", id, kind)
		}
	}
}
