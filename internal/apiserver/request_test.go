package apiserver

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
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
)

func TestTheHopCarriesWhatItsOperationCarries(t *testing.T) {
	nd := cluster(t, 1)[0]
	now := time.Now()
	in := waitOp(7, "a/b", "ann", time.Minute)
	in.RequestId, in.Attempt, in.Mark, in.Fence = "ann.9", 2, 4, &interrexv1.Fence{Key: "a/c", Token: 5}
	in.TimeoutMs, in.AsksAgain = 1000, true
	r, err := nd.opened(admission.Caller{Name: "ann"}, in, now)
	if err != nil {
		t.Fatal(err)
	}
	hop, err := r.Hop(now)
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
	want.RequestId, want.Attempt, want.Fence, want.TimeoutMs = "mine", 2, fence, wire.Millis(queue.Timeout(false))
	want.Origin, want.KnownRevision = "10.0.0.7", 8
	r := &method.Call{}
	if err := r.Open(nd.server.methods, admission.Caller{Origin: "10.0.0.7", Known: 8}, nd.server.methods.Methods[want.Method], nil, alone, now); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be sent again
		if hop, err := r.Hop(now); err != nil || !proto.Equal(hop, want) {
			t.Errorf("%v, %v\nwant %v", hop, err, want)
		}
	}
}

func TestAClaimThatHasStoodInLineElsewhereHasTimeToEnterTheLog(t *testing.T) {
	nd := cluster(t, 1)[0]
	now := time.Now()
	in := waitOp(1, "a/b", "ann", time.Minute)
	in.TimeoutMs = 1000
	r, err := nd.opened(admission.Caller{}, in, now)
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(20 * time.Second)
	if op := r.Operation(later, nil, nil); !op.Deadline.Equal(later.Add(queue.Timeout(false))) || !op.Wait.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("here it has %v, and its wait %v", op.Deadline.Sub(later), op.Wait.Until.Sub(later))
	}
	hop, err := r.Hop(later)
	if err != nil || hop.GetTimeoutMs() != uint32(queue.Timeout(false).Milliseconds()) || hop.GetWaitMs() != 40_000 {
		t.Errorf("there it has %v, %v", hop, err)
	}
	if last := r.Last(); !last.Equal(now.Add(time.Minute)) {
		t.Errorf("it may be sent until %v", last.Sub(now))
	}
}

// A stream's message may have a megabyte, and a claim may wait for an hour.
func TestAClaimThatWaitsKeepsNothingOfItsMessageAlive(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := waitOp(1, "a/b", "ann", time.Minute)
	in.RequestId, in.Caller = strings.Clone("ann.1"), strings.Clone("ann")
	in.Fence = &interrexv1.Fence{Key: "a/c", Token: 1}
	r, err := nd.opened(admission.Caller{Door: admission.Peer}, in, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r.Addressed().RequestID != "ann.1" || r.Caller.Name != "ann" {
		t.Errorf("kept: %+v, %+v", r.Addressed(), r.Caller)
	}
	theirs := []*byte{unsafe.StringData(in.RequestId), unsafe.StringData(in.Caller), unsafe.SliceData(in.Body)}
	e := r.Envelope
	for _, mine := range []*byte{
		unsafe.StringData(e.RequestId), unsafe.StringData(e.Caller), unsafe.SliceData(e.Body),
		unsafe.StringData(r.Addressed().RequestID), unsafe.StringData(r.Addressed().Caller), unsafe.StringData(r.Caller.Name),
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
		if _, err := nd.opened(admission.Caller{Operator: true}, in, time.Now()); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%v: %v", in, err)
		}
	}
}

func TestOnlyWhoAsksAgainMayMissAnAsking(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, asksAgain := range []bool{false, true} {
		in := waitOp(1, "a/b", "ann", time.Minute)
		in.AsksAgain = asksAgain
		r, err := nd.opened(admission.Caller{}, in, time.Now())
		if err != nil || (r.Operation(time.Now(), nil, nil).Wait.Every != 0) != asksAgain {
			t.Errorf("one who asks again (%v) does so every %v: %v", asksAgain, r.Operation(time.Now(), nil, nil).Wait.Every, err)
		}
	}
}
