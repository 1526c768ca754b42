package apiserver

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// padded returns a claim with an unknown field of the given size.
func padded(id uint64, key string, bytes int) *interrexv1.Operation {
	op := claimOp(id, key, "padded")
	op.Body = protowire.AppendTag(op.Body, 1000, protowire.BytesType)
	op.Body = protowire.AppendBytes(op.Body, make([]byte, bytes))
	return op
}

// A request that is too large to forward would end the stream to the leader, which
// all clients of an agent share.
func TestOversizedOperationTouchesNobodyElse(t *testing.T) {
	nodes := cluster(t, 3)
	_, nd := follower(t, nodes)
	nd.claimed("big/held", "holder")
	other := nd.stream(t.Context(), nd.url)
	other.send(waitOp(1, "big/held", "waiter", time.Minute))
	l := leader(t, nodes)
	nd.waitFor(func() bool { return l.applier.Waiting(interrex.Key{Namespace: "big", Name: "held"}) == 1 })

	s := nd.stream(t.Context(), nd.url)
	pad := wire.MaxMessage - 64 - (proto.Size(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{padded(1, "big/stream", wire.MaxMessage-64)}}) - wire.MaxMessage)
	s.send(padded(1, "big/stream", pad))
	if kind := s.answers(1)[1].GetError().GetKind(); kind != string(interrex.ErrTooLarge) {
		t.Errorf("on a stream: got %q", kind)
	}
	m := &interrexv1.ClaimRequest{Key: "big/unary", Holder: "padded"}
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), make([]byte, wire.MaxMessage-70)))
	body, err := proto.Marshal(m)
	nd.must(err)
	if r := nd.post(nd.url+interrexv1.LeaseServiceClaimProcedure, "application/proto", body); r.status != 400 && r.status != 413 || r.kind() != string(interrex.ErrTooLarge) {
		t.Errorf("unary: got %d %.300s", r.status, r.body)
	}
	got := make(chan *interrexv1.OperateResponse, 1)
	go func() {
		m, _ := other.conn.Receive()
		got <- m
	}()
	select {
	case m := <-got:
		t.Errorf("somebody else's waiting claim was answered: %v", m)
	case <-time.After(time.Second):
	}
}

// A waiting claim may keep its request in memory for an hour.
func TestALargeRequestDoesNotWait(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	big := padded(1, "wait/big", (32 << 10))
	big.WaitMs = 60_000
	s.send(big)
	if kind := s.answers(1)[1].GetError().GetKind(); kind != string(interrex.ErrTooLarge) {
		t.Errorf("got %q", kind)
	}
}
