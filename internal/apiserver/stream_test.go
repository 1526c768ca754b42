package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// wireStream is a stream of operations at the level of its messages.
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

func (s wireStream) send(ops ...*interrexv1.Operation) {
	s.t.Helper()
	if err := s.conn.Send(&interrexv1.OperateRequest{Operations: ops}); err != nil {
		s.t.Fatal(err)
	}
}

// answers receives n answers, and returns them by id.
func (s wireStream) answers(n int) map[uint64]*interrexv1.Answer {
	s.t.Helper()
	got := map[uint64]*interrexv1.Answer{}
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

// cancel sends that the caller of an operation has gone.
func (s wireStream) cancel(id uint64) {
	s.t.Helper()
	if err := s.conn.Send(&interrexv1.OperateRequest{Cancels: []uint64{id}}); err != nil {
		s.t.Fatal(err)
	}
}

func claimOp(id uint64, key, holder string) *interrexv1.Operation {
	return op(id, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: key, Holder: holder})
}

func waitOp(id uint64, key, holder string, wait time.Duration) *interrexv1.Operation {
	op := claimOp(id, key, holder)
	op.WaitMs = wire.Millis(wait)
	return op
}

func getOp(id uint64, key string) *interrexv1.Operation {
	return op(id, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: key})
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
				var ops []*interrexv1.Operation
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

// mixed returns an operation of each sort in turn.
func mixed(id uint64) *interrexv1.Operation {
	switch id % 10 {
	case 0:
		return claimOp(id, fmt.Sprintf("mixed/%d", id), "")
	case 1:
		return getOp(id, "mixed/free")
	case 2:
		return op(id, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{Namespace: "other"})
	case 3:
		return op(id, interrexv1.LeaseServiceHistoryProcedure, &interrexv1.HistoryRequest{Key: "mixed/free"})
	case 4:
		return op(id, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "mixed/free", Token: 1})
	case 5:
		return op(id, interrexv1.StateServiceRetireProcedure, &interrexv1.RetireRequest{Name: "1-0000000000000001"})
	case 6:
		return op(id, interrexv1.StateServiceReadIndexProcedure, &interrexv1.ReadIndexRequest{})
	}
	return claimOp(id, fmt.Sprintf("mixed/%d", id), "ann")
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
	s.cancel(1)
	s.answers(1)
	s.send(getOp(5, "jobs/busy"))
	if a := s.answers(1)[5]; a.GetError() != nil {
		t.Errorf("there is room again, but %v", a)
	}
}

func TestCancelTakesAWaitingClaimOutOfTheLine(t *testing.T) {
	nd := cluster(t, 1)[0]
	token := nd.claimed("jobs/busy", "ann")
	s := nd.stream(t.Context(), nd.url)
	s.send(waitOp(1, "jobs/busy", "bob", time.Hour))
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 1 })
	s.cancel(1)
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
	if a := s.answers(1)[1]; as[interrexv1.ClaimResponse](t, a).GetLease().GetHolder() != "bob" {
		t.Errorf("%v", a)
	}
	if _, err := s.conn.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestTooManyOperationsInAMessageEndTheStream(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	ops := make([]*interrexv1.Operation, wire.MaxOperations+1)
	for i := range ops {
		ops[i] = getOp(uint64(i+1), "a/b")
	}
	s.send(ops...)
	_, err := s.conn.Receive()
	if err = wire.FromError(err, true); interrex.KindOf(err) != interrex.ErrTooLarge {
		t.Errorf("%v", err)
	}
}

func TestAReplayIsMarkedOnTheStream(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	s.send(op(9, interrexv1.StateServiceOpenNameProcedure, &interrexv1.OpenNameRequest{Bits: 7}))
	name := as[interrexv1.OpenNameResponse](t, s.answers(1)[9]).GetName()
	op := func(id uint64, attempt uint32) *interrexv1.Operation {
		c := claimOp(id, "jobs/once", "ann")
		c.Mark, c.RequestId, c.Attempt = 1, name+".1", attempt
		return c
	}
	s.send(op(1, 0))
	first := as[interrexv1.ClaimResponse](t, s.answers(1)[1])
	s.send(op(2, 1))
	second := as[interrexv1.ClaimResponse](t, s.answers(1)[2])
	if first.GetReplayed() || !second.GetReplayed() || second.GetAttempt() != 0 || first.GetRevision() != second.GetRevision() {
		t.Errorf("%v then %v", first, second)
	}
}

// opened returns an opened call of a caller.
func (nd *node) opened(c admission.Caller, in *interrexv1.Operation, now time.Time) (*method.Call, error) {
	m := nd.server.methods.Methods[in.GetMethod()]
	message, err := m.Decode(in.GetBody())
	nd.must(err)
	r := &method.Call{}
	return r, r.Open(nd.server.methods, c, m, in, message, now)
}

