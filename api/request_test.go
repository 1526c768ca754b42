package api

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

func TestAnOperationHasSoLongToEnterTheLog(t *testing.T) {
	for _, test := range []struct {
		lane      state.Lane
		timeoutMs uint32
		want      time.Duration
	}{
		{state.LaneNormal, 0, queue.EnqueueTimeout},
		{state.LaneNormal, 1000, time.Second},
		{state.LaneNormal, 60_000, queue.EnqueueTimeout},
		{state.LaneExtend, 0, queue.ExtendTimeout},
		{state.LaneExtend, 4000, 4 * time.Second},
		{state.LaneExtend, 60_000, queue.ExtendTimeout},
	} {
		if got := enterTimeout(test.lane, &interrexv1.Operation{TimeoutMs: test.timeoutMs}); got != test.want {
			t.Errorf("lane %d, its caller has %d ms: %v, want %v", test.lane, test.timeoutMs, got, test.want)
		}
	}
}

func TestTheHopCarriesWhatItsOperationCarries(t *testing.T) {
	nd := cluster(t, 1)[0]
	now := time.Now()
	in := waitOp(7, "a/b", "ann", time.Minute)
	in.RequestId, in.Attempt, in.Mark, in.Fence = "ann.9", 2, 4, &interrexv1.Fence{Key: "a/c", Token: 5}
	in.TimeoutMs, in.AsksAgain = 1000, true
	r, err := nd.opened(caller{name: "ann"}, in, now)
	if err != nil {
		t.Fatal(err)
	}
	hop, err := r.hop(now)
	want := proto.CloneOf(in)
	want.Id, want.Caller = 0, "ann"
	if err != nil || !proto.Equal(hop, want) {
		t.Errorf("%v, %v\nwant %v", hop, err, want)
	}
}

func TestACallThatCameAloneGoesOnAsOneOfAStream(t *testing.T) {
	nd := cluster(t, 1)[0]
	now := time.Now()
	fence := &interrexv1.Fence{Key: "a/c", Token: 5}
	alone := &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", RequestId: "mine", Attempt: 2, Wait: durationpb.New(time.Minute), Fence: fence}
	want := waitOp(0, "a/b", "ann", time.Minute)
	want.RequestId, want.Attempt, want.Fence, want.TimeoutMs = "mine", 2, fence, wire.Millis(queue.EnqueueTimeout)
	r, err := nd.server.open(caller{}, nd.server.methods[want.Method], nil, alone, now)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be sent again
		if hop, err := r.hop(now); err != nil || !proto.Equal(hop, want) {
			t.Errorf("%v, %v\nwant %v", hop, err, want)
		}
	}
}

func TestAClaimThatHasStoodInLineElsewhereHasTimeToEnterTheLog(t *testing.T) {
	nd := cluster(t, 1)[0]
	now := time.Now()
	in := waitOp(1, "a/b", "ann", time.Minute)
	in.TimeoutMs = 1000
	r, err := nd.opened(caller{}, in, now)
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(20 * time.Second)
	if op := r.operation(later, nil); !op.Deadline.Equal(later.Add(queue.EnqueueTimeout)) || !op.Wait.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("here it has %v, and its wait %v", op.Deadline.Sub(later), op.Wait.Until.Sub(later))
	}
	hop, err := r.hop(later)
	if err != nil || hop.GetTimeoutMs() != uint32(queue.EnqueueTimeout.Milliseconds()) || hop.GetWaitMs() != 40_000 {
		t.Errorf("there it has %v, %v", hop, err)
	}
	if last := r.last(); !last.Equal(now.Add(time.Minute)) {
		t.Errorf("it may be sent until %v", last.Sub(now))
	}
}

// A stream's message may be of a megabyte, and a claim wait for an hour.
func TestAClaimThatWaitsKeepsNothingOfItsMessageAlive(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := waitOp(1, "a/b", "ann", time.Minute)
	in.RequestId, in.Caller = strings.Clone("ann.1"), strings.Clone("ann")
	in.Fence = &interrexv1.Fence{Key: "a/c", Token: 1}
	r, err := nd.opened(caller{door: doorPeer}, in, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r.addressed().RequestID != "ann.1" || r.caller.name != "ann" {
		t.Errorf("kept: %+v, %+v", r.addressed(), r.caller)
	}
	theirs := []*byte{unsafe.StringData(in.RequestId), unsafe.StringData(in.Caller), unsafe.SliceData(in.Body)}
	e := r.envelope
	for _, mine := range []*byte{
		unsafe.StringData(e.RequestId), unsafe.StringData(e.Caller), unsafe.SliceData(e.Body),
		unsafe.StringData(r.addressed().RequestID), unsafe.StringData(r.addressed().Caller), unsafe.StringData(r.caller.name),
	} {
		if slices.Contains(theirs, mine) {
			t.Errorf("%q is the message's", unsafe.String(mine, 3))
		}
	}
	if e == in || e.Fence == in.Fence {
		t.Error("the envelope is the message's")
	}
}

func TestAnEnvelopeIsRefusedBeforeItGoesAnywhere(t *testing.T) {
	nd := cluster(t, 1)[0]
	long := claimOp(1, "a/b", "ann")
	long.RequestId = strings.Repeat("x", 65)
	marked := op(1, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b", Token: 1})
	marked.Mark = 1
	fenced := op(1, interrexv1.StateServiceRetireProcedure, &interrexv1.RetireRequest{Name: "ann"})
	fenced.Fence = &interrexv1.Fence{Key: "a/b", Token: 1}
	for _, in := range []*interrexv1.Operation{long, marked, fenced} {
		if _, err := nd.opened(caller{operator: true}, in, time.Now()); interrex.KindOf(err) != interrex.KindInvalid {
			t.Errorf("%v: %v", in, err)
		}
	}
}

func TestOnlyWhoAsksAgainMayMissAnAsking(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, asksAgain := range []bool{false, true} {
		in := waitOp(1, "a/b", "ann", time.Minute)
		in.AsksAgain = asksAgain
		r, err := nd.opened(caller{}, in, time.Now())
		if err != nil || (r.wait.Every != 0) != asksAgain {
			t.Errorf("one who asks again (%v) does so every %v: %v", asksAgain, r.wait.Every, err)
		}
	}
}

func TestWhoHasGoneIsTakenBackOnceFromWhereverItIs(t *testing.T) {
	r := &request{errand: &errand{stop: make(chan struct{})}}
	taken := ""
	r.onCancel(r.another(), func() { taken += "a" })
	r.cancel()
	r.cancel()
	if taken != "a" || !r.isGone() {
		t.Errorf("taken back: %q, gone: %v", taken, r.isGone())
	}
	<-r.stop
	r.onCancel(r.another(), func() { taken += "b" }) // it had been on its way there
	if taken != "ab" {
		t.Errorf("taken back: %q", taken)
	}
	read := &request{}
	read.cancel()
	if !read.isGone() {
		t.Error("a read cannot be taken back")
	}
}
