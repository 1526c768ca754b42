package client

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

// nowhere is an HTTP client without a network.
type nowhere struct{}

func (nowhere) Do(*http.Request) (*http.Response, error) { return nil, errors.New("no network") }

// The stream may end before it has seen that there is something to send.
func TestAStreamThatIsClosedAtOnceAnswersEachCallOnce(t *testing.T) {
	for range 200 {
		s, err := callstream.New(callstream.Config{HTTP: nowhere{}, BaseURL: "http://x"})
		if err != nil {
			t.Fatal(err)
		}
		var answers atomic.Int32
		abandon := s.Send([]*interrexv1.Operation{{}}, func(int, []byte, error) { answers.Add(1) })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		once := answers.Load()
		if abandon(0); once != 1 || answers.Load() != 1 {
			t.Fatalf("a call is answered %d times, and %d times once it was given up", once, answers.Load())
		}
	}
}

// Events of a former subscription come again over the present one.
func TestAWatchTakesEventsOfItsPresentSubscriptionOnly(t *testing.T) {
	st := streamAside()
	w, s := aside(st, 1, true)
	w.ready = make(chan struct{}, 1)
	take := func(from *subscription, revision interrex.Revision) {
		w.take(from, []any{&event[int]{at: Position{Revision: revision}}})
	}
	take(&subscription{}, 9)
	if w.queue.Len() != 0 || w.since != 0 {
		t.Errorf("%d events, it resumes after %d", w.queue.Len(), w.since)
	}
	take(s, 9)
	if w.queue.Len() != 1 || w.since != 9 {
		t.Errorf("of its own: %d events, it resumes after %d", w.queue.Len(), w.since)
	}
	st.over = true
	if sub, err := st.begin(w.subscribe); sub != nil || err != nil {
		t.Errorf("a watch begins on a stream that is over: %v, %v", sub, err)
	}
}

func TestAStreamOfWatchesThatIsOverIsForgotten(t *testing.T) {
	all := newWatchStreams(nowhere{}, "http://x", nil)
	for range 3 {
		w := &Watch[int]{ask: func(interrex.Revision) proto.Message { return &interrexv1.WatchRequest{} }, said: map[*endpoint]error{}}
		s, err := all.begin(w.subscribe)
		if err != nil {
			t.Fatal(err)
		}
		<-s.over
		w.unsubscribe(s)
	}
	if all.close(); len(all.streams) != 0 {
		t.Errorf("%d streams that are over are kept", len(all.streams))
	}
}

// A fence or a request id must never be left out in silence.
func TestAUnaryCallCarriesWhatAStreamHasInItsEnvelope(t *testing.T) {
	op := &interrexv1.Operation{RequestId: "r1", Attempt: 3, Fence: &interrexv1.Fence{Key: "a/b", Token: 7}}
	write := &interrexv1.ResourceServiceWriteRequest{}
	if err := new(request).put(write.ProtoReflect(), op); err != nil || write.RequestId != "r1" || write.Attempt != 3 || write.GetFence().GetToken() != 7 {
		t.Errorf("%v, %v", write, err)
	}
	r := &request{procedure: interrexv1.LeaseServiceGetProcedure}
	if err := r.put((&interrexv1.GetRequest{}).ProtoReflect(), op); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a read with a fence: %v", err)
	}
}

func TestAnErrorOfAnEarlierEpochIsNotBelieved(t *testing.T) {
	e := &epochs{}
	answer := func(epoch string) error {
		_, err := e.unary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
			err := connect.NewError(connect.CodeNotFound, errors.New("no such lease"))
			err.Meta().Set(wire.HeaderEpoch, epoch)
			return nil, err
		})(t.Context(), nil)
		return err
	}
	if err := answer("2"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("%v", err)
	}
	if err := answer("1"); !errors.Is(err, interrex.ErrOtherCluster) {
		t.Errorf("of an earlier epoch: %v", err)
	}
}
