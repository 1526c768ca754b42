package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// wireStream is a stream as it is on the wire.
type wireStream struct {
	t    testing.TB
	conn *connect.BidiStreamForClient[interrexv1.OperateRequest, interrexv1.OperateResponse]
}

func (nd *node) stream(ctx context.Context, url string, options ...connect.ClientOption) wireStream {
	nd.t.Helper()
	s := wireStream{nd.t, interrexv1.NewStreamServiceClient(nd.http, url, options...).Operate(ctx)}
	nd.t.Cleanup(func() { _ = s.conn.CloseRequest(); _ = s.conn.CloseResponse() })
	return s
}

func (s wireStream) send(ops ...*interrexv1.StreamOperation) {
	s.t.Helper()
	if err := s.conn.Send(&interrexv1.OperateRequest{Operations: ops}); err != nil {
		s.t.Fatal(err)
	}
}

// answers receives until n answers are there, and gives them by id.
func (s wireStream) answers(n int) map[uint64]*interrexv1.StreamAnswer {
	s.t.Helper()
	got := map[uint64]*interrexv1.StreamAnswer{}
	for len(got) < n {
		m, err := s.conn.Receive()
		if err != nil {
			s.t.Fatalf("%d of %d answers, then %v", len(got), n, err)
		}
		for _, a := range m.GetAnswers() {
			if got[a.GetId()] != nil {
				s.t.Fatalf("operation %d is answered twice", a.GetId())
			}
			got[a.GetId()] = a
		}
	}
	return got
}

func claimOp(id uint64, key, holder string) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Id: id, Request: &interrexv1.StreamOperation_Claim{
		Claim: &interrexv1.ClaimRequest{Key: key, Holder: holder},
	}}
}

func waitOp(id uint64, key, holder string, wait time.Duration) *interrexv1.StreamOperation {
	op := claimOp(id, key, holder)
	op.GetClaim().Wait = durationpb.New(wait)
	return op
}

func getOp(id uint64, key string) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Id: id, Request: &interrexv1.StreamOperation_Get{
		Get: &interrexv1.GetRequest{Key: key},
	}}
}

func cancelOp(id uint64) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Cancel{Cancel: id}}
}

func TestStreamAnswersEveryOperationOnce(t *testing.T) {
	for _, protocol := range []struct {
		name    string
		options []connect.ClientOption
	}{
		{"connect", nil},
		{"gRPC", []connect.ClientOption{connect.WithGRPC()}},
	} {
		t.Run(protocol.name, func(t *testing.T) {
			nd := cluster(t, 1)[0]
			s := nd.stream(t.Context(), nd.url, protocol.options...)
			const n = 1000
			for first := uint64(1); first <= n; first += 50 {
				var ops []*interrexv1.StreamOperation
				for id := first; id < first+50; id++ {
					ops = append(ops, mixed(id))
				}
				s.send(ops...)
			}
			for id, a := range s.answers(n) {
				if kind := a.GetError().GetKind(); kind != wantKind(id) {
					t.Errorf("operation %d: %v", id, a)
				}
			}
		})
	}
}

// mixed makes an operation of each sort in turn.
func mixed(id uint64) *interrexv1.StreamOperation {
	op := claimOp(id, fmt.Sprintf("mixed/%d", id), "ann")
	switch id % 10 {
	case 0:
		op.GetClaim().Holder = ""
	case 1:
		return getOp(id, "mixed/free")
	case 2:
		op.Request = &interrexv1.StreamOperation_List{List: &interrexv1.ListRequest{Namespace: "other"}}
	case 3:
		op.Request = &interrexv1.StreamOperation_History{History: &interrexv1.HistoryRequest{Key: "mixed/free"}}
	case 4:
		op.Request = &interrexv1.StreamOperation_Extend{Extend: &interrexv1.ExtendRequest{Key: "mixed/free", Token: 1}}
	case 5:
		op.Request = &interrexv1.StreamOperation_Retire{Retire: "name"}
	case 6:
		op.Request = &interrexv1.StreamOperation_ReadIndex{ReadIndex: &interrexv1.ReadIndexRequest{}}
	}
	return op
}

func wantKind(id uint64) string {
	return map[uint64]string{0: "invalid", 1: "not found", 4: "not held"}[id%10]
}

func TestStreamTellsWhenAnIDIsOpenAlready(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/busy", "ann")
	s := nd.stream(t.Context(), nd.url)
	s.send(waitOp(7, "jobs/busy", "bob", time.Hour), getOp(7, "jobs/busy"))
	if a := s.answers(1)[7]; a.GetError().GetKind() != "invalid" {
		t.Errorf("%v", a)
	}
}

func TestStreamBoundsWhatIsOpen(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.MaxOpen = 3 })[0]
	nd.claimed("jobs/busy", "ann")
	s := nd.stream(t.Context(), nd.url)
	for id := uint64(1); id <= 4; id++ {
		s.send(waitOp(id, "jobs/busy", fmt.Sprint("b", id), time.Hour))
	}
	if a := s.answers(1)[4]; a.GetError().GetKind() != "overloaded" || a.GetError().GetRetryAfter() == nil {
		t.Errorf("%v", a)
	}
	s.send(cancelOp(1))
	s.answers(1)
	s.send(getOp(5, "jobs/busy"))
	if a := s.answers(1)[5]; a.GetGet() == nil {
		t.Errorf("there is room again, but %v", a)
	}
}