func TestPublicCallersCannotSpeakForOthers(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, in := range []*interrexv1.Operation{claimOp(1, "a/b", "ann"), waitOp(1, "a/b", "ann", time.Minute)} {
		in.Caller, in.RequestId = "mallory", "one"
		for _, test := range []struct {
			door admission.Door
			want string
		}{{admission.Public, "bob"}, {admission.Socket, "bob"}, {admission.Peer, "mallory"}} {
			c := admission.CallerOf(admission.WithCaller(t.Context(), admission.Caller{Operator: true, Door: test.door}))
			c.Name = "bob"
			r, err := nd.opened(c, in, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			hop, err := r.Hop(time.Now())
			if err != nil || r.Addressed().Caller != test.want || hop.GetCaller() != test.want {
				t.Errorf("door %d, wait %d ms: caller %q here and %q at the leader, want %q: %v", test.door, in.GetWaitMs(), r.Addressed().Caller, hop.GetCaller(), test.want, err)
			}
		}
	}
}

func TestAWriteGoesToTheLogOnceItIsChecked(t *testing.T) {
	nd := cluster(t, 1)[0]
	now := time.Now()
	in := waitOp(1, "a/b", "ann", time.Minute)
	in.AsksAgain, in.TimeoutMs = true, 1000
	body := slices.Clone(in.Body)
	r, err := nd.opened(admission.Caller{}, in, now)
	if err != nil {
		t.Fatal(err)
	}
	op := r.Operation(now, nil, func(state.Result) {})
	if op.Wait == nil || op.Wait.Every != interrex.DefaultTTL/4 || !op.Wait.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("wait: %+v", op.Wait)
	}
	if !op.Deadline.Equal(now.Add(time.Second)) {
		t.Errorf("deadline in %v", op.Deadline.Sub(now))
	}
	hop, err := r.Hop(now.Add(400 * time.Millisecond))
	if err != nil || hop.GetTimeoutMs() != 600 || hop.GetWaitMs() != 59600 || !hop.GetAsksAgain() {
		t.Errorf("hop: %v, %v", hop, err)
	}
	if !bytes.Equal(hop.Body, body) || in.WaitMs != 60000 {
		t.Error("the hop changes the body, or the caller's own operation")
	}
}

func TestWhatTheEnvelopeSaysIsNotSaidInTheBody(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	for i, m := range []*interrexv1.ClaimRequest{
		{RequestId: "mine"}, {Attempt: 1}, {Wait: durationpb.New(time.Second)}, {Fence: &interrexv1.Fence{Key: "a/c", Token: 1}},
	} {
		m.Key, m.Holder = "a/b", "ann"
		alone := op(uint64(2*i+1), interrexv1.LeaseServiceClaimProcedure, m)
		both := op(uint64(2*i+2), interrexv1.LeaseServiceClaimProcedure, m)
		both.RequestId, both.WaitMs = "mine", 1000
		s.send(alone, both)
		for id, a := range s.answers(2) {
			if a.GetError().GetKind() != "invalid" {
				t.Errorf("operation %d, %v: %v", id, m, a)
			}
		}
	}
}

func TestAnEnvelopeThatDoesNotFitItsMethodIsInvalid(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url)
	claim := func(change func(*interrexv1.Operation)) *interrexv1.Operation {
		in := claimOp(0, "a/b", "ann")
		change(in)
		return in
	}
	extend := op(0, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b", Token: 1})
	extend.RequestId = "x"
	unpin := op(0, interrexv1.LeaseServiceUnpinProcedure, &interrexv1.UnpinRequest{Key: "a/b", Owner: "o"})
	unpin.WaitMs = 1000
	waiting, fenced := getOp(0, "a/b"), getOp(0, "a/b")
	waiting.WaitMs, fenced.Fence = 1000, &interrexv1.Fence{Key: "a/b", Token: 1}
	for i, in := range []*interrexv1.Operation{
		claim(func(o *interrexv1.Operation) { o.Method = 12345 }),
		claim(func(o *interrexv1.Operation) { o.Body = []byte{0xff} }),
		claim(func(o *interrexv1.Operation) { o.RequestId = strings.Repeat("x", 65) }),
		claim(func(o *interrexv1.Operation) { o.Fence = &interrexv1.Fence{Key: "a/b"} }),
		claim(func(o *interrexv1.Operation) { o.WaitMs = uint32(interrex.MaxWait/time.Millisecond) + 1 }),
		extend, unpin, waiting, fenced,
	} {
		in.Id = uint64(i + 1)
		s.send(in)
		if a := s.answers(1)[in.Id]; a.GetError().GetKind() != "invalid" {
			t.Errorf("operation %d: %v", in.Id, a)
		}
	}
}
