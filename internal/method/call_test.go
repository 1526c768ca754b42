package method

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/queue"
)

func TestAnOperationHasSoLongToEnterTheLog(t *testing.T) {
	for _, test := range []struct {
		extend    bool
		timeoutMs uint32
		want      time.Duration
	}{
		{false, 0, queue.Timeout(false)},
		{false, 1000, time.Second},
		{false, 60_000, queue.Timeout(false)},
		{true, 0, queue.Timeout(true)},
		{true, 4000, 4 * time.Second},
		{true, 60_000, queue.Timeout(true)},
	} {
		if got := enterTimeout(test.extend, &interrexv1.Operation{TimeoutMs: test.timeoutMs}); got != test.want {
			t.Errorf("extend %v, its caller has %v ms: %v, want %v", test.extend, test.timeoutMs, got, test.want)
		}
	}
}

func TestABodyWithTooManyValuesIsNotDecoded(t *testing.T) {
	dense := bytes.Repeat([]byte{0x0a, 0}, 1<<18) // a list of nothing
	for what, decode := range map[string]func([]byte) (proto.Message, error){
		"an operation": (&Method{Declared: api.Method{NewRequest: func() proto.Message { return &interrexv1.GroupRequest{} }}}).Decode,
		"a watch":      (&Watch{Declared: api.WatchMethod{NewRequest: func() proto.Message { return &interrexv1.GroupRequest{} }}}).Decode,
	} {
		if _, err := decode(dense); interrex.KindOf(err) != interrex.ErrTooLarge {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := decode([]byte{0x0a}); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: what is cut: %v", what, err)
		}
	}
}

func TestAZeroWaitIsNone(t *testing.T) {
	e, err := lift(&interrexv1.ClaimRequest{Wait: durationpb.New(0)})
	if err != nil || e.WaitMs != 0 {
		t.Errorf("%v, %v", e, err)
	}
}

func TestTheDoorLiftsWhatStandsInTheEnvelope(t *testing.T) {
	fence := &interrexv1.Fence{Key: "a/c", Token: 3}
	m := &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", RequestId: "mine", Attempt: 2, Wait: durationpb.New(1500 * time.Millisecond), Fence: fence}
	e, err := lift(m)
	want := &interrexv1.Operation{RequestId: "mine", Attempt: 2, WaitMs: 1500, Fence: fence}
	if err != nil || !proto.Equal(e, want) {
		t.Fatalf("%v, %v", e, err)
	}
	if sink(m); !proto.Equal(m, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"}) || Unlifted(m) != nil {
		t.Errorf("what crosses to the leader is %v", m)
	}
	for _, wait := range []time.Duration{-1, interrex.MaxWait + 1} {
		if _, err := lift(&interrexv1.ClaimRequest{Wait: durationpb.New(wait)}); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("a wait of %v: %v", wait, err)
		}
	}
}

func TestAReadOfThePastIsNotQuick(t *testing.T) {
	for _, c := range []struct {
		marked bool
		q      *interrexv1.GetRequest
		want   bool
	}{
		{true, &interrexv1.GetRequest{}, true},
		{true, &interrexv1.GetRequest{AtRevision: 1}, false},
		{true, &interrexv1.GetRequest{AtTime: &timestamppb.Timestamp{}}, false},
		{false, &interrexv1.GetRequest{}, false},
	} {
		r := &Call{Method: &Method{Quick: c.marked}, Message: c.q}
		if r.Quick() != c.want {
			t.Errorf("%+v: %v", c, !c.want)
		}
	}
}