func TestCancelTakesAWaitingClaimOutOfTheLine(t *testing.T) {
	nd := cluster(t, 1)[0]
	token := nd.claimed("jobs/busy", "ann")
	s := nd.stream(t.Context(), nd.url)
	s.send(waitOp(1, "jobs/busy", "bob", time.Hour))
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 1 })
	s.send(cancelOp(1))
	if a := s.answers(1)[1]; a.GetError().GetKind() != "timeout" {
		t.Errorf("%v", a)
	}
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 0 })
	nd.curl("LeaseService/Revoke", fmt.Sprintf(`{"key":"jobs/busy","token":"%d"}`, token))
	if _, held := nd.leases.Get(parse("jobs/busy")); held {
		t.Error("a claim that was cancelled was granted")
	}
}

func TestTheEndOfAStreamTakesItsClaimsOutOfTheLine(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/busy", "ann")
	ctx, cancel := context.WithCancel(t.Context())
	s := nd.stream(ctx, nd.url)
	s.send(waitOp(1, "jobs/busy", "bob", time.Hour))
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 1 })
	cancel()
	_ = s.conn.CloseRequest()
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 0 })
}

func TestHalfClosedStreamIsAnsweredToTheEnd(t *testing.T) {
	nd := cluster(t, 1)[0]
	token := nd.claimed("jobs/busy", "ann")
	s := nd.stream(t.Context(), nd.url)
	s.send(waitOp(1, "jobs/busy", "bob", time.Hour))
	nd.must(s.conn.CloseRequest())
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 1 })
	nd.curl("LeaseService/Revoke", fmt.Sprintf(`{"key":"jobs/busy","token":"%d"}`, token))
	if a := s.answers(1)[1]; a.GetClaim().GetLease().GetHolder() != "bob" {
		t.Errorf("%v", a)
	}
	if _, err := s.conn.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestTooManyOperationsInAMessageEndTheStream(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	ops := make([]*interrexv1.StreamOperation, MaxMessages+1)
	for i := range ops {
		ops[i] = getOp(uint64(i+1), "a/b")
	}
	s.send(ops...)
	_, err := s.conn.Receive()
	if err = wire.FromError(err, true); interrex.KindOf(err) != interrex.KindTooLarge {
		t.Errorf("%v", err)
	}
}

func TestAReplayIsMarkedOnTheStream(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	op := func(id uint64, attempt uint32) *interrexv1.StreamOperation {
		c := claimOp(id, "jobs/once", "ann")
		c.Mark = 1
		c.GetClaim().RequestId, c.GetClaim().Attempt = "name.1", attempt
		return c
	}
	s.send(op(1, 0))
	first := s.answers(1)[1].GetClaim()
	s.send(op(2, 1))
	second := s.answers(1)[2].GetClaim()
	if first.GetReplayed() || !second.GetReplayed() || second.GetAttempt() != 0 || first.GetRevision() != second.GetRevision() {
		t.Errorf("%v then %v", first, second)
	}
}

func TestPublicCallersCannotSpeakForOthers(t *testing.T) {
	in := claimOp(1, "a/b", "ann")
	in.Caller = "mallory"
	in.GetClaim().RequestId = "one"
	for _, test := range []struct {
		door door
		want string
	}{{doorPublic, ""}, {doorSocket, ""}, {doorPeer, "mallory"}} {
		w, err := newWrite(callerOf(through(t.Context(), test.door)), in, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if w.op.Caller != test.want {
			t.Errorf("door %d: caller %q, want %q", test.door, w.op.Caller, test.want)
		}
	}
}

func TestAWriteGoesToTheLogOnceItIsChecked(t *testing.T) {
	now := time.Now()
	in := waitOp(1, "a/b", "ann", time.Minute)
	in.AsksAgain, in.Timeout = true, durationpb.New(time.Second)
	w, err := newWrite(caller{}, in, now)
	if err != nil {
		t.Fatal(err)
	}
	op := w.operation(now, nil, func(state.Result) {})
	if op.Wait == nil || op.Wait.Every != interrex.DefaultTTL/4 || !op.Wait.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("wait: %+v", op.Wait)
	}
	if !op.Deadline.Equal(now.Add(time.Second)) {
		t.Errorf("deadline in %v", op.Deadline.Sub(now))
	}
	hop := w.hop(now.Add(400 * time.Millisecond))
	if hop.GetTimeout().AsDuration() != 600*time.Millisecond || hop.GetClaim().GetWait().AsDuration() != 59600*time.Millisecond || !hop.GetAsksAgain() {
		t.Errorf("hop: %v", hop)
	}
	if in.GetClaim().GetWait().AsDuration() != time.Minute {
		t.Error("the caller's own message was changed")
	}
}
